"""Small random models of images and texts, and processors as theirs are: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from generative import causal_tokenizer
from pellucid import Model

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {% for p in m['content'] %}{% if p['type'] == 'image' %}{IMAGE}{% else %}"
    "{{ p['text'] }}{% endif %}{% endfor %} ; {% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
)
TEXT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "head_dim": 6}
TEXT |= {"num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 256, "pad_token_id": 0}
TEXT |= {"bos_token_id": 2, "eos_token_id": 3}
SIGHT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
SIGHT |= {"image_size": 12, "patch_size": 4}
SQUARE = {"height": 12, "width": 12}


def image(seed: int = 0, height: int = 12, width: int = 12) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reading(**tokens: str) -> Any:
    """A tokenizer with signs for images, by their names among its special tokens."""
    plain = causal_tokenizer()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain.backend_tokenizer,
        model_max_length=256,
        extra_special_tokens=tokens,
        model_input_names=["input_ids", "attention_mask"],
        **{n: plain.special_tokens_map[n] for n in ("pad_token", "unk_token")},
    )


def template(placeholder: str) -> str:
    return TEMPLATE.replace("{IMAGE}", placeholder)


def llava() -> tuple[Any, Any]:
    tok = reading(image_token="<image>")
    size = {"size": SQUARE, "crop_size": SQUARE}
    processor = transformers.LlavaProcessor(
        transformers.CLIPImageProcessorPil(**size),
        tok,
        4,
        "default",
        template("<image>"),
        num_additional_image_tokens=1,
    )
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**SIGHT),
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_id=tok.image_token_id,
    )
    return transformers.LlavaForConditionalGeneration(config), processor


def llava_next() -> tuple[Any, Any]:
    tok = reading(image_token="<image>")
    size = {"size": {"shortest_edge": 12}, "crop_size": SQUARE, "image_grid_pinpoints": [[12, 24], [24, 12]]}
    pictures = transformers.LlavaNextImageProcessorPil(**size)
    how = {"patch_size": 4, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = transformers.LlavaNextProcessor(pictures, tok, chat_template=template("<image>"), **how)
    config = transformers.LlavaNextConfig(
        vision_config=transformers.CLIPVisionConfig(**SIGHT),
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_id=tok.image_token_id,
        image_grid_pinpoints=[[12, 24], [24, 12]],
    )
    return transformers.LlavaNextForConditionalGeneration(config), processor


def smolvlm() -> tuple[Any, Any]:
    """Its images are cut into tiles, and each tile into patches."""
    tags = {"fake_image_token": "<fake>", "global_image_token": "<global-img>", "image_token": "<image>"}
    tok = reading(
        **tags, end_of_utterance_token="<end>", **{f"tag_{r}{c}": f"<row_{r}_col_{c}>" for r in (1, 2) for c in (1, 2)}
    )
    pictures = transformers.Idefics3ImageProcessorPil(size={"longest_edge": 16}, max_image_size={"longest_edge": 8})
    processor = transformers.Idefics3Processor(pictures, tok, 1, template("<image>"))
    config = transformers.Idefics3Config(
        vision_config=transformers.Idefics3VisionConfig(**SIGHT | {"image_size": 8}),
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_id=tok.image_token_id,
        scale_factor=2,
    )
    return transformers.Idefics3ForConditionalGeneration(config), processor


def _qwen(config: Any, net: Any, **sight: Any) -> tuple[Any, Any]:
    tok = reading(
        image_token="<|image_pad|>", video_token="<|video_pad|>", begin="<|vision_start|>", end="<|vision_end|>"
    )
    pictures = transformers.Qwen2VLImageProcessorPil(patch_size=4, min_pixels=64, max_pixels=1024)
    written = template("<|vision_start|><|image_pad|><|vision_end|>")
    processor = object.__new__(transformers.Qwen2VLProcessor)  # its constructor needs torchvision, for videos
    processor.tokenizer, processor.image_processor, processor.chat_template = tok, pictures, written
    for kind in ("image", "video"):
        setattr(processor, f"{kind}_token", getattr(tok, f"{kind}_token"))
        setattr(processor, f"{kind}_token_id", getattr(tok, f"{kind}_token_id"))
    ids = tok.convert_tokens_to_ids
    rope = {"rope_theta": 1e4, "rope_type": "default", "mrope_section": [1, 1, 1]}
    made = config(
        vision_config={"depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, **sight},
        text_config={**TEXT, "rope_parameters": rope},
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    return net(made), processor


def qwen2() -> tuple[Any, Any]:
    sight = {"embed_dim": 16, "hidden_size": 24, "mlp_ratio": 2}
    return _qwen(transformers.Qwen2VLConfig, transformers.Qwen2VLForConditionalGeneration, **sight)


def qwen25() -> tuple[Any, Any]:
    sight = {
        "hidden_size": 16,
        "out_hidden_size": 24,
        "intermediate_size": 32,
        "window_size": 16,
        "fullatt_block_indexes": [1],
    }
    return _qwen(transformers.Qwen2_5_VLConfig, transformers.Qwen2_5_VLForConditionalGeneration, **sight)


def gemma3() -> tuple[Any, Any]:
    tok = reading(image_token="<soft>", boi_token="<begin>", eoi_token="<end>")
    pictures = transformers.Gemma3ImageProcessorPil(size=SQUARE)
    processor = transformers.Gemma3Processor(pictures, tok, template("<begin>"), image_seq_length=1)
    windows = {"query_pre_attn_scalar": 6, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
    config = transformers.Gemma3Config(
        vision_config=transformers.SiglipVisionConfig(**SIGHT),
        text_config=transformers.Gemma3TextConfig(**TEXT, **windows),
        image_token_id=tok.image_token_id,
        boi_token_index=tok.boi_token_id,
        eoi_token_index=tok.eoi_token_id,
        mm_tokens_per_image=1,
    )
    return transformers.Gemma3ForConditionalGeneration(config), processor


def qwen3() -> tuple[Any, Any]:
    """Its vision tower adds to the first layers of the text too."""
    sight = {"hidden_size": 16, "out_hidden_size": 24, "intermediate_size": 32}
    sight |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    return _qwen(transformers.Qwen3VLConfig, transformers.Qwen3VLForConditionalGeneration, **sight)


def paligemma(vocab_size: int = 1400) -> tuple[Any, Any]:
    tok = reading(image_token="<image>")
    tok.bos_token = "[CLS]"
    pictures = transformers.SiglipImageProcessorPil(size=SQUARE)
    pictures.image_seq_length = 9
    processor = transformers.PaliGemmaProcessor(pictures, tok)
    config = transformers.PaliGemmaConfig(
        vision_config=transformers.SiglipVisionConfig(**SIGHT),
        text_config=transformers.GemmaConfig(**TEXT | {"vocab_size": vocab_size}),
        image_token_id=tok.image_token_id,
        projection_dim=24,
    )
    return transformers.PaliGemmaForConditionalGeneration(config), processor


FAMILIES = {
    "Llava": llava,
    "LlavaNext": llava_next,
    "Idefics3": smolvlm,
    "Qwen2VL": qwen2,
    "Qwen2_5_VL": qwen25,
    "Qwen3VL": qwen3,
    "Gemma3": gemma3,
    "PaliGemma": paligemma,
}


def built(family: str, dtype: torch.dtype = torch.float64, attention: str = "eager", **config: Any) -> Model:
    """A model of this family with its processor, its weights scaled up so that nothing stays in its linear range."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, processor = FAMILIES[family](**config)
        net.set_attn_implementation(attention)
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(torch.randn_like(p) * 0.3 + (p.ndim == 1))
    return Model(net.to(dtype).eval(), processor)
