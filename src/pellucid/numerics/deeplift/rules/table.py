"""The table of DeepLIFT's rules: autograd's name of an operation → its rule.

A rule takes a node of the input's graph and its partner in the baseline's graph, and returns a step, a function from
the multipliers g of the operation's outputs to the multipliers m of its inputs, such that  Σ m·Δin = Σ g·Δout  exactly.
In all rules a trailing 0 (`x0`, `p0`, …) marks the baseline, and `avg(a, b) = (a + b)/2`. To support an operation, add
a row here, or from outside `pellucid.extend.rule("MyOpBackward0", rule)`.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ....errors import UnsupportedOperation
from ..lockstep import Rule, Step
from ..metadata import OVERWRITTEN, SLICES
from ..nodes import Node, dimension, is_fed
from ..operation_names import ATTENTION, HOOKED, LINEAR, NOTED, POLES, STEPS
from . import functions
from .composed import Parts, composed, polynomial, product
from .elementwise import (
    Phi,
    clipped_root,
    elementwise,
    log,
    magnitude,
    of_results,
    plain,
    power,
    power_of_number,
    rising_from_nothing,
    tanh,
    threshold,
)
from .experts import chosen as chosen_by_rank
from .extremes import extreme, extreme_along, max_pool, maximum, running_extreme
from .linear import (
    addcmul,
    div,
    dot,
    dropout,
    embedding,
    embedding_bag,
    in_place,
    linear,
    matmul,
    middle,
    mul,
    mv,
    sampled,
    scatter_reduce,
    solved,
    unchanged,
    where_finite,
)
from .norms import batch_norm, group_norm, layer_norm, variance, vector_norm
from .pairwise import (
    cross_entropy_of,
    cross_entropy_with_logits_of,
    huber,
    hypotenuse,
    of_difference,
    pairwise,
    smooth_l1,
    soft_margin,
    square,
)
from .softmax import attention, log_softmax, logsumexp, softmax
from .where import chosen


def _check_origin(n: Node, family: str) -> None:
    """Raises UnsupportedOperation where a custom autograd function is not the one in `transformers.models.<family>`."""
    if not n._forward_cls.__module__.startswith(f"transformers.models.{family}."):
        raise UnsupportedOperation(
            f"DeepLIFT has no rule for the custom autograd function {n._forward_cls.__qualname__} of "
            f"{n._forward_cls.__module__}; it knows the one of that name in transformers.models.{family}.",
            n.name(),
        )


def _bloom_gelu(n: Node) -> Phi:
    """BLOOM's GELU, a custom autograd function with rounded constants of its own."""
    _check_origin(n, "bloom")
    return lambda x: x * 0.5 * (1 + torch.tanh(0.79788456 * x * (1 + 0.044715 * x * x)))


def _recurrent_gemma_root(n: Node, n0: Node) -> Step:
    """RecurrentGemma's square root, a custom autograd function: `clipped_root`."""
    _check_origin(n, "recurrent_gemma")
    return clipped_root(n, n0)


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    return torch.where(x > 0, x, weight * x)


def _rrelu(n: Node) -> Phi:
    """The randomised leaky ReLU, whose slope is a constant outside training."""
    if n._saved_training:
        dropout(n, n)
    return partial(F.leaky_relu, negative_slope=(n._saved_lower + n._saved_upper) / 2)


def _made(read: Parts) -> Rule:
    return composed(read, lambda: RULES, lambda: NOTED)


_p_norm = _made(functions.norm)


def any_norm(n: Node, n0: Node) -> Step:
    """`vector_norm` for the 2-norm; for any other p the parts of (Σ|x|ᵖ)^(1/p)."""
    return (vector_norm if n._saved_ord == 2 else _p_norm)(n, n0)


_quotient_added = _made(functions.addcdiv)


def addcdiv(n: Node, n0: Node) -> Step:
    """c + value·a/b: linear where b is the same for input and baseline, and its parts otherwise."""
    return (_quotient_added if is_fed(n, 2) else linear)(n, n0)


_overwritten = _made(functions.overwritten)


def on_view(n: Node, n0: Node) -> Step:
    """An in-place operation on a view: a function of the view, as the recording noted it, or a call that is linear."""
    return (_overwritten if {OVERWRITTEN} <= n.metadata.keys() & n0.metadata.keys() else in_place)(n, n0)


RULES: dict[str, Rule] = {
    **{f"{name}Backward{i}{copied}": linear for name in LINEAR for i in range(6) for copied in ("", "_copy")},
    SLICES: on_view,
    "torch::autograd::CopyBackwards": linear,
    **dict.fromkeys([HOOKED, "CloneBackward0", "AliasBackward0"], partial(linear, given=(), backward=unchanged)),
    "LerpBackward0": linear,
    "WhereBackward0": chosen,
    "MaskedFillBackward0": chosen,
    "MaskedFillBackward1": chosen,
    "MedianBackward0": middle,
    "NanmedianBackward0": middle,
    "MedianBackward1": linear,
    "NanmedianBackward1": linear,
    "ComplexBackward0": partial(linear, given=()),
    "GridSampler2DBackward0": sampled,
    "GridSampler3DBackward0": sampled,
    "ScatterReduceBackward0": scatter_reduce,
    "NansumBackward0": where_finite,
    "NanToNumBackward0": where_finite,
    "EmbeddingBackward0": embedding,
    "EmbeddingBagBackward0": embedding_bag,
    "LinearBackward0": partial(linear, given=("_saved_weight",)),
    "GroupedMmBackward0": partial(linear, given=("_saved_mat2", "_saved_offs")),
    "NativeBatchNormBackward0": batch_norm,
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
    "LinalgSolveTriangularBackward0": solved,
    "AddcmulBackward0": addcmul,
    "AddmvBackward0": product(lambda n, a, v: torch.mv(a, v), "_saved_mat", "_saved_vec", at=1),
    "AddbmmBackward0": product(lambda n, a, b: torch.bmm(a, b).sum(0), "_saved_batch1", "_saved_batch2", at=1),
    "AddrBackward0": product(lambda n, a, b: torch.outer(a, b), "_saved_vec1", "_saved_vec2", at=1),
    "LinalgCrossBackward0": product(
        lambda n, a, b: torch.linalg.cross(a, b, dim=dimension(n._saved_dim)), "_saved_self", "_saved_other"
    ),
    "AddcdivBackward0": addcdiv,
    "ConvolutionBackward0": polynomial(functions.convolution, lambda n: 2, ((0,), (1,))),
    "LerpBackward1": polynomial(functions.lerp, lambda n: 2, ((0, 1), (2,))),
    "TrilinearBackward0": polynomial(functions.trilinear, lambda n: 3, ((0,), (1,), (2,))),
    "ProdBackward0": polynomial(functions.prod, functions.prod_degree),
    "ProdBackward1": polynomial(functions.prod, functions.prod_degree),
    "CumprodBackward0": polynomial(functions.cumprod, functions.prod_degree),
    # smooth functions of one value
    "GeluBackward0": elementwise(lambda n: partial(F.gelu, approximate=n._saved_approximate), everywhere=True),
    "GeLUFunctionBackward": elementwise(_bloom_gelu, everywhere=True),
    "SqrtBoundDerivativeBackward": _recurrent_gemma_root,
    "SiluBackward0": plain(F.silu, everywhere=True),
    "MishBackward0": plain(F.mish, everywhere=True),
    "LogSigmoidBackward0": plain(F.logsigmoid, everywhere=True),
    "SigmoidBackward0": plain(torch.sigmoid, everywhere=True),
    "TanhBackward0": tanh,
    "ExpBackward0": rising_from_nothing(torch.exp),
    "Exp2Backward0": rising_from_nothing(torch.exp2),
    "Expm1Backward0": rising_from_nothing(torch.expm1),
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
    "SincBackward0": plain(torch.sinc),
    "I0Backward0": plain(torch.i0),
    "AsinhBackward0": plain(torch.asinh),
    "PowBackward0": power,
    "PowBackward2": power_of_number,
    "SqrtBackward0": of_results(lambda s, s0: 1 / (s + s0)),
    "RsqrtBackward0": of_results(lambda s, s0: -(s * s0 / (s + s0)) * s * s0),
    "ReciprocalBackward0": of_results(lambda r, r0: -r * r0),
    # kinked functions of one value
    "ReluBackward0": plain(torch.relu, kinked=True, derivative=lambda x: x > 0),
    "AbsBackward0": magnitude,
    "ThresholdBackward0": threshold,
    "ThresholdBackward1": threshold,
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
    "EluBackward1": elementwise(
        lambda n: lambda x: n._saved_scale * F.elu(x * n._saved_input_scale, n._saved_alpha), kinked=True
    ),
    "CeluBackward0": elementwise(lambda n: partial(F.celu, alpha=n._saved_alpha), kinked=True),
    "CeluBackward1": elementwise(lambda n: partial(F.celu, alpha=n._saved_alpha), kinked=True),
    "RreluWithNoiseBackward0": elementwise(_rrelu, kinked=True),
    "RreluWithNoiseBackward1": elementwise(_rrelu, kinked=True),
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
    **{f"{name.capitalize()}Backward0": plain(getattr(torch, name), kinked=True) for name in (*STEPS, *POLES)},
    "SpecialEntrBackward0": plain(torch.special.entr, kinked=True),
    "LogitBackward0": elementwise(lambda n: partial(torch.logit, eps=n._saved_eps), kinked=True),
    "ClampBackward0": _made(functions.clamp),
    "ClampMinBackward1": _made(functions.clamp_one),
    "ClampMaxBackward1": _made(functions.clamp_one),
    "ClampBackward1": elementwise(lambda n: partial(torch.clamp, min=n._saved_min, max=n._saved_max), kinked=True),
    "ClampMinBackward0": elementwise(lambda n: partial(torch.clamp_min, min=n._saved_min), kinked=True),
    "ClampMaxBackward0": elementwise(lambda n: partial(torch.clamp_max, max=n._saved_max), kinked=True),
    # functions of two values, and losses
    "Atan2Backward0": pairwise(lambda n: torch.atan2),
    "HypotBackward0": hypotenuse,
    "LogaddexpBackward0": pairwise(lambda n: torch.logaddexp),
    "Logaddexp2Backward0": pairwise(lambda n: torch.logaddexp2),
    "XlogyBackward0": pairwise(lambda n: torch.xlogy),
    "PowBackward1": pairwise(lambda n: torch.pow, ("self", "exponent")),
    "BinaryCrossEntropyBackward0": pairwise(cross_entropy_of, ("self", "target")),
    "BinaryCrossEntropyWithLogitsBackward0": pairwise(cross_entropy_with_logits_of, ("self", "target")),
    "MseLossBackward0": of_difference(square),
    "HuberLossBackward0": of_difference(huber),
    "SmoothL1LossBackward0": of_difference(smooth_l1),
    "SoftMarginLossBackward0": soft_margin,
    "MultiMarginLossBackward0": _made(functions.multi_margin),
    # several values at once
    "GluBackward0": _made(functions.glu),
    "LogcumsumexpBackward0": _made(functions.logcumsumexp),
    "VarMeanBackward0": _made(functions.spread_and_mean),
    "StdMeanBackward0": _made(functions.spread_and_mean),
    "NormBackward0": _made(functions.norm),
    "NormBackward1": _made(functions.norm),
    "CdistBackward0": _made(functions.cdist),
    "EuclideanDistBackward0": _made(functions.cdist),
    "PdistBackward0": _made(functions.pdist),
    "DistBackward0": _made(functions.dist),
    "AminmaxBackward0": _made(functions.extremes),
    "ChosenBackward": chosen_by_rank,
    "SoftmaxBackward0": softmax,
    "SafeSoftmaxBackward0": softmax,
    "LogSoftmaxBackward0": log_softmax,
    "LogsumexpBackward0": logsumexp,
    **{f"{name}Backward0": attention for name in ATTENTION},
    "NativeLayerNormBackward0": layer_norm,
    "NativeGroupNormBackward0": group_norm,
    "VarBackward0": variance,
    "StdBackward0": variance,
    "LinalgVectorNormBackward0": any_norm,
    "MaximumBackward0": maximum,
    "MinimumBackward0": maximum,
    "FmaxBackward0": maximum,
    "FminBackward0": maximum,
    "CummaxBackward0": running_extreme,
    "CumminBackward0": running_extreme,
    "MaxBackward0": extreme_along,
    "MinBackward0": extreme_along,
    "MaxBackward1": extreme,
    "MinBackward1": extreme,
    "AmaxBackward0": extreme,
    "AminBackward0": extreme,
    "MaxPool2DWithIndicesBackward0": max_pool,
    "MaxPool3DWithIndicesBackward0": max_pool,
    "AdaptiveMaxPool2DBackward0": max_pool,
    "AdaptiveMaxPool3DBackward0": max_pool,
    "FractionalMaxPool2DBackward0": max_pool,
    "FractionalMaxPool3DBackward0": max_pool,
}
