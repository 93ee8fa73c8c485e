"""A tiny text classifier and its tokenizer, for tests that need some model and not one of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

import pellucid

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a dull film good great is it not plot so the was , . !".split()


class TinyTokenizer:
    """Cuts a text at white space. An unknown word is [UNK]; [CLS] opens an input, [SEP] closes each text of it."""

    pad_token, unk_token, cls_token, sep_token, mask_token = WORDS[:5]
    pad_token_id, unk_token_id, cls_token_id, sep_token_id, mask_token_id = all_special_ids = tuple(range(5))
    padding_side, model_max_length, vocab_size = "right", 64, len(WORDS)

    def __len__(self) -> int:
        return len(WORDS)

    def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None = None, **how: Any) -> dict[str, Any]:
        """The ids and the attention mask of each text or pair, as lists. No truncation: `how` may not ask for it."""
        assert not how.get("truncation"), "Found a truncation; the tiny tokenizer expects none."
        ids = [self._ids(*row) for row in zip(*([texts] if pairs is None else [texts, pairs]), strict=True)]
        return {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}

    def _ids(self, *texts: str) -> list[int]:
        words = " [SEP] ".join(texts).split()
        return self.convert_tokens_to_ids(["[CLS]", *words, "[SEP]"])

    def tokenize(self, text: str) -> list[str]:
        return text.split()

    def convert_tokens_to_ids(self, names: Any) -> Any:
        find = lambda name: WORDS.index(name) if name in WORDS else self.unk_token_id
        return find(names) if isinstance(names, str) else [find(name) for name in names]

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return WORDS[ids] if isinstance(ids, int) else [WORDS[i] for i in ids]

    def get_special_tokens_mask(self, ids: Sequence[int], already_has_special_tokens: bool = True) -> list[int]:
        return [int(i in self.all_special_ids) for i in ids]

    def decode(self, ids: Sequence[int], **how: Any) -> str:
        return " ".join(self.convert_ids_to_tokens(list(ids)))


class TinyClassifier(nn.Module):
    """One transformer layer over word and position embeddings; the logits of two labels from the first token."""

    config = SimpleNamespace(id2label={0: "negative", 1: "positive"})

    def __init__(self, hidden: int = 16):
        super().__init__()
        self.embed, self.position = nn.Embedding(len(WORDS), hidden), nn.Embedding(64, hidden)
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.first, self.second = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embed(input_ids) + self.position(torch.arange(input_ids.shape[1], device=input_ids.device))
        scores = self.query(x) @ self.key(x).mT / x.shape[-1] ** 0.5  # rows, tokens, tokens
        weights = scores.masked_fill(attention_mask[:, None] == 0, -1e9).softmax(-1)
        x = self.first(x + self.out(weights @ self.value(x)))
        x = self.second(x + self.down(nn.functional.gelu(self.up(x))))
        return self.head(x[:, 0].tanh())


def tiny(dtype: torch.dtype = torch.float64) -> pellucid.Model:
    """The tiny classifier with its tokenizer, the weights always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TinyClassifier().to(dtype).eval()
    return pellucid.Model(net, TinyTokenizer())
