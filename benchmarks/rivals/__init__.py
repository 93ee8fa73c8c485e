"""RIVALS: what other methods and libraries say of the same inputs, each a score for every token of the model.

A rival is `(model, one input, its target) -> (tokens,)`, in the order of `Explanation.tokens`, special tokens too. It
answers for one input at a time, as its own library does. One that raises for a model has no row there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pellucid

from .attending import attention, attention_x_gradient, rollout
from .decomposing import alti, alti_logit, decompx, depass
from .gradients import captum_deeplift, captum_integrated_gradients, captum_shap, gradient_x_input
from .lrp import attnlrp, cp_lrp, gim, libragrad
from .removing import lime_text, shap_partition

Rival = Callable[[pellucid.Model, Any, Any], np.ndarray]

RIVALS: dict[str, Rival] = {
    "Captum DeepLift · mask": captum_deeplift,
    "Captum IntegratedGradients (50) · mask": captum_integrated_gradients,
    "Captum GradientShap (25) · mask": captum_shap,
    "gradient × input": gradient_x_input,
    "SHAP's partition explainer (200)": shap_partition,
    "LIME's own (500)": lime_text,
    "attention, last layer": attention,
    "attention rollout": rollout,
    "attention × gradient": attention_x_gradient,
    "AttnLRP": attnlrp,
    "CP-LRP": cp_lrp,
    "GIM · mask": gim,
    "LibraGrad, FullGrad": libragrad,
    "DecompX": decompx,
    "ALTI": alti,
    "ALTI-Logit": alti_logit,
    "DePass": depass,
}
