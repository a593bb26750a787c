"""What PyTorch calls an op that the rules know by another name."""

from __future__ import annotations

from gradviz.graphs import Node

__all__ = ["is_relu", "known_as"]

KNOWN = {
    "bmm": "matmul", "mm": "matmul", "mv": "matmul", "addmm": "matmul", "baddbmm": "matmul", "cat": "concatenate",
    "concat": "concatenate", "chunk": "getitem", "contiguous": "copy", "clone": "copy", "double": "astype",
    "expand": "broadcast_to", "expand_as": "broadcast_to", "flatten": "reshape", "float": "astype", "half": "astype",
    "bfloat16": "astype", "movedim": "moveaxis", "narrow": "getitem", "permute": "transpose", "select": "getitem",
    "split": "getitem", "t": "transpose", "get_T": "transpose", "T": "transpose", "to": "astype", "type_as": "astype",
    "unbind": "getitem", "unflatten": "reshape", "unsqueeze": "expand_dims", "view": "reshape", "view_as": "reshape",
    "softmin": "softmax", "hardsigmoid": "sigmoid", "swish": "silu",
}  # fmt: skip
RELUS = frozenset(("relu", "relu6"))


def known_as(op: str) -> str:
    """Return the name that the rules know an op by.

    >>> known_as("relu_"), known_as("unsqueeze"), known_as("linear")
    ('relu', 'expand_dims', 'linear')
    """
    base = op.removesuffix("_")
    return KNOWN.get(base, base)


def is_relu(node: Node) -> bool:
    """Tell whether a node is a ReLU, also when it is written as clamp(min=0).

    >>> is_relu(Node(0, "y", "clamp", "op", attrs={"min": 0})), is_relu(Node(0, "y", "clamp", "op", attrs={"min": 1}))
    (True, False)
    """
    base = node.op.removesuffix("_")
    if base in {"clamp", "clamp_min", "clip", "threshold"}:
        return bool(node.attrs.get("min", node.attrs.get("threshold")) == 0)
    return base in RELUS
