"""Images and text to text: the scores of the patches and of the tokens are one sum, in every family."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import Explanation, Model
from pellucid.errors import InputError, UnknownBaseline, UnsupportedModel
from pellucid.methods import stretches
from pellucid.models.tasks.patches import Layout
from pictured import FAMILIES, TEXT, built, image

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma's processor
PROMPT = "the film is great"


def asked(model: Model, picture: Any, prompt: str = PROMPT, **more: Any) -> dict[str, Any]:
    """An input: messages, or for a processor without a chat template a prompt."""
    if model.tokenizer.chat_template is None:
        return {"image": picture, "prompt": prompt, **more}
    content = [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]
    return {"messages": [{"role": "user", "content": content}], **more}


def as_processed(model: Model, given: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What transformers' users give the model for an input's prompt."""
    processor = model.tokenizer
    if "messages" in given:
        messages = given["messages"]
        how = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        made = processor.apply_chat_template(messages, **how)
    else:
        made = processor(images=[given["image"]], text=[f"<image>{given['prompt']}"], return_tensors="pt")
    made.pop("labels", None)
    made["pixel_values"] = made["pixel_values"].to(next(model.model.parameters()).dtype)
    return dict(made)


def continued_by(made: dict[str, torch.Tensor], ids: list[int], kind: int) -> dict[str, torch.Tensor]:
    """The same with a continuation, whose tokens have this type where tokens have types."""
    n = made["input_ids"].shape[1]
    new = {"input_ids": ids, "attention_mask": [1] * len(ids)}
    types = {name: [kind] * len(ids) for name in made if name.endswith("token_type_ids")}
    more = {name: torch.tensor([values]) for name, values in (new | types).items()}
    assert all(made[name].shape == (1, n) for name in more)
    return {**made, **{name: torch.cat([made[name], values], 1) for name, values in more.items()}}


def all_of(found: Any) -> list[Explanation]:
    return [found] if isinstance(found, Explanation) else list(found)


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {family: built(family) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_patches_and_tokens_are_one_sum(family: str, models: dict[str, Model]) -> None:
    """What the model itself writes, token by token, against the logits of its own generation and of its own pass on
    the baseline."""
    m = models[family]
    assert m.does.name == "image-text-to-text"
    given = asked(m, image())
    es = all_of(pellucid.explain(m, given, max_new_tokens=3))
    made = as_processed(m, given)
    n = made["input_ids"].shape[1]
    with torch.no_grad():
        how = {"max_new_tokens": 3, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
        own = m.model.generate(**made, **how)
    ids = own.sequences[0, n:].tolist()
    assert [e.target.index for e in es] == ids
    first = es[0]
    patches = sum(t.segment == 0 and not t.special for t in first.tokens)
    words = first.tokens[patches:]
    assert [t.id for t in words] == own.sequences[0].tolist()
    assert {t.text for t in words if not t.special} >= set(PROMPT.split())
    kind = int(family == "PaliGemma")
    empty = continued_by(made, ids, kind)
    filler = m.filler
    assert filler is not None
    replaced = [t.id if t.special else filler.id for t in words]
    empty = {
        **empty,
        "input_ids": torch.tensor([replaced]),
        "pixel_values": torch.full_like(made["pixel_values"], 1e-30),
    }
    with torch.no_grad():
        at_baseline = m.model(**empty).logits[0, n - 1 : -1].log_softmax(-1)
    for k, e in enumerate(es):  # the models' own casts to float32 stay
        assert e.output == pytest.approx(own.logits[k][0].log_softmax(-1)[ids[k]].item(), rel=1e-5)
        assert e.baseline_output == pytest.approx(at_baseline[k, ids[k]].item(), rel=1e-5)
        assert abs(e.delta) <= 1e-10 * np.abs(e.scores).sum()
        assert np.abs(e.scores[:patches]).sum() > 0 and np.abs(e.scores[patches:]).sum() > 0
        assert all(s == 0 for s, t in zip(e.scores, e.tokens, strict=True) if t.special)
        assert not e.scores[patches + n + k :].any()
        assert e.sources()[0].name == "image"
        assert sum(s.score for s in e.sources()) == pytest.approx(e.output - e.baseline_output, rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_single_precision(family: str) -> None:
    m = built(family, torch.float32, "sdpa")
    for e in all_of(pellucid.explain(m, asked(m, image(), continuation=" but dull"), target="total")):
        assert abs(e.delta) <= 1e-5 * np.abs(e.scores).sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_what_each_is_alone(family: str, models: dict[str, Model]) -> None:
    m = models[family]
    rows = [asked(m, image(k), continuation=" but dull") for k in range(2)]
    rows.append(asked(m, image(2), "a very bad plot , not so good", continuation=" but dull"))
    together = pellucid.explain(m, rows, target="total")
    for given, e in zip(rows, together, strict=True):
        alone = pellucid.explain(m, given, target="total")
        assert e.tokens == alone.tokens and e.output == pytest.approx(alone.output, rel=1e-10)
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-10 * np.abs(alone.scores).max())
    assert together[0].baseline_output == pytest.approx(together[1].baseline_output, rel=1e-12)
    assert together[0].output != together[1].output


def direct(model: Model, given: dict[str, Any], text: str, blank: bool = False, **replaced: torch.Tensor) -> Any:
    """log p of a continuation, by the model called on what its processor makes of the prompt. blank: on an image of
    nothing. replaced: what else is put in."""
    ids = model.tokenizer.tokenizer(text, add_special_tokens=False)["input_ids"]
    made = {**continued_by(as_processed(model, given), ids, 0), **replaced}
    if blank:
        made["pixel_values"] = torch.zeros_like(made["pixel_values"])
    with torch.no_grad():
        logits = model.model(**made).logits[0, -len(ids) - 1 : -1]
    return logits.log_softmax(-1)[range(len(ids)), ids].sum().item()


@pytest.mark.parametrize("family", FAMILIES)
def test_layer_by_layer(family: str, models: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no graph fits into memory as a whole: it is cut at the layers that the text passes through."""
    m = models[family]
    given = asked(m, image(), continuation=" but")
    whole = pellucid.explain(m, given)
    monkeypatch.setattr(stretches, "most_for_a_graph", lambda device: 0)
    walked, inner = [], stretches.contributions
    counted = lambda points: (walked.append(len(points[0].calls)), inner(points))[1]
    monkeypatch.setattr(stretches, "contributions", counted)
    found = pellucid.explain(m, given)
    assert walked == [TEXT["num_hidden_layers"]]
    np.testing.assert_allclose(found.scores, whole.scores, atol=1e-4 * np.abs(whole.scores).max())


@pytest.fixture(scope="module")
def llava(models: dict[str, Model]) -> Model:
    return models["Llava"]


def test_only_patches_that_have_content_have_scores(llava: Model) -> None:
    """Zeros after normalisation are the baseline itself."""
    processor = llava.tokenizer
    mean, processor.image_processor.image_mean = processor.image_processor.image_mean, [0.0, 0.0, 0.0]
    try:
        picture = np.zeros((12, 12, 3), dtype=np.uint8)
        empty = pellucid.explain(llava, asked(llava, picture, continuation=" but"))
        picture[4:8, 8:12] = 200
        one = pellucid.explain(llava, asked(llava, picture, continuation=" but"))
    finally:
        processor.image_processor.image_mean = mean
    assert not empty.scores[:9].any() and empty.scores[9:].any()
    assert [t.text for t, s in zip(one.tokens[:9], one.scores, strict=False) if s] == ["image: 1,2"]
    assert one.baseline_output == pytest.approx(empty.baseline_output, rel=1e-5)


def test_a_prompt_is_written_as_the_template_has_it(llava: Model) -> None:
    first = pellucid.explain(llava, asked(llava, image(), continuation=" but"))
    given = {"image": image(), "prompt": PROMPT, "continuation": " but"}
    second = pellucid.explain(llava, given)
    assert np.array_equal(first.scores, second.scores) and second.text_names == ("image", "prompt", "continuation")
    placed = pellucid.explain(llava, {**given, "prompt": f"so <image> {PROMPT}"})
    words = {t.text: placed.segment_text(1)[slice(*t.span)] for t in placed.tokens if t.segment == 1 and t.span}
    assert words == {w: w for w in ["so", *PROMPT.split()]}


@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients", "shapley", "saliency"])
def test_other_methods(method: str, llava: Model) -> None:
    """Against the model alone: on images with a patch blackened out, and on none at all."""
    given = asked(llava, image())
    e = pellucid.explain(llava, {**given, "continuation": " but"}, method=method, groups="token")
    whole, pixels = direct(llava, given, " but"), as_processed(llava, given)["pixel_values"]
    assert e.output == pytest.approx(whole, rel=1e-5)
    assert [s.name for s in e.sources()] == ["image", "user", "continuation", "template"]
    if method == "occlusion":
        for k in range(9):
            without, (row, column) = pixels.clone(), divmod(k, 3)
            without[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
            alone = direct(llava, given, " but", pixel_values=without)
            assert e.scores[k] == pytest.approx(whole - alone, abs=1e-5)
    elif method != "saliency":
        assert e.scores.sum() == pytest.approx(e.output - e.baseline_output, rel=2e-2)
    else:
        made = continued_by(as_processed(llava, given), [e.target.index], 0)
        x = pixels.clone().requires_grad_()
        (grad,) = torch.autograd.grad(
            llava.model(**{**made, "pixel_values": x}).logits[0, -2].log_softmax(-1)[e.target.index], x
        )
        norms = grad[0].unflatten(2, (3, 4)).unflatten(1, (3, 4)).square().sum((0, 2, 4)).sqrt()
        np.testing.assert_allclose(e.scores[:9], norms.flatten(), rtol=1e-4)


def test_an_image_is_removed_as_one(llava: Model) -> None:
    given = asked(llava, image())
    e = pellucid.explain(llava, {**given, "continuation": " but"}, method="occlusion", groups="source")
    lost = direct(llava, given, " but") - direct(llava, given, " but", blank=True)
    assert e.sources()[0].score == pytest.approx(lost, abs=1e-5)
    assert e.groups()[0].text == "image 12×12"


def test_targets(llava: Model) -> None:
    given = asked(llava, image())
    total = pellucid.explain(llava, {**given, "continuation": " but dull"}, target="total")
    assert total.output == pytest.approx(direct(llava, given, " but dull"), rel=1e-5)
    versus = pellucid.explain(llava, {**given, "continuation": " but dull", "versus": " very good"})
    assert versus.output == pytest.approx(total.output - direct(llava, given, " very good"), rel=1e-4, abs=1e-5)
    assert versus.relative_delta < 1e-10 and versus.sources()[-2].name == "other continuation"
    for target in ("sentences", {"span": (0, 4)}, "runner-up", {"token": "good - bad", "position": 0}, "dull"):
        for e in all_of(pellucid.explain(llava, {**given, "continuation": " but dull"}, target=target)):
            assert e.relative_delta < 1e-9 and e.scores[:9].any()


def test_an_image_of_its_mean_colour(llava: Model) -> None:
    given = {"image": image(), "prompt": "<image>", "continuation": " but"}
    pixels = as_processed(llava, asked(llava, image()))["pixel_values"]
    colour = pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    words = asked(llava, image())
    e = pellucid.explain(llava, {**words, "continuation": " but"}, method="occlusion", baseline="mean", groups="source")
    lost = direct(llava, words, " but") - direct(llava, words, " but", pixel_values=colour)
    assert e.sources()[0].score == pytest.approx(lost, abs=1e-5)
    assert any("its mean colour" in note for note in e.notes)
    with pytest.raises(InputError, match=r"no text|at least one text|placeholder|word"):
        pellucid.explain(llava, {**given, "prompt": " "})


@pytest.mark.parametrize("family", ["Llava", "LlavaNext", "Idefics3", "Qwen2_5_VL", "Gemma3"])
def test_several_images(family: str, models: dict[str, Model]) -> None:
    m = models[family]
    pictures = [image(0), image(1)]
    content = [{"type": "image", "image": pictures[0]}, {"type": "text", "text": "good film and"}]
    content += [{"type": "image", "image": pictures[1]}, {"type": "text", "text": "bad plot"}]
    messages = [{"role": "user", "content": content}]
    e = pellucid.explain(m, {"messages": messages, "continuation": " but dull"}, target="total")
    assert e.text_names == ("image 1", "image 2", "user 1", "user 2", "continuation") and e.relative_delta < 1e-9
    texts = {n: [t.text for t in e.tokens if t.segment == n and t.span] for n in (2, 3)}
    assert texts == {2: ["good", "film", "and"], 3: ["bad", "plot"]}
    other = [{**messages[0], "content": [content[0], content[1], {"type": "image", "image": image(2)}, content[3]]}]
    changed = pellucid.explain(m, {"messages": other, "continuation": " but dull"}, target="total")
    assert changed.baseline_output == pytest.approx(e.baseline_output, rel=1e-5) and changed.output != e.output
    assert sum(s.score for s in e.sources()) == pytest.approx(e.output - e.baseline_output, rel=1e-9)
    named = [{**messages[0], "role": "continuation"}, {"role": "image 1", "content": "bad"}]
    names = pellucid.explain(m, {"messages": named, "continuation": " but"}, "random", target="total").text_names
    assert names[2:] == ("continuation 1", "continuation 2", "image 1 1", "continuation") and len({*names}) == 6


def test_a_placeholder_beyond_the_vocabulary() -> None:
    m = built("PaliGemma", vocab_size=70)
    assert m.model.config.image_token_id >= 70 == m.embedding.num_embeddings
    e = pellucid.explain(m, asked(m, image(), continuation=" but"))
    assert e.relative_delta < 1e-10 and e.scores[:9].any()


def test_texts_alone(llava: Model) -> None:
    e = pellucid.explain(llava, {"prompt": PROMPT, "continuation": " but"})
    ids = llava.tokenizer.tokenizer(f"{PROMPT} but", return_tensors="pt")
    with torch.no_grad():
        plain = llava.model(**ids).logits[0, -2].log_softmax(-1)[e.target.index].item()
    assert e.output == pytest.approx(plain, rel=1e-5) and e.text_names in ((), ("prompt", "continuation"))


def test_what_cannot_be(llava: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"type": "text", "text": "good"}
    ask = lambda *parts: {"messages": [{"role": "user", "content": list(parts)}], "continuation": " but"}
    for given, told in (
        (ask({"type": "video", "video": "a.mp4"}, said), "Found video in message 0"),
        (ask({"type": "audio", "audio": "a.wav"}, said), "Found audio in message 0"),
        (ask({"type": "image", "url": "https://a/b.png"}, said), "nothing is fetched"),
        (ask({"type": "image"}, said), "expected an image"),
        ("a.png", "expected a mapping such as"),
        ({"images": [image(), image()], "prompt": "<image> good"}, "Found 2 images and 1 times '<image>'"),
        ({"image": image(), "prompt": "good", "continuation": " a <image>"}, "in the continuation"),
    ):
        with pytest.raises(InputError, match=told):
            pellucid.explain(llava, given)
    for baseline in ("delete", torch.zeros(3, 12, 12)):
        with pytest.raises(UnknownBaseline, match="expected"):
            pellucid.explain(llava, asked(llava, image()), baseline=baseline, method="occlusion")
    with pytest.raises(InputError, match="several sequences"):
        pellucid.explain(llava, asked(llava, image()), detail="layers")
    with pytest.raises(UnsupportedModel, match=r"expected the model's processor.*task='text-generation'"):
        Model(llava.model, llava.tokenizer.tokenizer)
    monkeypatch.setattr(llava.model.config, "is_encoder_decoder", True)
    with pytest.raises(UnsupportedModel, match="expected a decoder that reads both"):
        pellucid.explain(llava, asked(llava, image()))


def test_a_checkpoint_and_files(llava: Model, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    llava.model.save_pretrained(tmp_path / "net")
    llava.tokenizer.save_pretrained(tmp_path / "net")
    pil.fromarray(image()).save(tmp_path / "a.png")
    m = pellucid.load(tmp_path / "net", dtype=torch.float64)
    assert m.does.name == "image-text-to-text"
    e = pellucid.explain(m, asked(m, str(tmp_path / "a.png"), continuation=" but"))
    again = pellucid.explain(llava, asked(llava, pil.fromarray(image()), continuation=" but"))
    np.testing.assert_allclose(e.scores, again.scores, rtol=1e-4, atol=1e-6)
    assert e.text[0].endswith("a.png") and Explanation.from_json(e.to_json()) == e


def test_shown(models: dict[str, Model]) -> None:
    e = pellucid.explain(models["Idefics3"], asked(models["Idefics3"], image(), continuation=" but"))
    view = e.view().explanations[0]
    assert [(m.name, m.rows, m.columns) for m in view.maps] == [(f"image, tile {k}", 2, 2) for k in range(1, 6)]
    assert sum(m.score for m in view.maps) == pytest.approx(e.sources()[0].score) and view.grid is None
    assert re.search(r"^image  [+−]\d.*\n *image 12×12 *$", str(e), re.MULTILINE)
    q = pellucid.explain(models["Qwen2VL"], asked(models["Qwen2VL"], image(), continuation=" but"))
    (map_,) = q.view().explanations[0].maps
    assert [q.tokens[i].text for i in map_.tokens] == [f"image: {r},{c}" for r in range(4) for c in range(4)]
    figure = q.plot("image")
    assert figure.axes[0].images[0].get_array().shape == (4, 4)
    forecast = pellucid.forecast(models["Qwen2VL"], asked(models["Qwen2VL"], image(), continuation=" but"))
    assert (forecast.tokens, forecast.targets) == (len(q.tokens), 1)


def test_an_image_is_cited(llava: Model) -> None:
    given = asked(llava, image())
    cited = pellucid.cite(llava, {**given, "continuation": " but dull"}, verify=True)
    (sentence,) = cited.sentences
    whole = direct(llava, given, " but dull")
    drops = {c.name: c.drop for c in sentence.sources if c.cited}
    assert set(drops) == {"image", "user"}
    assert drops["image"] == pytest.approx(whole - direct(llava, given, " but dull", blank=True), abs=1e-5)


def test_faithfulness_is_measured(llava: Model) -> None:
    """With tokens drawn from the texts too, of which no patch is one."""
    given = [{**asked(llava, image()), "continuation": " but"}]
    found = pellucid.evaluate(llava, given, methods=["occlusion"], operators=["mask", "sampled"])
    assert "occlusion" in str(found)


def test_processors_that_say_more_of_tokens(llava: Model) -> None:
    class Turned(type(llava.tokenizer)):
        def __call__(self, *args: Any, **how: Any) -> Any:
            made = super().__call__(*args, **how)
            return {**made, "input_ids": made["input_ids"].flip(1)}

    class Crossing(type(llava.tokenizer)):
        def __call__(self, *args: Any, **how: Any) -> Any:
            made = super().__call__(*args, **how)
            return {**made, "cross_attention_mask": torch.ones(*made["input_ids"].shape, 1, 2)}

    for kind, told in ((Turned, "other token ids than its tokenizer"), (Crossing, "which images it sees")):
        processor = copy.copy(llava.tokenizer)
        processor.__class__ = kind
        with pytest.raises(UnsupportedModel, match=told):
            pellucid.explain(Model(llava.model, processor), asked(llava, image()))


def test_in_half_precision() -> None:
    m = built("Idefics3", torch.bfloat16)
    e = pellucid.explain(m, asked(m, image(), continuation=" but"), baseline="zero")
    assert abs(e.delta) <= 0.1 * np.abs(e.scores).sum() and e.scores[:20].any()


@pytest.mark.parametrize(("shape", "size"), [((2, 3, 12, 8), (4, 4)), ((1, 3, 10, 7), (4, 3)), ((6, 5), None)])
def test_pixels_are_cut_and_joined(shape: tuple[int, ...], size: tuple[int, int] | None) -> None:
    layout, pixels = Layout(shape, size), torch.randn(2, *shape)
    patches = layout.cut(pixels)
    assert patches.shape[:2] == (2, len(layout)) and torch.equal(layout.joined(patches), pixels)
    if size == (4, 4):
        assert torch.equal(patches[1, 8].view(3, 4, 4), pixels[1, 1, :, 4:8, :4])  # tile 2: row 1, column 0
