"""The table of PyTorch's autograd nodes: which function each is the backward of, and what it was called with.

A rule is written ``function operands | extras``, or ``op=function ...`` where the node is to have another name. The
operands stand in the order of the function's arguments:

=============  =======================================================================================
``self``       the next edge of the node; without an edge, the tensor kept under that name
``self!``      no edge leads to it: the tensor kept under that name
``self#``      a number kept under that name
``self?``      may be left out; ``bias?weight``: it was if nothing is kept under the other name
``self=``      passed by keyword
``self~``      given to the function, but no operand
``*tensors``   a list: of all edges left, or with ``!`` of the tensors kept
``-``          an edge that must lead nowhere
=============  =======================================================================================

The extras are keywords, by the names under which the node has kept them: ``dim``, ``other=name``, or ``@shape``,
``@plane`` (its last two) and ``@dtype`` (where it changes) of the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

__all__ = ["Operand", "Rule", "rule_of"]

OPERAND = re.compile(r"(\*?)([A-Za-z_0-9]+|-)([!#~]?)(\?([A-Za-z_0-9]*))?(=?)")
CAMEL_UNARY = (
    "abs", "acos", "acosh", "angle", "asin", "asinh", "atan", "atanh", "ceil", "conj", "conj_physical", "cos", "cosh",
    "deg2rad", "digamma", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "floor", "frac", "lgamma", "log", "log10",
    "log1p", "log2", "neg", "rad2deg", "reciprocal", "relu", "round", "rsqrt", "sgn", "sigmoid", "sign", "sin",
    "sinc", "sinh", "sqrt", "tan", "tanh", "trunc", "t", "view_as_real", "view_as_complex",
)  # fmt: skip
NN_UNARY = ["hardsigmoid", "hardswish", "mish", "silu"]

TABLE = {
    # arithmetic
    "AddBackward0": "add self other | alpha",
    "AddBackward1": "add self other#",
    "SubBackward0": "sub self other | alpha",
    "SubBackward1": "sub self other#",
    "RsubBackward0": "rsub self other | alpha",
    "RsubBackward1": "sub other# self",
    "MulBackward0": "mul self other",
    "MulBackward1": "mul self other#",
    "DivBackward0": "div self other",
    "DivBackward1": "div self other#",
    "DivBackward2": "div self other | rounding_mode",
    "DivBackward3": "div self other# | rounding_mode",
    "PowBackward0": "pow self exponent#",
    "PowBackward1": "pow self exponent",
    "PowBackward2": "pow self# exponent",
    "RemainderBackward0": "remainder self other#",
    "RemainderBackward1": "remainder self other",
    "FmodBackward0": "fmod self other#",
    "FmodBackward1": "fmod self other",
    "Atan2Backward0": "atan2 self other",
    "HypotBackward0": "hypot self other",
    "MaximumBackward0": "maximum self other",
    "MinimumBackward0": "minimum self other",
    "FmaxBackward0": "fmax self other",
    "FminBackward0": "fmin self other",
    "LogaddexpBackward0": "logaddexp self other",
    "XlogyBackward0": "xlogy self other",
    "ClampBackward0": "clamp self min? max?",
    "ClampBackward1": "clamp self | min max",
    "ClampMinBackward0": "clamp_min self | min",
    "ClampMaxBackward0": "clamp_max self | max",
    "LerpBackward0": "lerp self end | weight",
    "LerpBackward1": "lerp self end weight",
    "AddcmulBackward0": "addcmul self tensor1 tensor2 | value",
    "AddcdivBackward0": "addcdiv self tensor1 tensor2 | value",
    # products of matrices
    "MmBackward0": "mm self mat2",
    "BmmBackward0": "bmm self mat2",
    "MvBackward0": "mv self vec",
    "DotBackward0": "dot self tensor",
    "VdotBackward0": "vdot self other",
    "MatmulBackward0": "matmul self other",
    "AddmmBackward0": "addmm self mat1 mat2 | beta alpha",
    "AddmvBackward0": "addmv self mat vec | beta alpha",
    "AddrBackward0": "addr self vec1 vec2 | beta alpha",
    "BaddbmmBackward0": "baddbmm self batch1 batch2 | beta alpha",
    "AddbmmBackward0": "addbmm self batch1 batch2 | beta alpha",
    # shapes
    "BackwardHookFunctionBackward": "module_hook=aten.alias self",
    "AsStridedBackward0": "as_strided self | size stride storage_offset",
    "AliasBackward0": "aten.alias self",
    "TransposeBackward0": "transpose self | dim0 dim1",
    "TransposeBackward1": "transpose self | dim0 dim1",
    "PermuteBackward0": "permute self | dims",
    "ViewBackward0": "view=reshape self | shape=@shape",
    "UnsafeViewBackward0": "view=reshape self | shape=@shape",
    "ReshapeAliasBackward0": "view=reshape self | shape=@shape",
    "ExpandBackward0": "expand=broadcast_to self | size=@shape",
    "RepeatBackward0": "aten.repeat self | repeats",
    "SqueezeBackward0": "squeeze self",
    "SqueezeBackward1": "squeeze self | dim",
    "SqueezeBackward2": "squeeze self | dim",
    "UnsqueezeBackward0": "unsqueeze self | dim",
    "UnsqueezeBackward1": "unsqueeze self | dim",
    "SelectBackward0": "select self | dim index",
    "SliceBackward0": "aten.slice self | dim start end step",
    "DiagonalBackward0": "diagonal self | offset dim1 dim2",
    "DiagEmbedBackward0": "diag_embed self | offset dim1 dim2",
    "UnfoldBackward0": "aten.unfold self | dimension size step",
    "FlipBackward0": "flip self | dims",
    "RollBackward0": "roll self | shifts dims",
    "TrilBackward0": "tril self | diagonal",
    "TriuBackward0": "triu self | diagonal",
    "TraceBackward0": "trace self",
    "CatBackward0": "cat *tensors | dim",
    "StackBackward0": "stack *tensors | dim",
    "SplitBackward0": "aten.split self | split_size dim",
    "SplitWithSizesBackward0": "aten.split_with_sizes self | split_sizes dim",
    "UnsafeSplitBackward0": "split=aten.unsafe_split self | split_size dim",
    "UnbindBackward0": "unbind self | dim",
    "CloneBackward0": "clone=own.cloned self",
    "ToCopyBackward0": "to=own.turned self | dtype=@dtype",
    "CopyBackwards": "copy=own.written - self | shape=@shape dtype=@dtype",
    "PixelShuffleBackward0": "pixel_shuffle self | upscale_factor",
    "ConstantPadNdBackward0": "constant_pad_nd self value# | pad",
    "ReflectionPad1DBackward0": "aten.reflection_pad1d self | padding",
    "ReflectionPad2DBackward0": "aten.reflection_pad2d self | padding",
    "ReplicationPad1DBackward0": "aten.replication_pad1d self | padding",
    "ReplicationPad2DBackward0": "aten.replication_pad2d self | padding",
    # selections
    "IndexBackward0": "index=own.selected self *indices!",
    "IndexPutBackward0": "index_put=own.put self values *indices! | accumulate",
    "IndexSelectBackward0": "index_select self index!= | dim",
    "GatherBackward0": "gather self index!= | dim",
    "ScatterBackward0": "scatter self index!= src= | dim",
    "ScatterAddBackward0": "scatter_add self index!= src= | dim",
    "IndexAddBackward0": "index_add self index!= source= | dim alpha",
    "SelectScatterBackward0": "select_scatter self src | dim index",
    "SliceScatterBackward0": "slice_scatter self src | dim start end step",
    "DiagonalScatterBackward0": "diagonal_scatter self src | offset dim1 dim2",
    "MaskedFillBackward0": "masked_fill self mask! value#",
    "MaskedFillBackward1": "masked_fill self mask! value",
    "MaskedSelectBackward0": "masked_select self mask!",
    "TakeBackward0": "take self index!",
    "WhereBackward0": "where condition! self other",
    "TopkBackward0": "topk=own.taken self indices~ | dim",
    "SortBackward0": "sort=own.taken self indices~ | dim",
    # sums
    "SumBackward0": "sum self | dtype=@dtype",
    "SumBackward1": "sum self | dim keepdim dtype=@dtype",
    "NansumBackward0": "nansum self | dim keepdim",
    "MeanBackward0": "mean self | dtype=@dtype",
    "MeanBackward1": "mean self | dim keepdim dtype=@dtype",
    "ProdBackward0": "prod self | dtype=@dtype",
    "ProdBackward1": "prod self | dim keepdim dtype=@dtype",
    "VarBackward0": "var self | dim correction keepdim",
    "StdBackward0": "std self | dim correction keepdim",
    "VarMeanBackward0": "var_mean self | dim correction keepdim",
    "StdMeanBackward0": "std_mean self | dim correction keepdim",
    "AmaxBackward0": "amax self | dim keepdim",
    "AminBackward0": "amin self | dim keepdim",
    "AminmaxBackward0": "aminmax self | dim keepdim",
    "MaxBackward0": "max self | dim keepdim",
    "MaxBackward1": "max self",
    "MinBackward0": "min self | dim keepdim",
    "MinBackward1": "min self",
    "MedianBackward0": "median self",
    "MedianBackward1": "median self | dim keepdim",
    "LogsumexpBackward0": "logsumexp self | dim keepdim",
    "CumsumBackward0": "cumsum self | dim dtype=@dtype",
    "CumprodBackward0": "cumprod self | dim dtype=@dtype",
    "CummaxBackward0": "cummax self | dim",
    "CumminBackward0": "cummin self | dim",
    "LogcumsumexpBackward0": "logcumsumexp self | dim",
    "NormBackward0": "norm=aten.norm self | p",
    "NormBackward1": "norm=aten.norm self | p dim keepdim",
    "LinalgVectorNormBackward0": "linalg.vector_norm self | ord dim keepdim dtype=@dtype",
    "LinalgCrossBackward0": "linalg.cross self other | dim",
    "LinalgMatrixExpBackward0": "linalg.matrix_exp self",
    "LinalgInvExBackward0": "linalg_inv=aten.linalg_inv_ex self",
    "LinalgCholeskyExBackward0": "linalg_cholesky=aten.linalg_cholesky_ex self | upper",
    "LinalgSolveExBackward0": "linalg_solve=aten._linalg_solve_ex A B | left",
    "LinalgDetBackward0": "linalg_det=linalg.det A",
    # activations
    "GeluBackward0": "nn.functional.gelu self | approximate",
    "EluBackward0": "aten.elu self | alpha scale input_scale",
    "CeluBackward0": "celu self | alpha",
    "LeakyReluBackward0": "nn.functional.leaky_relu self | negative_slope",
    "SoftplusBackward0": "nn.functional.softplus self | beta threshold",
    "HardtanhBackward0": "nn.functional.hardtanh self | min_val max_val",
    "HardshrinkBackward0": "hardshrink self | lambd",
    "SoftshrinkBackward0": "nn.functional.softshrink self | lambd",
    "LogSigmoidBackward0": "nn.functional.logsigmoid self",
    "GluBackward0": "nn.functional.glu self | dim",
    "PreluKernelBackward0": "prelu=aten._prelu_kernel self weight",
    "SoftmaxBackward0": "softmax self | dim dtype=@dtype",
    "LogSoftmaxBackward0": "log_softmax self | dim dtype=@dtype",
    "SafeSoftmaxBackward0": "softmax=aten._safe_softmax self | dim",
    # losses
    "NllLossBackward0": "nll_loss=aten.nll_loss_forward self target! weight!? | reduction ignore_index",
    "NllLoss2DBackward0": "nll_loss=aten.nll_loss2d_forward self target! weight!? | reduction ignore_index",
    "MseLossBackward0": "aten.mse_loss self target | reduction",
    "SmoothL1LossBackward0": "aten.smooth_l1_loss self target | reduction beta",
    "HuberLossBackward0": "aten.huber_loss self target | reduction delta",
    "SoftMarginLossBackward0": "aten.soft_margin_loss self target! | reduction",
    "BinaryCrossEntropyBackward0": "aten.binary_cross_entropy self target weight!? | reduction",
    "BinaryCrossEntropyWithLogitsBackward0": (
        "aten.binary_cross_entropy_with_logits self target weight!? pos_weight!? | reduction"
    ),
    # layers
    "EmbeddingBackward0": "aten.embedding weight indices! | padding_idx scale_grad_by_freq sparse",
    "ConvolutionBackward0": (
        "aten.convolution input weight bias?bias_sym_sizes_opt "
        "| stride padding dilation transposed output_padding groups"
    ),
    "MaxPool2DWithIndicesBackward0": (
        "max_pool2d=aten.max_pool2d_with_indices self | kernel_size stride padding dilation ceil_mode"
    ),
    "MaxPool3DWithIndicesBackward0": (
        "max_pool3d=aten.max_pool3d_with_indices self | kernel_size stride padding dilation ceil_mode"
    ),
    "AvgPool2DBackward0": (
        "aten.avg_pool2d self | kernel_size stride padding ceil_mode count_include_pad divisor_override"
    ),
    "AdaptiveAvgPool2DBackward0": "adaptive_avg_pool2d=aten._adaptive_avg_pool2d self | output_size=@plane",
    "AdaptiveMaxPool2DBackward0": "aten.adaptive_max_pool2d self | output_size=@plane",
    "UpsampleNearest2DBackward0": "aten.upsample_nearest2d self | output_size scales_h scales_w",
    "UpsampleBilinear2DBackward0": "aten.upsample_bilinear2d self | output_size align_corners scales_h scales_w",
    "GridSampler2DBackward0": "aten.grid_sampler_2d input grid | interpolation_mode padding_mode align_corners",
    "NativeBatchNormBackward0": (
        "batch_norm=own.batch_norm input weight? bias?weight running_mean~ running_var~ | training eps"
    ),
    "NativeLayerNormBackward0": "layer_norm=own.layer_norm input weight? bias? result2~ | normalized_shape",
    "NativeGroupNormBackward0": "group_norm=aten.native_group_norm input weight? bias?weight | N C HxW group eps",
    "NativeDropoutBackward0": "dropout=own.dropout self result1~ | p",
    "WeightNormInterfaceBackward0": "weight_norm=aten._weight_norm_interface v g | dim",
    "MkldnnRnnLayerBackward0": (
        "rnn_layer=aten.mkldnn_rnn_layer input weight0 weight1 weight2 weight3 hx_ cx_ | "
        "reverse batch_sizes mode hidden_size num_layers has_biases bidirectional batch_first train"
    ),
    "ScaledDotProductFlashAttentionForCpuBackward0": (
        "scaled_dot_product_attention=aten._scaled_dot_product_flash_attention_for_cpu "
        "query key value attn_mask!?= | dropout_p is_causal scale"
    ),
    # complex numbers
    "ComplexBackward0": "complex real imag",
    "PolarBackward0": "polar self other",
    "FftC2CBackward0": "fft=aten._fft_c2c self | dim normalization forward",
    "FftR2CBackward0": "fft=aten._fft_r2c self | dim normalization onesided",
    # backward passes that were recorded themselves
    "TanhBackwardBackward0": "aten.tanh_backward grad_output output",
    "SigmoidBackwardBackward0": "aten.sigmoid_backward grad_output output",
    "ThresholdBackwardBackward0": "relu_backward=aten.threshold_backward grad_output self | threshold",
}


def _camel(name: str) -> str:
    words = [word[:1].upper() + word[1:] for word in name.split("_")]
    return re.sub(r"(?<=\d)[a-z]", lambda found: found[0].upper(), "".join(words)) + "Backward0"


TABLE |= {_camel(name): f"{name} self" for name in CAMEL_UNARY}
TABLE |= {_camel(name): f"nn.functional.{name} self" for name in NN_UNARY}


@dataclass(frozen=True, slots=True)
class Operand:
    """One argument of a forward function, as the table has it."""

    name: str
    is_list: bool = False
    is_saved: bool = False
    is_number: bool = False
    is_hidden: bool = False
    is_optional: bool = False
    evidence: str = ""
    is_keyword: bool = False

    @property
    def is_edge(self) -> bool:
        """Tell whether an edge of the node leads to it."""
        return not (self.is_saved or self.is_number or self.is_hidden)


@dataclass(frozen=True, slots=True)
class Rule:
    """How to call the forward function of an autograd node again."""

    op: str
    func: Callable[..., Any]
    operands: tuple[Operand, ...]
    extras: tuple[tuple[str, str], ...]
    skips: int  # edges at the beginning that lead nowhere
    count: int  # edges that there have to be; -1 for any number
    is_simple: bool  # every argument is an operand that an edge may lead to

    def takes(self, edges: Sequence[tuple[Any, int]]) -> bool:
        """Tell whether a node has the edges that this rule is about."""
        if self.skips and any(edge[0] is not None for edge in edges[: self.skips]):
            return False
        return self.count in {-1, len(edges)}


@lru_cache(maxsize=4096)
def rule_of(node: str) -> Rule | None:
    """Return the rule for the autograd nodes of this name; None where there is none here.

    >>> rule_of("SumBackward1").op, rule_of("SortBackward1")
    ('sum', None)
    """
    text = TABLE.get(node.rpartition("::")[2])
    if text is None:
        return None
    head, _, tail = text.partition("|")
    path, *operands = head.split()
    op, _, path = path.rpartition("=")
    func = _resolved(path)
    if func is None:
        return None
    extras = [word.partition("=") for word in tail.split()]
    taken = tuple([_operand(word) for word in operands if word != "-"])
    by_edge = [operand for operand in taken if operand.is_edge]
    skips = operands.count("-")
    return Rule(
        op or path.rpartition(".")[2],
        func,
        taken,
        tuple([(name, given or name) for name, _, given in extras]),
        skips,
        -1 if any(operand.is_list for operand in by_edge) else len(by_edge) + skips,
        not skips and all(o.is_edge and not (o.is_list or o.is_keyword) for o in taken),
    )


def _operand(word: str) -> Operand:
    found = OPERAND.fullmatch(word)
    assert found is not None, word
    star, name, mark, optional, evidence, keyword = found.groups()
    return Operand(
        name, bool(star), mark == "!", mark == "#", mark == "~", bool(optional), evidence or "", bool(keyword)
    )


def _resolved(path: str) -> Callable[..., Any] | None:
    """Return the function; None if this version of PyTorch has it not."""
    from gradviz.sources.torch import forward

    owner, name = path.rpartition(".")[::2]
    home: Any = {"aten": torch.ops.aten, "own": forward, "": torch}.get(owner)
    if home is None:
        home = torch
        for part in owner.split("."):
            home = getattr(home, part)
    found: Callable[..., Any] | None = getattr(home, name, None)
    return found
