"""The public names: sorted, all there, documented, quick to import."""

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import gradviz

HEAVY = ("matplotlib", "torch", "IPython", "typst", "wasmtime", "resvg_py", "networkx", "graphviz", "rich", "pandas")


def test_all_is_sorted_without_repeats():
    names = list(gradviz.__all__)
    assert names == sorted(set(names))


def test_every_public_name_is_there():
    missing = [name for name in gradviz.__all__ if not hasattr(gradviz, name)]
    assert not missing
    assert set(gradviz.__all__) <= set(dir(gradviz))


def test_every_public_name_is_documented():
    silent = [name for name in gradviz.__all__ if not (inspect.getdoc(getattr(gradviz, name)) or "").strip()]
    assert not silent


def test_every_method_of_a_public_class_is_documented():
    classes = [getattr(gradviz, name) for name in gradviz.__all__ if inspect.isclass(getattr(gradviz, name))]
    silent = [
        f"{kind.__name__}.{name}"
        for kind in classes
        if kind.__module__.startswith("gradviz")
        for name, member in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
        if not inspect.getdoc(member)
    ]
    assert not silent


def test_import_brings_nothing_heavy():
    code = f"import sys, gradviz; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_licences_of_code_and_fonts_are_declared():
    root = Path(gradviz.__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "MIT AND OFL-1.1"
    assert project["license-files"] == ["LICENSE", "gradviz/views/fonts/OFL.txt"]
    assert all((root / file).is_file() for file in project["license-files"])
