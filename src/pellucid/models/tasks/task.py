"""What a task is: which checkpoints do it, how the model runs, and which of its outputs are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...errors import InputError, NonFiniteOutput, UnknownTarget, UnsupportedModel
from ...explanation import Target
from ...problem import Select
from ..modality import TEXT, Modality
from ..text.encoding import Encoding, encoded
from ..text.inputs import TEXT_OR_PAIR, Form

if TYPE_CHECKING:
    from ..model import Model

Inputs = Mapping[str, Tensor]
"""What one sequence of each row gives to the model's forward, rows first: input_ids, attention_mask, …"""


@dataclass(frozen=True)
class Goal:
    """One number to explain in each row of a batch.

    select: the number. targets: its name in each row; None where a row has no such number, and none is shown.
    predictions: what the model predicts there, and its probability where it has one.
    """

    select: Select
    targets: Sequence[Target | None]
    predictions: Sequence[tuple[str | None, float | None]]


@dataclass(frozen=True)
class Asked:
    """What a user asked of a batch.

    encodings: its rows. starts: where each row begins in its (padded) sequence, 0 unless padded on the left.
    labels: the names of the model's classes. tokenizer. target: as the user gave it. output: "logit" or "probability".
    problem_type: what the model's configuration calls it, if anything: "multi_label_classification", …
    """

    encodings: Sequence[Encoding]
    starts: Sequence[int]
    labels: tuple[str, ...]
    tokenizer: Any
    target: Any
    output: str
    problem_type: str | None = None

    @property
    def rows(self) -> int:
        return len(self.encodings)


@dataclass(frozen=True)
class Task:
    """name: as in transformers' pipelines. suffixes: of its architectures' names. auto: the class that loads them.

    run: `(model, x, *sequences) -> outputs`, a tensor or a dict of them, rows first: the model on each row's sequences,
        with x (rows, tokens of all sequences, hidden) as the output of its embedding module; on its own ids where x is
        None.
    goals: `(asked, outputs at x) -> goals`, at least one.
    form: what its inputs may be.
    encode: `(model, items, truncate, max_new_tokens) -> encodings`, one for each item that the form made, in order.
    aimed: `(encoding, target) -> encoding`: where the target decides what goes into the model.
    output: what a target's number is where the user does not say.
    without: `(model, special) -> Problem.without`, where special (rows, tokens) are those that stay; None where tokens
        cannot be deleted, because the outputs belong to positions that would move. Raises UnknownBaseline.
    reads: how these reach the model.
    decodes: whether what a decoder reads is a sequence of its own, beside the encoder's.
    notes: `(model, encoding, baseline) -> sentences`: what a reader must know of an answer against that baseline.
    places: an input of each sequence that is for `run` alone and says what each token is; the model does not get it.
    embeds: `(model, k) -> module`: the one that embeds the k-th sequence.
    resumed: `(model, x, sequences, owns) -> Problem.resumed`; None where nothing of a pass can be shared.
    windows: how the windows of a document too long for the model make one answer, a name in `documents.MERGES`; None
        where they cannot.
    """

    name: str
    suffixes: tuple[str, ...]
    auto: str
    run: Callable[..., Any]
    goals: Callable[[Asked, Any], list[Goal]]
    encode: Callable[[Model, Sequence[Any], bool, int], list[Encoding]] = encoded
    form: Form = TEXT_OR_PAIR
    aimed: Callable[[Encoding, Any], Encoding] = lambda encoding, target: encoding
    output: str = "logit"
    without: Callable[[Model, Tensor], Callable[..., Any]] | None = None
    reads: Modality = TEXT
    windows: str | None = None
    decodes: bool = False
    notes: Callable[[Model, Encoding, Any], tuple[str, ...]] = lambda model, encoding, baseline: ()
    places: str | None = None
    embeds: Callable[[Model, int], nn.Module] = lambda model, k: model.embedding
    resumed: Callable[..., Any] | None = None


def one_sequence(read: Callable[[Any, Inputs], Any]) -> Callable[..., Any]:
    """The `run` of a task whose rows are one sequence each; `read` takes what is needed from the model's outputs."""

    def run(model: Model, x: Tensor | None, inputs: Inputs) -> Any:
        return read(model.forward(inputs, x), inputs)

    return run


def field(outputs: Any, name: str, place: int = 0) -> Any:
    """`outputs.name`, or what stands at that place of a tuple; None where there is neither."""
    if isinstance(outputs, Mapping):
        return outputs.get(name)
    if isinstance(outputs, (tuple, list)):
        return outputs[place] if len(outputs) > place else None
    return outputs if isinstance(outputs, Tensor) and place == 0 else getattr(outputs, name, None)


def described(outputs: Any, found: Any) -> str:
    """What a model returned, for a message. found: what was taken from it."""
    if isinstance(found, Tensor):
        return f"{found.dtype} {tuple(found.shape)}"
    kind = type(outputs).__name__
    if isinstance(outputs, Mapping):
        return f"a {kind} of {', '.join(map(repr, outputs)) or 'nothing'}"
    first = f" whose first is a {type(outputs[0]).__name__}" if isinstance(outputs, (tuple, list)) and outputs else ""
    return f"a {kind}{first}"


def at(index: Tensor, minus: Tensor | None = None) -> Select:
    """The output (rows, n) at each row's own index (rows,), less that at another index."""
    one = lambda out, i: out.gather(1, i.unsqueeze(1)).squeeze(1)
    if minus is None:
        return lambda out, which: one(out, index[which])
    return lambda out, which: one(out, index[which]) - one(out, minus[which])


def at_positions(outputs: Any, inputs: Inputs, classes: str = "labels") -> Tensor:
    """The logits (rows, tokens, classes) in a tensor, a tuple or a mapping. Raises UnsupportedModel."""
    rows, tokens = inputs["input_ids"].shape
    found = field(outputs, "logits")
    if not isinstance(found, Tensor) or found.ndim != 3 or found.shape[:2] != (rows, tokens):
        raise UnsupportedModel(
            f"The model returned {described(outputs, found)} for ids {(rows, tokens)}; expected logits of shape "
            f"({rows}, {tokens}, {classes}), as a tensor, the first of a tuple, or the field 'logits'."
        )
    return found


def by_function(spec: Callable[..., Any]) -> tuple[Select, str]:
    """A user's function of the outputs as what is explained, and its name."""

    def select(out: Any, which: Tensor) -> Tensor:
        y = spec(out)
        if not isinstance(y, Tensor) or y.shape != (len(which),):
            given = {k: tuple(v.shape) for k, v in out.items()} if isinstance(out, Mapping) else tuple(out.shape)
            raise UnknownTarget(
                f"The target function returned {tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__} for "
                f"logits {given}; expected a tensor with one scalar per row, of shape ({len(which)},), such as "
                "logits[:, 1]."
            )
        return y

    return select, str(getattr(spec, "__name__", "function"))


def checked_output(output: str, target: Any) -> None:
    """Raises InputError unless output is "logit", or "probability" with a target that is no function."""
    if output not in ("logit", "probability"):
        raise InputError(f"Found output={output!r}; expected 'logit' or 'probability'.")
    if output == "probability" and callable(target):
        raise InputError(
            "Found output='probability' with a target function; expected a label, an index or a contrast. Compute "
            "the probability in the function: target=lambda logits: logits.softmax(-1)[:, 1]."
        )


def checked(logits: Tensor) -> Tensor:
    """`logits` unchanged. Raises NonFiniteOutput where one of them is NaN or infinite."""
    if not torch.isfinite(logits.detach()).all():
        raise NonFiniteOutput(
            "The model's logits hold NaN or infinity; finite numbers were expected. Check its weights for NaN, or load "
            "it in float32 if it overflows in half precision (dtype=torch.float32)."
        )
    return logits
