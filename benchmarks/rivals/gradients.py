"""Gradient methods of Captum at the embeddings, and plain gradient × input."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from captum.attr import DeepLift, GradientShap, IntegratedGradients
from torch import Tensor, nn

import pellucid

from .asked import asked


class _AsModule(nn.Module):
    """What Captum's DeepLift needs: a module whose parts it can find, from embeddings to scalars (n, 1)."""

    def __init__(self, net: nn.Module, f: Any):
        super().__init__()
        self.net, self.f = net, f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x).unsqueeze(1)


def captum_deeplift(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    with asked(model, item, target) as given:
        found = DeepLift(_AsModule(model.model, given.f)).attribute(given.x.requires_grad_(), given.x0, target=0)
        return given.of_tokens(found)


def captum_integrated_gradients(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    with asked(model, item, target) as given:
        found = IntegratedGradients(given.f).attribute(given.x, given.x0, n_steps=50, internal_batch_size=8)
        return given.of_tokens(found)


def captum_shap(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    torch.manual_seed(0)
    with asked(model, item, target) as given:
        return given.of_tokens(GradientShap(given.f).attribute(given.x, given.x0, n_samples=25, stdevs=0.0))


def gradient_x_input(model: pellucid.Model, item: Any, target: Any) -> np.ndarray:
    """x · ∂f/∂x, without a baseline; the change of the layers' gradients makes it another method (`lrp`)."""
    with asked(model, item, target) as given:
        x = given.x.requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(given.f(x).sum(), x)
        return given.of_tokens(slope * x)
