"""Reads values inside a model, or puts others in, by hooks on its modules, which are always removed.

Those on whole layers are in `layer_hooks.py`; there are no others in the project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel, shortened
from ..numerics.torch_calls import Args, Kwargs, TorchFunction, Value


class OtherIds(UnsupportedModel):
    """The embedding module does not embed the input's own ids once, so its output cannot stand for the input.

    It embeds other ids, or several things. The project then follows the model's look-ups instead; a user sees this
    error only where they cannot be followed.
    """


@contextmanager
def compiled(layers: Mapping[nn.Module, TorchFunction]) -> Iterator[None]:
    """Lets these layers run compiled inside, if no gradient is on and no hook is set on them.

    layers: for each layer its compiled call. Compiled code neither records what rules need, nor notices a hook that is
    set later. Raises UnsupportedModel where the compiler fails.
    """
    hooked = (m for layer in layers for m in layer.modules() if m._forward_hooks or m._forward_pre_hooks)
    if not layers or torch.is_grad_enabled() or next(hooked, None) is not None:
        yield
        return
    mine = {layer: call for layer, call in layers.items() if layer._compiled_call_impl is None}
    for layer, call in mine.items():
        layer._compiled_call_impl = call
    try:
        yield
    except RuntimeError as error:
        from torch._dynamo.exc import TorchDynamoException  # takes a second to import

        if not isinstance(error, TorchDynamoException):
            raise
        said = shortened(str(error).strip().splitlines()[0], 200)
        raise UnsupportedModel(
            f"torch.compile failed on the layers of this model ({said}); expected a "
            "working compiler. Leave out compile=True: the answers are the same."
        ) from error
    finally:
        for layer in mine:
            del layer._compiled_call_impl


@contextmanager
def replaced(module: nn.Module, value: Tensor, ids: Tensor | None = None, call: int = 1) -> Iterator[None]:
    """Lets an embedding module return `value` (rows, tokens, hidden) where it is called on `ids` (rows, tokens).

    call: the call in which it does, from 1; an encoder and a decoder may share an embedding.

    A model may embed its ids transposed (XLNet: tokens first), padded on the right (Longformer, BigBird), or an image
    as a
    map: the value is transposed too, and beyond it the module's own output stays. The module returns a copy, so that
    the model may change it in place (CTRL).
    """
    calls = 0

    def hook(_module: nn.Module, args: Args, kwargs: Kwargs, output: Value) -> Value:
        nonlocal calls
        calls += 1
        if calls != call:
            return None
        given = next((t for t in (*args, *kwargs.values()) if _are_ids(t)), None)
        first, *others = output if isinstance(output, tuple) else (output,)
        fitted = _fitted(value, ids, given, first, strict=isinstance(module, nn.Embedding))
        if fitted is None:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise OtherIds(
                f"The embedding module {type(module).__name__} returned {shape}, where embeddings {tuple(value.shape)} "
                "of the input's own ids were expected: it is called with other ids first. Name the module that embeds "
                "the input: pellucid.Model(..., embeddings='path.to.module')."
            )
        fitted = fitted.clone()
        return (fitted, *others) if isinstance(output, tuple) else fitted

    handle = module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
    if calls < call:
        raise OtherIds(
            f"The embedding module {type(module).__name__} was never called in the forward pass, so the input could "
            "not be followed. Name the module that is: pellucid.Model(..., embeddings='path.to.module')."
        )


@contextmanager
def returning(module: nn.Module, change: Callable[[Args, Kwargs, Value], Value]) -> Iterator[None]:
    """Lets a module return `change(its arguments, its named arguments, its own output)`."""
    handle = module.register_forward_hook(lambda _, *call: change(*call), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def as_tokens(output: Tensor) -> Tensor:
    """A map (rows, channels, height, width) as one vector per place (rows, height · width, channels); else
    unchanged."""
    return output.flatten(2).mT if output.ndim == 4 else output


def _are_ids(t: Value) -> bool:
    return isinstance(t, Tensor) and t.ndim == 2 and not t.is_floating_point() and not t.is_complex()


def _fitted(value: Tensor, ids: Tensor | None, given: Tensor | None, output: Value, strict: bool) -> Tensor | None:
    """`value` in the layout of the module's output, for the ids that the module was given; None where these are other
    ids.

    The given ids may be `ids` transposed or padded. strict: the module is known to embed the ids that it is given.
    """
    if not isinstance(output, Tensor):
        return None
    if output.ndim == 4 and value.shape[1:] == as_tokens(output).shape[1:]:
        return value.mT.unflatten(2, output.shape[2:])
    fits = output.shape[1:] == value.shape[1:] and len(output) in (1, len(value))  # positions: one row for all
    if ids is None or given is None or torch.equal(given, ids):
        return value if fits else None
    if torch.equal(given, ids.mT):
        return value.transpose(0, 1)
    tokens = ids.shape[1]
    if given.shape[1] > tokens and torch.equal(given[:, :tokens], ids):
        return torch.cat([value, output[:, tokens:]], 1)
    return value if fits and not strict else None


@contextmanager
def padded(net: nn.Module, batch: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """`batch` with the model's own padding id wherever the padding mask says padding.

    Some classifiers look for the last token that is not padding. A model without a padding id (GPT-2) is lent one that
    no row uses, for this pass only.
    """
    config: Value = getattr(net, "config", None)
    ids, mask = batch.get("input_ids"), batch.get("attention_mask")
    if (
        not hasattr(config, "pad_token_id")
        or ids is None
        or mask is None
        or mask.shape != ids.shape
        or (len(ids) == 1 and bool(mask.all()))
    ):
        yield batch
        return
    pad = config.pad_token_id
    used = set(ids.unique().tolist()) if pad is None else set()
    lent = next(i for i in count() if i not in used) if pad is None else pad
    config.pad_token_id = lent
    try:
        yield {**batch, "input_ids": torch.where(mask.bool(), ids, lent)}
    finally:
        config.pad_token_id = pad


@contextmanager
def read(
    modules: Sequence[nn.Module],
    after: Callable[[int, Value], Value] | None,
    before: Callable[[int, Args], None] | None = None,
) -> Iterator[None]:
    """Calls `after(i, output)`, and `before(i, args)`, around each call of `modules[i]`.

    What `after` returns, if anything, takes the place of the module's output.
    """
    number = {m: i for i, m in reversed(list(enumerate(modules)))}
    enter: Value = lambda m, args: before and before(number[m], args)
    leave: Value = lambda m, args, output: after and after(number[m], output)
    with ExitStack() as handles:
        for m in number if before is not None else ():
            handles.callback(m.register_forward_pre_hook(enter).remove)
        for m in number if after is not None else ():
            handles.enter_context(_hooked_last(m, leave))
        yield


@contextmanager
def _hooked_last(module: nn.Module, hook: Callable[..., Value]) -> Iterator[None]:
    """Calls a forward hook after all others, those that are registered later too: it gets what the module returns in
    the end, which `replaced` may have put there."""
    handles = [module.register_forward_hook(hook)]

    def renewed(_module: nn.Module, _args: Value) -> None:
        if next(reversed(module._forward_hooks)) != handles[0].id:
            handles.pop().remove()
            handles.append(module.register_forward_hook(hook))

    before = module.register_forward_pre_hook(renewed)
    try:
        yield
    finally:
        before.remove()
        handles.pop().remove()


class _Reached(BaseException):
    """Ends a forward pass at the module that was looked for."""


def output_of(module: nn.Module, run: Callable[[], object]) -> Tensor:
    """The output of a module's first call during `run`, which goes no further."""
    found: list[Value] = []

    def hook(_module: nn.Module, _args: Value, output: Value) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)
        raise _Reached

    with _hooked_last(module, hook), suppress(_Reached):
        run()
    if not found or not isinstance(found[0], Tensor):
        raise OtherIds(
            f"The module {type(module).__name__} "
            + (f"returned a {type(found[0]).__name__}" if found else "was never called in the forward pass")
            + "; expected one that returns a tensor of embeddings. Name another: "
            "pellucid.Model(..., embeddings='path.to.module')."
        )
    return found[0].detach()


def outputs_of(
    modules: Sequence[nn.Module], run: Callable[[], object], until: int | None = None
) -> list[tuple[int, Value]]:
    """The output of each call of these modules during `run`, in order, with the number of the module.

    until: the number of the call, from 0, after which the run stops; None for all.
    """
    found: list[tuple[int, Value]] = []

    def after(i: int, output: Value) -> None:
        found.append((i, output))
        if len(found) - 1 == until:
            raise _Reached

    with read(modules, after), suppress(_Reached):
        run()
    return found


def first_that(net: nn.Module, accept: Callable[[Value], bool], run: Callable[[], object]) -> nn.Module | None:
    """The first module of `net` whose output `accept` returns true for during `run`, which goes no further; None for
    none."""
    found: list[nn.Module] = []

    def hook(module: nn.Module, _args: Value, output: Value) -> None:
        if accept(output):
            found.append(module)
            raise _Reached

    handles = [module.register_forward_hook(hook) for module in net.modules()]
    try:
        run()
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
