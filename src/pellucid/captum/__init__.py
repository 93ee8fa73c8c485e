"""Captum's names and signatures over Pellucid: change the import line, and code written for Captum runs."""

from __future__ import annotations

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

__all__ = [n for n in dir() if n[0].isupper()] + ["configure_interpretable_embedding_layer", "get_exp_kernel_similarity_function", "infidelity", "infidelity_perturb_func_decorator", "remove_interpretable_embedding_layer", "sensitivity_max"]
