"""The details of an Explanation: what the layers, the attention and the parts of the embedding contributed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Protocol, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...attribution import Attribution
from ...engine import hooks
from ...errors import InputError, UnsupportedModel
from ...numerics.attention.parts import Attention
from ...problem import Problem, Seen
from ...status import Status
from ..batch import Batch
from ..net import Net, Outputs
from ..structure import layer_stack, module_named
from ..tasks import Goal
from ..text.collating import Padded
from .attention_measures import MEASURES, Fields, attending, measured
from .own_sequences import Layout

CONTRIBUTIONS = {
    "layers": "what each token contributed at the output of each layer: complete, layer by layer",
    "heads": "what each attention probability contributed: a part of the whole",
    "parts": "word, token type and position embeddings, a second answer beside the scores, complete together: its "
    "baseline has the token types and positions of the first token",
}


def named_details(detail: str | Sequence[str]) -> frozenset[str]:
    """The details that a user named. Raises InputError for a name that is none.

    Examples:
        >>> named_details("layers")
        frozenset({'layers'})
    """
    asked = frozenset([detail] if isinstance(detail, str) else detail)
    if unknown := asked - CONTRIBUTIONS.keys() - MEASURES.keys():
        raise InputError(f"Found detail={sorted(unknown)}; expected any of {', '.join([*CONTRIBUTIONS, *MEASURES])}.")
    return asked


QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the elements of a layer's contributions, where there are as many numbers as a box is drawn from."""


class Explained(Protocol):
    """A model whose inside is looked at: a Model, or its pipeline.

    model: the network. embedding: its module whose output is explained. runner: what runs the network. alone:
    what the task reads from the network on its own ids.
    """

    @property
    def model(self) -> nn.Module: ...
    @property
    def embedding(self) -> nn.Module: ...
    @property
    def runner(self) -> Net: ...
    def alone(self, *sequences: Padded) -> Outputs: ...


def stack(model: Explained, names: Sequence[str] | None = None) -> list[nn.Module]:
    """The layers of a model, as `structure.layer_stack` finds them; or the modules of these names. Raises
    UnsupportedModel, InputError."""
    return layer_stack(model.model) if names is None else [module_named(model.model, name) for name in names]


@contextmanager
def watching(
    layers: Sequence[nn.Module], tokens: int, layer_outputs: bool, attention: bool, kind: str = "layer"
) -> Iterator[list[Seen]]:
    """Collects the layers' outputs (rows, tokens, hidden) and their attention probabilities, layer by layer.

    kind: what the outputs are called: "layer", through which all of the text passes, or "module"."""
    seen: list[Seen] = []
    called: set[nn.Module] = set()

    def note(layer: int, output: Outputs) -> None:
        called.add(layers[layer])
        if not layer_outputs:
            return
        h = output if isinstance(output, Tensor) else output[0]
        if h.ndim != 3 or h.shape[1] < tokens:
            raise UnsupportedModel(
                f"Layer {layer} ({type(layers[layer]).__name__}) returned {tuple(h.shape)}, where (rows, {tokens} or "
                "more tokens, hidden) was expected: this model changes the length of the text on its way, carries "
                "several streams, or has the tokens before the rows. Leave out 'layers', or name modules that return "
                "that shape, where it has any: at=['path.to.layer', …]."
            )
        seen.append(Seen(kind, h, 3))

    def attended(_layer: int, found: Attention) -> None:
        queries, keys = found.probabilities.shape[-2:]
        if queries != keys or keys < tokens:
            raise UnsupportedModel(
                f"Attention of shape {tuple(found.probabilities.shape)} was found for {tokens} tokens, where every "
                "token attends to every token: sparse attention, and attention to a shorter text, have no such matrix. "
                "Leave out 'heads'."
            )
        seen.append(Seen("attention", found.probabilities, 4))

    with attending(layers, attended) if attention else nullcontext(), hooks.read(layers, note):
        yield seen
    silent = next((i for i, layer in enumerate(layers) if layer not in called), None)
    if silent is not None:
        raise UnsupportedModel(
            f"Layer {silent} ({type(layers[silent]).__name__}) was never called as a module in the forward pass, so "
            "that nothing could be read of it. Name modules that are: at=['path.to.layer', …]."
        )


def fields(
    model: Explained, problem: Problem, detail: frozenset[str], answers: Sequence[Attribution], goals: Sequence[Goal]
) -> list[list[Fields]]:
    """For each answer and each of its rows the fields of the Explanation that `detail` asks for."""
    own = cast(Tensor, problem.tokens)
    per_goal = "attention_x_gradient" in detail
    layers = stack(model) if detail & MEASURES.keys() else []
    sequences = [part for part in problem.args if isinstance(part, Padded)]
    widths = tuple(s.ids.shape[1] for s in sequences) if len(sequences) > 1 else (own.shape[1],)
    layout = Layout(len(own), widths, model.runner.pads_left)
    measures = [] if per_goal else measured(layers, problem, detail, layout)
    found = []
    for answer, goal in zip(answers, goals, strict=True):
        if per_goal:
            measures = measured(layers, problem, detail, layout, goal)
        _check_whole(model, answer)
        rows = zip(own, measures, strict=True)
        found.append([{**_told(answer, i, mine), **more} for i, (mine, more) in enumerate(rows)])
    return found


def in_parts(model: Explained, problem: Problem, answer: Attribution) -> list[Fields]:
    """For each row of an answer whose inputs are the parts of the embedding: the scores of each part by its name
    (tokens,), and the outputs whose difference they add up to."""
    names = part_names(model, list(other_embeddings(model, problem)))
    found = []
    for row, mine in enumerate(cast(Tensor, problem.mask)):
        values = [v[row][mine].double().cpu() for v in answer.values]
        size = lambda v: v if v.ndim < 2 else v.norm(dim=-1) if answer.reduction == "norm" else v.sum(-1)
        scores = {name: size(v).numpy() for name, v in zip(names, values, strict=True)}
        output, baseline_output = answer.output[row].item(), answer.baseline_output[row].item()
        found.append(
            {
                "scores": scores,
                "output": output,
                "baseline_output": baseline_output,
                "delta": output - baseline_output - sum(float(s.sum()) for s in scores.values()),
                "status": answer.row_status[row] if answer.row_status else answer.status,
                "passes": answer.row_passes[row] if answer.row_passes else answer.passes,
            }
        )
    return found


def _check_whole(model: Explained, answer: Attribution) -> None:
    """Raises UnsupportedModel where the contributions of a layer add up to another sum than the scores do."""
    layers = [c.double().flatten(1) for kind, c in answer.inside if kind == "layer"]
    if not layers or answer.status not in (Status.EXACT, Status.ROUNDED):
        return
    values = torch.cat([v.double().flatten(1) for v in answer.values], 1)
    whole, size = values.sum(1), values.abs().sum(1)
    passed = torch.stack([c.sum(1) for c in layers])  # (layers, rows)
    rounding = 256 * torch.finfo(passed.dtype).eps * (size + torch.stack([c.abs().sum(1) for c in layers]))
    off = ((passed - whole).abs() > 0.01 * whole.abs() + rounding).nonzero()
    if len(off):
        i, row = off[0].tolist()
        raise UnsupportedModel(
            f"{float(passed[i, row]):.3g} of a change of {float(whole[row]):.3g} passed through the output of "
            f"layer {i} of {type(model.model).__name__}; expected all of it. This model has another way for the "
            "text to reach later layers (embeddings of their own, several streams). Leave out 'layers', or name "
            "modules whose part of the change is wanted: at=['path.to.layer', …]."
        )


def _told(answer: Attribution, row: int, mine: Tensor) -> Fields:
    """The contributions of layers and attention probabilities in an answer, for the tokens `mine` of a row."""
    where = mine.nonzero().squeeze(1)
    found: Fields = {}
    layers = [c[row][where] for kind, c in answer.inside if kind in ("layer", "module")]
    heads = [c[row][:, where][..., where] for kind, c in answer.inside if kind == "attention"]
    if layers:
        found["layers"] = torch.stack([c.sum(-1) for c in layers]).double().cpu().numpy()
        found["elements"] = _elements(layers)
    if heads:
        found["heads"] = torch.stack(heads).double().cpu().numpy()
    return found


def _elements(layers: Sequence[Float[Tensor, "tokens hidden"]]) -> dict[str, Float[np.ndarray, "layers tokens ..."]]:
    """How the contributions of the hidden elements are distributed, for each layer and token: their quantiles (5,), and
    their entropy −Σ p log₂ p, in bits, of p = |contribution| / Σ |contribution|."""
    each = [_distribution(c.double()) for c in layers]
    return {name: torch.stack([of[name] for of in each]).cpu().numpy() for name in ("quantiles", "entropy")}


def _distribution(c: Float[Tensor, "tokens hidden"]) -> dict[str, Tensor]:
    ordered, last, size = c.sort(dim=-1).values, c.shape[-1] - 1, c.abs()
    between = [(int(last * q), last * q % 1) for q in QUANTILES]
    found = [torch.lerp(ordered[:, i], ordered[:, min(i + 1, last)], part) for i, part in between]
    p = size / size.sum(-1, keepdim=True).clamp_min(torch.finfo(c.dtype).tiny)
    return {"quantiles": torch.stack(found, -1), "entropy": torch.special.entr(p).sum(-1) / math.log(2)}


def deepened(
    model: Explained, problem: Problem, batch: Batch, detail: frozenset[str], at: str | Sequence[str] | None
) -> Problem:
    """The same Problem, with its inputs and what it watches as `detail` and `at` ask.

    at: a module's name: its activations become the input. Names: what "layers" reads. Raises InputError,
    UnsupportedModel.
    """
    if len(batch.sequences) > 1 and (at is not None or detail & {"layers", "heads"}):
        asked = [f"detail={name!r}" for name in sorted(detail & {"layers", "heads"})] + ["at"] * (at is not None)
        raise InputError(
            f"Found {', '.join(asked)} for a task whose inputs the model reads as several sequences, here "
            f"{len(batch.sequences)}; expected one sequence, which passes through every layer as a whole. Leave "
            f"{'it' if len(asked) == 1 else 'them'} out."
        )
    if isinstance(at, str):
        problem = _at_module(model, problem, batch, module_named(model.model, at), at)
    if "parts" in detail:
        if isinstance(at, str) or len(problem.args) > 1:
            raise InputError(
                "Found detail='parts' for "
                + (f"at={at!r}" if at else "a task of several sequences, or a model that looks ids up several times")
                + "; expected the embeddings of one text. Leave 'parts' out."
            )
        problem = _in_parts(model, problem)
    if detail & {"layers", "heads"}:
        layers = stack(model, None if isinstance(at, str) else at)
        tokens = batch.own.shape[1]
        kind = "layer" if at is None or isinstance(at, str) else "module"
        how = layers, tokens, "layers" in detail, "heads" in detail, kind
        problem = replace(problem, watch=lambda: watching(*how))
    return problem


def _at_module(model: Explained, problem: Problem, batch: Batch, module: nn.Module, name: str) -> Problem:
    """The same Problem with the output of a module as its input, and the rest of the network as `f`."""
    try:
        with torch.no_grad():
            h, h0 = (hooks.output_of(module, lambda x=x: problem.outputs(x)) for x in (problem.x, problem.x0))
    except hooks.OtherIds as error:
        raise InputError(f"Found at={name!r}. {error}") from error
    if h.shape[:2] != batch.own.shape:
        raise InputError(
            f"Found at={name!r}, whose output is {tuple(h.shape)}; expected {tuple(batch.own.shape)} + "
            "(hidden,), an activation for each token. Name a module that has them, or leave 'at' out."
        )

    if batch.deletes:
        raise InputError(
            f"Found at={name!r} with baseline='delete'; expected a baseline that replaces tokens, whose activations at "
            "this module are put in: 'mask', 'pad', a token or a text."
        )
    # a special token's activation differs where it has seen others: it is replaced too, as a group of its own
    moved = batch.own & (batch.groups < 0) & (h != h0).any(-1)
    last = batch.groups.amax(1, keepdim=True).clamp_min(-1)
    groups = torch.where(moved, last + moved.cumsum(1), batch.groups)

    def f(h: Tensor, *sequences: Padded) -> Outputs:
        with hooks.replaced(module, h):
            return model.alone(*sequences)

    return replace(
        problem,
        f=f,
        x=(h,),
        x0=(h0,),
        args=batch.sequences,
        mask=batch.own,
        groups=(groups,),
        without=None,
        resumed=None,
        token_of=None,
        own_tokens=None,
    )


def _in_parts(model: Explained, problem: Problem) -> Problem:
    """The same Problem with word, token type and position embeddings as inputs of their own. The baseline's token types
    and positions are those of the row's first token."""
    x, (rows, tokens) = problem.x[0], problem.x[0].shape[:2]
    others = other_embeddings(model, problem)
    first = cast(Tensor, problem.mask).long().argmax(1)
    values = [v.expand(rows, -1, -1) for v in others.values()]
    at_first = [v[torch.arange(rows, device=v.device), first].unsqueeze(1).expand(-1, tokens, -1) for v in values]

    def f(word: Tensor, *rest: Outputs) -> Outputs:
        with ExitStack() as replacing:
            for module, value in zip(others, rest, strict=False):
                replacing.enter_context(hooks.replaced(module, value))
            return problem.f(word, *rest[len(others) :])

    return replace(
        problem,
        f=f,
        x=(x, *values),
        x0=(problem.x0[0], *at_first),
        groups=problem.groups and (*problem.groups, *(torch.full_like(problem.groups[0], -1) for _ in values)),
    )


def other_embeddings(model: Explained, problem: Problem) -> dict[nn.Module, Tensor]:
    """The modules besides the word embedding that embed the same tokens, and what they return (1 or rows, tokens,
    hidden)."""
    tokens, hidden = problem.x[0].shape[1:]
    modules = [m for m in model.model.modules() if isinstance(m, nn.Embedding) and m is not model.embedding]
    found: dict[nn.Module, Tensor] = {}

    def note(i: int, output: Tensor) -> None:
        if output.ndim == 3 and output.shape[1:] == (tokens, hidden) and modules[i] not in found:
            found[modules[i]] = output

    with torch.no_grad(), hooks.read(modules, note):
        problem.outputs(problem.x)
    return found


def part_names(model: Explained, modules: Sequence[nn.Module]) -> list[str]:
    """The name of each part of the embedding: "word", and for each module "position", "token type" or its own name."""
    names = {m: n.rsplit(".", 1)[-1] for n, m in model.model.named_modules()}
    known = {"position": ("position", "pos", "wpe"), "token type": ("token_type", "segment")}
    named = lambda n: next((k for k, parts in known.items() if any(p in n for p in parts)), n)
    return ["word", *(named(names[m]) for m in modules)]
