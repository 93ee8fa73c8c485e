"""Calls the user's network, with given embeddings in the place of its own where they are given."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..engine import borrowing, hooks
from ..engine.memory import out_of_memory
from ..errors import OF_A_FUNCTION, FailedForward, PellucidError, UnsupportedModel, shortened
from ..interruption import check_interruption
from ..problem import Found
from ..randomness import rewound
from .batching import TOKENS, positions
from .devices import autocast
from .net import CHANGES, Outputs
from .structure import Arguments, first_position, is_of_transformers, layer_stack, placeholder
from .text.collating import Inputs


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs a network that belongs to the user, and leaves it as it was.

    model: the user's module. embedding: its module whose output is explained. arguments: what its forward takes. task:
    the task's name, for errors. named_embeddings: the modules that the user named to be explained, of which `embedding`
    is the first. precision: what forward passes are autocast to; None for the weights' own. layers: the calls of those
    layers that run compiled. pads_left: whether rows are padded on the left. findings: as `net.Net`. found: what is
    found about the network while its Problems are solved.
    """

    model: nn.Module
    embedding: nn.Module
    arguments: Arguments
    task: str
    named_embeddings: tuple[nn.Module, ...] = ()
    precision: torch.dtype | None = None
    layers: Mapping[nn.Module, Callable[..., Outputs]] = field(default_factory=dict)
    pads_left: bool = False
    findings: dict[Hashable, str] = field(default_factory=dict)
    found: Found = field(default_factory=Found)

    @property
    def device(self) -> torch.device:
        """The device that the network runs on: that of the weights which are not offloaded."""
        return next((p.device for p in self.model.parameters() if not p.is_meta), torch.device("cpu"))

    @property
    def coarsest(self) -> torch.dtype:
        """The type with the fewest digits among those that a forward pass computes in."""
        found = {p.dtype for p in self.model.parameters() if p.is_floating_point()} | {self.precision or torch.float64}
        return max(found, key=lambda dtype: torch.finfo(dtype).eps)

    @property
    def is_known(self) -> bool:
        """Whether the network is one of transformers' own models, and not a user's subclass or wrapper of one."""
        return is_of_transformers(self.model)

    @property
    def width(self) -> int:
        """The hidden size, as far as the embedding module tells."""
        config = getattr(self.model, "config", None)
        return getattr(self.embedding, "embedding_dim", 0) or getattr(config, "hidden_size", 64)

    @property
    def at_once(self) -> int:
        """How many positions go through the network together."""
        if self.device.type == "cpu":
            return TOKENS
        try:
            layers = len(layer_stack(self.model))
        except UnsupportedModel:
            return TOKENS
        return positions(self.device, layers, self.width)

    def takes(self, name: str) -> bool:
        """Whether the forward takes an argument of this name."""
        return self.arguments.anything or name in self.arguments.named

    def borrowed(self) -> AbstractContextManager[None]:
        """Inside, the network is in evaluation mode, and what the user compiled runs as it is; afterwards all is as it
        was."""
        return borrowing.borrowed(self.model, eager=not self.layers)

    def forward(self, inputs: Inputs, x: Tensor | None = None, **more: object) -> Outputs:
        """`model(**inputs, **more)`, where `x` (rows, tokens, hidden), if given, is what the embedding returns."""
        with self._running(inputs) as given:
            ids = self._looked_up(given["input_ids"].flatten(0, -2)) if "input_ids" in given else None
            with nullcontext() if x is None else hooks.replaced(self.embedding, x, ids):
                return self.called({**given, **more})

    @contextmanager
    def _running(self, inputs: Inputs) -> Iterator[dict[str, Tensor]]:
        """Inside, the network runs as every pass does. Gives the arguments of its forward for these inputs."""
        precision = autocast(self.device, self.precision)
        told = "use_cache" in self.arguments.named
        cache = nullcontext() if told else borrowing.without_cache(self.model)
        with precision, cache, hooks.compiled(self.layers), hooks.padded(self.model, inputs) as given:
            alone: dict[str, Any] = {"use_cache": False} if told else {}
            yield {**given, **self._positions(inputs), **alone}

    @contextmanager
    def one_pass(self, given: Mapping[str, object]) -> Iterator[None]:
        """Inside, a pass on these arguments runs; afterwards the network holds what it held before.

        Whether a pass changes the network is looked at once for each length of inputs, and in every pass once one did.
        """
        kind = ("pass", *((name, value.shape[1:]) for name, value in given.items() if isinstance(value, Tensor)))
        if kind in self.findings and self.findings.get(CHANGES, "kept") == "kept":
            yield
            return
        with borrowing.one_pass(self.model) as change:
            yield
        self.findings[kind] = "seen"
        if change.found:
            self.findings.setdefault(CHANGES, "put back")

    def called(self, given: Mapping[str, object]) -> Outputs:
        """`model(**given)`, as of a network that has run on nothing else before. Raises UnsupportedModel where the
        network refuses these arguments, FailedForward where it raises a RuntimeError, Interrupted where it was
        stopped."""
        net = self.model
        check_interruption()
        try:
            with self.one_pass(given):
                return net(**given)
        except OF_A_FUNCTION as error:
            dtype = next((p.dtype for p in net.parameters()), torch.float32)
            if not _is_about_input(error):
                raise
            said = str(error).strip(" .") or type(error).__name__
            tensors = ", ".join(name for name, value in given.items() if isinstance(value, Tensor))
            raised = FailedForward if isinstance(error, RuntimeError) else UnsupportedModel
            kind = f"{type(error).__name__}: " if isinstance(error, _INSIDE) else ""
            told = self._of_documents(given)
            other = "" if dtype == torch.float32 else f" Not every model runs in {dtype}: load it in torch.float32."
            raise raised(
                f"{type(net).__name__}.forward refused {tensors}: {kind}{shortened(said, 300)}. Expected a model that "
                "takes what its tokenizer makes, as in model(**tokenizer(text, return_tensors='pt')). For "
                f"{self.task} give the checkpoint's own tokenizer and a model with that head; of an encoder and a "
                f"decoder without a head the encoder, model.get_encoder().{told}{other}"
            ) from error

    def check_reads_texts(self, tokenizer: Any) -> None:
        """Raises UnsupportedModel where the network takes documents, and no text. Nothing else is said of it here: it
        may need more than the ids of a short text."""
        try:
            encoded = tokenizer("a", return_tensors="pt")
            given = {name: value.to(self.device) for name, value in encoded.items() if self.takes(name)}
        except OF_A_FUNCTION:
            return
        with self.borrowed(), rewound(self.device), torch.no_grad(), suppress(*OF_A_FUNCTION, PellucidError):
            self.called(given)
            return
        with self.borrowed(), rewound(self.device):
            told = self._of_documents(given)
        if told:
            raise UnsupportedModel(f"{type(self.model).__name__} takes no text.{told}")

    def _of_documents(self, given: Mapping[str, object]) -> str:
        """What to do about a network of the user's that takes ids (rows, sentences, tokens), where it is one."""
        if self.is_known or "input_ids" not in given:
            return ""
        try:
            with torch.no_grad():
                self.model(
                    **{k: v.unsqueeze(1) if isinstance(v, Tensor) and v.ndim == 2 else v for k, v in given.items()}
                )
        except OF_A_FUNCTION:
            return ""
        return (
            " It takes documents of sentences × tokens: explain a network of one sentence, whose forward is "
            "model(input_ids[:, None], …); or the ids of a document, pellucid.attribute(lambda ids: model(ids), ids, "
            "other_ids, target=0)."
        )

    def embeddings_of(self, module: nn.Embedding, ids: Tensor) -> Tensor:
        """What a table of embeddings returns for ids. Raises OtherIds where it has too few rows."""
        try:
            return module(self._looked_up(ids))
        except IndexError as error:
            raise hooks.OtherIds(
                f"{type(module).__name__} has {module.num_embeddings} rows, fewer than the ids it would embed; "
                "expected the module that embeds them: pellucid.Model(..., embeddings='path.to.module')."
            ) from error

    def _looked_up(self, ids: Tensor) -> Tensor:
        """Ids as the embedding module gets them: where the placeholder of an image is beyond its table, a network that
        has one looks up the first row instead, and overwrites it."""
        token, rows = placeholder(self.model), getattr(self.embedding, "num_embeddings", None)
        return ids if token is None or rows is None or token < rows else ids.masked_fill(ids == token, 0)

    def embedding_output(self, inputs: Inputs) -> Tensor:
        """What the embedding module returns (rows, tokens, hidden) in the network's own pass on these inputs, which
        goes no further. Raises OtherIds where it is not one vector for each token."""
        rows = len(next(iter(inputs.values())))
        with self._running(inputs) as given:
            found = hooks.as_tokens(hooks.output_of(self.embedding, lambda: self.called(given)))
        tokens = inputs["input_ids"].shape[1] if "input_ids" in inputs else found.shape[-2]
        if found.ndim != 3 or len(found) not in (1, rows) or found.shape[1] != tokens:
            raise hooks.OtherIds(
                f"The embedding module {type(self.embedding).__name__} returned {tuple(found.shape)}; expected one "
                f"vector for each of {tokens} tokens, ({rows}, {tokens}, hidden). Name a module that keeps the tokens "
                "apart: pellucid.Model(..., embeddings='path.to.module')."
            )
        return found

    def _positions(self, inputs: Inputs) -> dict[str, Tensor]:
        """The positions of rows padded on the left, where the inputs name none."""
        mask = inputs.get("attention_mask")
        if mask is None or "position_ids" in inputs or bool(mask[..., 0].all()):
            return {}
        return self.positions(mask)

    def positions(self, mask: Tensor) -> dict[str, Tensor]:
        """The positions of tokens, counted from where each row of the attention mask begins; empty where the network
        cannot be told them."""
        if "position_ids" not in self.arguments.named:
            return {}
        return {"position_ids": (mask.long().cumsum(-1) - 1).clamp_min(0) + first_position(self.model)}


_INSIDE = (ArithmeticError, AttributeError, NameError, RuntimeError)
"""Errors whose own message does not say that they are about what a network was given."""


def _is_about_input(error: Exception) -> bool:
    """Whether an error in the forward pass is the network's own, and not this project's, of the memory, or of the
    compiler, which are told apart elsewhere."""
    memory = isinstance(error, RuntimeError) and out_of_memory(error)
    return not (isinstance(error, PellucidError) or memory or type(error).__module__.startswith("torch._dynamo"))
