"""A model, its tokenizer, and the way from texts to a Problem."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..engine import hooks
from ..errors import InputError, UnsupportedModel
from ..problem import Found, Problem
from . import baselines, problems, runner
from .forward_signature import is_decoder, one_device, parameters, shells
from .inside import layers
from .modality import TEXT, embedding_names, reading_side
from .tasks import TASKS, Asked, Goal, Inputs, Task, task_named, task_of
from .text import nested_inputs
from .text.encoding import Encoding
from .text.filler import Filler, filler_of
from .text.inputs import read


@dataclass(frozen=True, eq=False)
class Model:
    """A Hugging Face model, or your own `nn.Module`, with its tokenizer. It is borrowed, never changed.

    model: takes `input_ids` (and `attention_mask`, `token_type_ids` if its forward names them), returns logits
        (rows, classes) as a tensor, the first of a tuple, or the field `logits`.
    tokenizer: a transformers tokenizer.
    task: a name in `TASKS`; found from the model's configuration when None.
    embeddings: the module whose output is explained, or its dotted name, or several of either; found when None. What
        else looks the ids up is found too.
    autocast: "bfloat16" or "float16": forward passes run under `torch.autocast`. Its rounding shows in each delta.
    compile: the layers run compiled by `torch.compile` (True, or the name of a backend) in passes that take no
        gradient, such as those of the perturbation methods. Where a graph is needed they run as they are.

    Raises UnsupportedModel where one of these cannot be found, InputError.

    Examples:
        >>> import pellucid
        >>> model = pellucid.load()                       # the bundled sentiment classifier
        >>> same = pellucid.Model(model.model, model.tokenizer)
        >>> same.labels
        ('negative', 'positive')
    """

    model: nn.Module
    tokenizer: Any
    task: str | None = None
    embeddings: nn.Module | str | Sequence[nn.Module | str] | None = None
    autocast: torch.dtype | str | None = field(default=None, kw_only=True)
    compile: bool | str = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise UnsupportedModel(
                f"Found a {type(self.model).__name__} as the model; expected a torch nn.Module. "
                "For a checkpoint's name or path, use pellucid.load()."
            )
        if not callable(self.tokenizer):
            raise UnsupportedModel(f"Found {self.tokenizer!r:.60} as the tokenizer; expected a transformers tokenizer.")
        one_device(self.model)
        # they must be found now, not in the middle of an explanation
        _ = self.row, self._parameters, self.embedding, self.precision, self._compiled

    # ------------------------------------------------------------------------------------------- what it is

    @cached_property
    def row(self) -> Task:
        """The row of TASKS that this model does."""
        if self.task is not None:
            return task_named(self.task)
        config = getattr(self.model, "config", None)
        if config is None:
            return TASKS["text-classification"]
        names = [type(m).__name__ for m in shells(self.model)]
        found = task_of(names[:1]) or task_of(names[1:]) or task_of(getattr(config, "architectures", None))
        if found is None and hasattr(self.model, "get_input_embeddings") and hasattr(self.model, "base_model_prefix"):
            raise UnsupportedModel(
                f"{names[0]} does none of the tasks known here ({', '.join(TASKS)}). If its outputs are the logits of "
                "one of them, say so: task='text-classification'."
            )
        return found or TASKS["text-classification"]

    @cached_property
    def embedding(self) -> nn.Module:
        """The module whose output is explained: the first of those that are named."""
        return self.named_embeddings[0] if self.named_embeddings else self.row.reads.embedding(self)

    @cached_property
    def named_embeddings(self) -> tuple[nn.Module, ...]:
        """The modules that the user named to be explained. Raises UnsupportedModel where one is none of the model's."""
        given = self.embeddings
        several = [] if given is None else [given] if isinstance(given, (nn.Module, str)) else list(given)
        return tuple(self._module(m) for m in several)

    def _module(self, named: nn.Module | str) -> nn.Module:
        if isinstance(named, nn.Module):
            if not any(m is named for m in self.model.modules()):
                raise UnsupportedModel(f"The embeddings module {type(named).__name__} is no part of the model.")
            return named
        try:
            return self.model.get_submodule(named)
        except AttributeError as error:
            raise UnsupportedModel(
                f"The model has no module {named!r}; its modules that embed: {embedding_names(self.model)}."
            ) from error

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, by index; empty where the model does not say."""
        names = getattr(getattr(self.model, "config", None), "id2label", None) or {}
        return tuple(str(names[i]) for i in sorted(names))

    @cached_property
    def limit(self) -> int | None:
        """How many tokens the model takes, special tokens included; None where nothing says."""
        config = getattr(self.model, "config", None)
        limits = [n for n in [getattr(self.tokenizer, "model_max_length", None)] if n and n < 1_000_000]
        try:
            positions = getattr(config, "max_position_embeddings", None)
        except NotImplementedError:  # XLNet's way to say that there is no limit
            positions = None
        if isinstance(positions, int) and positions > 0:
            limits.append(positions - self._first_position)
        return min(limits, default=None)

    @property
    def name(self) -> str:
        """The checkpoint's name or path, or the class's name."""
        return getattr(getattr(self.model, "config", None), "_name_or_path", "") or type(self.model).__name__

    @cached_property
    def precision(self) -> torch.dtype | None:
        """What forward passes are autocast to."""
        return runner.precision(self.autocast)

    @property
    def coarsest(self) -> torch.dtype:
        """The type with the fewest digits among those that a forward pass computes in."""
        found = {p.dtype for p in self.model.parameters() if p.is_floating_point()} | {self.precision or torch.float64}
        return max(found, key=lambda dtype: torch.finfo(dtype).eps)

    @property
    def through_encoder(self) -> bool:
        """Whether an encoder and a decoder read the same text, and what is explained is the encoder's part."""
        two = getattr(getattr(self.model, "config", None), "is_encoder_decoder", False)
        return bool(two) and self.reader is not self.model and not self.named_embeddings and not self.row.decodes

    @property
    def width(self) -> int:
        """The hidden size, as far as the embedding module tells."""
        config = getattr(self.model, "config", None)
        return getattr(self.embedding, "embedding_dim", 0) or getattr(config, "hidden_size", 64)

    @cached_property
    def ways(self) -> dict[Any, str]:
        """By the kind of input and baseline, how its Problem is made (see `problems`): found once, at the first."""
        return {}

    @cached_property
    def found(self) -> Found:
        """What is found about the model while it is explained, for all its Problems."""
        return Found()

    def follow(self) -> bool:
        """From here on look-ups are followed: one of them was called with other ids than the input's. Whether they were
        not before."""
        before, self.ways["all"] = self.ways.get("all"), "followed"
        return before != "followed"

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def borrowed(self) -> AbstractContextManager[None]:
        """Inside, the model is in evaluation mode, and what the user compiled runs as it is; afterwards all is as it
        was."""
        return hooks.borrowed(self.model, eager=not self._compiled)

    # ----------------------------------------------------------------------------------------- what it does

    def encode(self, items: Sequence[Any], truncate: bool = False, max_new_tokens: int = 0) -> list[Encoding]:
        """Inputs as token ids, one Encoding each. Raises InputError, TextTooLong."""
        form = self.row.form
        apart = [nested_inputs.given_apart(item, self._nested) for item in items]
        given = [read(item, form, i) for i, (item, _) in enumerate(apart)]
        found = self.row.encode(self, [g.item for g in given], truncate, max_new_tokens)
        found = [nested_inputs.attached(self.tokenizer, e, apart[i][1], i) for i, e in enumerate(found)]
        found = [
            e if g.label is None else replace(e, label=form.named(g.label, g, e, self.labels))
            for e, g in zip(found, given, strict=True)
        ]
        return found if self._pads else [replace(e, kind=(e.kind, *e.widths)) for e in found]

    def problem(
        self,
        encodings: Sequence[Encoding],
        baseline: Any,
        target: Any,
        groups: Any = None,
        output: str | None = None,
        detail: Sequence[str] = (),
        at: str | Sequence[str] | None = None,
        removes: bool = False,
    ) -> Problem:
        """A batch of texts against a baseline, for the goals of a target. removes: for a method that only replaces or
        deletes tokens.

        Raises UnsupportedModel where f would not be the model's own answer on its ids, UnknownBaseline, InputError.
        """
        asked, details = self.asked(encodings, target, output), frozenset(detail)
        goals = lambda outputs: tuple(goal.select for goal in self.row.goals(asked, outputs))
        batch = problems.batch_of(self, encodings, baseline, groups)
        found = problems.problem_of(self, batch, baseline, goals, removes and at is None, details)
        missing = nested_inputs.missing(type(self.model).__name__, self._nested, batch.sequences[0])
        return layers.deepened(self, replace(found, notes=(*found.notes, *missing)), batch, details, at)

    def distance(self, encoding: Encoding, baseline: Any) -> float:
        """How far what would be explained is from the model's own answer, as `problems.distance`."""
        return problems.distance(self, encoding, baseline)

    def collate(self, encodings: Sequence[Encoding]) -> tuple[tuple[dict[str, Tensor], ...], tuple[Tensor, ...]]:
        """As `Modality.collate`, with the inputs that the model's forward names."""
        sequences, owns = self.row.reads.collate(self, encodings)
        return tuple({n: v for n, v in s.items() if self.takes(n) or n == self.row.places} for s in sequences), owns

    def asked(self, encodings: Sequence[Encoding], target: Any, output: str | None) -> Asked:
        """What a user asked of a batch. output: the task's own where it is None."""
        width = max(len(e) for e in encodings)
        left = getattr(self.tokenizer, "padding_side", "right") == "left"
        starts = [width - len(e) if left else 0 for e in encodings]
        kind = getattr(getattr(self.model, "config", None), "problem_type", None)
        return Asked(encodings, starts, self.labels, self.tokenizer, target, output or self.row.output, kind)

    def outputs(self, x: Tensor, *sequences: Inputs) -> Any:
        """What the task reads from the model, with `x` as the output of its embedding module."""
        return self.row.run(self, x, *sequences)

    def alone(self, *sequences: Inputs) -> Any:
        """What the task reads from the model on its own ids."""
        return self.row.run(self, None, *sequences)

    def forward(self, inputs: Inputs, x: Tensor | None = None, **more: Any) -> Any:
        """`model(**inputs, **more)`, where `x` (rows, tokens, hidden), if given, is what its embedding returns."""
        precision = runner.autocast(self.device, self.precision)
        with precision, hooks.compiled(self._compiled), hooks.padded(self.model, inputs) as given:
            ids = given["input_ids"].flatten(0, -2) if "input_ids" in given else None
            alone = {"use_cache": False} if "use_cache" in self._parameters[0] else {}
            with nullcontext() if x is None else hooks.replaced(self.embedding, x, ids):
                return runner.called(self.model, {**given, **self._positions(inputs), **alone, **more}, self.row.name)

    def embedded(self, inputs: Inputs, k: int = 0) -> Tensor:
        """The embeddings (rows, tokens, hidden) of the k-th sequence: what its embedding module returns."""
        embeds = self.row.embeds(self, k)
        if isinstance(embeds, nn.Embedding):
            try:
                return embeds(inputs[self.row.reads.takes])
            except IndexError as error:
                raise hooks.OtherIds(
                    f"{type(embeds).__name__} has {embeds.num_embeddings} rows, fewer than the ids it would embed; "
                    "expected the module that embeds them: pellucid.Model(..., embeddings='path.to.module')."
                ) from error
        rows = len(next(iter(inputs.values())))
        given = {n: v for n, v in inputs.items() if n != self.row.places}
        found = hooks.as_tokens(
            hooks.output_of(self.embedding, lambda: runner.called(self.model, given, self.row.name))
        )
        tokens = inputs["input_ids"].shape[1] if "input_ids" in inputs else found.shape[-2]
        if found.ndim != 3 or len(found) not in (1, rows) or found.shape[1] != tokens:
            raise hooks.OtherIds(
                f"The embedding module {type(self.embedding).__name__} returned {tuple(found.shape)}; expected one "
                f"vector for each of {tokens} tokens, ({rows}, {tokens}, hidden). Name a module that keeps the tokens "
                "apart: pellucid.Model(..., embeddings='path.to.module')."
            )
        return found

    def mean_embedding(self, k: int = 0) -> Tensor:
        """The average (hidden,) of the k-th sequence's vocabulary. Raises UnknownBaseline without such a matrix."""
        return baselines.mean_of(self.row.embeds(self, k))

    @cached_property
    def unknown(self) -> int | None:
        """The id of the token that stands for what the vocabulary lacks, and for nothing else; None without one."""
        found, *ends = (getattr(self.tokenizer, f"{name}_token_id", None) for name in ("unk", "eos", "bos", "pad"))
        return None if found in ends else found

    def baseline(self, spec: Any) -> Any:
        """The baseline that is meant by a name."""
        return baselines.meant(spec, self.tokenizer, lambda: self.filler, self.decodes)

    @cached_property
    def decodes(self) -> bool:
        """Whether it is a decoder, which reads from left to right: one that generates text, or of such a family."""
        return self.row.name == "text-generation" or (self.row.reads is TEXT and is_decoder(self.model))

    @cached_property
    def filler(self) -> Filler | None:
        """An ordinary short token, the baseline "filler"; None where the vocabulary has none."""
        found = filler_of(self.tokenizer) if self.row.reads is TEXT else None
        return found if found is None or not self.decodes else replace(found, segments=2)

    def goals(self, encodings: Sequence[Encoding], target: Any, output: str, outputs: Any) -> list[Goal]:
        """The goals of a batch, with their names and predictions, from its outputs at the input."""
        return self.row.goals(self.asked(encodings, target, output), outputs)

    @property
    def reader(self) -> nn.Module:
        """The side that reads the text: the encoder of an encoder–decoder, else the model."""
        return reading_side(self.model)

    # ---------------------------------------------------------------------------------------------- details

    @property
    def _pads(self) -> bool:
        """Whether texts of different length may share a batch: only a model of transformers', told which tokens are
        padding, is known to pass over them; and on the left only where no first token is read."""
        left = getattr(self.tokenizer, "padding_side", "right") == "left"
        return self.is_known and self.takes("attention_mask") and (not left or self.row.places is not None)

    @cached_property
    def is_known(self) -> bool:
        """Whether it is one of transformers' models."""
        return any(hasattr(m, "base_model_prefix") for m in shells(self.model))

    def _positions(self, batch: Inputs) -> dict[str, Tensor]:
        """Positions for rows padded on the left, counted from where each begins, where the model can be told them."""
        mask = batch.get("attention_mask")
        if mask is None or "position_ids" not in self._parameters[0] or bool(mask[..., 0].all()):
            return {}
        return {"position_ids": (mask.long().cumsum(-1) - 1).clamp_min(0) + self._first_position}

    @cached_property
    def _compiled(self) -> dict[nn.Module, Any]:
        """Each layer's call, compiled when it is first needed; layers of one class share their code."""
        if not self.compile:
            return {}
        backend = "inductor" if self.compile is True else self.compile
        if backend not in torch.compiler.list_backends(exclude_tags=()):
            raise InputError(
                f"Found compile={self.compile!r}; expected True or a backend among "
                f"{', '.join(torch.compiler.list_backends())}."
            )
        return {m: torch.compile(m._call_impl, backend=backend, dynamic=True) for m in layers.stack(self)}

    @cached_property
    def _nested(self) -> tuple[str, ...]:
        """The inputs with several numbers for each token that the model's forward names."""
        return tuple(name for name in nested_inputs.NESTED if name in self._parameters[0])

    @cached_property
    def _parameters(self) -> tuple[frozenset[str], bool]:
        return parameters(self.model, self.row.reads.takes, self.row.name)

    def takes(self, name: str) -> bool:
        named, anything = self._parameters
        return anything or name in named

    @property
    def _first_position(self) -> int:
        """RoBERTa and its kin number positions from behind the padding index, so they take that many tokens fewer."""
        positions = [m for n, m in self.model.named_modules() if n.endswith("position_embeddings")]
        padding = getattr(positions[0], "padding_idx", None) if positions else None
        return 0 if padding is None else padding + 1
