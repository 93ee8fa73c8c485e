"""Language models that run elsewhere, in Captum's form: a provider tells the log-probabilities of a text's tokens."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import ArgumentError
from .language import DEFAULT_GEN_ARGS, LLMAttribution
from .text_inputs import InterpretableInput


class RemoteLLMProvider(Protocol):
    """What generates texts elsewhere, and tells their log-probabilities."""

    def generate(self, prompt: str, **gen_args: Any) -> str:
        """The text that follows the prompt."""
        ...

    def get_logprobs(self, input_prompt: str, target_str: str, tokenizer: Any = None) -> list[float]:
        """The log-probability of each token of the target after the prompt."""
        ...


class PlaceholderModel:
    """Stands for a model that runs elsewhere, where a method asks for one."""

    device: Any = torch.device("cpu")

    def __call__(self, *args: Any, **kwargs: Any) -> int:
        return 0


class RemoteLLMAttribution(LLMAttribution):
    """`LLMAttribution` of a model that runs elsewhere.

    attr_method: a method of `RemoteLLMAttribution.placeholder_model`. provider: see `RemoteLLMProvider`.
    """

    placeholder_model = PlaceholderModel()

    def __init__(
        self, attr_method: Any, tokenizer: Any, provider: RemoteLLMProvider, attr_target: str = "log_prob"
    ) -> None:
        super().__init__(attr_method, tokenizer, attr_target)
        self.provider = provider

    def _all_targets(self, inp: InterpretableInput, target: Any, gen_args: dict[str, Any] | None) -> Tensor:
        if target is not None:
            return super()._all_targets(inp, target, gen_args)
        text = self.provider.generate(self._text(inp.to_model_input()), **(gen_args or DEFAULT_GEN_ARGS))
        return self.tokenizer.encode(text, return_tensors="pt", add_special_tokens=False)[0]

    def _is_causal(self, inp: InterpretableInput, targets: Tensor) -> bool:
        return True  # the provider scores the whole target itself

    def _scored(self, inp: InterpretableInput, row: Tensor | None, targets: Tensor, at_once: bool) -> Tensor:
        found = self.provider.get_logprobs(
            input_prompt=self._text(inp.to_model_input(row)),
            target_str=self.tokenizer.decode(targets),
            tokenizer=self.tokenizer,
        )
        if len(found) != len(targets):
            raise ArgumentError(
                f"The provider returned {len(found)} log-probabilities for {len(targets)} tokens; expected as many."
            )
        return torch.tensor([found], device=self.device)
