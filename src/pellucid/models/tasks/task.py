"""What a task is: which checkpoints do it, how the model runs, and which of its outputs are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from ...engine.targets import returned_by, shapes_of
from ...errors import InputError, NonFiniteOutput, UnknownTarget, UnsupportedModel
from ...problem import Select
from ...tokens import Target
from ...types import Target as TargetSpec
from ..baselines import Spec
from ..modality import TEXT, Modality
from ..net import Net, Outputs
from ..text.collating import Inputs, Owns, Padded, Sequences
from ..text.encoding import Encoding
from ..text.inputs import TEXT_OR_PAIR, Form
from ..text.reader import Reader
from ..text.tokenizer import Tokenizer
from ..text.tokenizing import Item

Without = Callable[[Sequences, Tensor], Outputs]
"""`(sequences, keep) -> outputs`: what a task reads from the model once only the tokens `keep` (rows, tokens of all
sequences) are left, closed up. It is `Problem.without`."""
Resumed = Callable[[Tensor, Tensor, Tensor, Outputs], Outputs]
"""`(x, rows, first, outputs at x) -> outputs`, as `Problem.resumed`."""
Prediction = tuple[str | None, float | None]
"""What a model predicts, and how probable it holds it; None where there is no such thing."""


@dataclass(frozen=True)
class Goal:
    """One number to explain in each row of a batch.

    select: the number. targets: its name in each row; None where a row has no such number, and none is shown.
    predictions: what the model predicts there, and its probability where it has one. notes: what a reader must know of
    the number. classes: in each row, the probability of every class by its label; empty where the task has none. steps:
    in each row, what `Explanation.meta["step"]` says of a generated token; empty where none was generated. chances: in
    each row, the probability of the target where it is not that of a class: `Explanation.meta["target_probability"]`.
    output: what the number is, where that is not what was asked for: a sum over tokens has no logit.
    """

    select: Select
    targets: Sequence[Target | None]
    predictions: Sequence[Prediction]
    notes: tuple[str, ...] = ()
    classes: Sequence[Mapping[str, float]] = ()
    steps: Sequence[Mapping[str, object]] = ()
    chances: Sequence[float] = ()
    output: str | None = None


@dataclass(frozen=True)
class Asked:
    """What a user asked of a batch.

    encodings: its rows. starts: the column at which each row begins in its padded sequence, 0 unless padded on the
    left. labels: the names of the model's classes. tokenizer: the model's. target: as the user gave it. output:
    "logit", "probability" or, for some tasks, "log-probability". problem_type: what the model's configuration calls its
    classification, if anything: "multi_label_classification", …; own_module: whether the network is a user's own, and
    none of transformers', whose outputs are logits.
    """

    encodings: Sequence[Encoding]
    starts: Sequence[int]
    labels: tuple[str, ...]
    tokenizer: Tokenizer
    target: TargetSpec
    output: str
    problem_type: str | None = None
    own_module: bool = False

    @property
    def rows(self) -> int:
        """How many inputs the batch has."""
        return len(self.encodings)


@dataclass(frozen=True)
class Preparation:
    """How encodings are made ready to run. truncate: whether what is too long is cut. max_new_tokens: how many tokens a
    language model generates at most where no continuation is given."""

    truncate: bool = False
    max_new_tokens: int = 0


Run = Callable[..., Outputs]
"""`(net, x, *sequences) -> outputs`: what a task reads from the model, run on the sequences of a batch, one or several
as the task has them: a tensor or a nest of tensors, rows first. x: (rows, tokens of all sequences, hidden), the output
of the embedding module; None for the model on its own ids."""


class HasTokenizer(Protocol):
    """Anything with a tokenizer: a Reader."""

    @property
    def tokenizer(self) -> Tokenizer: ...


def encode_texts(reader: Reader, items: Sequence[Item], truncate: bool = False) -> list[Encoding]:
    """Texts, pairs of texts and token ids, one sequence each: what most tasks take."""
    return reader.encode(items, truncate)


def _as_encoded(net: Net, reader: Reader, encodings: list[Encoding], how: Preparation) -> list[Encoding]:
    """The encodings as they are: what most tasks need."""
    return encodings


@dataclass(frozen=True)
class Task:
    """An entry of the table TASKS. Its functions take first what runs (`net`), then what reads (`reader`), as needed.

    name: as in transformers' pipelines. suffixes: of its architectures' names. auto: transformers' class that loads
    them.

    From an input to a number, in order:
    form: what its inputs may be.
    encode: `(reader, items, truncate) -> encodings`, one for each item that the form made. No network is run.
    prepare: `(net, reader, encodings, how) -> encodings`: the step that needs the network before anything is explained:
        a continuation is generated, the most probable of several labels is found, an image's patches are counted.
    aimed: `(encoding, target) -> encoding`: where the target decides what goes into the model.
    run: what is read from the model (`Run`).
    goals: `(asked, outputs at x) -> goals`, at least one.

    output: what a target's number is where the user does not say: "logit", "log-probability".
    modality: how inputs reach the model: as token ids, as pixels.
    embeds: `(net, k) -> module`: the one that embeds the k-th sequence.
    without: `(net, reader, special) -> Without`, where special (rows, tokens) are those that stay; None where tokens
        cannot be deleted, because the outputs belong to positions that would move. Raises UnknownBaseline.
    resumed: `(net, x, sequences, owns) -> Resumed`; None where nothing of a pass can be shared.
    windows: how the windows of a document too long for the model make one answer: "mean", "best"; None where they
        cannot.
    notes: `(reader, encoding, baseline) -> sentences`: what a reader must know of an answer against that baseline.
    continues: whether it generates text after what it reads, as a decoder does.
    decodes: whether what a decoder reads is a sequence of its own, beside the encoder's.
    any_side: whether rows of different length may be padded on the left too, because `run` finds each token by its role
        and reads nothing from a fixed column.
    of_labels: whether what is explained is one of the labels that the model's configuration names.
    part: `roles (1, tokens) -> columns`: those that the checks of a long text are made on, once for a model, instead of
        on all of it. None where all are needed.
    """

    name: str
    suffixes: tuple[str, ...]
    auto: str
    run: Run
    goals: Callable[[Asked, Outputs], list[Goal]]
    form: Form = TEXT_OR_PAIR
    encode: Callable[[Reader, Sequence[Item], bool], list[Encoding]] = encode_texts
    prepare: Callable[[Net, Reader, list[Encoding], Preparation], list[Encoding]] = _as_encoded
    aimed: Callable[[Encoding, TargetSpec], Encoding] = lambda encoding, target: encoding
    output: str = "logit"
    modality: Modality = TEXT
    embeds: Callable[[Net, int], nn.Module] = lambda net, k: net.embedding
    without: Callable[[Net, Reader, Tensor], Without] | None = None
    resumed: Callable[[Net, Tensor, Sequences, Owns], Resumed | None] | None = None
    windows: str | None = None
    notes: Callable[[HasTokenizer, Encoding, Spec], tuple[str, ...]] = lambda reader, encoding, baseline: ()
    continues: bool = False
    decodes: bool = False
    any_side: bool = False
    of_labels: bool = False
    part: Callable[[Tensor], Tensor] | None = None


Read = TypeVar("Read", covariant=True)


class RunOne(Protocol[Read]):
    """The `run` of a task whose rows are one sequence each."""

    def __call__(self, net: Net, x: Tensor | None, sequence: Padded, /) -> Read: ...


def one_sequence(read: Callable[[Outputs, Inputs], Read]) -> RunOne[Read]:
    """The `run` of a task whose rows are one sequence each; `read` takes what is needed from the model's outputs."""

    def run(net: Net, x: Tensor | None, sequence: Padded, /) -> Read:
        return read(net.forward(sequence.inputs, x), sequence.inputs)

    return run


def field(outputs: Outputs, name: str, place: int = 0) -> Outputs:
    """The field of this name in what a model returned, or what stands at this place of a tuple; None where there is
    neither."""
    if isinstance(outputs, Mapping):
        return outputs.get(name)
    if isinstance(outputs, (tuple, list)):
        return outputs[place] if len(outputs) > place else None
    return outputs if isinstance(outputs, Tensor) and place == 0 else getattr(outputs, name, None)


def described(outputs: Outputs, found: object) -> str:
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


def at_positions(outputs: Outputs, inputs: Inputs, classes: str = "labels") -> Tensor:
    """The logits (rows, tokens, classes) in a tensor, a tuple or a mapping. Raises UnsupportedModel."""
    rows, tokens = inputs["input_ids"].shape
    found = field(outputs, "logits")
    if not isinstance(found, Tensor) or found.ndim != 3 or found.shape[:2] != (rows, tokens):
        raise UnsupportedModel(
            f"The model returned {described(outputs, found)} for ids {(rows, tokens)}; expected logits of shape "
            f"({rows}, {tokens}, {classes}), as a tensor, the first of a tuple, or the field 'logits'."
        )
    return found


PROBABILITIES = "The model returns probabilities, not logits: they are explained, and reported, as they are."
"""The note where `are_probabilities` holds."""


def are_probabilities(asked: Asked, *outputs: Tensor) -> bool:
    """Whether a user's own module returns probabilities (…, classes) in the place of logits: none is negative, and in
    every place they add up to 1, within rounding."""
    return asked.own_module and all(map(_adds_up_to_one, outputs))


def _adds_up_to_one(outputs: Tensor) -> bool:
    p, rounding = outputs.detach().double(), 4 * torch.finfo(outputs.dtype).eps
    return p.shape[-1] > 1 and bool((p >= 0).all()) and bool(((p.sum(-1) - 1).abs() <= rounding).all())


def by_function(spec: Callable[[Outputs], Tensor]) -> tuple[Select, str]:
    """A user's function of the outputs as what is explained, and its name."""

    def select(out: Outputs, which: Tensor) -> Tensor:
        y = returned_by(spec, out)
        if not isinstance(y, Tensor) or y.shape != (len(which),):
            raise UnknownTarget(
                f"The target function returned {shapes_of(y)} for logits {shapes_of(out)}; expected a tensor with one "
                f"scalar per row, of shape ({len(which)},), such as logits[:, 1]."
            )
        return y

    return select, str(getattr(spec, "__name__", "function"))


def check_output(output: str, target: TargetSpec) -> None:
    """Raises InputError unless output is "logit", or "probability" with a target that is no function."""
    if output not in ("logit", "probability"):
        raise InputError(f"Found output={output!r}; expected 'logit' or 'probability'.")
    if output == "probability" and callable(target):
        raise InputError(
            "Found output='probability' with a target function; expected a label, an index or a contrast. Compute "
            "the probability in the function: target=lambda logits: logits.softmax(-1)[:, 1]."
        )


def finite_logits(logits: Tensor) -> Tensor:
    """`logits` unchanged. Raises NonFiniteOutput where one of them is NaN or infinite."""
    if not torch.isfinite(logits.detach()).all():
        raise NonFiniteOutput(
            "The model's logits hold NaN or infinity; finite numbers were expected. Check its weights for NaN, or load "
            "it in float32 if it overflows in half precision (dtype=torch.float32)."
        )
    return logits
