"""Other rules than the gradient's at the ReLUs of a graph: guided backpropagation and deconvolution.

With g the gradient of a ReLU's output and x its input, the gradient of its input is g·(x > 0), and instead of it

    guided backpropagation   max(g, 0)·(x > 0)      (Springenberg et al. 2014, 1412.6806)
    deconvolution            max(g, 0)              (Zeiler & Fergus 2013, 1311.2901)

Every ReLU of the graph has the rule, whether it was a module or a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from ..numerics.deeplift.lockstep import graph_of

ReluRule: TypeAlias = Callable[[Any], object]
"""Gives the node of one ReLU a rule."""
RELU = "ReluBackward0"
"""Autograd's name of a ReLU."""


def guided(node: Any) -> object:
    """Lets only positive gradients into a ReLU."""
    return node.register_prehook(lambda grads: tuple(None if g is None else g.clamp(min=0) for g in grads))


def deconvolved(node: Any) -> object:
    """Lets positive gradients through a ReLU, whatever its input was."""
    return node.register_hook(lambda _own, grads: tuple(None if g is None else g.clamp(min=0) for g in grads))


def change_relus(y: Tensor, rule: ReluRule) -> int:
    """Gives each ReLU that `y` was made by a rule, for all gradients that are taken of `y`; returns how many there
    are."""
    relus = [node for node in graph_of(y) if node.name() == RELU]
    for node in relus:
        rule(node)
    return len(relus)
