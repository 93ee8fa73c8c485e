"""A model, its tokenizer, and the way from texts to a Problem."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, NonFiniteOutput, UnsupportedModel
from ..explanation import Target
from ..problem import Problem, Select
from . import baselines, sites
from .encoding import Encoding, collate, encode
from .grouping import grouped, shortener
from .tasks import TASKS, Task, resolve, task_of


@dataclass(frozen=True, eq=False)
class Model:
    """A Hugging Face model, or your own `nn.Module`, with its tokenizer. It is borrowed, never changed.

    model: takes `input_ids` (and `attention_mask`, `token_type_ids` if its forward names them), returns logits
        (rows, classes) as a tensor, the first of a tuple, or the field `logits`.
    tokenizer: a transformers tokenizer.
    task: a name in `TASKS`; found from the model's configuration when None.
    embeddings: the module whose output is explained, or its dotted name; `get_input_embeddings()` when None.

    Raises UnsupportedModel where one of these cannot be found.

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
    embeddings: nn.Module | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise UnsupportedModel(
                f"Found a {type(self.model).__name__} as the model; expected a torch nn.Module. "
                "For a checkpoint's name or path, use pellucid.load()."
            )
        if not callable(self.tokenizer):
            raise UnsupportedModel(f"Found {self.tokenizer!r:.60} as the tokenizer; expected a transformers tokenizer.")
        _ = self.row, self.embedding  # both must be found now, not in the middle of an explanation

    # ------------------------------------------------------------------------------------------- what it is

    @cached_property
    def row(self) -> Task:
        """The row of TASKS that this model does."""
        if self.task is not None:
            if self.task not in TASKS:
                raise UnsupportedModel(f"Found task={self.task!r}; expected one of {', '.join(TASKS)}.")
            return TASKS[self.task]
        config = getattr(self.model, "config", None)
        if config is None:
            return TASKS["text-classification"]
        names = [type(self.model).__name__, *(getattr(config, "architectures", None) or ())]
        found = task_of(names)
        if found is None and hasattr(self.model, "get_input_embeddings") and hasattr(self.model, "base_model_prefix"):
            raise UnsupportedModel(
                f"{names[0]} does none of the tasks known here ({', '.join(TASKS)}). If its outputs are the logits of "
                "one of them, say so: task='text-classification'."
            )
        return found or TASKS["text-classification"]

    @cached_property
    def embedding(self) -> nn.Module:
        """The module whose output is explained."""
        if isinstance(self.embeddings, nn.Module):
            if not any(m is self.embeddings for m in self.model.modules()):
                raise UnsupportedModel(
                    f"The embeddings module {type(self.embeddings).__name__} is no part of the model."
                )
            return self.embeddings
        if isinstance(self.embeddings, str):
            try:
                return self.model.get_submodule(self.embeddings)
            except AttributeError as error:
                raise UnsupportedModel(
                    f"The model has no module {self.embeddings!r}; its modules that embed: {self._embedding_names()}."
                ) from error
        for module in self.model.modules():
            if hasattr(module, "get_input_embeddings"):
                try:
                    found = module.get_input_embeddings()  # pyright: ignore[reportCallIssue]
                except (NotImplementedError, AttributeError):
                    continue
                if isinstance(found, nn.Module):
                    return found
        wide = [m for m in self.model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings >= self._vocabulary]
        if len(wide) != 1:
            raise UnsupportedModel(
                f"Found {len(wide)} embedding modules as large as the vocabulary ({self._vocabulary}); expected one. "
                f"Name yours: pellucid.Model(..., embeddings='name'), among {self._embedding_names()}."
            )
        return wide[0]

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
        positions = getattr(config, "max_position_embeddings", None)
        if isinstance(positions, int) and positions > 0:
            limits.append(positions - self._first_position)
        return min(limits, default=None)

    @property
    def name(self) -> str:
        """The checkpoint's name or path, or the class's name."""
        return getattr(getattr(self.model, "config", None), "_name_or_path", "") or type(self.model).__name__

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def borrowed(self) -> AbstractContextManager[None]:
        """Inside, the model is in evaluation mode; afterwards it is as it was."""
        return sites.borrowed(self.model)

    # ----------------------------------------------------------------------------------------- what it does

    def encode(self, items: Sequence[Any], truncate: bool = False) -> list[Encoding]:
        """Texts as token ids. Raises InputError, TextTooLong."""
        return encode(self.tokenizer, items, self.limit, truncate)

    def problem(
        self, encodings: Sequence[Encoding], baseline: Any, target: Any, groups: Any = None, output: str = "logit"
    ) -> Problem:
        """The embeddings of a batch of texts, against those of a baseline, for one target.

        baseline "delete" has no embeddings: the Problem knows how to run a text without some of its tokens instead.
        """
        batch, own = collate(self.tokenizer, encodings, self.device)
        batch = {name: value for name, value in batch.items() if self._takes(name)}
        special = torch.zeros_like(own)
        special[own] = torch.tensor([t.special for e in encodings for t in e.tokens], device=own.device)
        ids = batch["input_ids"]
        with torch.no_grad():
            embed = self._embedder(batch)
            x = embed(ids)
            x0 = (
                x
                if baselines.deletes(baseline, special)
                else baselines.embedded(baseline, ids, x, special | ~own, self.tokenizer, embed, self._mean_embedding)
            )
        members = torch.full_like(ids, -1)
        members[own] = torch.tensor([g for e in encodings for g in grouped(groups, e)], device=own.device)
        return Problem(
            self.outputs,
            (x,),
            (x0,),
            self._chooser(target, output),
            (batch,),
            own,
            (members,),
            shortener(self._run) if x0 is x else None,
        )

    def outputs(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The logits of `model(**batch)`, with `x` as the output of its embedding module."""
        with sites.replaced(self.embedding, x):
            return self._run(batch, len(x))

    def targets(self, spec: Any, logits: Tensor) -> list[Target]:
        """The target's name in each row."""
        return resolve(spec, self._names(logits), logits)[1]

    def prediction(self, logits: Tensor) -> list[tuple[str, float | None]]:
        """The predicted class of each row and its probability; for a single output, its name and None."""
        names = self._names(logits)
        if logits.shape[1] == 1:
            return [(names[0], None)] * len(logits)
        best = torch.softmax(logits.double(), 1).max(1)
        return [(names[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    # ---------------------------------------------------------------------------------------------- details

    def _names(self, logits: Tensor) -> tuple[str, ...]:
        classes = logits.shape[1]
        return self.labels if len(self.labels) == classes else tuple(f"LABEL_{i}" for i in range(classes))

    def _run(self, batch: Mapping[str, Tensor], rows: int) -> Tensor:
        return self.row.logits(self.model(**batch), rows)

    def _chooser(self, target: Any, output: str) -> Callable[[Tensor], Select]:
        def choose(logits: Tensor) -> Select:
            if not torch.isfinite(logits.detach()).all():
                raise NonFiniteOutput(
                    "The model's logits hold NaN or infinity; finite numbers were expected. Check its weights for NaN, "
                    "or load it in float32 if it overflows in half precision (dtype=torch.float32)."
                )
            return resolve(target, self._names(logits), logits, output)[0]

        return choose

    def _embedder(self, batch: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
        if isinstance(self.embedding, nn.Embedding):
            return self.embedding
        return lambda ids: sites.output_of(self.embedding, lambda: self.model(**{**batch, "input_ids": ids}))

    def _mean_embedding(self) -> Tensor:
        weight = getattr(self.embedding, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim != 2:
            raise InputError(
                f"baseline='mean' needs an embedding matrix, and {type(self.embedding).__name__} has none. "
                "Use 'mask', 'pad' or 'zero'."
            )
        return weight.detach().mean(0)

    @cached_property
    def _parameters(self) -> tuple[frozenset[str], bool]:
        parameters = inspect.signature(self.model.forward).parameters.values()
        named = frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        anything = any(p.kind == p.VAR_KEYWORD for p in parameters) and "input_ids" not in named
        if "input_ids" not in named and not anything:
            raise UnsupportedModel(
                f"{type(self.model).__name__}.forward takes {', '.join(sorted(named)) or 'nothing'}; expected an "
                "argument 'input_ids'. Give it that name."
            )
        return named, anything

    def _takes(self, name: str) -> bool:
        named, anything = self._parameters
        return anything or name in named

    @property
    def _vocabulary(self) -> int:
        return getattr(self.tokenizer, "vocab_size", 0)

    def _embedding_names(self) -> str:
        names = [n for n, m in self.model.named_modules() if isinstance(m, nn.Embedding)]
        return ", ".join(map(repr, names)) or "none"

    @property
    def _first_position(self) -> int:
        """RoBERTa and its kin number positions from behind the padding index, so they take that many tokens fewer."""
        positions = [m for n, m in self.model.named_modules() if n.endswith("position_embeddings")]
        padding = getattr(positions[0], "padding_idx", None) if positions else None
        return 0 if padding is None else padding + 1
