"""Rules for the lockstep walk: the table from autograd names to formulas.

A rule takes a node of the input's graph, its partner in the baseline's, and the multipliers g of the outputs. It
returns the multipliers m of the inputs, such that  Σ m·Δin = Σ g·Δout  exactly. Everywhere a trailing 0 (`x0`, `p0`, …)
is the baseline, and `avg(a, b) = (a + b)/2`. To support an operation, add a row: `RULES["MyOpBackward0"] = rule`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .elementwise import Slope, elementwise, log, of_results, plain, power, tanh
from .extremes import extreme, extreme_along, max_pool, maximum
from .linear import addcmul, div, dot, dropout, frozen_statistics, in_place, linear, matmul, mul, mv
from .lockstep import Rule
from .norms import group_norm, layer_norm, variance, vector_norm
from .softmax import attention, log_softmax, logsumexp, softmax

LINEAR = """
    Add Sub Rsub Neg Sum Mean Cumsum Trace Lerp MulScalar
    View UnsafeView Reshape ReshapeAlias Alias Expand Permute Transpose T Squeeze Unsqueeze Clone ToCopy Contiguous
    Cat Stack Split SplitWithSizes UnsafeSplit Unbind Slice Select Narrow Diagonal DiagonalScatter Index IndexSelect
    Gather Take Scatter ScatterAdd IndexAdd IndexCopy IndexPut IndexFill MaskedFill MaskedScatter MaskedSelect Where
    Tril Triu Flip Roll Repeat RepeatInterleave Unfold AsStrided SliceScatter SelectScatter Copy Topk Sort Kthvalue
    ConstantPadNd ReflectionPad1D ReflectionPad2D ReplicationPad1D ReplicationPad2D PixelShuffle PixelUnshuffle
    AvgPool1D AvgPool2D AvgPool3D AdaptiveAvgPool1D AdaptiveAvgPool2D MkldnnAdaptiveAvgPool2D Im2Col Col2Im
    UpsampleNearest1D UpsampleNearest2D UpsampleLinear1D UpsampleBilinear2D UpsampleBicubic2D Values SumToSize
    Median Mode RepeatInterleaveSelf Swapaxes Movedim AdaptiveAvgPool3D ViewAsReal ViewAsComplex
""".split()

ATTENTION = """
    ScaledDotProductFlashAttentionForCpu ScaledDotProductEfficientAttention ScaledDotProductFlashAttention
    ScaledDotProductCudnnAttention ScaledDotProductFusedAttentionOverrideable
""".split()


def _gelu_slope(n: Any) -> Slope:
    return lambda x, s: torch.ops.aten.gelu_backward(s, x, approximate=n._saved_approximate)


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    return torch.where(x > 0, x, weight * x)


RULES: dict[str, Rule] = {
    **{f"{name}Backward{i}": linear for name in LINEAR for i in range(4)},
    "torch::autograd::CopySlices": in_place,
    "torch::autograd::CopyBackwards": linear,
    "ConvolutionBackward0": partial(linear, given=("_saved_weight",)),
    "LinearBackward0": partial(linear, given=("_saved_weight",)),
    "NativeBatchNormBackward0": frozen_statistics,
    "NativeDropoutBackward0": dropout,
    # products
    "MulBackward0": mul,
    "MulBackward1": linear,
    "DivBackward0": div,
    "DivBackward1": linear,
    "MmBackward0": matmul("_saved_self", "_saved_mat2"),
    "BmmBackward0": matmul("_saved_self", "_saved_mat2"),
    "AddmmBackward0": matmul("_saved_mat1", "_saved_mat2", at=1),
    "BaddbmmBackward0": matmul("_saved_batch1", "_saved_batch2", at=1),
    "MvBackward0": mv,
    "DotBackward0": dot,
    "AddcmulBackward0": addcmul,
    # smooth functions of one value
    "GeluBackward0": elementwise(lambda n: partial(F.gelu, approximate=n._saved_approximate), dphi_of=_gelu_slope),
    "SiluBackward0": plain(F.silu),
    "MishBackward0": plain(F.mish),
    "LogSigmoidBackward0": plain(F.logsigmoid),
    "SigmoidBackward0": plain(torch.sigmoid),
    "TanhBackward0": tanh,
    "ExpBackward0": plain(torch.exp),
    "Exp2Backward0": plain(torch.exp2),
    "Expm1Backward0": plain(torch.expm1),
    "LogBackward0": log,
    "Log2Backward0": log,
    "Log10Backward0": log,
    "Log1PBackward0": plain(torch.log1p),
    "ErfBackward0": plain(torch.erf),
    "ErfcBackward0": plain(torch.erfc),
    "SinBackward0": plain(torch.sin),
    "CosBackward0": plain(torch.cos),
    "TanBackward0": plain(torch.tan),
    "SinhBackward0": plain(torch.sinh),
    "CoshBackward0": plain(torch.cosh),
    "AtanBackward0": plain(torch.atan),
    "PowBackward0": power,
    "SqrtBackward0": of_results(lambda s, s0: 1 / (s + s0)),
    "RsqrtBackward0": of_results(lambda s, s0: -((s * s0) ** 2) / (s + s0)),
    "ReciprocalBackward0": of_results(lambda r, r0: -r * r0),
    # kinked functions of one value
    "ReluBackward0": plain(torch.relu, kinked=True),
    "AbsBackward0": plain(torch.abs, kinked=True),
    "LeakyReluBackward0": elementwise(
        lambda n: partial(F.leaky_relu, negative_slope=n._saved_negative_slope), kinked=True
    ),
    "LeakyReluBackward1": elementwise(
        lambda n: partial(F.leaky_relu, negative_slope=n._saved_negative_slope), kinked=True
    ),
    "PreluKernelBackward0": elementwise(lambda n: partial(_prelu, weight=n._saved_weight), kinked=True),
    "EluBackward0": elementwise(
        lambda n: lambda x: n._saved_scale * F.elu(x * n._saved_input_scale, n._saved_alpha), kinked=True
    ),
    "CeluBackward0": elementwise(lambda n: partial(F.celu, alpha=n._saved_alpha), kinked=True),
    "HardtanhBackward0": elementwise(
        lambda n: partial(F.hardtanh, min_val=n._saved_min_val, max_val=n._saved_max_val), kinked=True
    ),
    "HardswishBackward0": plain(F.hardswish, kinked=True),
    "HardsigmoidBackward0": plain(F.hardsigmoid, kinked=True),
    "SoftplusBackward0": elementwise(
        lambda n: partial(F.softplus, beta=n._saved_beta, threshold=n._saved_threshold), kinked=True
    ),
    "SoftshrinkBackward0": elementwise(lambda n: partial(F.softshrink, lambd=n._saved_lambd), kinked=True),
    "HardshrinkBackward0": elementwise(lambda n: partial(F.hardshrink, lambd=n._saved_lambd), kinked=True),
    "ClampBackward1": elementwise(lambda n: partial(torch.clamp, min=n._saved_min, max=n._saved_max), kinked=True),
    "ClampMinBackward0": elementwise(lambda n: partial(torch.clamp_min, min=n._saved_min), kinked=True),
    "ClampMaxBackward0": elementwise(lambda n: partial(torch.clamp_max, max=n._saved_max), kinked=True),
    # several values at once
    "SoftmaxBackward0": softmax,
    "SafeSoftmaxBackward0": softmax,
    "LogSoftmaxBackward0": log_softmax,
    "LogsumexpBackward0": logsumexp,
    **{f"{name}Backward0": attention for name in ATTENTION},
    "NativeLayerNormBackward0": layer_norm,
    "NativeGroupNormBackward0": group_norm,
    "VarBackward0": variance,
    "StdBackward0": variance,
    "LinalgVectorNormBackward0": vector_norm,
    "MaximumBackward0": maximum,
    "MinimumBackward0": maximum,
    "MaxBackward0": extreme_along,
    "MinBackward0": extreme_along,
    "MaxBackward1": extreme,
    "MinBackward1": extreme,
    "AmaxBackward0": extreme,
    "AminBackward0": extreme,
    "MaxPool2DWithIndicesBackward0": max_pool,
    "MaxPool3DWithIndicesBackward0": max_pool,
}

KINKED = frozenset(
    f"{name}Backward{i}"
    for name in """
        Relu Abs LeakyRelu PreluKernel Elu Hardtanh Hardswish Hardsigmoid Softshrink Hardshrink Threshold Clamp ClampMin
        ClampMax Maximum Minimum Max Min Amax Amin MaxPool2DWithIndices MaxPool3DWithIndices Topk Sort Where
    """.split()
    for i in range(2)
)
"""Operations whose derivative jumps: a quadrature cannot foresee them, so its estimates are trusted less."""

NOTED = {
    name: f"{node}Backward"
    for name, node in {
        "softmax": "Softmax",
        "relu": "Relu",
        "tanh": "Tanh",
        "sigmoid": "Sigmoid",
        "exp": "Exp",
        "exp2": "Exp2",
        "expm1": "Expm1",
        "tan": "Tan",
        "elu": "Elu",
        "selu": "Elu",
        "leaky_relu": "LeakyRelu",
        "hardtanh": "Hardtanh",
        "max": "Max",
        "min": "Min",
    }.items()
}
"""Torch functions whose node keeps only the result, and the node's name: their input is noted when they are called."""
