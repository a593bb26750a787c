"""The directive itself: what may be asked of it, and the nodes it becomes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import decode_source
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from gradviz.errors import GradvizError
from gradviz.sphinxext.picking import picture_of
from gradviz.sphinxext.running import Code, CodeError, Session
from gradviz.sphinxext.storing import Store, digest, local_modules, used_in
from gradviz.style import DIRECTIONS, SHOW, STYLES, THEMES

__all__ = ["Picture"]

logger = logging.getLogger(__name__)
FOLDS: dict[str, str | bool] = {"auto": "auto", "true": True, "yes": True, "false": False, "no": False}
BUILT_FOR_SCREENS = "html and not epub"


def one_of(choices: Iterable[str]) -> Callable[[str | None], str]:
    """Return what reads an option that takes one of a few words, however they are spelled.

    >>> one_of(["LR", "TB"])("tb")
    'TB'
    """
    known = {choice.lower(): choice for choice in choices}
    return lambda text: known[str(directives.choice(text, tuple(known)))]


def shown(text: str) -> tuple[str, ...]:
    """Read the option ``show``: words between commas or spaces.

    >>> shown("name, value")
    ('name', 'value')
    """
    words = str(directives.unchanged_required(text)).replace(",", " ").split()
    return tuple(map(one_of(SHOW), words))


def folded(text: str | None) -> str | bool:
    """Read the option ``fold``; without a word it is on.

    >>> folded(None), folded("auto"), folded("no")
    (True, 'auto', False)
    """
    return FOLDS[one_of(FOLDS)(text or "yes")]


def unfolded(text: str | None) -> bool | list[str]:
    """Read the option ``unfold``: names between commas; without one everything is opened.

    >>> unfolded(None), unfolded("layer1, layer2")
    (True, ['layer1', 'layer2'])
    """
    return [name.strip() for name in text.split(",") if name.strip()] if text else True


def switched(text: str | None) -> bool:
    """Read an option that is on, without a word, or off.

    >>> switched(None), switched("no")
    (True, False)
    """
    return one_of(("true", "yes", "false", "no"))(text or "yes") in {"true", "yes"}


def motion(text: str | None) -> dict[str, float]:
    """Read the option ``animate``: how many seconds it takes, if it says so.

    >>> motion(None), motion("8")
    ({}, {'seconds': 8.0})
    """
    return {"seconds": float(text)} if text else {}


def session_kind(text: str | None) -> str:
    """Read the option ``context``."""
    return one_of(("go on", "reset"))(text or "go on")


OPTIONS: dict[str, Callable[[str], Any]] = {
    "show": shown,
    "style": one_of(STYLES),
    "theme": one_of(tuple(THEMES)),
    "direction": one_of(DIRECTIONS),
    "fold": folded,
    "unfold": unfolded,
    "collapse": directives.nonnegative_int,
    "focus": directives.unchanged_required,
    "hops": directives.nonnegative_int,
}


class Picture(SphinxDirective):
    """Runs a script, or the code it holds, and shows the picture of what that has left."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[Any] = {
        **OPTIONS,
        "object": directives.unchanged_required,
        "step": directives.unchanged_required,
        "animate": motion,
        "args": shlex.split,
        "context": session_kind,
        "nofigs": directives.flag,
        "include-source": switched,
        "linenos": directives.flag,
        "caption": directives.unchanged,
        "alt": directives.unchanged,
        "name": directives.unchanged,
        "class": directives.class_option,
        "figclass": directives.class_option,
        "width": directives.length_or_percentage_or_unitless,
        "align": one_of(("left", "center", "right")),
    }

    def run(self) -> list[nodes.Node]:
        """Run the code unless its picture is there already, and return the source, if wanted, and the figure."""
        code = self.code()
        found: list[nodes.Node] = []
        if self.options.get("include-source", self.config.gradviz_include_source):
            found.append(self.listing(code))
        try:
            record = self.picture(code)
        except Exception as error:  # whatever it is, the rest of the site is built
            self.env.note_reread()
            reason = str(error) if isinstance(error, GradvizError) else f"{type(error).__name__}: {error}"
            logger.warning("gradviz: %s", reason, location=self.place_of(error, code), type="gradviz")
            told = f"(no picture) {reason}"
            return [*found, nodes.literal_block(told, told, language="none", classes=["gradviz-failed"])]
        return found if record is None else [*found, self.figure(record)]

    def code(self) -> Code:
        """Return the script that is named, or the code that is there; whatever is wrong about it is an error here."""
        args = tuple(self.options.get("args", ()))
        text = "\n".join(self.content)
        if bool(self.arguments) == bool(text.strip()):
            raise self.error("gradviz takes the path of a script, or code as its content: one of the two")
        if not self.arguments:
            return Code(f"{text}\n", Path(self.env.doc2path(self.env.docname)), args, "code")
        path = self.script_path(self.arguments[0])
        try:
            return Code(decode_source(path.read_bytes()), path, args)
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            raise self.error(f"the script cannot be read: {error}") from error

    def script_path(self, name: str) -> Path:
        """Return the path of a script: beside the page, or below ``gradviz_base``; ``/`` is the root of the site."""
        base = self.config.gradviz_base
        if base is None or name.startswith("/"):
            path = Path(self.env.relfn2path(name)[1])
        else:
            path = Path(os.path.normpath(Path(self.env.srcdir, base, name)))
        self.depend_on(path)
        return path

    def depend_on(self, path: Path) -> None:
        """Have the page read again when a file changes."""
        self.env.note_dependency(os.path.relpath(path, self.env.srcdir))

    def picture(self, code: Code) -> dict[str, Any] | None:
        """Return what is known of the picture, which is drawn first if need be; None where none is wanted."""
        store = Store(Path(self.env.doctreedir))
        session, before = self.session(code)
        drawing, object, step = self.drawing_options(), self.options.get("object"), self.options.get("step")
        place = None if code.title else str(code.path.parent)
        moving = self.options.get("animate")
        asked = (object, step, moving, sorted(drawing.items()))
        key = digest(before, code.text, code.args, place, asked)
        if "nofigs" in self.options:
            return None
        record = store.record(key)
        if record is None:
            session.run()
            if session.said:
                logger.verbose("%s", session.said, location=self.get_location())
                session.said = ""
            picture = picture_of(session, object, step, moving, drawing)
            record = store.keep(key, picture, local_modules(code.path.parent))
        for file in record["modules"]:
            self.depend_on(Path(file))
        used_in(self.env).setdefault(self.env.docname, set()).add(key)
        return {**record, "key": key}

    def session(self, code: Code) -> tuple[Session, str]:
        """Return the session the code is part of, with the code waiting in it, and a digest of what came before."""
        context = self.options.get("context")
        session = self.env.temp_data.get("gradviz_session") if context == "go on" else None
        if session is None:
            preamble = self.config.gradviz_preamble
            waiting = [Code(preamble, code.path, title="preamble")] if preamble else []
            session = Session(waiting, before=digest(preamble))
        if context is not None:
            self.env.temp_data["gradviz_session"] = session
        before: str = session.before
        session.waiting.append(code)
        session.before = digest(before, code.text, code.args)
        return session, before

    def drawing_options(self) -> dict[str, Any]:
        """Return the options of `draw`: those of the site with those given here over them."""
        return {
            **self.config.gradviz_defaults,
            **{name: self.options[name] for name in OPTIONS if name in self.options},
        }

    def place_of(self, error: Exception, code: Code) -> Any:
        """Return where to look for an error: the line of the page where that is known."""
        if isinstance(error, CodeError) and error.code is code and code.title and error.line:
            is_relative = type(self.state).__module__.startswith("myst_parser")
            return (self.env.docname, self.content_offset + error.line + (self.lineno if is_relative else 0))
        return self.get_location()

    def listing(self, code: Code) -> nodes.Node:
        """Return the source, highlighted."""
        text = code.text.strip("\n")
        block = nodes.literal_block(text, text, language="python", linenos="linenos" in self.options)
        block["classes"].append("gradviz-source")
        if not code.title:
            block["source"] = str(code.path)
        self.set_source_info(block)
        return block

    def figure(self, record: dict[str, Any]) -> nodes.Node:
        """Return the figure: an image for light pages, one for dark ones, and the caption."""
        image = partial(self.image, record)
        if len(record["suffixes"]) == 1:
            images: list[nodes.Node] = [image(".svg", record["theme"], [])]
        else:
            dark = addnodes.only("", image("-dark.svg", "dark", ["gradviz-dark", "only-dark"]), expr=BUILT_FOR_SCREENS)
            images = [image(".svg", "light", ["gradviz-light", "only-light"]), dark]
        figure = nodes.figure("", nodes.container("", *images, classes=["gradviz-picture"]))
        figure["classes"] += ["gradviz", *self.options.get("figclass", [])]
        figure["align"] = self.options.get("align", "default")
        if self.options.get("caption"):
            parts, messages = self.parse_inline(self.options["caption"], lineno=self.lineno)
            figure += nodes.caption(self.options["caption"], "", *parts)
            figure += messages
        self.set_source_info(figure)
        self.add_name(figure)
        return figure

    def image(self, record: dict[str, Any], suffix: str, theme: str, classes: list[str]) -> nodes.image:
        """Return one image, with the text that stands for it."""
        path = Store(Path(self.env.doctreedir)).path(record["key"], suffix)
        uri = "/" + Path(os.path.relpath(path, self.env.srcdir)).as_posix()
        image = nodes.image(uri=uri, alt=self.options.get("alt") or record["alt"], gradviz_theme=theme)
        image["classes"] += [*classes, "no-scaled-link", *self.options.get("class", [])]
        if "width" in self.options:
            image["width"] = self.options["width"]
        return image
