"""A pipeline: a runner, a reader and a task together. It takes a user's inputs to what the task reads from the network.

Calls go one way: the pipeline calls its task, and the task calls the runner and the reader that it is handed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ..types import Target
from . import baselines
from .baselines import Spec
from .net import Outputs
from .runner import Runner
from .structure import is_decoder, is_pretrained, reading_side
from .tasks import Asked, Goal, Preparation, Task
from .text import nested_inputs
from .text.collating import Owns, Padded, Sequences, side_by_side
from .text.encoding import Encoding
from .text.filler import Filler
from .text.inputs import Ids, read
from .text.reader import Reader
from .text.tokenizer import Tokenizer, pads_left
from .text.tokenizing import without_padding


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A network, the tokenizer that it reads with, and the task that it does."""

    runner: Runner
    reader: Reader
    task: Task

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def model(self) -> nn.Module:
        """The user's network."""
        return self.runner.model

    @property
    def embedding(self) -> nn.Module:
        """The module whose output is explained."""
        return self.runner.embedding

    @property
    def tokenizer(self) -> Tokenizer:
        """The network's tokenizer, or image processor."""
        return self.reader.tokenizer

    @property
    def findings(self) -> dict[Hashable, str]:
        """As `net.Net`."""
        return self.runner.findings

    @property
    def through_encoder(self) -> bool:
        """Whether an encoder and a decoder read the same text, and what is explained is the encoder's part."""
        net, named = self.model, self.runner.named_embeddings
        two = getattr(getattr(net, "config", None), "is_encoder_decoder", False)
        return bool(two) and reading_side(net) is not net and not named and not self.task.decodes

    @property
    def decodes(self) -> bool:
        """Whether it is a decoder, which reads from left to right: one that generates text, or of such a family."""
        return self.task.continues or (self.task.modality.reads_text and is_decoder(self.model))

    @property
    def filler(self) -> Filler | None:
        """An ordinary short token, the baseline "filler"; None where the vocabulary has none."""
        found = self.reader.filler if self.task.modality.reads_text else None
        return found if found is None or not self.decodes else replace(found, segments=2)

    @property
    def pads(self) -> bool:
        """Whether texts of different length may share a batch: only a model of transformers', told which tokens are
        padding, is known to pass over them; on the left only where no fixed column is read; and not where padding was
        found to change the network's answers (`padding`)."""
        side = not pads_left(self.tokenizer) or self.task.any_side
        told = self.runner.is_known and self.runner.takes("attention_mask")
        return told and side and self.findings.get("padding") != "mixes"

    @property
    def nested(self) -> tuple[str, ...]:
        """The inputs with several numbers for each token that the network's forward names."""
        return tuple(name for name in nested_inputs.NESTED if name in self.runner.arguments.named)

    # ------------------------------------------------------------------------------------------------ reading

    def encode(self, items: Sequence[object], how: Preparation, any_length: bool = False) -> list[Encoding]:
        """A user's inputs, one Encoding each, ready to run. any_length: whether the network's limit is passed over.
        Raises InputError, TextTooLong."""
        form, reader = self.task.form, replace(self.reader, limit=None) if any_length else self.reader
        apart = [nested_inputs.taken_apart(item, self.nested) for item in items]
        given = [read(item, form, i) for i, (item, _) in enumerate(apart)]
        plain = lambda item: without_padding(self.tokenizer, item) if isinstance(item, Ids) else (item, ())
        items = [plain(g.item) for g in given]
        found = self.task.encode(reader, [item for item, _ in items], how.truncate)
        found = self.task.prepare(self.runner, reader, found, how)
        found = [nested_inputs.attached(self.tokenizer, e, apart[i][1], i) for i, e in enumerate(found)]
        found = [replace(e, notes=told) if told else e for e, (_, told) in zip(found, items, strict=True)]
        found = [
            e if g.label is None else replace(e, label=form.named(g.label, g, e, reader.labels))
            for e, g in zip(found, given, strict=True)
        ]
        names = [tuple(tuple(sorted(s)) for s in e.sequences) for e in found]  # a batch has what each of its rows has
        apart = [() if self.pads else e.widths for e in found]
        return [replace(e, kind=(e.kind, n, w)) for e, n, w in zip(found, names, apart, strict=True)]

    def collate(self, encodings: Sequence[Encoding]) -> tuple[Sequences, Owns]:
        """A batch as the network's inputs, of those that its forward takes, and which positions are a row's own."""
        sequences, owns = self.task.modality.collate(self.runner, self.reader, encodings)
        taken = lambda s: {name: value for name, value in s.inputs.items() if self.runner.takes(name)}
        return tuple(s._replace(inputs=taken(s)) for s in sequences), owns

    def asked(self, encodings: Sequence[Encoding], target: Target, output: str | None) -> Asked:
        """What a user asked of a batch. output: the task's own where it is None."""
        reader = self.reader
        starts, output = reader.starts(encodings), output or self.task.output
        own, kind = not is_pretrained(self.model), reader.problem_type
        return Asked(encodings, starts, reader.labels, self.tokenizer, target, output, kind, own)

    def baseline(self, spec: Spec) -> Spec:
        """The baseline that is meant by a name."""
        return baselines.meant(spec, self.tokenizer, lambda: self.filler, self.decodes)

    # ------------------------------------------------------------------------------------------------ running

    def outputs(self, x: Tensor | None, *sequences: Padded) -> Outputs:
        """What the task reads from the network, with `x` as the output of its embedding; None for its own ids."""
        return self.task.run(self.runner, x, *sequences)

    def alone(self, *sequences: Padded) -> Outputs:
        """What the task reads from the network on its own ids."""
        return self.task.run(self.runner, None, *sequences)

    def goals(self, encodings: Sequence[Encoding], target: Target, output: str | None, outputs: Outputs) -> list[Goal]:
        """The goals of a batch, with their names and predictions, from its outputs at the input."""
        return self.task.goals(self.asked(encodings, target, output), outputs)

    def point(self, sequences: Sequences) -> Tensor:
        """The input of the Problem: what stands at the positions of all sequences, (rows, positions, numbers)."""
        return side_by_side([self.embedded(s, k) for k, s in enumerate(sequences)])

    def embedded(self, sequence: Padded, k: int = 0) -> Tensor:
        """The embeddings (rows, tokens, hidden) of the k-th sequence: what its embedding module returns. Of a sequence
        that no module embeds, its own numbers."""
        if (found := self.task.modality.values(self.runner, sequence)) is not None:
            return found
        module = self.task.embeds(self.runner, k)
        if isinstance(module, nn.Embedding):
            return self.runner.embeddings_of(module, sequence.inputs[self.task.modality.takes])
        return self.runner.embedding_output(sequence.inputs)

    def mean_embedding(self, k: int = 0) -> Tensor:
        """The average (hidden,) of the k-th sequence's vocabulary. Raises UnknownBaseline without such a matrix."""
        return baselines.mean_of(self.task.embeds(self.runner, k))
