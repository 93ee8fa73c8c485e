"""Images and text to text: the scores of the patches and of the tokens are one sum, in every family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import Explanation, Model
from pictured import FAMILIES, built, image

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
