"""Captum's names and signatures over Pellucid: change the import line, and code written for Captum runs.

>>> import torch
>>> from pellucid.captum import IntegratedGradients
>>> f = lambda x: (x * x).sum(-1)
>>> values, delta = IntegratedGradients(f).attribute(torch.tensor([[1.0, 2.0]]), return_convergence_delta=True)
>>> values.round(decimals=4), bool(delta.abs() < 1e-5)
(tensor([[1., 4.]]), True)

DeepLIFT's multipliers, the hooks on layers and ReLUs, the weights of the quadratures, and the fits of LIME's and Kernel
SHAP's surrogates are the core's. Removal, permutation, Shapley sampling and noise have loops of their own in this
package, in Captum's form. `docs/captum.md` says what differs from Captum, and why.
"""

from __future__ import annotations

from . import visualization
from .base import (
    Attribution,
    GradientAttribution,
    InternalAttribution,
    LayerAttribution,
    NeuronAttribution,
    PerturbationAttribution,
)
from .deeplift import DeepLift, DeepLiftShap, LayerDeepLift, LayerDeepLiftShap, NeuronDeepLift, NeuronDeepLiftShap
from .embeddings import (
    InterpretableEmbeddingBase,
    TokenReferenceBase,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)
from .gradient import (
    Deconvolution,
    GuidedBackprop,
    InputXGradient,
    LayerActivation,
    LayerGradientXActivation,
    NeuronDeconvolution,
    NeuronGradient,
    NeuronGuidedBackprop,
    Saliency,
)
from .language import LLMAttribution, LLMAttributionResult, LLMGradientAttribution
from .lime import KernelShap, Lime, LimeBase, get_exp_kernel_similarity_function
from .metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from .noise import GradientShap, LayerGradientShap, NeuronGradientShap, NoiseTunnel
from .path import (
    IntegratedGradients,
    InternalInfluence,
    LayerConductance,
    LayerIntegratedGradients,
    NeuronConductance,
    NeuronIntegratedGradients,
)
from .removal import (
    FeatureAblation,
    FeaturePermutation,
    LayerFeatureAblation,
    LayerFeaturePermutation,
    NeuronFeatureAblation,
    Occlusion,
)
from .shapley import ShapleyValues, ShapleyValueSampling
from .text_inputs import InterpretableInput, TextTemplateInput, TextTokenInput

__all__ = [
    "Attribution",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "FeatureAblation",
    "FeaturePermutation",
    "GradientAttribution",
    "GradientShap",
    "GuidedBackprop",
    "InputXGradient",
    "IntegratedGradients",
    "InternalAttribution",
    "InternalInfluence",
    "InterpretableEmbeddingBase",
    "InterpretableInput",
    "KernelShap",
    "LLMAttribution",
    "LLMAttributionResult",
    "LLMGradientAttribution",
    "LayerActivation",
    "LayerAttribution",
    "LayerConductance",
    "LayerDeepLift",
    "LayerDeepLiftShap",
    "LayerFeatureAblation",
    "LayerFeaturePermutation",
    "LayerGradientShap",
    "LayerGradientXActivation",
    "LayerIntegratedGradients",
    "Lime",
    "LimeBase",
    "NeuronAttribution",
    "NeuronConductance",
    "NeuronDeconvolution",
    "NeuronDeepLift",
    "NeuronDeepLiftShap",
    "NeuronFeatureAblation",
    "NeuronGradient",
    "NeuronGradientShap",
    "NeuronGuidedBackprop",
    "NeuronIntegratedGradients",
    "NoiseTunnel",
    "Occlusion",
    "PerturbationAttribution",
    "Saliency",
    "ShapleyValueSampling",
    "ShapleyValues",
    "TextTemplateInput",
    "TextTokenInput",
    "TokenReferenceBase",
    "configure_interpretable_embedding_layer",
    "get_exp_kernel_similarity_function",
    "infidelity",
    "infidelity_perturb_func_decorator",
    "remove_interpretable_embedding_layer",
    "sensitivity_max",
    "visualization",
]
