"""The public names: sorted, all there, documented, quick to import."""

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gradviz
from gradviz import Tensor

HEAVY = (
    "matplotlib", "torch", "IPython", "typst", "wasmtime", "resvg_py", "networkx", "graphviz", "rich",
    "pandas", "pyarrow", "duckdb", "fsspec", "tensorboard", "sqlite3",
)  # fmt: skip


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


W = Tensor(2.0, name="w")
MISTAKES = {
    "a list of params to draw": (lambda folder: gradviz.draw(W * W, params=[W]), "params is a list"),
    "a list of params to graph": (lambda folder: gradviz.graph(W * W, params=[W]), "params is a list"),
    "a number as parameter of a trace": (lambda folder: gradviz.trace(folder, params={"w": 3.0}), "'w' is a float"),
    "one number as parameters of a trace": (lambda folder: gradviz.trace(folder, params=3.0), "params is a float"),
    "a text as rate": (lambda folder: gradviz.descend(abs, {"w": 1.0}, lr="x"), "lr='x' is not a number"),
    "a text as function": (lambda folder: gradviz.descend("f", {"w": 1.0}), "f is 'f', which cannot be called"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_beginners_mistake_is_named(name, tmp_path):
    act, said = MISTAKES[name]
    with pytest.raises(TypeError, match=said) as caught:
        act(tmp_path / "run")
    assert isinstance(caught.value, gradviz.GradvizError)
    assert list(tmp_path.iterdir()) == []


def test_a_step_of_a_run_is_a_number(tmp_path):
    run = gradviz.descend(lambda w: w * w, {"w": 1.0}, steps=2, trace=tmp_path / "run").run
    with pytest.raises(TypeError, match="a step is a whole number, not 'first'"):
        run.frame("first")
