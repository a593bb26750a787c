"""How a function of PyTorch is called and drawn: its name, its sign, its derivative, its arguments by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from gradviz.sources.torch.calls import SLOT, Call
from gradviz.sources.torch.formulas import CONDITIONS, filled_in, look_of, of_reduction

__all__ = ["REVERSED", "attributes", "is_elementwise", "look_at", "look_of", "name_of"]

REVERSED = frozenset(
    (
        "radd", "rsub", "rmul", "rdiv", "rtruediv", "rfloordiv", "rpow", "rmatmul", "rmod", "rand", "ror", "rxor",
        "rlshift", "rrshift",
    )
)  # fmt: skip
SPELLED = {
    "truediv": "div", "iadd": "add_", "isub": "sub_", "imul": "mul_", "itruediv": "div_", "idiv": "div_",
    "ipow": "pow_", "imod": "remainder_", "ifloordiv": "floor_divide_", "floordiv": "floor_divide", "mod": "remainder",
    "invert": "bitwise_not", "log_sigmoid": "logsigmoid", "_threshold": "threshold",
}  # fmt: skip
NAMED = {  # the positional arguments of what has neither a signature nor a schema that says them
    "getitem": ("self", "index"),
    "setitem": ("self", "index", "value"),
    "T": ("self",),
    "split": ("self", "split_size_or_sections", "dim"),
    "norm": ("self", "p", "dim", "keepdim"),
    "type": ("self", "dtype"),
    "einsum": ("equation",),
    "tile": ("self", "dims"),
    "where": ("condition", "input", "other"),
    "rsub": ("self", "other"),
}
GATHERED = {  # ops that take several numbers as one: x.view(2, 3)
    "view": "shape", "reshape": "shape", "permute": "dims", "expand": "sizes", "repeat": "repeats", "flip": "dims",
    "tile": "dims", "unflatten": "sizes", "new_zeros": "size", "new_ones": "size", "movedim": "destination",
}  # fmt: skip
RENAMED = {"size": "shape", "implicit": "", "normalized_shape": "shape", "split_size_or_sections": "sizes"}
LOSSES = frozenset(
    (
        "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "kl_div", "cross_entropy",
        "binary_cross_entropy_with_logits", "nll_loss",
    )
)  # fmt: skip
SHOWN = frozenset(("stride", "padding", "dim", "kernel_size", "index"))  # even where they are what they would be
USUAL = {"return_indices": False, "inplace": False}
LITERAL = (int, float, bool)


def name_of(func: Any) -> tuple[str, bool]:
    """Return what the node of a function is called, and whether it takes its two operands the other way round.

    >>> import torch
    >>> name_of(torch.Tensor.__rsub__), name_of(torch.nn.functional.relu), name_of(torch.Tensor.add_)
    (('sub', True), ('relu', False), ('add_', False))
    >>> name_of(torch.Tensor.T.__get__), name_of(torch.ops.aten.addmm.default)
    (('T', False), ('addmm', False))
    """
    schema = getattr(func, "_schema", None)
    if schema is not None:
        space, _, name = str(schema.name).rpartition("::")
        return (name if space == "aten" else f"{space}.{name}"), False
    name = str(getattr(func, "__name__", None) or type(func).__name__)
    if name == "__get__":
        return str(getattr(getattr(func, "__self__", None), "__name__", "get")), False
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
    name = name.rpartition(".")[2]
    if name in REVERSED:
        return SPELLED.get(name[1:], name[1:]), True
    return SPELLED.get(name, name), False


def is_elementwise(op: str) -> bool:
    """Tell whether each element of the result depends on one element of each operand."""
    return look_of(op)[2]


# -- formulas ----------------------------------------------------------------------------------


def look_at(call: Call) -> tuple[str, tuple[str, ...]]:
    """Return the sign of a call and its derivatives by each operand: what was no tensor stands in them as it is.

    >>> import torch
    >>> look_at(Call("pow", func=torch.pow, args=(SLOT, 2), inputs=(0,)))
    ('**', ('2*{0}',))
    >>> look_at(Call("sub", func=torch.Tensor.__rsub__, args=(SLOT, 2), inputs=(0,)))
    ('-', ('-1',))
    """
    op = call.op.rstrip("_") or call.op
    if op in {"max", "min"} and len(call.inputs) == 2:
        op = f"{op}imum"
    symbol, templates, _ = look_of(op if op.endswith("imum") else call.op)
    places, given, order = _arguments(call)
    if call.func is not None and not _is_as_usual(op, call, given):
        return symbol, (("0",) * len(call.inputs) if op == "div" else ())
    if op in {"max", "min"} and call.value is None and len(call.args) + len(call.kwargs) > 1:
        templates = ("1 where it came from, else 0",)
    if op in LOSSES:
        templates = of_reduction(templates, given.get("reduction"))
    found = [filled_in(templates[at], places) if 0 <= at < len(templates) else "" for at in order]
    return symbol, tuple(found) if any(found) else ()


def _arguments(call: Call) -> tuple[dict[str, str], dict[str, Any], list[int]]:
    """Return every argument as text, by place and by name; those that are no operand; the place of each operand."""
    places: dict[str, str] = {}
    given: dict[str, Any] = {}
    order: list[int] = []
    names = _names(call)
    is_turned = call.func is not None and _is_turned(call.func, len(call.inputs))
    named = [(names[at] if at < len(names) else str(at), value) for at, value in enumerate(call.args)]
    for at, (name, value) in enumerate([*named, *call.kwargs.items()]):
        place = at if at < len(named) else names.index(name) if name in names else -1
        place = 1 - place if is_turned and place in {0, 1} else place
        count = 1 if value is SLOT else sum(item is SLOT for item in value) if isinstance(value, list | tuple) else 0
        if count:
            text = f"{{{len(order)}}}"
            order += [place] * count
        elif isinstance(value, LITERAL):
            text = f"({value})" if value < 0 else str(value)
            given[name] = value
        else:
            given[name] = value
            continue
        places[str(place)] = places[name] = text
    return places, given, order or list(range(len(call.inputs)))


def _is_turned(func: Any, count: int) -> bool:
    """Tell whether the first two arguments of a function are the second and the first of its formula."""
    return (count == 1 and name_of(func)[1]) or (hasattr(func, "__objclass__") and name_of(func)[0] == "where")


def _is_as_usual(op: str, call: Call, given: Mapping[str, Any]) -> bool:
    """Tell whether nothing was given that makes the formula of an op another one."""
    for name, usual in CONDITIONS.get(op, {}).items():
        if call.kwargs.get(name) is SLOT:
            return False
        value = given.get(name, usual)
        if value != usual and value not in (usual if isinstance(usual, tuple) else ()) and value is not None:
            return False
    return op not in LOSSES or len(call.inputs) <= 2


# -- attributes --------------------------------------------------------------------------------


def attributes(call: Call) -> dict[str, Any]:
    """Return what a function was given beside its operands, by the names its arguments have, but for what is usual.

    >>> import torch
    >>> attributes(Call("sum", func=torch.sum, args=(SLOT, 1), kwargs={"keepdim": True}))
    {'dim': 1, 'keepdim': True}
    >>> attributes(Call("view", func=torch.Tensor.view, args=(SLOT, 2, -1)))
    {'shape': (2, -1)}
    """
    found: dict[str, Any] = {}
    names = _names(call)
    args: Sequence[Any] = call.args
    gathered = GATHERED.get(call.op)
    if gathered and len(args) > 1 and all(type(item) is int for item in args[1:]) and _takes_many(call):
        found[gathered] = tuple(args[1:]) if len(args) > 2 else args[1]
        args = args[:1]
    usual = _defaults(call.func) if call.func is not None else {}
    given = [(names[at] if at < len(names) else f"argument_{at}", value) for at, value in enumerate(args)]
    for name, value in [*given, *call.kwargs.items()]:
        if not _is_operand(value) and not _is_usual(name, value, usual):
            found[RENAMED.get(name, name)] = _without_slots(value)
    if call.index is not None:
        found["index"] = call.index
    return found


def _takes_many(call: Call) -> bool:
    return call.op not in {"unflatten", "movedim"}


def _is_operand(value: Any) -> bool:
    if isinstance(value, tuple | list) and value:
        return all(item is SLOT for item in value)
    return value is SLOT


def _without_slots(value: Any) -> Any:
    """Return an argument with the word "operand" where a tensor was."""
    if isinstance(value, tuple | list):
        return tuple([_without_slots(item) for item in value])
    if type(value).__name__ == "SymInt":  # the length of something nested
        return str(value)
    return "operand" if value is SLOT else value


def _is_usual(name: str, value: Any, usual: Mapping[str, Any]) -> bool:
    """Tell whether an argument need not be shown: it is what it would be if it were not given."""
    if value is None or name in USUAL:
        return name != "index" and value in {None, USUAL.get(name)}
    if name in SHOWN or name not in usual:
        return False
    default = usual[name]
    if isinstance(value, tuple | list) or isinstance(default, tuple | list):
        return bool(value) and set(_several(value)) == set(_several(default))
    return type(default) in {type(value), int, float} and bool(default == value)


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _names(call: Call) -> tuple[str, ...]:
    """Return the names of the positional arguments of a call."""
    if call.op in NAMED:
        return NAMED[call.op]
    if call.func is None:
        return ()
    return _parameter_names(call.func, tuple([_kind(value) for value in call.args]))


def _kind(value: Any) -> str:
    """Return what stands for the type of an argument when schemas are compared."""
    if isinstance(value, tuple | list):
        return f"List[{_kind(value[0])}]" if value else "List[]"
    return "Tensor" if value is SLOT else type(value).__name__


@lru_cache(maxsize=4096)
def _parameter_names(func: Callable[..., Any], kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the positional parameters, as the function's signature or PyTorch's schema has them."""
    parameters = _signature(func)
    if parameters:
        return tuple(parameters)
    name = name_of(func)[0]
    schemas = [[(a.name, str(a.type)) for a in schema.arguments if not a.kwarg_only] for schema in _schemas(func, name)]
    fitting = [schema for schema in schemas if len(schema) >= len(kinds)]
    best = max(fitting, key=lambda schema: _fit(schema, kinds), default=[])
    return tuple([name for name, _ in best])


def _fit(schema: Sequence[tuple[str, str]], kinds: Sequence[str]) -> int:
    """Return how many arguments are of the type that a schema has for them."""
    return sum(_fits(wanted, kind) + (name == kind) for (name, wanted), kind in zip(schema, kinds, strict=False))


def _fits(wanted: str, kind: str) -> bool:
    wanted = wanted.removeprefix("Optional[").removesuffix("]") if wanted.startswith("Optional[") else wanted
    also = {
        "int": ("int", "number", "List[int]"),
        "float": ("float", "number"),
        "dtype": ("int",),
        "device": ("Device",),
    }
    return wanted == kind or wanted in also.get(kind, ()) or (kind == "NoneType" and wanted != "Tensor")


def _schemas(func: Any, op: str) -> Iterator[Any]:
    import torch

    if hasattr(func, "_schema"):
        yield func._schema
        return
    for name in (op, f"_{op}"):
        found = torch._C._jit_get_schemas_for_operator(f"aten::{name}")
        yield from sorted(found, key=lambda schema: len(schema.arguments))


@lru_cache(maxsize=1024)
def _signature(func: Any) -> Mapping[str, Any]:
    """Return the named parameters of a function written in Python and their defaults; empty if they are not known."""
    if hasattr(func, "_schema"):
        return {}
    try:
        parameters = inspect.signature(func).parameters.values()
    except (ValueError, TypeError):
        return {}
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return {}
    return {p.name: p.default for p in parameters}


@lru_cache(maxsize=1024)
def _defaults(func: Any) -> Mapping[str, Any]:
    """Return the defaults of the parameters of a function, as far as they are known."""
    found = {name: value for name, value in _signature(func).items() if value is not inspect.Parameter.empty}
    if found:
        return found
    for schema in _schemas(func, name_of(func)[0]):
        found |= {a.name: a.default_value for a in schema.arguments if a.has_default_value() and a.name not in found}
    return found
