"""Small random models that generate text, on the configurations of `families`, and tokenizers as theirs are."""

from __future__ import annotations

from typing import Any

import torch
import transformers

import families
from pellucid import Model

CAUSAL = {
    "GPT2": "GPT2LMHeadModel",
    **{
        name: f"{name}ForCausalLM"
        for name in ("GPTNeo GPTNeoX GPTJ OPT Bloom Llama Mistral Qwen2 Qwen3 Gemma2 Phi3 Falcon Mixtral".split())
    },
    "Gemma3Text": "Gemma3ForCausalLM",
}
CODERS = {name: f"{name}ForConditionalGeneration" for name in ("T5", "MT5", "Bart", "MBart", "Pegasus")}


def cases(names: dict[str, str]) -> list[tuple[str, str]]:
    """Each family with each attention implementation that transformers offers for it."""
    offered = {
        n: ("eager", "sdpa") if getattr(transformers, c)._supports_sdpa else ("eager",) for n, c in names.items()
    }
    return [(name, attention) for name in names for attention in offered[name]]


def net(family: str, attention: str = "eager", dtype: Any = torch.float32, seed: int = 0, **config: Any) -> Any:
    """A random model, as `families.built`."""
    return families.built(family, (CAUSAL | CODERS)[family], attention, dtype=dtype, seed=seed, **config)


def causal_tokenizer(side: str = "right") -> Any:
    """As those of GPT-2's kin: nothing is added to a text, and there is no mask token."""
    made = families.tokenizer(mask=False, side=side)
    made.backend_tokenizer.post_processor = None
    made.model_input_names = ["input_ids", "attention_mask"]
    return made


def generator(family: str, side: str = "right", **config: Any) -> Model:
    """A random causal model with its tokenizer."""
    return Model(net(family, **config), causal_tokenizer(side))


def coder(family: str, side: str = "right", **config: Any) -> Model:
    """A random encoder and decoder with its tokenizer."""
    return Model(net(family, **config), families.tokenizer(mask=family not in ("T5", "MT5"), side=side))
