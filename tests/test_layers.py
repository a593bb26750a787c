"""The shape of the house: imports go downward, files and functions stay small, names stay apart."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gradviz"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
LONGEST_FUNCTION = 60
LONGEST_FILE = 400

BOTTOM, ENGINE, SOURCES, VIEWS, TOP = range(5)
RANKS = {
    "engine": ENGINE,
    "sources": SOURCES,
    "rules": SOURCES,
    "transforms": SOURCES,
    "debugger": VIEWS,
    "tracing": VIEWS,
    "views": VIEWS,
    "": TOP,
    "__main__": TOP,
    "cli": TOP,
    "demo": TOP,
    "notebooks": TOP,
    "pytest_plugin": TOP,
    "sphinxext": TOP,
    "verbs": TOP,
}
BRIDGE = "sources/own.py"


def name_of(path):
    """Return ``gradviz.views.dot`` for a file."""
    parts = ("gradviz", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def room(module):
    """Return the part of the house a module lies in: ``engine``, ``views``, ``graphs``, or ``""``."""
    return [*module.split("."), ""][1]


def imports_of(path):
    """Return every module of ours that a file imports, at its top or inside a function."""
    found = set()
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            inner = {f"{start}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else start for name in inner}
    return {name for name in found if name.split(".")[0] == "gradviz"}


def functions_of(path):
    """Return every function and method in a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, kinds)]


def rank(module):
    """Return how high in the house a module lies."""
    return RANKS.get(room(module), BOTTOM)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_downward(path):
    module = name_of(path)
    upward = {name for name in imports_of(path) if rank(name) > rank(module)}
    assert not upward, f"{module} imports {sorted(upward)} from above"


@pytest.mark.parametrize("path", [path for path in FILES if room(name_of(path)) == "engine"], ids=name_of)
def test_the_engine_stands_alone(path):
    foreign = {name for name in imports_of(path) if room(name) not in {"engine", "errors"}}
    assert not foreign, f"the engine imports {sorted(foreign)}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_bridge_sees_engine_and_graphs(path):
    module, rooms = name_of(path), {room(name) for name in imports_of(path)}
    if rank(module) < TOP and path.relative_to(PACKAGE).as_posix() != BRIDGE:
        assert not {"engine", "graphs"} <= rooms, f"{module} sees both engine and graphs"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_small(path):
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_FILE
    long = {node.name for node in functions_of(path) if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION}
    assert not long, f"longer than {LONGEST_FUNCTION} lines: {sorted(long)}"


def test_no_drawer_for_odds_and_ends():
    assert not {path.stem for path in FILES} & {"utils", "util", "helpers", "misc", "common"}


def test_every_file_says_what_it_is():
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent


def test_no_module_has_the_name_of_a_public_function():
    import gradviz

    public = set(getattr(gradviz, "__all__", ()))
    top = {name.split(".")[1] for name in MODULES if name.count(".") >= 1}
    assert not top & public


def test_nothing_walks_a_graph_by_calling_itself():
    limit_changers = [name for name, path in MODULES.items() if "setrecursionlimit" in path.read_text("utf-8")]
    assert not limit_changers


def test_nothing_is_unpickled_or_evaluated():
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text("utf-8"))
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "eval" not in calls, name
        imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        assert not imported & {"pickle", "marshal", "shelve"}, name
