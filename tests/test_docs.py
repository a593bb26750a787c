"""README and docs: their code runs, their links lead somewhere, what is generated is up to date."""

import contextlib
import importlib.util
import inspect
import re
import subprocess
import sys
import tomllib
import types
import warnings
from pathlib import Path

import pytest

import gradviz
from gradviz import errors

ROOT = Path(__file__).parent.parent
MADE = ("gallery", "reference")  # by the build of the site
PAGES = [ROOT / "README.md"] + [
    page for page in sorted((ROOT / "docs").rglob("*.md")) if page.relative_to(ROOT / "docs").parts[0] not in MADE
]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)


def run_script(path, *line, cwd):
    return subprocess.run(
        [sys.executable, path, *line], cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=120,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("page")
    for block in BLOCK.findall(page.read_text("utf-8")):
        exec(compile(block, str(page), "exec"), module.__dict__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page):
    targets = [one or other for one, other in LINK.findall(page.read_text("utf-8"))]
    files = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert [file for file in files if not (page.parent / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_it_mentions_is_there(page):
    known = set(gradviz.__all__) | {"errors", "tracing", "svg", "sphinxext"}
    mentioned = set(re.findall(r"\bgradviz\.([A-Za-z]\w*)", page.read_text("utf-8")))
    assert {name for name in mentioned if name not in known and not hasattr(gradviz, name)} == set()


def test_the_example_of_the_readme_is_ten_lines():
    first, *_ = BLOCK.findall((ROOT / "README.md").read_text("utf-8"))
    assert len([line for line in first.splitlines() if line.strip()]) <= 10


def test_the_readme_has_both_commands_and_plain_pip():
    text = (ROOT / "README.md").read_text("utf-8")
    assert all(line in text for line in ("make demo", "make test", "-m venv", 'pip install -e ".[test]"'))


def test_the_figures_are_up_to_date(tmp_path):
    done = run_script(ROOT / "docs" / "figures.py", "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_old_figure_is_found(tmp_path):
    script = (ROOT / "docs" / "figures.py").read_text("utf-8")
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    copy = tmp_path / "docs" / "figures.py"
    copy.write_text(script.replace("Tensor(2.0), Tensor(3.0)\n", "Tensor(2.0), Tensor(4.0)\n"), "utf-8")
    for file in (ROOT / "docs" / "figures").iterdir():
        (copy.parent / "figures" / file.name).write_bytes(file.read_bytes())
    done = run_script(copy, "--check", cwd=tmp_path)
    assert done.returncode == 1
    assert "article.dot, now" in done.stdout


def test_the_table_of_operations_is_up_to_date():
    code = "import operations, sys; sys.exit(operations.text() != operations.PAGE.read_text('utf-8'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "docs", check=False, timeout=60)
    assert done.returncode == 0, "python docs/operations.py writes it anew"


@pytest.fixture(scope="module")
def pytorch_page():
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("pytorch_page", ROOT / "docs" / "pytorch.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_session_and_the_costs_on_the_page_about_pytorch_are_up_to_date(pytorch_page):
    text = pytorch_page.PAGE.read_text("utf-8")
    written = pytorch_page.SESSION.search(text)[0]
    assert pytorch_page.session(pytorch_page.SCRIPT.search(text)[1], written) == written
    assert pytorch_page.cost() in text


@pytest.mark.parametrize("name", ["mlp", "transformer", "wrong_backward", "slice_assignment", "checkpoint_reentrant"])
def test_the_table_of_programs_is_up_to_date(pytorch_page, name):
    assert f"| {' | '.join(pytorch_page.row(name))} |\n" in pytorch_page.PAGE.read_text("utf-8")


def test_the_table_of_programs_is_that_of_the_benchmarks(pytorch_page):
    rows = re.findall(r"^\| (.*) \|$", pytorch_page.BENCHMARKS.read_text("utf-8"), re.MULTILINE)
    known = {cells[0]: cells for cells in (row.split(" | ") for row in rows) if len(cells) == 11}
    text = pytorch_page.PAGE.read_text("utf-8")
    for name, title in pytorch_page.PROGRAMS.items():
        _, _, values, grads, _, lines, _, _, after, found, _ = (cell.strip() for cell in known[name.replace("_", " ")])
        assert " | ".join([title, values, grads, lines, after, found]) + " |" in text


def linear_net():
    torch = pytest.importorskip("torch")
    model, x = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh()), torch.ones(4, 3, requires_grad=True)
    return torch, model, x, dict(model.named_parameters())


def ask_with_parameters(make_dot):
    _, model, x, params = linear_net()
    make_dot(model(x))
    make_dot(model(x).mean(), params)
    make_dot(model(x).mean(), params={**params, "x": x}, show_attrs=True, show_saved=True, max_attr_chars=20)
    make_dot((model(x).mean(), model(x).sum()), params=params)


def ask_with_a_model(make_dot):
    _, model, x, _ = linear_net()
    make_dot(model(x).mean(), params=model)


def ask_for_a_double_backward(make_dot):
    torch, model, x, params = linear_net()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    make_dot((slope**2).sum(), params={**params, "x": x})


def ask_after_backward(make_dot, **more):
    _, model, x, params = linear_net()
    loss = model(x).mean()
    loss.backward()
    make_dot(loss, params, **more)


def ask_for_a_list(make_dot):
    _, model, x, _ = linear_net()
    make_dot([model(x).mean(), model(x).sum()])


def ask_for_a_long_chain(make_dot):
    _, _, y, _ = linear_net()
    for _ in range(1000):
        y = y * 1.0
    make_dot(y.sum())


FORMS = [
    (ask_with_parameters, None),
    (ask_with_a_model, AttributeError),
    (ask_for_a_double_backward, None),
    (ask_after_backward, None),
    (lambda make_dot: ask_after_backward(make_dot, show_attrs=True), RuntimeError),
    (lambda make_dot: ask_after_backward(make_dot, show_saved=True), RuntimeError),
    (ask_for_a_list, TypeError),
    (ask_for_a_long_chain, RecursionError),
]


@pytest.mark.parametrize(("ask", "refusal"), FORMS)
def test_the_table_of_torchvizs_call_forms(ask, refusal):
    ask(gradviz.make_dot)
    if importlib.util.find_spec("torchviz") is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it asks for versions in an old way
            make_dot = importlib.import_module("torchviz").make_dot
            with pytest.raises(refusal) if refusal else contextlib.nullcontext():
                ask(make_dot)


def test_every_error_is_documented():
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    raised = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert [name for name in raised if kind_is_ours(name) and f"`{name}`" not in text] == []


def kind_is_ours(name):
    return getattr(errors, name).__module__ == "gradviz.errors"


def test_the_changelog_has_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert version == gradviz.__version__
    assert f"## [{version}]" in (ROOT / "docs" / "changelog.md").read_text("utf-8")


def test_no_page_names_a_machine():
    private = re.compile(r"/(home|root|tmp|work|Users)/|localhost|[A-Z]:\\")
    assert [page.name for page in PAGES if private.search(page.read_text("utf-8"))] == []
    pictures = [path for path in (ROOT / "docs" / "figures").iterdir() if private.search(path.read_text("utf-8"))]
    assert pictures == []
