"""Which of the things that code has left is drawn, at which step, and the drawing of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

from gradviz.debugger.events import Step, Steps, steps
from gradviz.engine.tensor import Tensor
from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.escape import clean
from gradviz.graphs import Frame, Graph
from gradviz.sphinxext.running import Session, within
from gradviz.tracing.descent import Descent
from gradviz.verbs.scripts import find
from gradviz.views.drawing import Drawing, draw
from gradviz.views.motion import Animation, animate

__all__ = ["bound_names", "in_theme", "is_drawable", "picked", "picture_of"]

KINDS = (Animation, Drawing, Frame, Graph, Tensor, Step, Steps, Descent)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def bound_names(tree: ast.Module) -> list[str]:
    """Return the variables that code binds, in the order in which they stand in it.

    >>> bound_names(ast.parse("a = b = [i for i in c]; d.e = 1; f: int = 2"))
    ['a', 'b', 'f']
    """
    found, waiting = [], list(tree.body)[::-1]
    while waiting:
        node: ast.AST = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append((node.lineno, node.col_offset, node.id))
        elif not isinstance(node, (*SCOPES, *COMPREHENSIONS)):
            waiting.extend(ast.iter_child_nodes(node))  # type: ignore[arg-type]
    return [name for _, _, name in sorted(found)]


def is_drawable(x: Any) -> bool:
    """Whether a picture can be made of something: of ours, of a tensor of PyTorch that knows where it comes from.

    >>> is_drawable(Tensor(1.0)), is_drawable(1.0), is_drawable(Tensor)
    (True, False, False)
    """
    if isinstance(x, type | ModuleType):
        return False
    if isinstance(x, KINDS):
        return True
    kind = type(x)
    if kind.__module__.partition(".")[0] == "torch":
        return getattr(x, "grad_fn", None) is not None
    return kind.__module__.partition(".")[0] == "gradviz" and callable(getattr(x, "frame", None))


def picked(session: Session, name: str | None) -> Any:
    """Return the thing of this name, or the last that can be drawn: a leaf only where there is nothing else.

    Raises `UnknownNameError` for a name that is not there and `GradvizTypeError` where nothing can be drawn.
    """
    if name is not None:
        return find(session.names, name)
    found = list(_candidates(session))
    for thing in found:
        if not getattr(thing, "is_leaf", False):
            return thing
    if found:
        return found[0]
    hint = "end with the Tensor, Frame, Run or Drawing that is to be seen, or name it with :object:"
    raise GradvizTypeError("the code has left nothing that can be drawn", hint=hint)


def _candidates(session: Session) -> Iterator[Any]:
    """Yield what can be drawn, the last first."""
    names = session.names
    yield from filter(is_drawable, session.last)
    for name in (*reversed(bound_names(session.tree)), *reversed(names)):
        if is_drawable(names.get(name)):
            yield names[name]


def picture_of(
    session: Session, name: str | None, step: str | None, motion: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> Drawing | Animation:
    """Return the picture a directive asks for; raises `GradvizError` saying what is wrong with what it asks.

    ``motion`` are options of `animate`, None for a picture that stands still.
    """
    thing = picked(session, name)
    if isinstance(thing, Animation) or (isinstance(thing, Drawing) and motion is None):
        if step is None and not set(options) - {"theme"}:
            return in_theme(thing, options.get("theme", thing.options.theme))
        if isinstance(thing, Animation):
            raise GradvizValueError("an animation is shown as it is", hint="give its options to animate(...)")
    if isinstance(thing, Descent):
        if thing.run is None:
            raise GradvizValueError("this descent has recorded nothing", hint="descend(..., trace='runs/line')")
        thing = thing.run
    if isinstance(thing, Drawing):
        thing = thing.origin or thing.frame
    if motion is not None and step is None:
        moving: Animation = within(session.names, partial(animate, thing, **motion, **options))
        return moving
    return drawn(session, moment(session, thing, step), options)


def in_theme(picture: Drawing | Animation, theme: str) -> Drawing | Animation:
    """Return a picture in the colours of a theme.

    >>> in_theme(draw(Graph(())), "dark").options.theme
    'dark'
    """
    if isinstance(picture, Animation):
        return picture.in_theme(theme)
    return replace(picture, options=replace(picture.options, theme=theme))


def drawn(session: Session, thing: Any, options: Mapping[str, Any]) -> Drawing:
    """Draw; the text that stands for the picture of a step says which it is."""
    if isinstance(thing, Step):
        options = {"title": str(thing), **options}
    drawing: Drawing = within(session.names, partial(draw, thing, **options))
    return drawing


def moment(session: Session, thing: Any, step: str | None) -> Any:
    """Return what is drawn of something at a step: an iteration of what was recorded, else one step of its events."""
    if isinstance(thing, Steps) and step is None:
        return thing.full
    if step is None:
        return thing
    if callable(getattr(thing, "frame", None)):
        return thing.frame(_number(step))
    every = thing if isinstance(thing, Steps) else within(session.names, partial(steps, thing))
    phase, _, number = step.rpartition(" ")
    return every.at(phase, _number(number)) if phase else every[_number(step)]


def _number(text: str) -> int:
    try:
        return {"first": 0, "last": -1}[text] if text in {"first", "last"} else int(text)
    except ValueError:
        raise GradvizValueError(f"{clean(text)!r} is no step", hint="first, last, 5, or backward 2") from None
