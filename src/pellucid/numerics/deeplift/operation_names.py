"""The names of operations, sorted by what rules need to know of them: autograd's names, and those of torch
functions."""

from __future__ import annotations

LINEAR = """
    Add Sub Rsub Neg Sum Mean Cumsum Trace View UnsafeView ReshapeAlias Alias Expand Permute Transpose T Squeeze
    Unsqueeze Clone ToCopy Cat Stack Split SplitWithSizes UnsafeSplit Unbind Slice Select Diagonal DiagonalScatter
    Index IndexSelect Gather Take Scatter ScatterAdd IndexAdd IndexCopy IndexPut IndexFill MaskedFill MaskedScatter
    MaskedSelect Where Tril Triu Flip Roll Repeat Unfold AsStrided SliceScatter SelectScatter Topk Sort Kthvalue
    ConstantPadNd ReflectionPad1D ReflectionPad2D ReplicationPad1D ReplicationPad2D PixelShuffle PixelUnshuffle
    AvgPool2D AvgPool3D AdaptiveAvgPool2D MkldnnAdaptiveAvgPool2D Im2Col Col2Im UpsampleNearest1D UpsampleNearest2D
    UpsampleLinear1D UpsampleBilinear2D UpsampleBicubic2D Values Mode AdaptiveAvgPool3D ViewAsReal ViewAsComplex
    MaxUnpool2D MaxUnpool3D ChannelShuffle Rot90 DiagEmbed BlockDiag Put AffineGridGenerator NllLoss NllLoss2D FftR2C
    FftC2C FftC2R Conj ConjPhysical ReplicationPad3D ReflectionPad3D UpsampleNearest3D UpsampleTrilinear3D
    UpsampleBilinear2DAa UpsampleBicubic2DAa UpsampleNearestExact1D UpsampleNearestExact2D UpsampleNearestExact3D
    AsStridedScatter Deg2Rad Rad2Deg LiftFresh NegView PackPaddedSequence UnsafeIndex UnsafeSplitWithSizes
    ToDense Fill Zero
""".split()
"""Linear, given the masks, indices and weights that the node keeps."""

ATTENTION = """
    ScaledDotProductFlashAttentionForCpu ScaledDotProductEfficientAttention ScaledDotProductFlashAttention
    ScaledDotProductCudnnAttention ScaledDotProductFusedAttentionOverrideable
""".split()
"""Fused attention, one name for each kernel."""

HOOKED = "BackwardHookFunctionBackward"
"""What a module with a backward hook passes its inputs and outputs through, unchanged, so that the hook sees their
gradients. A walk does not call the hook."""

STEPS = "floor ceil round trunc sign frac".split()
"""Functions whose derivative is 0 or 1 everywhere, and whose quotient Δy/Δx is what they did."""
POLES = "asin acos acosh atanh erfinv lgamma digamma".split()
"""A quadrature of their derivative is wrong near its pole, so they keep the quotient everywhere."""

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
        "celu": "Celu",
        "rrelu": "RreluWithNoise",
        **{name: name.capitalize() for name in STEPS},
    }.items()
}
"""Torch functions whose node keeps only the result, and the node's name: their input is noted when they are called."""

KINKED = frozenset(
    f"{name}Backward{i}"
    for name in """
        Relu Abs LeakyRelu PreluKernel Elu Hardtanh Hardswish Hardsigmoid Softshrink Hardshrink Threshold Clamp ClampMin
        ClampMax Maximum Minimum Max Min Amax Amin MaxPool2DWithIndices MaxPool3DWithIndices Topk Sort Where
        AdaptiveMaxPool2D AdaptiveMaxPool3D FractionalMaxPool2D FractionalMaxPool3D Fmax Fmin Cummax Cummin Aminmax
        RreluWithNoise Floor Ceil Round Trunc Sign Frac MultiMarginLoss HuberLoss SmoothL1Loss
    """.split()
    for i in range(2)
)
"""Operations whose derivative jumps: a quadrature cannot foresee them, so its estimates are trusted less."""
