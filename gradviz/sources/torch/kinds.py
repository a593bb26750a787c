"""Which functions of PyTorch make nodes, which do not, and which begin a backward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

__all__ = [
    "BACKWARD",
    "CALL",
    "EXPOSES",
    "FILLING",
    "FORGETS",
    "HIDDEN",
    "RANDOM",
    "SILENT",
    "is_traced",
    "kind_of",
    "known",
]

# FORGETS: the tensor is another leaf afterwards; EXPOSES: it may be written to unseen
TRACING, DISPATCH_MODES = torch._C._get_tracing_state, torch._C._len_torch_dispatch_stack
CALL, SILENT, BACKWARD, FORGETS, EXPOSES = range(5)

TORCH = str(Path(torch.__file__).parent) + "/"
# what the files here compute is no part of a model: updates, clipping, initialisation, all-gathers, printing
HIDDEN = tuple(
    TORCH + place
    for place in (
        "optim/", "distributed/", "amp/", "nn/init.py", "nn/utils/clip_grad.py", "utils/data/", "_tensor_str.py",
        "serialization.py", "testing/", "_dynamo/", "_subclasses/", "random.py",
    )
)  # fmt: skip
PROPERTIES = frozenset(("T", "mT", "H", "mH", "real", "imag"))  # those that are tensors of their own
SILENT_NAMES = frozenset(
    (
        "size", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset", "item", "tolist", "numpy",
        "is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_inference", "is_same_size", "is_shared",
        "is_set_to", "is_conj", "is_neg", "is_nonzero", "is_distributed", "is_pinned", "is_coalesced", "is_tensor",
        "__len__", "__repr__", "__str__", "__hash__", "__bool__", "__float__", "__int__", "__index__", "__complex__",
        "__format__", "__contains__", "__reversed__", "__dlpack_device__", "__deepcopy__",
        "__reduce_ex__", "__setstate__", "element_size",
        "get_device", "type", "dense_dim", "sparse_dim", "has_names", "retain_grad", "register_hook",
        "register_post_accumulate_grad_hook", "register_backward_hook", "storage_type", "share_memory_", "__dir__",
        "_set_grad_enabled", "set_grad_enabled", "is_grad_enabled", "result_type", "can_cast", "promote_types",
        "get_default_dtype", "equal", "allclose", "is_storage", "_record_function_enter_new", "__iter__",
        "_has_compatible_shallow_copy_type", "has_names", "_version", "_is_view", "_is_zerotensor", "pin_memory",
        "save", "load", "manual_seed", "seed", "__getstate__", "__torch_function__", "names", "set_data",
        "_disabled_torch_function_impl", "broadcast_shapes", "_record_function_exit", "module_load",
    )
)  # fmt: skip
EXPOSING_NAMES = frozenset(
    ("numpy", "__array__", "__dlpack__", "data_ptr", "storage", "untyped_storage", "_typed_storage", "set_data")
)
RANDOM = frozenset(
    (
        "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout",
        "dropout_", "rrelu", "rrelu_", "bernoulli", "bernoulli_", "normal", "normal_", "uniform_", "exponential_",
        "multinomial", "poisson", "gumbel_softmax", "rand_like", "randn_like", "randint_like", "random_", "lstm", "gru",
        "rnn_tanh", "rnn_relu", "multi_head_attention_forward", "scaled_dot_product_attention", "fractional_max_pool2d",
        "fractional_max_pool2d_with_indices", "cauchy_", "geometric_", "log_normal_", "native_dropout",
    )
)  # fmt: skip

# what is written does not depend on what was there
FILLING = RANDOM & {"normal_", "uniform_", "exponential_", "random_", "cauchy_", "geometric_", "log_normal_"} | {
    "zero_", "fill_", "copy_", "constant_", "ones_", "zeros_", "eye_", "trunc_normal_", "dirac_", "orthogonal_",
    "sparse_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "bernoulli_",
}  # fmt: skip

known: dict[Any, int] = {
    torch.Tensor.backward: BACKWARD,
    torch.autograd.backward: BACKWARD,
    torch.autograd.grad: BACKWARD,
}


def is_traced() -> bool:
    """Tell whether a program is being written down, by torch.export or make_fx, and not run."""
    modes = torch._C._TorchDispatchModeKey
    return any(torch._C._get_dispatch_mode(key) is not None for key in (modes.PROXY, modes.FUNCTIONAL))


def kind_of(func: Any) -> int:
    """Return what a call of this function means for a recording: it is worked out once for each.

    >>> kind_of(torch.relu) == CALL, kind_of(torch.Tensor.size) == SILENT, kind_of(torch.Tensor.shape.__get__) == SILENT
    (True, True, True)
    """
    found = known.get(func)
    if found is None:
        found = known[func] = _worked_out(func)
    return found


def _worked_out(func: Any) -> int:
    name = str(getattr(func, "__name__", ""))
    if name == "__get__":
        if getattr(getattr(func, "__self__", None), "__name__", "") == "data":
            return EXPOSES
        return CALL if getattr(getattr(func, "__self__", None), "__name__", "") in PROPERTIES else SILENT
    if name in {"requires_grad_", "__set__", "__delete__", "set_"}:
        return FORGETS
    if name in EXPOSING_NAMES:
        return EXPOSES
    return SILENT if name in SILENT_NAMES or name.startswith("_record_function") else CALL
