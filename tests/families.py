"""Small random models of each family, with weights scaled up so that nothing stays in its linear range."""

from __future__ import annotations

import string
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pellucid.models.tasks import TASKS

WORDS = "the a film movie was is great good bad dull not and but it plot acting . , ! ' so very".split()


def tokenizer(mask: bool = True, side: str = "right", separators: int = 1) -> PreTrainedTokenizerFast:
    """A small word-piece tokenizer, made here: nothing is downloaded. separators: between two texts."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = list(string.ascii_lowercase) + [f"##{c}" for c in string.ascii_lowercase]
    vocabulary = {w: i for i, w in enumerate(dict.fromkeys([*special, *WORDS, *letters]))}
    t = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)  # pyright: ignore[reportAttributeAccessIssue]
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # pyright: ignore[reportAttributeAccessIssue]
    t.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A {'[SEP] ' * separators}$B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    if mask:
        names["mask_token"] = "[MASK]"
    return PreTrainedTokenizerFast(tokenizer_object=t, model_max_length=64, padding_side=side, **names)


SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
GROUPED = {**SHAPE, "num_key_value_heads": 2}
GEMMA = {**GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 6}
BIASED = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "head_dim": 4}
LATENT |= {"v_head_dim": 8, "n_routed_experts": 1, "num_experts_per_tok": 1, "moe_intermediate_size": 16, "n_group": 1}
LATENT |= {"topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1, "experts_implementation": "eager"}
DELTA = {"layer_types": ["linear_attention", "full_attention"], "head_dim": 8}
DELTA |= {f"linear_{name}": n for name, n in (("num_value_heads", 4), ("num_key_heads", 2))}
DELTA |= {f"linear_{name}_head_dim": 8 for name in ("key", "value")}
CODERS = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2} | {
    f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in (("ffn_dim", 64), ("attention_heads", 4))
}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "relative_attention_num_buckets": 8}
COMMON = {
    "vocab_size": 100,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "eos_token_id": 3,
    "sep_token_id": 3,
    "decoder_start_token_id": 0,
}


@dataclass(frozen=True)
class Family:
    """config: what `COMMON` lacks. name: of its classes in transformers, where it is another. head: which of them.
    mask, side, separators: whether its tokenizer has a mask token, where it pads, and what it puts between two texts.
    mixes: the tasks in which the model's own answer to an input changes with the padding beside it, whatever its mask
    says, so that texts of different length do not share a batch; tests ask the model itself. scale: of its matrices."""

    config: Mapping[str, Any]
    name: str = ""
    head: str = "ForSequenceClassification"
    mask: bool = True
    side: str = "right"
    separators: int = 1
    mixes: Container[str] = ()
    scale: float = 12.0


FAMILIES: dict[str, Family] = {
    "Bert": Family(SHAPE),
    "DistilBert": Family({"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),
    "Roberta": Family(SHAPE, separators=2),
    "XLMRoberta": Family(SHAPE, separators=2),
    "Camembert": Family(SHAPE, separators=2),
    "Electra": Family({**SHAPE, "embedding_size": 16}),
    "Albert": Family({**SHAPE, "embedding_size": 16}),
    "MPNet": Family(SHAPE, separators=2),
    "Deberta": Family({**SHAPE, **BIASED, "max_relative_positions": 16}),
    "DebertaV2": Family(
        {
            **SHAPE,
            **BIASED,
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "type_vocab_size": 0,
        }
    ),
    "ModernBert": Family({**SHAPE, "global_attn_every_n_layers": 2, "local_attention": 8}),
    "Longformer": Family({**SHAPE, "attention_window": 4}, separators=2),
    "BigBird": Family({**SHAPE, "attention_type": "original_full"}),
    "BigBirdSparse": Family({**SHAPE, "block_size": 2, "num_random_blocks": 1}, name="BigBird", mixes=TASKS),
    "XLNet": Family(
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_head": 8, "d_inner": 64, "max_position_embeddings": None},
        side="left",
    ),
    "Funnel": Family(
        {"block_sizes": [1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64},
        mixes=("question-answering", "token-classification", "fill-mask", "sentence-similarity"),
    ),
    "Nystromformer": Family(
        {**SHAPE, "num_landmarks": 8, "segment_means_seq_len": 8, "conv_kernel_size": 3}, mixes=TASKS
    ),
    "ConvBert": Family({**SHAPE, "embedding_size": 16, "conv_kernel_size": 3}, mixes=TASKS),
    "SqueezeBert": Family({**SHAPE, "embedding_size": 32}),
    "FNet": Family(SHAPE, mixes=TASKS),
    "XLM": Family({"emb_dim": 32, "n_layers": 2, "n_heads": 4}),
    "Esm": Family({**SHAPE, "mask_token_id": 4, "position_embedding_type": "rotary", "token_dropout": True}),
    "GPT2": Family({"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 80}, mask=False),
    "GPTNeo": Family(
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "window_size": 6,
            "attention_types": [[["global", "local"], 1]],
        },
        mask=False,
    ),
    "GPTNeoX": Family(SHAPE, mask=False),
    "GPTJ": Family({"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 80}, mask=False),
    "OPT": Family({**SHAPE, "ffn_dim": 64, "word_embed_proj_dim": 32}, mask=False),
    "Bloom": Family({"hidden_size": 32, "n_layer": 2, "n_head": 4}, mask=False),
    "Llama": Family(GROUPED, mask=False),
    "Mistral": Family({**GROUPED, "sliding_window": 6}, mask=False),
    "Qwen2": Family(GROUPED, mask=False),
    "Qwen3": Family({**GROUPED, "head_dim": 8}, mask=False),
    "Gemma2": Family(GEMMA, mask=False),
    "Gemma3Text": Family(GEMMA, mask=False),
    "Phi3": Family({**GROUPED, "original_max_position_embeddings": 80}, mask=False),
    "Falcon": Family({**SHAPE, "ffn_hidden_size": 64}, mask=False),
    "Mixtral": Family(
        {**GROUPED, "num_local_experts": 1, "num_experts_per_tok": 1, "experts_implementation": "eager"}, mask=False
    ),
    "CTRL": Family({"n_embd": 32, "n_layer": 2, "n_head": 4, "dff": 64, "n_positions": 80}, mask=False),
    "DiffLlama": Family(GROUPED, mask=False),
    "DeepseekV2": Family({**SHAPE, **LATENT}, mask=False),
    "Apertus": Family(GROUPED, head="ForCausalLM", mask=False),
    "Lfm2": Family(
        {**GROUPED, "full_attn_idxs": [1], "conv_L_cache": 3, "block_multiple_of": 8}, head="ForCausalLM", mask=False
    ),
    "Qwen3_5Text": Family({**GROUPED, **DELTA}, mask=False),
    "Mamba": Family(
        {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, head="ForCausalLM", mask=False, scale=4.0
    ),
    "Mamba2": Family(
        {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "num_heads": 8, "head_dim": 8, "chunk_size": 4}
        | {"n_groups": 1},
        head="ForCausalLM",
        mask=False,
    ),
    "RecurrentGemma": Family(
        {**GROUPED, "num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 6}, head="ForCausalLM", mask=False
    ),
    "xLSTM": Family(
        {"hidden_size": 32, "num_blocks": 2, "num_heads": 4, "chunk_size": 4, "max_position_embeddings": None},
        head="ForCausalLM",
        mask=False,
    ),
    "T5": Family(T5, mask=False, scale=3.0),
    "MT5": Family({**T5, "feed_forward_proj": "gated-gelu"}, mask=False, scale=3.0),
    "Bart": Family(CODERS, separators=2),
    "MBart": Family(CODERS),
    "Pegasus": Family(CODERS, head="ForConditionalGeneration"),
    "ViT": Family({**SHAPE, "image_size": 8, "patch_size": 4, "num_channels": 3}, head="ForImageClassification"),
}


def classes(family: str) -> tuple[Any, Any]:
    """The config and the model of a family, in transformers."""
    row = FAMILIES[family]
    prefix = row.name or family
    config = prefix.removesuffix("Text") + "TextConfig" if prefix.endswith("Text") else f"{prefix}Config"
    return getattr(transformers, config), getattr(transformers, prefix + row.head)


def attentions(family: str) -> tuple[str, ...]:
    """The attention implementations that transformers offers for it on a CPU."""
    return ("eager", "sdpa") if classes(family)[1]._supports_sdpa else ("eager",)


def headed(family: str, head: str) -> Any:
    """The class of a family with a head such as "ForMultipleChoice" or "Model"; None where transformers has none."""
    configuration, _ = classes(family)
    prefix = FAMILIES[family].name or family
    found = (getattr(transformers, name + head, None) for name in (prefix, prefix.removesuffix("Text")))
    return next((c for c in found if c is not None and c.config_class is configuration), None)


def built(
    family: str,
    head: Any,
    attention: str = "eager",
    scale: float | None = None,
    dtype: Any = torch.float32,
    seed: int = 0,
    **config: Any,
) -> Any:
    """A random model of a class of the family, or of its name; matrices `scale` times as large as at
    initialisation."""
    torch.manual_seed(seed)
    row = FAMILIES[family]
    given = {**COMMON, **row.config, **config}
    settings = classes(family)[0](**{name: value for name, value in given.items() if value is not None})
    settings._attn_implementation = attention
    net = (getattr(transformers, head) if isinstance(head, str) else head)(settings)
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                p.mul_(row.scale if scale is None else scale)
            else:
                p.add_(torch.randn_like(p) * 0.2)
    return net.to(dtype).eval()


def model(family: str, attention: str = "eager", **how: Any) -> Any:
    """A random sequence classifier with three classes, as `built`."""
    return built(family, classes(family)[1], attention, **how, num_labels=3)
