"""The gallery of examples: a page for each program of ``examples/``, with what it prints and draws.

The quick ones are run while the site is built, each in a folder of its own and with a limit of time; what they
made is kept until they, or gradviz, change. Of those in `SHOWN` the source and a committed picture are shown.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradviz

FOLDER = "gallery/examples"
EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = 45  # seconds; of an example that takes longer only the source is shown
LINES = 60  # of output
SHOWN = {  # several processes, a scheduler, PyTorch or JAX: too much for the build of a page
    "planted_faults": [],
    "sweep_dask": [],
    "sweep_joblib": [],
    "torch_digits": [],
    "torch_pictures": ["torch-transformer.png", "torch-resnet50.png"],
    "torchrun_ddp": [],
}
COMMITTED = {"does_not_learn": ["report.png"], **SHOWN}
COMMANDS = re.compile(r"(?:^ *(?:python|torchrun|gradviz) .*\n)+", re.MULTILINE)
HEADING = """\
# Examples

Programs to read, and to run: `python examples/three_ways.py`. What they print and draw here was made while this site
was built, except where a page says so.

"""


def pages(folder: Path) -> dict[str, str]:
    """Return the text of every page by its name; run the examples whose results are not there yet."""
    scripts = {path.stem: path for path in sorted(EXAMPLES.glob("*.py"))}
    quick = [name for name in scripts if name not in SHOWN]
    with ThreadPoolExecutor(2) as two:
        results = list(two.map(lambda name: result(scripts[name], folder / FOLDER / "results" / name), quick))
    found = dict(zip(quick, results, strict=True))
    written = {f"{FOLDER}/{name}.md": page(name, path, found.get(name), folder) for name, path in scripts.items()}
    grid = "\n".join(card(name, path, folder) for name, path in scripts.items())
    hidden = "\n".join(["", "", "```{toctree}", ":hidden:", "", *scripts, "```", ""])
    return {f"{FOLDER}/index.md": HEADING + f"::::{{container}} examples\n{grid}\n::::\n" + hidden, **written}


def card(name: str, path: Path, folder: Path) -> str:
    """Return what the first page shows of an example: its first sentence, with a picture where there is one."""
    shown = shown_of(name, folder)
    image = f"[![{said(Path(shown[0]).stem, name)}]({shown[0]})]({name}.md)\n\n" if shown else ""
    first = docstring(path).split("\n\n")[0]
    return f":::{{container}} example\n{image}**[{name}]({name}.md)**\n\n{first}\n:::"


def docstring(path: Path) -> str:
    """Return what a program says of itself."""
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def result(path: Path, place: Path) -> str | None:
    """Return what an example has printed, now or before, and leave its pictures in ``place``."""
    key, kept = mark(path), place / "result.json"
    if kept.is_file() and (old := json.loads(kept.read_text("utf-8")))["key"] == key:
        printed: str | None = old["printed"]
        return printed
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="example-") as scratch:
        printed = run(path, scratch)
        for picture in pictures(Path(scratch, "out", path.stem)) if printed is not None else ():
            shutil.copy(picture, place / picture.name)
    kept.write_text(json.dumps({"key": key, "printed": printed}), encoding="utf-8")
    return printed


def run(path: Path, folder: str) -> str | None:
    """Run an example in a folder and return what it has printed; None if it takes too long."""
    here = {**os.environ, "MPLBACKEND": "Agg", "NO_COLOR": "1", "COLUMNS": "100"}
    try:
        done = subprocess.run(
            [sys.executable, str(path)], cwd=folder, capture_output=True, text=True, encoding="utf-8",
            timeout=LIMIT, check=False, env=here,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    if done.returncode and "this example needs" not in done.stderr:
        raise RuntimeError(f"{path.name} failed\n{done.stderr}")
    return done.stdout.replace(os.sep, "/") + done.stderr


def mark(path: Path) -> str:
    """Return a text that changes when the example, or gradviz, does."""
    files = [path, *sorted(Path(gradviz.__file__).parent.rglob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def pictures(out: Path) -> list[Path]:
    """Return the pictures in a folder; of one in two formats the SVG."""
    found = {path.stem: path for suffix in ("png", "svg") for path in sorted(out.glob(f"*.{suffix}"))}
    return list(found.values())


def page(name: str, path: Path, printed: str | None, folder: Path) -> str:
    """Return the page of one example."""
    first, _, rest = docstring(path).partition("\n\n")
    rest = COMMANDS.sub(lambda found: f"\n```sh\n{found[0].strip()}\n```\n\n", rest + "\n")
    parts = [f"# {name}", first, rest] + ([] if printed is not None else ["It is not run while this site is built."])
    parts += [f"```{{image}} {each}\n:alt: {said(Path(each).stem, name)}\n```" for each in shown_of(name, folder)]
    if printed is not None:
        lines = printed.strip().splitlines()
        more = [f"... {len(lines) - LINES} more lines"] * (len(lines) > LINES)
        parts += ["## What it prints", "\n".join(["```text", *lines[:LINES], *more, "```"])]
    return "\n\n".join([*parts, "## The program", f"```{{literalinclude}} /../examples/{name}.py\n```", ""])


def shown_of(name: str, folder: Path) -> list[str]:
    """Return the pictures of an example: what it has drawn, and what is committed."""
    made = [f"results/{name}/{picture.name}" for picture in pictures(folder / FOLDER / "results" / name)]
    return made + [f"/pictures/{picture}" for picture in COMMITTED.get(name, [])]


def said(picture: str, name: str) -> str:
    """Return the alternative text of a picture."""
    return f"the picture {picture.replace('-', ' ').replace('_', ' ')} that {name} makes"
