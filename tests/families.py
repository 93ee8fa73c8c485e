"""Small random models of each family, with weights scaled up so that nothing stays in its linear range."""

from __future__ import annotations

import string
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = "the a film movie was is great good bad dull not and but it plot acting . , ! ' so very".split()


def tokenizer(mask: bool = True) -> PreTrainedTokenizerFast:
    """A small word-piece tokenizer, made here: nothing is downloaded."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = list(string.ascii_lowercase) + [f"##{c}" for c in string.ascii_lowercase]
    vocabulary = {w: i for i, w in enumerate(dict.fromkeys([*special, *WORDS, *letters]))}
    t = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)  # pyright: ignore[reportAttributeAccessIssue]
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # pyright: ignore[reportAttributeAccessIssue]
    t.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    if mask:
        names["mask_token"] = "[MASK]"
    return PreTrainedTokenizerFast(tokenizer_object=t, model_max_length=64, **names)


SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
COMMON = {"vocab_size": 100, "pad_token_id": 0, "max_position_embeddings": 80}

FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": SHAPE,
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "Roberta": SHAPE,
    "Electra": {**SHAPE, "embedding_size": 16},
    "Albert": {**SHAPE, "embedding_size": 16},
    "MPNet": SHAPE,
    "DebertaV2": {
        **SHAPE,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "ModernBert": {
        **SHAPE,
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
}


def model(family: str, attention: str = "eager", scale: float = 12.0, dtype: Any = torch.float32, seed: int = 0) -> Any:
    """A random sequence classifier with three classes; matrices `scale` times as large as at initialisation."""
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**{**COMMON, **FAMILIES[family]}, num_labels=3)
    config._attn_implementation = attention
    net = getattr(transformers, f"{family}ForSequenceClassification")(config)
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                p.mul_(scale)
            else:
                p.add_(torch.randn_like(p) * 0.2)
    return net.to(dtype).eval()
