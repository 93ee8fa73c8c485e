"""Captum's names and signatures over Pellucid: change the import line, and code written for Captum runs.

>>> import torch
>>> from pellucid.captum import IntegratedGradients
>>> f = lambda x: (x * x).sum(-1)
>>> values, delta = IntegratedGradients(f).attribute(torch.tensor([[1.0, 2.0]]), return_convergence_delta=True)
>>> values.round(decimals=4), bool(delta.abs() < 1e-5)
(tensor([[1., 4.]]), True)

Nothing is computed here: the arguments become a call of a function at inputs and baselines (`calls.Call`), which the
core's engine and methods solve, and the answer goes back in Captum's form. `docs/captum.md` says what differs from
Captum, and why.
"""

from __future__ import annotations

from typing import NoReturn

from . import visualization
from .base import (
    Attribution,
    GradientAttribution,
    InternalAttribution,
    LayerAttribution,
    NeuronAttribution,
    PerturbationAttribution,
)
from .dataloader import DataLoaderAttribution, InputRole
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
from .lrp import (
    LRP,
    Addition_Module,
    Alpha1_Beta0_Rule,
    EpsilonRule,
    GammaRule,
    IdentityRule,
    LayerLRP,
    PropagationRule,
)
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
from .remote import RemoteLLMAttribution, RemoteLLMProvider
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
    "LRP",
    "Addition_Module",
    "Alpha1_Beta0_Rule",
    "Attribution",
    "DataLoaderAttribution",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "EpsilonRule",
    "FeatureAblation",
    "FeaturePermutation",
    "GammaRule",
    "GradientAttribution",
    "GradientShap",
    "GuidedBackprop",
    "IdentityRule",
    "InputRole",
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
    "LayerLRP",
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
    "PropagationRule",
    "RemoteLLMAttribution",
    "RemoteLLMProvider",
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
_CAPTUMS = frozenset(
    """
    ClassSummarizer CommonStats Count GuidedGradCam ImageMaskInput LayerGradCam MSE Max Mean Min ProductBaselines
    StatValue StdDev Sum Summarizer SummarizerSingleTensor VLLMProvider Var
    """.split()
)


def __getattr__(name: str) -> NoReturn:
    """Says where Captum's other names are. Raises ImportError."""
    if name in _CAPTUMS:
        raise ImportError(f"pellucid.captum has no {name}; keep Captum's: from captum.attr import {name}", name=name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
