"""Tokenizers of three kinds and random models of any head, made here: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

import families

WORDS = (
    "the a film movie was is great good bad dull paris london berlin visited lives in who where when won team river . "
    ", ? ! 서울 파리 는 에 갔다 도시 이다 무엇 القاهرة مدينة كبيرة أين النهر"
).split()
SENTENCES = {
    "english": "Who won in Paris, the team? The film was great!",
    "korean": "파리는 도시이다. 서울에 갔다!",
    "arabic": "القاهرة مدينة كبيرة، أين النهر؟",
    "emoji": "good 👩‍🚀 film 🎉🎉 in Paris",
    "unknown": "the ☃ film Ω was good",
}


def word_pieces(side: str = "right") -> PreTrainedTokenizerFast:
    """As BERT's: words, the pieces of some, and [UNK]. Accents stay, because it strips none."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [c for c in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {w: i for i, w in enumerate(dict.fromkeys([*special, *WORDS, *letters, *(f"##{c}" for c in letters)]))}
    vocabulary |= {f"##{w}": len(vocabulary) + i for i, w in enumerate(("는", "에", "이다"))}
    t = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)  # pyright: ignore
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # pyright: ignore
    t.post_processor = _template(vocabulary, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", "[CLS]", "[SEP]")
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return _fast(t, names, side)


def byte_level(side: str = "right") -> PreTrainedTokenizerFast:
    """As RoBERTa's: pieces of UTF-8, so that one sign may be several tokens; the mask takes the space before it."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    t.decoder = decoders.ByteLevel()  # pyright: ignore
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    t.train_from_iterator([" ".join(WORDS)] * 2 + ["The film is good"] * 3, trainer)
    pair = "<s> $A </s> </s> $B </s>"
    t.post_processor = _template(t.get_vocab(), "<s> $A </s>", pair, "<s>", "</s>")
    names = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": AddedToken("<mask>", lstrip=True)}
    return _fast(t, names, side)


def sentence_pieces(side: str = "right") -> PreTrainedTokenizerFast:
    """As XLM-RoBERTa's: pieces with ▁ for the space before them."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    letters = sorted({c for word in (*WORDS, *SENTENCES.values()) for c in word if c not in " 👩🚀🎉☃Ω\u200d"})
    pieces = [*((s, 0.0) for s in special), *((f"▁{w}", -3.0) for w in WORDS), ("▁", -4.0)]
    pieces += [(c, -6.0) for c in letters]
    t = Tokenizer(models.Unigram(pieces, unk_id=3))
    t.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore
    t.decoder = decoders.Metaspace()  # pyright: ignore
    pair = "<s> $A </s> </s> $B </s>"
    vocabulary = {p: i for i, (p, _) in enumerate(pieces)}
    t.post_processor = _template(vocabulary, "<s> $A </s>", pair, "<s>", "</s>")
    names = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    return _fast(t, names, side)


TOKENIZERS = {"word pieces": word_pieces, "byte level": byte_level, "sentence pieces": sentence_pieces}


def _template(vocabulary: dict[str, int], single: str, pair: str, *special: str) -> Any:
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=[(s, vocabulary[s]) for s in special])


def _fast(t: Tokenizer, names: dict[str, Any], side: str) -> PreTrainedTokenizerFast:
    named = {f"{name}_token": token for name, token in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=t, model_max_length=64, padding_side=side, **named)


class Slow:
    """A tokenizer as one written in Python is: no offsets, no word ids; its mask of special tokens names them all."""

    def __init__(self, fast: PreTrainedTokenizerFast):
        self.fast = fast

    def __call__(self, *texts: Any, **how: Any) -> dict[str, Any]:
        return dict(self.fast(*texts, **how))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fast, name)

    def get_special_tokens_mask(self, ids: list[int], already_has_special_tokens: bool) -> list[int]:
        return [int(i in self.fast.all_special_ids) for i in ids]


def network(name: str, attention: str = "eager", dtype: Any = torch.float32, scale: float = 8.0, **config: Any) -> Any:
    """A random model of the class, as `families.built`, with a vocabulary that is large enough."""
    family = max((f for f in families.FAMILIES if name.startswith(f)), key=len)
    return families.built(family, name, attention, scale, dtype, **{"vocab_size": 420, **config})
