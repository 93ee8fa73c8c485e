"""Every task in the app, filled in and clicked in a real browser; what is drawn is what Python answers."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from browser import Tab, browser
from families import built, tokenizer
from generative import coder, generator
from heads import headed
from hostile import explanations
from pellucid import Explanations, Model
from pellucid.answers import explanations_of
from serving import scores_of, served
from test_task_image import Processor
from test_task_image import net as image_net

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
ANSWERS = ["entailment", "neutral", "contradiction"]


def named(labels: list[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def chatting() -> Model:
    model = generator("GPT2")
    model.tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}"
    return model


def models() -> dict[str, Model]:
    """A small random model for each task, under the name that the app lists it by."""
    bert = lambda head, **how: headed("Bert", head, **how)
    found = {
        "text-classification": Model(bert("ForSequenceClassification", **named(ANSWERS)), tokenizer()),
        "token-classification": Model(bert("ForTokenClassification", **named(TAGS)), tokenizer()),
        "fill-mask": Model(bert("ForMaskedLM"), tokenizer()),
        "question-answering": Model(bert("ForQuestionAnswering"), tokenizer()),
        "zero-shot-classification": Model(
            bert("ForSequenceClassification", **named(ANSWERS)), tokenizer(), task="zero-shot-classification"
        ),
        "multiple-choice": Model(bert("ForMultipleChoice"), tokenizer()),
        "sentence-similarity": Model(bert("Model"), tokenizer(), task="sentence-similarity"),
        "text-generation": chatting(),
        "text2text-generation": coder("Bart"),
        "image-classification": Model(image_net(**named(["cat", "dog", "bird"])), Processor()),
        "other": Model(built("Bert", "BertForSequenceClassification", seed=1, **named(ANSWERS)), tokenizer()),
    }
    for name, model in found.items():
        model.model.config._name_or_path = "" if name == "sentence-similarity" else name  # it would look for a file
    return found


@pytest.fixture(scope="module")
def known() -> dict[str, Model]:
    return models()


@pytest.fixture(scope="module")
def page(known: dict[str, Model]) -> Iterator[Any]:
    pytest.importorskip("starlette", reason="needs starlette, of the extra [app]")
    with browser() as running, served(list(known.values())) as address:
        tab = Tab(running, viewport={"width": 1100, "height": 1000})
        tab.page.goto(address)
        tab.page.locator("[data-part]").first.wait_for()
        yield tab.page
        assert [fault for fault in tab.faults if "400 (Bad Request)" not in fault] == []


def picture() -> bytes:
    pillow = pytest.importorskip("PIL.Image", reason="needs Pillow, of the extra [images]")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    pillow.fromarray(pixels).save(out := io.BytesIO(), format="PNG")
    return out.getvalue()


NEW = 10
"""So many tokens the page asks for."""
CHAT = [{"role": "user", "content": "where is it"}, {"role": "assistant", "content": "in Paris"}]
CASES: list[tuple[str, dict[str, str], Any]] = [
    ("text-classification", {"Text": "a great film"}, "a great film"),
    ("text-classification", {"Text": "a great film", "Second text": "so dull"}, ("a great film", "so dull")),
    ("token-classification", {"Text": "it is in Berlin"}, "it is in Berlin"),
    ("fill-mask", {"Text with a mask": "the [MASK] was great"}, "the [MASK] was great"),
    (
        "question-answering",
        {"Question": "where?", "Context": "in Paris"},
        {"question": "where?", "context": "in Paris"},
    ),
    (
        "zero-shot-classification",
        {"Text": "a great film", "Labels, one a line": "the film\n\nthe team"},
        {"text": "a great film", "labels": ["the film", "the team"]},
    ),
    (
        "multiple-choice",
        {"Prompt": "the film was", "Choices, one a line": "great\ndull"},
        {"prompt": "the film was", "choices": ["great", "dull"]},
    ),
    ("sentence-similarity", {"Text": "a great film", "Second text": "so dull"}, ("a great film", "so dull")),
    ("text-generation", {"Prompt": "the film was", "Continuation": " great !"}, ("the film was", " great !")),
    ("text-generation", {"Or a chat": "user: where is it\nassistant: in Paris"}, {"messages": CHAT}),
    ("text-generation", {"Prompt": "the film was"}, "the film was"),
    ("text2text-generation", {"Source": "the film", "Output": "was great"}, ("the film", "was great")),
]


def ask(page: Any, task: str, fields: dict[str, str]) -> Any:
    """The View that the app draws after the form was filled in and Explain was clicked."""
    page.select_option("[name=model]", "BertModel" if task == "sentence-similarity" else task)
    for box in page.locator("textarea[data-part]").all():
        box.fill("")
    for name, text in fields.items():
        page.locator(".fields").get_by_label(re.compile(f"^{re.escape(name)}")).fill(text)
    filled = [json.dumps(text) for text in fields.values()]
    mine = lambda r: r.url.endswith("/api/explain") and all(text in r.request.post_data for text in filled)
    with page.expect_response(mine) as answer:
        page.get_by_role("button", name="Explain", exact=True).click()
    assert answer.value.status == 200, answer.value.text()
    page.wait_for_function("() => !document.querySelector('.answer').matches('.stale, [hidden]')")
    return answer.value.json()["view"]


@pytest.mark.parametrize(
    ("task", "fields", "given"), CASES, ids=[f"{task}-{i}" for i, (task, _, _) in enumerate(CASES)]
)
def test_a_form_for_every_task(
    page: Any, known: dict[str, Model], task: str, fields: dict[str, str], given: Any
) -> None:
    shown = ask(page, task, fields)
    wanted = Explanations(tuple(explanations_of(pellucid.explain(known[task], given, max_new_tokens=NEW))))
    assert scores_of(shown) == [pytest.approx(e.scores.tolist(), abs=1e-4) for e in wanted] and len(wanted)
    first = shown["explanations"][0]
    assert [e.get("target", first["target"])["name"] for e in shown["explanations"]] == [e.target.name for e in wanted]
    drawn = page.locator(".answer .viewer")
    assert wanted[0].target.name in drawn.inner_text() or wanted[0].prediction in drawn.inner_text()


def test_an_image_is_read_from_a_file(page: Any, known: dict[str, Model], tmp_path: Path) -> None:
    content = picture()
    page.select_option("[name=model]", "image-classification")
    page.set_input_files("input[data-part=image]", {"name": "a.png", "mimeType": "image/png", "buffer": content})
    with page.expect_response("**/api/explain") as answer:
        page.get_by_role("button", name="Explain", exact=True).click()
    from PIL import Image

    e = pellucid.explain(known["image-classification"], Image.open(io.BytesIO(content)))
    assert scores_of(answer.value.json()["view"]) == [pytest.approx(e.scores.tolist(), abs=1e-4)]


def test_a_class_is_chosen_in_the_form_and_in_the_picture(page: Any, known: dict[str, Model]) -> None:
    (told,) = ask(page, "text-classification", {"Text": "a great film"})["explanations"]
    others = [name for name in ANSWERS if name != told["prediction"]]
    for click in (page.locator("form .targets").first, page.locator(".answer .viewer")):
        name = others.pop()
        with page.expect_response("**/api/explain") as answer:
            click.get_by_role("button", name=name).click()
        e = pellucid.explain(known["text-classification"], "a great film", target=name)
        assert scores_of(answer.value.json()["view"]) == [pytest.approx(e.scores.tolist(), abs=1e-4)]
        assert page.input_value("[name=target]") == name
        page.wait_for_function("() => !document.querySelector('.answer').matches('.stale')")
    page.locator("form .targets").first.get_by_role("button", name="the prediction").click()
    assert page.input_value("[name=target]") == ""


def test_two_models_are_compared_on_one_text(page: Any, known: dict[str, Model]) -> None:
    ask(page, "text-classification", {"Text": "a great film"})
    with page.expect_response("**/api/explain") as answer:
        page.select_option("[name=other]", "other")
    view, names = answer.value.json()["view"], ["text-classification", "other"]
    assert [e["model"] for e in view["explanations"]] == names
    each = [pellucid.explain(known[name], "a great film") for name in names]
    assert scores_of(view) == [pytest.approx(e.scores.tolist(), abs=1e-4) for e in each]
    page.locator(".answer .pairs").wait_for()
    assert "Rank correlation" in page.locator(".answer .viewer").inner_text()
    page.select_option("[name=other]", "")
    page.wait_for_function("() => document.querySelector('.answer h2').textContent === 'text-classification'")


def test_a_prompt_beside_a_chat_is_refused(page: Any) -> None:
    page.select_option("[name=model]", "text-generation")
    page.locator("[data-part=prompt]").fill("the film")
    page.locator("[data-part=messages]").fill("so dull")
    page.locator("[data-role=error]", has_text="Found a prompt and a chat").wait_for()


def test_what_is_inside_is_asked_for_by_a_box(page: Any) -> None:
    (told,) = ask(page, "text-classification", {"Text": "a great film"})["explanations"]
    assert not told["depths"]
    for box in ("layers", "attention"):
        page.get_by_role("checkbox", name=box, exact=True).check()
    page.locator(".answer").get_by_role("button", name="Attention", exact=True).click()
    page.locator(".answer svg.lines").wait_for()
    for box in ("layers", "attention"):
        page.get_by_role("checkbox", name=box, exact=True).uncheck()


def test_documents_are_opened_and_what_is_none_is_said_to_be(
    page: Any, known: dict[str, Model], tmp_path: Path
) -> None:
    one = pellucid.explain(known["text-classification"], "a great film")
    several = pellucid.explain(known["text-classification"], ["so dull", "a great film"])
    for name, saved in (("one.json", one), ("several.json", several)):
        saved.save(tmp_path / name)
        page.set_input_files("[data-role=open]", str(tmp_path / name))
        page.wait_for_function(f"() => document.querySelector('.answer h2').textContent === '{name}'")
    assert page.locator(".answer .answer-row").count() == 2
    broken = {
        "text.json": ("not json", "is not JSON"),
        "foreign.json": ('{"a": 1}', "schema_version"),
        "half.json": (json.dumps({**one.to_dict(), "tokens": [1]}), "not a Pellucid explanation"),
        "list.json": ("[1]", "expected what save"),
    }
    for name, (content, says) in broken.items():
        (tmp_path / name).write_text(content, "utf-8")
        page.set_input_files("[data-role=open]", str(tmp_path / name))
        page.locator("[data-role=error]", has_text=says).wait_for()
    faults = page.evaluate("() => document.querySelector('.answer h2').textContent")
    assert faults == "several.json"


def test_2000_hostile_strings_stay_what_they_are(page: Any, tmp_path: Path) -> None:
    """As text and token, prediction, label, target, model, baseline and note: in the app, and in a notebook's frame."""
    each = Explanations(tuple(explanations(2000)))
    document = json.dumps({"schema_version": 1, "explanations": [e.to_dict() for e in each]})
    (tmp_path / "hostile.json").write_text(document, "ascii")
    page.set_input_files("[data-role=open]", str(tmp_path / "hostile.json"))
    page.wait_for_function("() => document.querySelector('.answer h2').textContent === 'hostile.json'")
    (tmp_path / "hostile.html").write_text(f"<!doctype html><meta charset=utf-8>{each._repr_html_()}", "utf-8")
    other = page.context.new_page()
    other.goto((tmp_path / "hostile.html").as_uri())
    frame = other.frames[1]
    for place in (page.locator(".answer .viewer"), frame.locator(".viewer")):
        for i in (0, 100, 249):
            place.locator(".rows").evaluate("(list, i) => { list.scrollTop = 44 * i; }", i)
            place.locator(".answer-row", has_text=re.compile(rf"^{i + 1}\D")).first.click()
            assert place.locator(".reading").text_content() == each[i].text
            told = [place.locator(part).text_content() for part in (".notes", ".title")]
            read = [re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), text) for text in told]
            wanted = [*each[i].notes, f"{each[i].prediction}90.0%"]
            assert [
                text.replace("\\u003c", "<") for text in wanted
            ] == read  # what was written as a code is read as one
    for shown in (page, other, frame):
        assert shown.evaluate("() => window.hurt") is None
        assert shown.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    other.close()
