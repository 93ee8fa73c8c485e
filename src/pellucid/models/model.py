"""A Model: what users hold. A network, its tokenizer and the task that it does, ready to be explained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, UnsupportedModel
from ..notebook import Displayed, Sheet, card
from ..problem import Problem
from ..randomness import rewound
from ..types import Groups, Target
from . import padding, problems, untrained
from .baselines import Spec
from .batch import batch_of
from .batching import groups as of_similar_length
from .devices import precision
from .inside import layers
from .modality import TEXT
from .net import CHANGES, Outputs
from .own_answer import CHANGED
from .pipeline import Pipeline
from .placement import in_memory, one_device
from .runner import Runner
from .structure import (
    arguments,
    check_one_kind,
    is_pretrained,
    label_names,
    layer_stack,
    most_positions,
    own_module,
    unwrapped,
    wrappers,
)
from .tasks import TASKS, Goal, Preparation, Task, task_named, task_of
from .text import nested_inputs
from .text.collating import Owns, Padded, Sequences
from .text.encoding import Encoding
from .text.filler import Filler
from .text.reader import Reader
from .text.tokenizer import Tokenizer, check_tokenizer, pads_left

_SHOWN = 5
"""So many labels are shown by name."""


@dataclass(frozen=True, eq=False, repr=False)
class Model(Displayed):
    """A Hugging Face model, or your own `nn.Module`, with its tokenizer. It is borrowed, never changed.

    model: takes `input_ids` (and `attention_mask`, `token_type_ids` if its forward names them), returns logits
        (rows, classes) as a tensor, the first of a tuple, or the field `logits`.
    tokenizer: a transformers tokenizer; for images an image processor, for images with texts a processor of both.
    task: a name in `TASKS`; found from the model's configuration when None.
    embeddings: the module whose output is explained, or its dotted name, or several of either; found when None. What
        else looks the ids up is found too.
    autocast: "bfloat16" or "float16": forward passes run under `torch.autocast`. Its rounding shows in each delta.
    untrained: the names of parameters that are random, because the checkpoint lacks them: `missing_keys` of
        `from_pretrained(name, output_loading_info=True)`. `load` gives them. Where the answer depends on one of them
        that is tied to no other, a note says so.
    compile: the layers run compiled by `torch.compile` (True, or the name of a backend) in passes that take no
        gradient, such as those of the perturbation methods. Where a graph is needed they run as they are.

    Raises UnsupportedModel where one of these cannot be found, InputError.

    Examples:
        >>> import pellucid
        >>> model = pellucid.load()                       # the bundled sentiment classifier
        >>> model
        Model('pellucid-sentiment (bundled)': text-classification, labels negative/positive, 512 tokens, cpu, float32)
        >>> pellucid.Model(model.model, model.tokenizer).labels
        ('negative', 'positive')
    """

    model: nn.Module
    tokenizer: Any
    task: str | None = None
    embeddings: nn.Module | str | Sequence[nn.Module | str] | None = None
    autocast: torch.dtype | str | None = field(default=None, kw_only=True)
    compile: bool | str = field(default=False, kw_only=True)
    untrained: Sequence[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise UnsupportedModel(
                f"Found a {type(self.model).__name__} as the model; expected a torch nn.Module. "
                "For a checkpoint's name or path, use pellucid.load()."
            )
        object.__setattr__(self, "model", unwrapped(self.model))
        check_one_kind(self.model)
        check_tokenizer(self._tokenizer, reads_text=self.does.modality.reads_text)
        one_device(self.model)
        _ = self.runner, self._drawn  # its parts must be found now, not in the middle of an explanation
        in_memory(self.embedding)
        if self.does.modality is TEXT and not self.runner.is_known:
            self.runner.check_reads_texts(self.tokenizer)

    def __repr__(self) -> str:
        return f"Model({PurePath(self.name).name!r}: {', '.join(about for _, about in self._facts())})"

    def _facts(self) -> list[tuple[str, str]]:
        """What the model is, in a few words, each with its name."""
        names, most = label_names(self.model), self._limit()
        unnamed = all(name.startswith("LABEL_") for name in names)
        labels = f"{len(names)} labels" if len(names) > _SHOWN or unnamed else f"labels {'/'.join(names)}"
        limit = "any length" if most is None else f"{most} tokens"
        dtype = str(next((p.dtype for p in self.model.parameters()), "no weights")).removeprefix("torch.")
        some = [("labels", labels)] if names and self.does.of_labels else []
        place = [("device", str(self.device)), ("dtype", dtype)]
        return [("task", self.does.name), *some, ("reads at most", limit), *place]

    def _sheet(self) -> Sheet:
        facts = [(name, about.removeprefix("labels ")) for name, about in self._facts()]
        return Sheet(
            lambda: card(PurePath(self.name).name, facts),
            told=("pellucid.explain(model, …) explains what it says of an input: see help(pellucid.explain).",),
        )

    # ------------------------------------------------------------------------------------------- what it is made of

    @cached_property
    def does(self) -> Task:
        """The task that this model does, an entry of TASKS."""
        if self.task is not None:
            return task_named(self.task)
        config = getattr(self.model, "config", None)
        if config is None:
            return TASKS["text-classification"]
        names = [type(m).__name__ for m in wrappers(self.model)]
        found = task_of(names[:1]) or task_of(names[1:]) or task_of(getattr(config, "architectures", None))
        if found is None and hasattr(self.model, "get_input_embeddings") and is_pretrained(self.model):
            raise UnsupportedModel(
                f"{names[0]} does none of the tasks known here ({', '.join(TASKS)}). If its outputs are the logits of "
                "one of them, say so: task='text-classification'."
            )
        return found or TASKS["text-classification"]

    @cached_property
    def runner(self) -> Runner:
        """What runs the network, with the module to explain found. Raises UnsupportedModel, InputError."""
        task, net = self.does, self.model
        takes = arguments(net, task.modality.takes, task.name)
        named = self.named_embeddings
        embedding = named[0] if named else task.modality.embedding(net, self._tokenizer)
        half, left = precision(self.autocast), pads_left(self._tokenizer)
        return Runner(net, embedding, takes, task.name, named, half, self._compiled(), left)

    @cached_property
    def reader(self) -> Reader:
        """What reads the model's inputs, made when it is first needed: until then the user may set something on the
        tokenizer or the configuration."""
        kind = getattr(getattr(self.model, "config", None), "problem_type", None)
        return Reader(self._tokenizer, self._limit(), label_names(self.model), kind, self.tokenizer)

    @property
    def _tokenizer(self) -> Tokenizer:
        """What reads texts: the tokenizer, or that of the processor. Raises UnsupportedModel."""
        return self.does.modality.tokenizer(self.tokenizer)

    @cached_property
    def pipeline(self) -> Pipeline:
        """The runner, the reader and the task together."""
        return Pipeline(self.runner, self.reader, self.does)

    @cached_property
    def named_embeddings(self) -> tuple[nn.Module, ...]:
        """The modules that the user named to be explained. Raises UnsupportedModel where one is none of the model's."""
        given = self.embeddings
        several = [] if given is None else [given] if isinstance(given, (nn.Module, str)) else list(given)
        return tuple(own_module(self.model, m) for m in several)

    @cached_property
    def _drawn(self) -> tuple[str, ...]:
        """The parameters that are random, as the model was when it was handed over (`untrained.drawn`)."""
        return untrained.drawn(self.model, self.untrained) if self.untrained else ()

    def _limit(self) -> int | None:
        """How many tokens the tokenizer and the network's positions allow; None where nothing says."""
        limits = [n for n in [getattr(self._tokenizer, "model_max_length", None)] if n and n < 1_000_000]
        positions = most_positions(self.model)
        return min([*limits, *([] if positions is None else [positions])], default=None)

    def _compiled(self) -> dict[nn.Module, Callable[..., Outputs]]:
        """Each layer's call, compiled when it is first needed; layers of one class share their code."""
        if not self.compile:
            return {}
        backend = "inductor" if self.compile is True else self.compile
        if backend not in torch.compiler.list_backends(exclude_tags=()):
            raise InputError(
                f"Found compile={self.compile!r}; expected True or a backend among "
                f"{', '.join(torch.compiler.list_backends())}."
            )
        return {m: torch.compile(m._call_impl, backend=backend, dynamic=True) for m in layer_stack(self.model)}

    # ------------------------------------------------------------------------------------------- what it is

    @property
    def name(self) -> str:
        """The checkpoint's name or path, or the class's name."""
        return getattr(getattr(self.model, "config", None), "_name_or_path", "") or type(self.model).__name__

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, by index; empty where the model does not say."""
        return self.reader.labels

    @property
    def limit(self) -> int | None:
        """How many tokens the model takes, special tokens included; None where nothing says."""
        return self.reader.limit

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.runner.device

    @property
    def precision(self) -> torch.dtype | None:
        """What forward passes are autocast to; None for the weights' own type."""
        return self.runner.precision

    @property
    def embedding(self) -> nn.Module:
        """The module whose output is explained: the first of those that are named."""
        return self.runner.embedding

    @property
    def unknown(self) -> int | None:
        """The id of the token that stands for what the vocabulary lacks, and for nothing else; None without one."""
        return self.reader.unknown

    @property
    def decodes(self) -> bool:
        """Whether it is a decoder, which reads from left to right: one that generates text, or of such a family."""
        return self.pipeline.decodes

    @property
    def filler(self) -> Filler | None:
        """An ordinary short token, the baseline "filler"; None where the vocabulary has none."""
        return self.pipeline.filler

    @property
    def ways(self) -> dict[Hashable, str]:
        """What has been found out about the model by running it (`net.Net.findings`), such as how its Problems are made
        (`problems`): each found once, when it is first needed."""
        return self.runner.findings

    def takes(self, name: str) -> bool:
        """Whether the model's forward takes an argument of this name."""
        return self.runner.takes(name)

    # ----------------------------------------------------------------------------------------- what it does

    def borrowed(self) -> AbstractContextManager[None]:
        """Inside, the model is in evaluation mode, and what the user compiled runs as it is; afterwards all is as it
        was."""
        return self.runner.borrowed()

    def encode(
        self, items: Sequence[object], truncate: bool = False, max_new_tokens: int = 0, *, any_length: bool = False
    ) -> list[Encoding]:
        """Inputs as token ids, one Encoding each, ready to run.

        truncate: whether what is longer than the model takes is cut. max_new_tokens: how many tokens a language model
        generates at most where no continuation is given. any_length: whether inputs may be longer than the model takes.
        Raises InputError, TextTooLong.
        """
        return self.pipeline.encode(items, Preparation(truncate, max_new_tokens), any_length)

    def collate(self, encodings: Sequence[Encoding]) -> tuple[Sequences, Owns]:
        """A batch as the model's inputs, and which positions are a row's own."""
        return self.pipeline.collate(encodings)

    def batches(self, encodings: Sequence[Encoding], copies: int = 1) -> list[list[int]]:
        """Inputs of similar length together, by number, as many as go through the network at once. copies: rows of an
        input."""
        lengths, kinds = [len(e) for e in encodings], [e.kind for e in encodings]
        return of_similar_length(lengths, copies, self.runner.at_once, kinds)

    def must_not_pad(self, encodings: Sequence[Encoding]) -> bool:
        """Whether these inputs, as one batch, would be padded, and padding changes the model's answers. The model is
        borrowed."""
        return padding.must_not_pad(self.pipeline, encodings)

    def problem(
        self,
        encodings: Sequence[Encoding],
        baseline: Spec,
        target: Target,
        groups: Groups = None,
        output: str | None = None,
        detail: Sequence[str] = (),
        at: str | Sequence[str] | None = None,
        removes: bool = False,
    ) -> Problem:
        """A batch of texts against a baseline, for the goals of a target. removes: for a method that only replaces or
        deletes tokens.

        Raises UnsupportedModel where f would not be the model's own answer on its ids, UnknownBaseline, InputError.
        """
        goals = lambda outputs: tuple(goal.select for goal in self.goals(encodings, target, output, outputs))
        return self.problem_of(encodings, baseline, goals, groups, detail, at, removes)

    def problem_of(
        self,
        encodings: Sequence[Encoding],
        baseline: Spec,
        goals: problems.Goals,
        groups: Groups = None,
        detail: Collection[str] = (),
        at: str | Sequence[str] | None = None,
        removes: bool = False,
    ) -> Problem:
        """As `problem`, for goals that are asked for from the outputs at the input."""
        pipeline, details = self.pipeline, frozenset(detail)
        batch = batch_of(pipeline, encodings, baseline, groups)
        found = problems.problem_of(pipeline, batch, baseline, goals, removes and at is None, details)
        missing = nested_inputs.missing(type(self.model).__name__, pipeline.nested, batch.sequences[0].inputs)
        changed = (CHANGED,) if "matters" in self.ways.get(CHANGES, "") else ()
        notes = (*self.random_weights(encodings), *changed, *found.notes, *missing)
        return layers.deepened(pipeline, replace(found, notes=notes), batch, details, at)

    def random_weights(self, encodings: Sequence[Encoding]) -> tuple[str, ...]:
        """A note that names the random weights on which an answer depends; none where there are none. It is found on
        the first of the inputs. The model is borrowed."""
        if not self._drawn or not encodings:
            return ()
        if "random weights" not in self.ways:
            sequences, _ = self.pipeline.collate(encodings[:1])
            with rewound(self.device):
                names = untrained.used(self.model, self._drawn, lambda: self.pipeline.alone(*sequences))
            self.ways["random weights"] = untrained.told(self.model, names, self.does.name)
        return (self.ways["random weights"],) if self.ways["random weights"] else ()

    def goals(self, encodings: Sequence[Encoding], target: Target, output: str | None, outputs: Outputs) -> list[Goal]:
        """The goals of a batch, with their names and predictions, from its outputs at the input."""
        return self.pipeline.goals(encodings, target, output, outputs)

    def baseline(self, spec: Spec) -> Spec:
        """The baseline that is meant by a name."""
        return self.pipeline.baseline(spec)

    def notes(self, encoding: Encoding, baseline: Spec) -> tuple[str, ...]:
        """What a reader must know of an answer for an input against a baseline."""
        return self.does.notes(self.reader, encoding, baseline)

    def distance(self, encoding: Encoding, baseline: Spec) -> float:
        """How far what would be explained is from the model's own answer, as `problems.distance`."""
        return problems.distance(self.pipeline, encoding, baseline)

    def outputs(self, x: Tensor, *sequences: Padded) -> Outputs:
        """What the task reads from the model, with `x` as the output of its embedding module."""
        return self.pipeline.outputs(x, *sequences)

    def alone(self, *sequences: Padded) -> Outputs:
        """What the task reads from the model on its own ids."""
        return self.pipeline.alone(*sequences)

    @contextmanager
    def following(self) -> Iterator[bool]:
        """Inside, and from there on unless an error is raised inside, look-ups are followed, because one of them was
        called with other ids than the input's. Gives whether they were before."""
        before = self.ways.get("all") == "followed"
        self.ways["all"] = "followed"
        try:
            yield before
        except BaseException:
            if not before:
                del self.ways["all"]
            raise
