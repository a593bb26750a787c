"""README and docs: their code runs, their links lead somewhere, what is generated is up to date."""

import inspect
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

import gradviz
from gradviz import errors

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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
    known = set(gradviz.__all__) | {"errors", "tracing", "svg"}
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
