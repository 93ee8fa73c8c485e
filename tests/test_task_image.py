"""Image classification: a label's logit, attributed to the patches of the image."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import pellucid
from families import tokenizer
from heads import headed
from pellucid import Model
from pellucid.errors import InputError, MissingExtra, UnknownBaseline, UnsupportedModel

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
PIXELS = {"image_size": 12, "patch_size": 4, "num_channels": 3}


class Processor:
    """What an image processor of transformers does, without a library for images."""

    def __call__(self, image: Any, return_tensors: str = "np") -> dict[str, Any]:
        pixels = np.asarray(image, dtype=np.float32)[:12, :12].transpose(2, 0, 1) / 127.5 - 1
        return {"pixel_values": pixels[None]}


def image(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)


def net(family: str = "ViT", attention: str = "eager", **more: Any) -> Any:
    torch.manual_seed(0)
    size = SIZE if family in ("ViT", "DeiT") else {}
    settings = getattr(transformers, f"{family}Config")(**{**size, **PIXELS, "num_labels": 3, **more})
    settings._attn_implementation = attention
    found = getattr(transformers, f"{family}ForImageClassification")(settings)
    with torch.no_grad():
        for p in found.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    return found.eval()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["ViT", "DeiT"])
def test_patches_add_up(family: str, attention: str) -> None:
    m = Model(net(family, attention), Processor())
    assert m.does.name == "image-classification"
    images = [image(0), image(1)]
    for given, e in zip(images, pellucid.explain(m, images), strict=True):
        with torch.no_grad():
            logits = m.model(torch.from_numpy(Processor()(given)["pixel_values"])).logits[0]
        best = int(logits.argmax())
        assert e.output == pytest.approx(logits[best].item(), abs=1e-5)
        assert (e.target.index, e.prediction) == (best, f"LABEL_{best}")
        assert e.relative_delta < 1e-5
        assert [t.text for t in e.tokens] == [f"{r},{c}" for r in range(3) for c in range(3)]
        assert all(t.span is None and not t.special for t in e.tokens)
        np.testing.assert_allclose(pellucid.explain(m, given).scores, e.scores, atol=1e-5)


def test_a_patch_is_where_it_says() -> None:
    """An image that differs from the baseline in one patch only."""
    given = np.full((12, 12, 3), 127.5, dtype=np.float32)  # zero after normalisation
    given[4:8, 8:12] = 255
    e = pellucid.explain(Model(net(), Processor()), given, baseline="zero")
    assert [t.text for t, s in zip(e.tokens, e.scores, strict=True) if s] == ["1,2"]


def test_baselines() -> None:
    m = Model(net(), Processor())
    given = image()
    mask, zero, mean = (pellucid.explain(m, given, baseline=b) for b in ("mask", "zero", "mean"))
    assert mask.baseline == zero.baseline == "zero" and np.array_equal(mask.scores, zero.scores)
    pixels = torch.from_numpy(Processor()(given)["pixel_values"])
    with torch.no_grad():
        empty = m.model(torch.zeros_like(pixels)).logits[0]
        colour = m.model(pixels.mean((2, 3), keepdim=True).expand_as(pixels)).logits[0]
    assert zero.baseline_output == pytest.approx(empty[zero.target.index].item(), abs=1e-5)
    assert mean.baseline_output == pytest.approx(colour[mean.target.index].item(), abs=1e-5)
    as_pixels = pellucid.explain(m, given, baseline=torch.zeros(3, 12, 12))
    assert np.allclose(as_pixels.scores, zero.scores)
    embeddings = pellucid.explain(m, given, baseline=torch.zeros(9, 32))
    assert abs(embeddings.delta) < 8 * np.finfo(np.float32).eps * abs(embeddings.output)
    assert not np.allclose(embeddings.scores, zero.scores)
    both = pellucid.explain(m, given, baseline=["zero", "mean"])
    assert np.allclose(both.scores, (zero.scores + mean.scores) / 2)
    for bad in ("pad", torch.zeros(2, 5)):
        with pytest.raises(UnknownBaseline, match="expected"):
            pellucid.explain(m, given, baseline=bad)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "saliency"])
def test_other_methods(method: str) -> None:
    """Against the model alone, on images with a patch blackened out, or by autograd."""
    vit = net()
    e = pellucid.explain(Model(vit, Processor()), image(), method=method, target=1)
    pixels = torch.from_numpy(Processor()(image())["pixel_values"])
    patches: list[torch.Tensor] = []
    handle = vit.vit.embeddings.patch_embeddings.register_forward_hook(lambda _m, _a, out: patches.append(out))
    f = vit(pixel_values=pixels).logits[0, 1]
    handle.remove()
    if method == "integrated_gradients":
        f0 = vit(pixel_values=0 * pixels).logits[0, 1]
        assert e.scores.sum() == pytest.approx((f - f0).item(), rel=2e-2)
    elif method == "occlusion":
        for k, score in enumerate(e.scores):
            without, (row, column) = pixels.clone(), divmod(k, 3)
            without[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
            assert score == pytest.approx((f - vit(pixel_values=without).logits[0, 1]).item(), abs=1e-5)
    else:
        (g,) = torch.autograd.grad(f, patches[0])
        np.testing.assert_allclose(e.scores, g[0].norm(dim=-1), rtol=1e-4)


def test_layers_and_targets() -> None:
    e = pellucid.explain(Model(net(), Processor()), image(), target="LABEL_1 - LABEL_0", detail=("layers",))
    assert e.relative_delta < 1e-5 and e.target.index == (1, 0)


def test_images_of_other_sizes_go_alone() -> None:
    m = Model(net("ViT", interpolate=True), lambda image, return_tensors: Processor()(image))
    small = np.asarray(image())[:, :, 0]  # a grey image
    for e, given in zip(
        pellucid.explain(m, [image(), small], target=0), [image(), np.stack([small] * 3, 2)], strict=True
    ):
        with torch.no_grad():
            logits = m.model(torch.from_numpy(Processor()(given)["pixel_values"])).logits[0]
        assert e.output == pytest.approx(logits[0].item(), abs=1e-5)


def test_files_and_pil_images(tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    made = pil.fromarray(image())
    made.save(tmp_path / "a.png")
    m = Model(net(), Processor())
    e, f, g = pellucid.explain(m, [image(), made, str(tmp_path / "a.png")])
    assert np.allclose(e.scores, f.scores) and np.allclose(e.scores, g.scores)
    assert (e.text, f.text, g.text) == ("image 12×12", "image 12×12", str(tmp_path / "a.png"))


def test_a_file_needs_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pellucid\[images\]"):
        pellucid.explain(Model(net(), Processor()), "a.png")


def test_survives_json() -> None:
    e = pellucid.explain(Model(net(), Processor()), image())
    again = pellucid.Explanation.from_json(e.to_json())
    assert again.tokens == e.tokens and np.array_equal(again.scores, e.scores)
    assert "1,2" in e.to_html()


def test_loads_a_checkpoint_with_its_processor(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    net().save_pretrained(tmp_path)
    transformers.ViTImageProcessorPil(size={"height": 12, "width": 12}).save_pretrained(tmp_path)
    m = pellucid.load(tmp_path)
    large = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    e = pellucid.explain(m, large)
    assert m.does.name == "image-classification" and e.relative_delta < 1e-5 and len(e.tokens) == 9


def swin() -> Any:
    return net("Swin", embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=3, image_size=24, patch_size=4)


def test_a_hierarchical_transformer() -> None:
    """Swin's patches are followed to where they are one vector each."""
    big = lambda image, return_tensors: {
        "pixel_values": np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    }
    given = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    e = pellucid.explain(Model(swin(), big), given)
    assert len(e.tokens) == 36 and e.relative_delta < 1e-4


TEXT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 9}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1]}
TOWERS = {"vision_config": {**SIZE, **PIXELS}, "text_config": {**TEXT, "bos_token_id": 1, "eos_token_id": 2}}


@pytest.mark.parametrize(
    ("family", "settings", "sides"),
    [
        ("CLIP", TOWERS, 3),  # a map, which a class token joins
        ("Siglip", TOWERS, 3),  # the first vectors, one for each patch, are those of positions
        ("Data2VecVision", {**SIZE, **PIXELS}, 3),
        ("ConvNext", {**STAGES, "num_stages": 2}, 3),
        ("ResNet", {**STAGES, "embedding_size": 8, "layer_type": "basic"}, 6),  # its places overlap
        ("MobileNetV2", {"image_size": 12, "depth_multiplier": 0.1}, 6),  # the model pads, and then convolves
    ],
)
def test_a_map_is_one_vector_for_each_place(family: str, settings: dict[str, Any], sides: int) -> None:
    torch.manual_seed(0)
    made = getattr(transformers, f"{family}ForImageClassification")
    found = made(getattr(transformers, f"{family}Config")(**settings, num_labels=3)).double().eval()
    m = Model(found, Processor())
    for e, given in zip(pellucid.explain(m, [image(0), image(1)]), [image(0), image(1)], strict=True):
        with torch.no_grad():
            pixels = torch.from_numpy(Processor()(given)["pixel_values"]).double()
            logits, empty = (found(pixel_values=x).logits[0, e.target.index] for x in (pixels, 0 * pixels))
        assert [t.text for t in e.tokens] == [f"{r},{c}" for r in range(sides) for c in range(sides)]
        assert e.output == pytest.approx(logits.item()) and e.baseline_output == pytest.approx(empty.item())
        assert abs(e.delta) <= 1e-12 * np.abs(e.scores).sum()


def test_patches_that_are_not_all_the_model_knows() -> None:
    class Beside(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut, self.head = torch.nn.Conv2d(3, 8, 4, 4), torch.nn.Linear(11, 2)

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat([self.cut(pixel_values).mean((2, 3)), pixel_values.mean((2, 3))], 1))

    with pytest.raises(UnsupportedModel, match=r"no patches to attribute to.*pellucid\.attribute"):
        Model(Beside(), lambda image, return_tensors: Processor()(image), task="image-classification")


@pytest.mark.parametrize("bad", [3, np.zeros(4), "no/such/file.png"])
def test_errors_say_what_to_do(bad: Any) -> None:
    if isinstance(bad, str):
        pytest.importorskip("PIL")
    with pytest.raises(InputError, match=r"[Ee]xpected"):
        pellucid.explain(Model(net(), Processor()), bad)


def test_a_tokenizer_reads_no_images() -> None:
    with pytest.raises(UnsupportedModel, match="could not read an image"):
        Model(net(), tokenizer())


def test_a_text_model_takes_no_pixels() -> None:
    with pytest.raises(UnsupportedModel, match="expected an argument 'pixel_values' for image-classification"):
        Model(headed("Bert", "ForSequenceClassification"), Processor(), task="image-classification")


def test_a_model_whose_answers_change_from_call_to_call() -> None:
    found, calls = net(), itertools.count(1)
    own = found.forward

    def changing(*args: Any, **kwargs: Any) -> Any:
        out = own(*args, **kwargs)
        out["logits"] = out.logits * next(calls)
        return out

    found.forward = changing
    with pytest.raises(UnsupportedModel, match="same image; expected the same"):
        pellucid.explain(Model(found, Processor(), embeddings="vit.embeddings"), image())


def test_a_model_that_cuts_no_patches() -> None:
    class Flat(torch.nn.Linear):
        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return super().forward(pixel_values.flatten(1))

    with pytest.raises(UnsupportedModel, match="no convolution"):
        Model(Flat(3 * 12 * 12, 2), Processor(), task="image-classification")


def test_the_heat_map() -> None:
    pytest.importorskip("matplotlib")
    e = pellucid.explain(Model(net(), Processor()), image())
    figure = e.plot("image")
    (drawn,) = figure.axes[0].images
    assert np.array_equal(drawn.get_array(), e.scores.reshape(3, 3))
    with pytest.raises(InputError, match="patches"):
        pellucid.explain(pellucid.load(), "a good film").plot("image")
