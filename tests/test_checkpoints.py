"""Checkpoints as people have them: GGUF files and adapters, beside the same weights in transformers' own form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import pellucid
from families import built, tokenizer
from pellucid import errors

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # what peft asks

WORDS = [*map(chr, range(33, 127)), "Ġ", "Ġg", "Ġf", "oo", "Ġgoo", "Ġgood", "<|end|>"]
HIDDEN, INNER, HEADS = 16, 32, 2


def gguf_of_a_llama(path: Path) -> None:
    """A llama of one layer with drawn weights, as llama.cpp keeps it."""
    gguf: Any = pytest.importorskip("gguf", reason="gguf is not installed")
    w, draw = gguf.GGUFWriter(path, "llama"), np.random.default_rng(0)
    w.add_context_length(64)
    w.add_embedding_length(HIDDEN)
    w.add_block_count(1)
    w.add_feed_forward_length(INNER)
    w.add_head_count(HEADS)
    w.add_head_count_kv(1)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_dimension_count(HIDDEN // HEADS)
    w.add_vocab_size(len(WORDS))
    w.add_tokenizer_model("gpt2")
    w.add_token_list(WORDS)
    w.add_token_types([1] * (len(WORDS) - 1) + [3])
    w.add_token_merges(["Ġ g", "Ġ f", "o o", "Ġg oo", "Ġgoo d"])
    w.add_bos_token_id(len(WORDS) - 1)
    w.add_eos_token_id(len(WORDS) - 1)
    shapes = {"token_embd": (len(WORDS), HIDDEN), "output": (len(WORDS), HIDDEN), "output_norm": (HIDDEN,)}
    inner = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (HIDDEN // 2, HIDDEN), "attn_v": (HIDDEN // 2, HIDDEN)}
    inner |= {"attn_output": (HIDDEN, HIDDEN), "attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,)}
    inner |= {"ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN), "ffn_down": (HIDDEN, INNER)}
    for name, shape in (shapes | {f"blk.0.{k}": v for k, v in inner.items()}).items():
        w.add_tensor(f"{name}.weight", draw.normal(1 if len(shape) == 1 else 0, 0.3, shape).astype("float32"))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def test_a_gguf_file(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    gguf_of_a_llama(file)
    model = pellucid.load(file)
    assert model.does.name == "text-generation" and "labels" not in repr(model)
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32)
    e = pellucid.explain(model, {"prompt": "a good", "continuation": " film"}, target="total")
    ids, at = torch.tensor([[t.id for t in e.tokens]]), sum(t.segment == 0 for t in e.tokens)
    with torch.no_grad():
        told = peer(ids).logits[0, :-1].log_softmax(-1)[range(at - 1, ids.shape[1] - 1), ids[0, at:]].sum()
    assert e.output == pytest.approx(float(told), abs=1e-5) and e.relative_delta < 1e-4


@pytest.fixture
def adapter(tmp_path: Path) -> tuple[Path, Any]:
    """A folder with a LoRA adapter of a Bert in another folder, and the adapted model itself."""
    peft: Any = pytest.importorskip("peft", reason="peft is not installed")
    base = tmp_path / "base"
    built("Bert", "BertForSequenceClassification", num_labels=2).save_pretrained(base)
    tokenizer().save_pretrained(base)
    torch.manual_seed(1)
    how = peft.LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS", init_lora_weights=False)
    net = peft.get_peft_model(transformers.AutoModelForSequenceClassification.from_pretrained(base), how).eval()
    net.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", net


def test_an_adapter(adapter: tuple[Path, Any]) -> None:
    folder, net = adapter
    model = pellucid.load(folder)
    e = pellucid.explain(model, "the film was good", target=1)
    with torch.no_grad():
        told = net(**model.tokenizer("the film was good", return_tensors="pt")).logits[0, 1]
    assert e.output == pytest.approx(float(told), abs=1e-5) and e.relative_delta < 1e-4
    assert e.meta["model"] == str(folder)
    plain = pellucid.explain(pellucid.load(folder.parent / "base"), "the film was good", target=1)
    assert abs(plain.output - e.output) > 1e-3


def test_adapters_that_cannot_be_read(adapter: tuple[Path, Any]) -> None:
    folder, _ = adapter
    (folder / "adapter_model.safetensors").rename(folder / "weights")
    with pytest.raises(errors.ModelNotFound, match=r"adapter_model\.safetensors"):
        pellucid.load(folder)
    told = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(told | {"base_model_name_or_path": None}))
    with pytest.raises(errors.ModelNotFound, match="base_model_name_or_path"):
        pellucid.load(folder)


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"0")
    with pytest.raises(errors.ModelNotFound, match="no directory"):
        pellucid.load(file)
