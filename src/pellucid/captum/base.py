"""What the classes of Captum's form share: where x is taken (the input, a layer, a neuron) and what f is.

An attribution over the input has x = the inputs; one over a layer has x = the layer's activations and f = the rest of
the network; one over a neuron has x = the inputs and f = the neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.borrowing import undisturbed
from ..engine.layer_hooks import Activations, LayerHooks, layer_values
from ..errors import WITHOUT_GRADIENT, ArgumentError, PellucidError
from .calls import Call, Rows, in_a_row, one_or_all, tupled
from .outputs import Forward, GradientFunc, Tensors, Value, compute_gradients, more_args, outputs_of
from .targets import selected

_BY_REMOVAL = "a class that needs no gradient, such as ShapleyValueSampling or FeatureAblation"


class Attribution:
    """What each of Captum's classes has: the forward function and the attribute methods."""

    def __init__(self, forward_func: Forward) -> None:
        self.forward_func = forward_func

    def __init_subclass__(cls) -> None:
        """Each class's attribute can be called as `attribute.__wrapped__(self, …)` too, as those who extend Captum
        do."""
        own = vars(cls).get("attribute")
        if own is not None:

            @wraps(own)
            def attribute(*args: Any, **kwargs: Any) -> Any:
                try:
                    with undisturbed():
                        return own(*args, **kwargs)
                except PellucidError as error:  # advice that names methods names classes here
                    error.args = tuple([str(a).replace(WITHOUT_GRADIENT, _BY_REMOVAL) for a in error.args])
                    raise

            attribute.__doc__ = (
                own.__doc__ or f"{cls.__doc__}\n\nThe parameters are those of Captum's class of this name."
            )
            cls.attribute = attribute

    attribute: Callable[..., Any]

    def attribute_future(self, *args: object, **kwargs: object) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__} has no attribute_future; expected a call of attribute, which waits for its answer."
        )

    @property
    def multiplies_by_inputs(self) -> bool:
        return bool(getattr(self, "_multiply_by_inputs", False))

    def has_convergence_delta(self) -> bool:
        return False

    @classmethod
    def get_name(cls) -> str:
        return "".join(c if c.islower() or not i else " " + c for i, c in enumerate(cls.__name__))

    def compute_convergence_delta(
        self,
        attributions: Value,
        start_point: Value,
        end_point: Value,
        target: Value = None,
        additional_forward_args: Value = None,
    ) -> Tensor:
        """Σ attributions − (f(end) − f(start)) for each row, as Captum has it. Raises ArgumentError where the
        attributions have other rows."""
        values = tupled(attributions)
        call = Call.of(self.forward_func, end_point, start_point, target, additional_forward_args)
        if found := [tuple(v.shape) for v in values if v.ndim and len(v) != call.rows.n]:
            raise ArgumentError(
                f"Found attributions {found[0]} for {call.rows.n} inputs; expected a row for each input."
            )
        return call.delta(values)


class GradientAttribution(Attribution):
    """An attribution that needs gradients.

    asks_gradient_func: whether `attribute` takes them by `gradient_func`, so that one of your own may be set.
    """

    asks_gradient_func = True

    @property
    def gradient_func(self) -> GradientFunc:
        """`(forward_func, inputs, target, additional_forward_args) → a gradient for each input`.

        Raises ArgumentError on being set where the class does not ask it.
        """
        return vars(self).get("_gradient_func", compute_gradients)

    @gradient_func.setter
    def gradient_func(self, func: GradientFunc) -> None:
        if not self.asks_gradient_func and func is not compute_gradients:
            raise ArgumentError(
                f"Found a gradient_func for {type(self).__name__}, which takes its gradients in another way; expected "
                "one for Saliency, InputXGradient, IntegratedGradients, GradientShap, GuidedBackprop or Deconvolution."
            )
        self._gradient_func = func


class ScaledGradientAttribution(GradientAttribution):
    """A gradient method whose answer is multiplied by the change of the inputs, unless multiply_by_inputs=False."""

    def __init__(self, forward_func: Forward, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        self._multiply_by_inputs = multiply_by_inputs

    def has_convergence_delta(self) -> bool:
        return True


class PerturbationAttribution(Attribution):
    """An attribution that removes features."""

    @property
    def multiplies_by_inputs(self) -> bool:
        return True


class InternalAttribution(Attribution):
    """An attribution that looks into a layer, or into several."""

    asks_gradient_func = False

    def __init__(self, forward_func: Forward, layer: Any, device_ids: list[int] | None = None) -> None:
        super().__init__(forward_func)
        self.layer, self.device_ids = layer, device_ids
        for m in self.layers:
            if not isinstance(m, nn.Module):
                raise ArgumentError(
                    f"Found {m!r} as the layer; expected a module of the model, such as model.get_submodule('encoder')."
                )

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.layer) if isinstance(self.layer, (list, tuple)) else [self.layer]

    def as_layers(self, values: list[Value]) -> Value:
        """The answers of all layers as the layer was given: a list for a list, the only one for one layer."""
        return values if isinstance(self.layer, (list, tuple)) else values[0]


class LayerAttribution(InternalAttribution):
    """An attribution over the activations of a layer."""

    _multiply_by_inputs = True

    @staticmethod
    def interpolate(layer_attribution: Tensor, interpolate_dims: Any, interpolate_mode: str = "nearest") -> Tensor:
        return nn.functional.interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)


class ScaledLayerAttribution(LayerAttribution, GradientAttribution):
    """A layer method whose answer is multiplied by the change of the layer, unless multiply_by_inputs=False."""

    def __init__(
        self, forward_func: Forward, layer: Any, device_ids: Value = None, multiply_by_inputs: bool = True
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._multiply_by_inputs = multiply_by_inputs

    def has_convergence_delta(self) -> bool:
        return True


class NeuronAttribution(InternalAttribution):
    """An attribution of a neuron of a layer to the inputs."""

    def neuron(self, selector: Value, at_input: bool) -> Neuron:
        """The function from the inputs to the neuron's value, at the last call of its layer."""
        return Neuron(self.forward_func, self.layers[:1], selector, at_input)


class Neuron:
    """A function from the inputs of a network to the value of a neuron, inside its own context.

    layers: the neuron's. selector: as in `neuron_of`. at_input: whether it is one of what the layer takes in.
    """

    def __init__(self, forward_func: Forward, layers: list[nn.Module], selector: Value, at_input: bool):
        self._forward_func, self._selector, self._hooks = forward_func, selector, LayerHooks(layers, at_input)

    def __enter__(self) -> Any:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def __call__(self, *inputs: Value) -> Tensor:
        (found,), _ = self._hooks.values(lambda: self._forward_func(*inputs))
        return neuron_of(found.values, self._selector)


class ScaledNeuronAttribution(NeuronAttribution, GradientAttribution):
    """A neuron method whose answer is multiplied by the change of the inputs, unless multiply_by_inputs=False."""

    def __init__(
        self, forward_func: Forward, layer: Any, device_ids: Value = None, multiply_by_inputs: bool = True
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._multiply_by_inputs = multiply_by_inputs


def neuron_of(values: Tensors, selector: Value) -> Tensor:
    """The value of a neuron, one for each row, in the tensors of a layer.

    selector: an index, a tuple of indices and slices (their values are summed), or a function of the tensors.
    """
    count = len(values)
    if callable(selector):
        chosen: Any = selector(one_or_all(values))
        return chosen
    if count != 1:
        raise ArgumentError(
            f"The layer has {count} tensors; expected one, or neuron_selector=a function of the tensors."
        )
    selector = tuple(selector) if isinstance(selector, (tuple, list)) else (selector,)
    with torch._C.DisableTorchFunction():  # a pass that is recorded need not record that elements are taken
        found = selected(values[0], selector)
        return found.flatten(1).sum(1) if found.ndim > 1 else found


@dataclass(frozen=True)
class LayerCall:
    """The rest of a network, from layers on, as a call of its own.

    outer: the call from the inputs. call: that from the layers' activations, all in one tuple. sizes: how many
    tensors each layer has; is_tuple: whether they came as a tuple. ends: the outputs at the inputs and at the
    baselines, where they are known.
    """

    outer: Call
    call: Call
    sizes: tuple[int, ...]
    is_tuple: tuple[bool, ...]
    owner: InternalAttribution
    ends: tuple[Value, ...] = ()

    def each(self, values: Sequence[Tensor]) -> list[Tensors]:
        """The values of all layers, those of each layer together."""
        return in_parts(values, self.sizes)

    def answer(self, values: Sequence[Tensor], with_delta: bool = False) -> Value:
        """The values in the form of the layers, and their convergence delta where it is asked for."""
        found = self.owner.as_layers(
            [v if several else v[0] for v, several in zip(self.each(values), self.is_tuple, strict=True)]
        )
        return (found, self.delta(values)) if with_delta else found

    def delta(self, values: Sequence[Tensor]) -> Tensor:
        """Σ values − (f(x) − f(x0)), from the inputs and their baselines."""
        return self.outer.delta(values, self.known)

    @property
    def known(self) -> Tensors:
        """The target's values at the inputs and at the baselines, as far as they are known."""
        return tuple(in_a_row(selected(y, self.outer.rows.target), self.outer.rows.n) for y in self.ends)


def in_parts(values: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensors]:
    """The values one after another in tuples of these sizes."""
    pieces = iter(values)
    return [tuple([next(pieces) for _ in range(n)]) for n in sizes]


def layer_call(self: InternalAttribution, outer: Call, at_input: bool, with_baselines: bool = True) -> LayerCall:
    """The rest of the network as a call from the layers' activations at x, compared with those at x0.

    with_baselines: else the activations at x0 are not looked at, and zeros stand for them.
    """
    hooked = False
    try:
        at_x, y = activations(self, outer.x, outer.rows.args, at_input)
    except RuntimeError as error:
        if "grad" not in str(error):
            raise
        hooked = True  # a hook of the model's own asks for the gradients of what it is shown
        outer = replace(outer, x=tuple(t.clone().requires_grad_(t.is_floating_point()) for t in outer.x))
        at_x, y = activations(self, outer.x, outer.rows.args, at_input, hooked)
    ends: tuple[Value, ...] = ()
    x = tuple(t for layer in at_x for t in layer.values)
    x0 = tuple(torch.zeros_like(t) for t in x)
    if with_baselines:
        at_x0, y0 = activations(self, outer.x0, outer.rows.args, at_input, hooked)
        ends = (y, y0)
        x0 = tuple(t.expand_as(a) for a, t in zip(x, (t for layer in at_x0 for t in layer.values), strict=True))
    return layer_call_at(self, outer, at_x, x, x0, at_input, ends, hooked)


def layer_call_at(
    self: InternalAttribution,
    outer: Call,
    at_x: Sequence[Activations],
    x: Tensors,
    x0: Tensors,
    at_input: bool,
    ends: tuple[Value, ...],
    hooked: bool = False,
) -> LayerCall:
    """As `layer_call`, from the layers' activations at x, all tensors of theirs, and those at x0.

    hooked: whether hooks of the model's own on the layers ask for gradients.
    """
    sizes, is_tuple = tuple(len(layer.values) for layer in at_x), tuple(layer.is_tuple for layer in at_x)

    def rest(*given: Value) -> Value:
        n = sum(sizes)
        with LayerHooks(self.layers, at_input, first=hooked) as hooks:
            run = lambda: outputs_of(self.forward_func, given[n:])
            return hooks.values(run, put=in_parts(given[:n], sizes))[1]

    rows = Rows(outer.rows.target, (*outer.x, *more_args(outer.rows.args)), outer.rows.n)
    return LayerCall(outer, Call(rest, x, x, x0, rows), sizes, is_tuple, self, ends)


def activations(
    self: InternalAttribution, inputs: Value, args: Value, at_input: bool, hooked: bool = False
) -> tuple[list[Activations], Value]:
    """The activations of each layer at the inputs, without a graph, and the outputs.

    hooked: whether the pass has a graph, for hooks of the model's own.
    """
    with torch.set_grad_enabled(hooked):
        leaves = tuple(t.detach().requires_grad_(t.is_floating_point()) for t in inputs) if hooked else inputs
        found, y = layer_values(lambda: outputs_of(self.forward_func, leaves, args), self.layers, at_input)
    if not hooked:
        return found, y
    values = [replace(layer, values=tuple(t.detach() for t in layer.values)) for layer in found]
    return values, y.detach() if isinstance(y, Tensor) else y


__all__ = ["Attribution", "GradientAttribution", "InternalAttribution", "LayerAttribution", "NeuronAttribution"]
__all__ += ["PerturbationAttribution", "activations", "layer_call", "neuron_of"]
