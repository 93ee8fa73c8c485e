# ruff: noqa: E501
"""The viewer in a real browser: what a person does is done, and what is on the screen is compared with the data."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from browser import Tab
from pellucid import Explanation, Target, Token
from pellucid.explanations import Explanations
from pellucid.render import colour
from pellucid.render.html import page
from pellucid.render.packed import embedded
from pellucid.viewer import PARTS, source, style
from sized import long_answer

TEXT = "It's a great film, though the ending is terribly slow."
AXE = Path("axe_core_python/axe.min.js")


@cache
def film() -> Explanation:
    detail = ("layers", "heads", "attentions", "parts", "rollout")
    return pellucid.explain(pellucid.load(), TEXT, detail=detail)


@cache
def both() -> Explanations:
    return pellucid.explain(pellucid.load(), TEXT, target=["positive", "negative"])


def answer() -> Explanations:
    """The start and the end of an answer, with scores that are easy to tell apart."""
    words = ["who", "?", "by", "Jane", "Smith"]
    spans = [(0, 3), (3, 4), (0, 2), (3, 7), (8, 13)]
    tokens = tuple(Token(w, i, spans[i], False, i, int(i > 1)) for i, w in enumerate(words))
    each = []
    for k, name in enumerate(("start", "end")):
        scores = np.arange(1.0, 6.0) * (1 if k else -0.5)
        each.append(
            Explanation(
                ("who?", "by Jane Smith"), tokens, scores, Target(name, 3 + k, 3 + k), "deeplift", "mask",
                float(scores.sum()), 0.0, 0.0, "Jane Smith", 0.9, meta={"task": "question-answering"},
            )
        )  # fmt: skip
    return Explanations(tuple(each))


def generated() -> Explanations:
    """Three generated tokens after a prompt of two, each explained by what was there before it."""
    words = ["Once", "upon", "a", "time", "there"]
    starts = [0, 5, 0, 2, 7]
    tokens = tuple(Token(w, i, (s, s + len(w)), False, i, int(i > 1)) for i, (w, s) in enumerate(zip(words, starts, strict=True)))  # fmt: skip
    each = []
    for at in (2, 3, 4):
        scores = np.array([0.5 + at if k < at else 0.0 for k in range(5)])
        told = {"task": "text-generation"}
        total = float(scores.sum())
        each.append(Explanation(("Once upon", "a time there"), tokens, scores, Target(words[at], at, at), "deeplift", "filler", total, 0.0, 0.0, meta=told))  # fmt: skip
    return Explanations(tuple(each))


def opened(tab: Tab, explanations: Any, folder: Path) -> Any:
    found = tab.open(page(explanations.view()), folder)
    found.locator(".viewer").wait_for()
    return found


def number(text: str) -> float:
    return float(text.strip().replace("−", "-").replace("+", ""))


def values(place: Any) -> list[float]:
    return [float(v) for v in place.locator("data").evaluate_all("all => all.map((e) => e.value)")]


def background(place: Any) -> str:
    found = re.findall(r"\d+", place.evaluate("e => getComputedStyle(e).backgroundColor"))
    return "#" + "".join(f"{int(v):02x}" for v in found[:3])


def test_the_module_is_small_and_names_nothing_global() -> None:
    here = Path(str(pellucid.__file__)).parent / "viewer"
    names = {p.name for p in here.iterdir() if p.suffix in (".js", ".css")}
    assert names == {f"{part}.js" for part in PARTS} | {"viewer.css"}
    assert sum((here / name).stat().st_size for name in names) <= 82_800
    assert len(re.findall(r"^export ", source(), re.MULTILINE)) == 1 and not re.search(r"^import ", source(), re.M)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|require\(", source())


def test_colours_are_said_once(tab: Tab, tmp_path: Path) -> None:
    """The script and the style sheet have none of their own: the page's are those of the printed page."""
    assert not re.search(r"--(paper|ink|muted|line|raised|positive|negative):", style())
    for scheme, theme in (("light", colour.LIGHT), ("dark", colour.DARK)):
        tab.page.emulate_media(color_scheme=scheme)
        p = opened(tab, film(), tmp_path)
        assert background(p.locator(".viewer")) == theme.paper
        assert background(p.locator(".bar.positive").first) == theme.positive
        assert background(p.locator(".bar.negative").first) == theme.negative


def test_sums_on_the_screen_are_those_of_the_data(tab: Tab, tmp_path: Path) -> None:
    e, p = film(), opened(tab, film(), tmp_path)
    for level in ("Tokens", "Words", "Sentences"):
        p.get_by_role("button", name=level, exact=True).click()
        base, *steps, out = values(p.locator(".waterfall"))
        assert base == e.baseline_output and out == e.output
        assert base + sum(steps) == pytest.approx(out, abs=1e-9)
        assert p.locator(".reading").text_content() == TEXT
    assert values(p.locator(".equation"))[:2] == pytest.approx([e.baseline_output, e.scores.sum()])


def test_a_word_tells_its_score_and_lights_its_pictures(tab: Tab, tmp_path: Path) -> None:
    e, p = film(), opened(tab, film(), tmp_path)
    word = p.locator(".unit", has_text="terribly")
    score = next(w.score for w in e.words() if w.text == "terribly")
    word.hover()
    detail = p.locator(".detail")
    assert number(detail.locator(".value").inner_text()) == pytest.approx(score, abs=5e-4)
    assert f"{100 * score / e.change:.1f}%" in detail.inner_text() and "rank 3 of 14" in detail.inner_text()
    lit = p.locator(".lit").all_inner_texts()
    assert len(lit) >= 3 and all("terribly" in text for text in lit)
    p.mouse.move(5, 5)
    assert p.locator(".lit").count() == 0
    word.click()
    p.mouse.move(5, 5)
    assert p.locator(".lit").count() == len(lit)  # pinned
    p.keyboard.press("Escape")
    assert p.locator(".lit").count() == 0


def test_colours_follow_the_target(tab: Tab, tmp_path: Path) -> None:
    es, p = both(), opened(tab, both(), tmp_path)
    for e in es:
        p.get_by_role("group", name="Target").get_by_role("button", name=e.target.name).click()
        for text in ("slow", "great", "film"):
            score = next(w.score for w in e.words() if w.text == text)
            wanted = round(200 * score / e.view().explanations[0].peak) / 200
            assert background(p.locator(".unit", has_text=text)) == colour.background(wanted, colour.LIGHT)
        assert values(p.locator(".waterfall"))[-1] == e.output
    chances = p.locator(".class").all_inner_texts()
    assert {t.split("\n")[0]: t.split("\n")[-1] for t in chances} == {
        name: f"{share:.1%}" for name, share in (es[0].probabilities or {}).items()
    }
    p.locator(".class", has_text="positive").click()
    assert values(p.locator(".waterfall"))[-1] == es[0].output


def test_probabilities_are_the_models_own() -> None:
    import torch

    model = pellucid.load()
    with torch.no_grad():
        logits = model.model(**model.tokenizer(TEXT, return_tensors="pt")).logits[0].double()
    wanted = dict(zip(model.labels, logits.softmax(0).tolist(), strict=True))
    assert film().probabilities == pytest.approx(wanted, abs=1e-6)
    assert Explanation.from_json(film().to_json()).probabilities == film().probabilities


def test_one_scale_or_each_its_own(tab: Tab, tmp_path: Path) -> None:
    weak, strong = film(), replace(film(), scores=3 * film().scores, target=Target("positive"))
    p = opened(tab, Explanations((weak, strong)), tmp_path)
    own = background(p.locator(".unit", has_text="slow"))
    p.get_by_role("button", name="one scale").click()
    scores = [w.score for w in weak.words()]
    peak = max(map(abs, scores))
    slow = next(w.score for w in weak.words() if w.text == "slow")
    assert own == colour.background(round(200 * slow / peak) / 200, colour.LIGHT)
    wanted = colour.background(round(200 * slow / peak / 3) / 200, colour.LIGHT)
    assert background(p.locator(".unit", has_text="slow")) == wanted


def test_spans_are_drawn_by_hand_and_add_up(tab: Tab, tmp_path: Path) -> None:
    e, p = film(), opened(tab, film(), tmp_path)
    p.get_by_role("button", name="Spans", exact=True).click()
    p.locator(".unit", has_text="great").click()
    p.locator(".unit", has_text="film").click()
    start = TEXT.index("great")
    (span,) = e.spans([(start, start + len("great film"))])
    p.locator(".unit", has_text="great film").hover()
    assert number(p.locator(".detail .value").inner_text()) == pytest.approx(span.score, abs=5e-4)
    a, b = (p.locator(".unit", has_text=text).bounding_box() for text in ("ending", "slow"))
    p.mouse.move(a["x"] + 5, a["y"] + 5)
    p.mouse.down()
    p.mouse.move(b["x"] + 5, b["y"] + 5, steps=5)
    p.mouse.up()
    assert p.locator(".unit", has_text="ending is terribly slow").count() == 1
    base, *steps, out = values(p.locator(".waterfall"))
    assert base + sum(steps) == pytest.approx(out, abs=1e-9)
    p.locator(".unit", has_text="great film").click()  # a span that is chosen again is removed
    assert p.locator(".unit", has_text="great film").count() == 0


def test_threshold_and_special_tokens(tab: Tab, tmp_path: Path) -> None:
    scores = film().scores.copy()
    scores[0] = 9.0
    e = replace(film(), scores=scores)
    p = opened(tab, e, tmp_path)
    assert "[CLS] carries the most: +9.000, before slow" in p.locator(".remark").inner_text()
    p.get_by_role("button", name="Special tokens").click()
    assert p.locator(".unit.special").count() == 0 and "are hidden now" in p.locator(".remark").inner_text()
    peak = e.view().explanations[0].peak
    p.get_by_label("Threshold").fill("30")
    assert p.locator(".unit.tint").count() == sum(abs(w.score) >= 0.3 * peak for w in e.words() if not w.special)


def test_words_that_a_text_has_twice_are_told_apart(tab: Tab, tmp_path: Path) -> None:
    """Each numbered name stands beside the score of its own place in the text."""
    e = pellucid.explain(pellucid.load(), "good good film, a dull film")
    p, own = opened(tab, e, tmp_path), e.words()
    seen: list[str] = []
    expected = {}
    for w in own:
        seen.append(w.text)
        twice = sum(x.text == w.text for x in own) > 1
        expected[w.text + (f" ({seen.count(w.text)})" if twice else "")] = w.score
    names = p.locator(".viewer .bars:not(.waterfall) .name").all_inner_texts()
    shown = values(p.locator(".viewer .bars:not(.waterfall)"))
    assert dict(zip(names, shown, strict=True)) == pytest.approx(expected) and "good (2)" in names
    assert {"good (1)", "film (2)"} <= set(p.locator(".viewer .waterfall .name").all_inner_texts())


def test_what_scrolls_sideways_shows_that_there_is_more(tab: Tab, tmp_path: Path) -> None:
    """At the right edge of the course over the layers the paper is darker until it is scrolled to its end."""
    p = opened(tab, film(), tmp_path)
    p.set_viewport_size({"width": 390, "height": 800})
    place = p.locator("div.scroll", has=p.locator(".chart"))
    before = place.screenshot()
    place.evaluate("e => (e.scrollLeft = e.scrollWidth)")
    after = place.screenshot()
    edges = [_right_edge(picture) for picture in (before, after)]
    assert edges[0] < edges[1] - 0.03


def _right_edge(png: bytes) -> float:
    """How light a picture is along its right edge, from 0 to 1: the median over its height."""
    from matplotlib.image import imread

    picture = imread(BytesIO(png))
    return float(np.median(picture[:, -2, :3]))


def test_start_end_and_both_of_an_answer(tab: Tab, tmp_path: Path) -> None:
    es, p = answer(), opened(tab, answer(), tmp_path)
    assert p.locator(".role").all_inner_texts() == ["question", "context"]
    assert p.locator(".unit.answer").all_inner_texts() == ["Jane", "Smith"]
    p.get_by_role("button", name="both").click()
    assert values(p.locator(".waterfall"))[-1] == es[0].output + es[1].output
    p.locator(".unit", has_text="Smith").hover()
    assert number(p.locator(".detail .value").inner_text()) == es[0].scores[4] + es[1].scores[4]


def test_the_true_label_stands_beside_the_predicted(tab: Tab, tmp_path: Path) -> None:
    p = opened(tab, replace(film(), label="positive"), tmp_path)
    assert p.locator(".truth").inner_text() == "✗ true label positive – not what was predicted"


def test_generation_matrix(tab: Tab, tmp_path: Path) -> None:
    es, p = generated(), opened(tab, generated(), tmp_path)
    p.get_by_role("group", name="Generated tokens").get_by_role("button", name="time").click()
    assert values(p.locator(".waterfall"))[-1] == es[1].output
    canvas = p.get_by_role("img", name=re.compile("^Generated tokens by context"))
    canvas.focus()
    for _ in range(3):
        p.keyboard.press("ArrowRight")
    assert "upon → a: +2.500" not in p.locator(".readout").inner_text()
    assert p.locator(".readout").inner_text() == "a was not yet there when a was generated."
    p.keyboard.press("ArrowDown")
    assert p.locator(".readout").inner_text() == "a → time: +3.500"
    p.get_by_label("Sum of steps").select_option(index=0)
    p.get_by_label("to", exact=True).select_option(index=2)
    canvas = p.get_by_role("img", name=re.compile("^Generated tokens by context: 4 rows"))
    canvas.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowDown"):
        p.keyboard.press(key)
    assert p.locator(".readout").inner_text() == f"Once → rows 1–3 together: +{es.matrix()[:, 0].sum():.3f}"


def test_layers_and_parts(tab: Tab, tmp_path: Path) -> None:
    e, p = film(), opened(tab, film(), tmp_path)
    canvas = p.get_by_role("img", name=re.compile("^Layers"))
    canvas.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        p.keyboard.press(key)
    assert e.layers is not None
    word = e.words()[1]
    score = e.layers[1][list(word.tokens)].sum()
    assert number(p.locator(".readout strong").inner_text()) == pytest.approx(score, abs=5e-4)
    assert p.get_by_role("img", name=re.compile("^Course of slow over 3 layers")).count() == 1
    for name, scores in (e.parts or {}).items():
        told = p.locator(".parts > div", has=p.locator("strong", has_text=re.compile(f"^{name}$")))
        assert number(told.locator("p").inner_text().removeprefix(name)) == pytest.approx(scores.sum(), abs=5e-4)


def test_attention_shows_what_the_data_say(tab: Tab, tmp_path: Path) -> None:
    e, p = film(), opened(tab, film(), tmp_path)
    p.get_by_role("button", name="Attention", exact=True).click()
    p.get_by_label("Shown").select_option("probability")
    p.get_by_role("button", name="layer 2, head 5", exact=True).click()
    assert e.attentions is not None
    p.locator(".attending", has_text="great").first.hover()
    query = next(i for i, t in enumerate(e.tokens) if t.text == "great")
    best = int(e.attentions[1, 4, query].argmax())
    told = p.locator(".readout").inner_text()
    assert told.startswith(f"great attends to {e.tokens[best].text} +")
    shown = float(told.split("+")[1].split(",")[0])
    assert shown == pytest.approx(e.attentions[1, 4, query, best], abs=e.attentions.max() / 200)
    visible = p.locator(".lines path:not(.off)").evaluate_all("all => all.map((e) => e.dataset.q)")
    assert visible and set(visible) == {str(query)}
    assert p.get_by_role("button", name=re.compile("^layer")).count() == e.attentions.shape[0] * e.attentions.shape[1]
    p.get_by_role("button", name="all heads").click()
    assert p.get_by_role("group", name="Heads", exact=True).locator('[aria-pressed="true"]').count() == 12


def test_attention_is_reduced_to_its_strongest_keys() -> None:
    rng = np.random.default_rng(0)
    heads = rng.normal(size=(12, 12, 200, 200))
    tokens = tuple(Token("a", 1, (2 * i, 2 * i + 1), word=i) for i in range(200))
    e = replace(film(), text="a " * 200, tokens=tokens, scores=np.ones(200), heads=heads, attentions=None)
    e = replace(e, layers=None, parts=None, measures=None)
    (told,) = e.view().explanations[0].attention
    assert told.name == "contribution" and told.kept == 120_000 // (144 * 200)
    own = told.cells[3][7][11]
    assert own[::2] == tuple(np.argsort(-np.abs(heads[3, 7, 11]))[: told.kept])
    exact = heads[3, 7, 11][list(own[::2])]
    assert np.array(own[1::2]) * told.peak / 127 == pytest.approx(exact, abs=told.peak / 254)


def test_two_explanations_are_compared(tab: Tab, tmp_path: Path) -> None:
    from scipy.stats import spearmanr

    es, p = both(), opened(tab, both(), tmp_path)
    a, b = ([w.score for w in e.words()] for e in es)
    told = p.get_by_role("region", name="Compare").inner_text()
    assert f"Rank correlation of their scores: {spearmanr(a, b).statistic:.3f}" in told
    great = p.locator(".pair", has_text="great")
    first, second = (next(w.score for w in e.words() if w.text == "great") for e in es)
    assert number(great.locator(".chip").last.inner_text()) == pytest.approx(second - first, abs=5e-3)


def test_many_texts_are_searched_sorted_and_opened(tab: Tab, tmp_path: Path) -> None:
    each = []
    plain = replace(film(), layers=None, elements=None, heads=None, attentions=None, parts=None, measures=None)
    for i in range(300):
        text = f"{'needle' if i % 100 == 7 else 'straw'} number {i}"
        tokens = (Token(text, 1, (0, len(text)), word=0),)
        chance = (i * 37 % 300) / 300
        each.append(replace(plain, text=text, tokens=tokens, scores=np.array([float(i)]), output=float(i), baseline_output=0.0, delta=0.0, probability=chance, label="negative" if i % 2 else "positive"))  # fmt: skip
    p = opened(tab, Explanations(tuple(each)), tmp_path)
    assert p.locator(".row").count() < 40
    p.locator(".rows").evaluate("e => (e.scrollTop = 44 * 250)")
    row = p.locator(".answer-row", has_text="straw number 255")
    row.click()
    assert values(p.locator(".waterfall"))[-1] == 255.0 and row.is_visible()
    p.get_by_label("Search the texts").fill("needle")
    assert p.locator(".texts [role=status]").inner_text() == "3 of 300" and p.locator(".row").count() == 3
    p.get_by_label("Search the texts").fill("")
    p.get_by_label("Sort by").select_option("probability, low first")
    p.locator(".rows").evaluate("e => (e.scrollTop = 0)")
    assert p.locator(".answer-row").first.inner_text().startswith("1\n")
    p.get_by_label("Show", exact=True).select_option("wrong ones")
    assert p.locator(".texts [role=status]").inner_text() == "150 of 300"


def test_patches_of_an_image(tab: Tab, tmp_path: Path) -> None:
    tokens = tuple(Token(f"{r},{c}", 0) for r in range(3) for c in range(4))
    scores = np.linspace(-1, 1, 12)
    total = float(scores.sum())
    e = Explanation("picture.png", tokens, scores, Target("cat"), "deeplift", "mask", total, 0.0, 0.0)
    p = opened(tab, e, tmp_path)
    assert p.locator(".patch").count() == 12
    assert background(p.locator(".patch").last) == colour.background(1.0, colour.LIGHT)
    p.locator(".patch").last.hover()
    assert number(p.locator(".detail .value").inner_text()) == 1.0
    drawn = lambda: p.locator(".patch").last.evaluate("e => [getComputedStyle(e).outlineStyle, e.style.opacity]")
    p.mouse.move(5, 5)
    assert drawn() == ["solid", "1"]
    p.get_by_role("button", name="Grid").click()
    (tmp_path / "cat.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"/>')
    p.get_by_label("The image, from a file").set_input_files(tmp_path / "cat.svg")
    p.locator(".patches img").wait_for()
    p.get_by_label("Opacity of the patches").fill("25")
    assert drawn() == ["none", "0.25"]


def test_what_is_taken_away(tab: Tab, tmp_path: Path) -> None:
    e, p = film(), opened(tab, film(), tmp_path)
    got = {}
    for kind in ("SVG", "PNG", "CSV", "JSON"):
        with p.expect_download() as download:
            p.get_by_role("button", name=kind, exact=True).click()
        got[kind] = Path(download.value.path()).read_bytes()
    assert got["PNG"].startswith(b"\x89PNG")
    drawn = got["SVG"].decode()
    assert drawn.startswith("<svg") and all(f">{w}</text>" in drawn for w in ("great", "terribly", "[CLS]"))
    rows = got["CSV"].decode().split("\r\n")
    assert [float(row.rsplit(",", 1)[1]) for row in rows[1:]] == list(e.scores)
    assert json.loads(got["JSON"])["explanations"][0]["output"] == e.output


def test_a_link_restores_what_was_selected(tab: Tab, tmp_path: Path) -> None:
    p = opened(tab, both(), tmp_path)
    p.get_by_role("group", name="Target").get_by_role("button", name="negative").click()
    p.get_by_role("button", name="Tokens", exact=True).click()
    p.locator(".unit", has_text="slow").click()
    address = p.url
    p.goto("about:blank")
    p.goto(address)
    pressed = p.locator('.choice [aria-pressed="true"]').all_inner_texts()
    assert pressed[:3] == ["negative", "own scale", "Tokens"] and p.locator(".unit.lit").inner_text() == "slow"
    p.goto("about:blank")
    p.goto(address.split("#")[0] + '#{"target":"<b>","level":7,"spans":"x","pinned":[1e99],"compared":[null]}')
    assert p.locator(".reading").text_content() == TEXT


def test_the_keyboard_alone_reaches_all(tab: Tab, tmp_path: Path) -> None:
    p = opened(tab, both(), tmp_path)
    reached: set[str] = set()
    p.keyboard.press("Tab")
    for _ in range(60):
        name = p.evaluate("""() => { const e = document.querySelector(".viewer-root").shadowRoot.activeElement;
            return e && (e.getAttribute("aria-label") || e.innerText || e.tagName); }""")
        if name:
            reached.add(name.strip())
        p.keyboard.press("Tab")
    assert {"Tokens", "Spans", "Special tokens", "one scale", "negative", "First", "SVG", "PNG", "Link"} <= reached
    p.locator(".unit").first.focus()
    p.keyboard.press("ArrowRight")
    p.keyboard.press("Enter")
    assert p.locator('.unit[aria-pressed="true"]').inner_text() == "It"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(running: Any, scheme: Any, tmp_path: Path) -> None:
    package = pytest.importorskip("axe_core_python", reason="needs axe-core-python, of the extra [dev]")
    axe = (Path(next(iter(package.__path__))) / AXE.name).read_text("utf-8")
    tab = Tab(running, color_scheme=scheme, bypass_csp=True)
    rules = ["wcag2a", "wcag2aa", "wcag21aa"] if scheme == "light" else ["color-contrast"]  # the rest has no scheme
    for shown in (film(), both()) if scheme == "light" else (film(),):
        p = opened(tab, shown, tmp_path)
        p.evaluate(axe)
        for panel in p.get_by_role("group", name="Look inside").get_by_role("button").all():
            panel.click()
            found = p.evaluate("(rules) => axe.run(document, {runOnly: rules})", rules)["violations"]
            told = [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in found]
            assert [t for t, v in zip(told, found, strict=True) if v["impact"] in ("serious", "critical")] == []
    tab.context.close()


def test_ten_views_do_not_disturb_each_other(tab: Tab, tmp_path: Path) -> None:
    views = json.dumps([e.view().to_dict() for e in both()]).replace("<", "\\u003c")
    boxes = "".join(f'<div class="v" id="v{i}"></div>' for i in range(10))
    loud = (
        "<style>* { color: red !important; font: 40px cursive; display: inline } dl dt { position: absolute }</style>"
    )
    script = f"{source()}\nconst views = {views}; window.made = [...document.querySelectorAll('.v')].map((e, i) => mount(e, views[i % 2]));"
    before = "window.before = Object.keys(window).length;"
    p = tab.open(f'<meta charset="utf-8">{loud}{boxes}<script>{before}</script><script type="module">{script}</script>', tmp_path)  # fmt: skip
    p.wait_for_function("window.made?.length === 10")
    assert p.evaluate("Object.keys(window).length - window.before") == 2  # `before` and `made` themselves
    p.locator("#v3").get_by_role("button", name="Tokens", exact=True).click()
    levels = p.evaluate("made.map((view) => view.state().level)")
    assert levels == ["tokens" if i == 3 else "words" for i in range(10)]
    assert p.locator("#v0 .title").evaluate("e => getComputedStyle(e).fontSize") != "40px"
    assert p.evaluate("document.querySelectorAll('[id]').length") == 10
    p.evaluate(
        "made[0].destroy(); made[1].restore({level: 'sentences'}); made[2].update({...made[2], explanations: []})"
    )
    assert p.locator("#v0 .viewer").count() == 0 and p.evaluate("made[1].state().level") == "sentences"


def test_a_phone_and_paper(running: Any, tmp_path: Path) -> None:
    tab = Tab(running, viewport={"width": 390, "height": 844}, has_touch=True)
    p = opened(tab, film(), tmp_path)
    assert p.evaluate("document.documentElement.scrollWidth") <= 390
    p.locator(".unit", has_text="great").tap()
    assert "great" in p.locator(".detail").inner_text()
    p.emulate_media(media="print")
    assert not p.locator(".viewer").is_visible() and p.locator(".static .passage").is_visible()
    pdf = p.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page[^s]", pdf)) <= 2
    tab.page.emulate_media(media="screen")
    p = opened(tab, generated(), tmp_path)
    assert len(re.findall(rb"/Type\s*/Page[^s]", p.pdf(format="A4"))) <= 2  # of a text, not of each explanation
    tab.context.close()


def test_without_a_script_the_page_still_reads(running: Any, tmp_path: Path) -> None:
    tab = Tab(running, java_script_enabled=False)
    p = tab.open(page(film().view()), tmp_path)
    assert p.locator(".static .passage").is_visible() and p.locator(".static .passage").inner_text() == TEXT
    tab.context.close()


PIECES = ["<script>alert(1)</script>", "</script>", "<!--", "]]>", "<img src=x onerror=alert(1)>", '"', "'", "&amp;", "\u202e", "\u2066", "\u2028", "\u2029", "\x00", "\ud800", "\udfff", "\x1b[31m", "\u200f", "a" * 300, "{{x}}", "${x}", "javascript:alert(1)", "\\u003c", "é", "한국", "👩‍👩‍👧", "العربية", "\t", " "]  # fmt: skip


def test_hostile_strings_are_shown_and_never_run(tab: Tab, tmp_path: Path) -> None:
    """2,000 strings: each is a token of a text, a note, and a part of a label and of a model's name; some are targets."""
    rng = np.random.default_rng(0)
    made = ["".join(rng.choice(PIECES, size=rng.integers(1, 5))) for _ in range(2000)]
    made = [text if text.strip() else f"x{text}" for text in made]
    each = []
    for some in (made[i : i + 10] for i in range(0, 2000, 10)):
        text, ends = "\n".join(some), np.cumsum([len(one) + 1 for one in some]) - 1
        tokens = tuple(Token(one, 1, (int(end) - len(one), int(end)), word=i) for i, (one, end) in enumerate(zip(some, ends, strict=True)))  # fmt: skip
        told = {"text": text, "tokens": tokens, "scores": np.ones(10), "target": Target(some[0]), "label": text}
        each.append(Explanation(**told, method=some[1], baseline=some[2], output=10.0, baseline_output=0.0, delta=0.0, prediction=some[3], probability=0.5, notes=tuple(some), meta={"model": text}))  # fmt: skip
    p = tab.open(page(Explanations(tuple(each)).view()), tmp_path)
    p.locator(".viewer").wait_for()
    assert p.locator("script").count() == 2 and p.locator("img, iframe, b").count() == 0
    p.goto("about:blank")
    data = embedded(Explanations(tuple(each)).view())
    check = """const root = document.body.appendChild(document.createElement("div")), viewer = mount(root, all);
      window.found = all.explanations.map((_, i) => { viewer.restore({ target: i }); const shadow = root.shadowRoot;
        return [shadow.querySelector(".reading").textContent, [...shadow.querySelectorAll(".unit")].map((e) => e.textContent).sort().join(), shadow.querySelectorAll("script, img, iframe, b").length, root.scrollWidth > innerWidth]; });"""
    p = tab.open(f'<meta charset="utf-8"><body><script type="module">{source()}\nconst all = {data};\n{check}</script>', tmp_path)  # fmt: skip
    p.wait_for_function("window.found")
    wrong = p.evaluate(
        """(texts) => JSON.parse(texts).flatMap((t, i) => {
        const [shown, units, elements, wide] = found[i], wanted = t.split("\\n").map((one) => one.trim()).sort().join();
        return shown === t && !elements && !wide ? [] : [[i, shown === t, units, wanted, elements, wide]]; })""",
        json.dumps([e.text for e in each]),
    )
    assert wrong == []


def test_a_page_says_what_the_view_says(tab: Tab, tmp_path: Path) -> None:
    """What a page holds packed is drawn as the View's own JSON is, with emoji, lone surrogates and unread text."""
    odd = "a 👩‍👩‍👧 \ud83d 한국 end, not read"
    spans = [(0, 1), (2, 7), (8, 9), (10, 12)]
    tokens = (Token("[CLS]", 0, special=True), *(Token(odd[a:b], 5, (a, b), word=i) for i, (a, b) in enumerate(spans)))
    strange = Explanation(odd, tokens, np.arange(5.0), Target("x"), "ig", "mask", 10.0, 0.0, 0.0, error=np.ones(5) / 9, unread=((0, 13, len(odd)),))  # fmt: skip
    nothing = {"quantiles": np.full((2, 5, 5), np.nan), "entropy": np.full((2, 5), np.nan)}
    cited = long_answer(prompt=40, answer=15, sentence=5, documents=2)
    broken = replace(strange, scores=np.full(5, np.nan), layers=np.full((2, 5), np.nan), elements=nothing, delta=np.nan)
    views = [
        e.view()
        for e in (film(), both(), answer(), generated(), Explanations((film(), strange)), strange, broken, cited)
    ]
    plain = json.dumps([v.to_dict() for v in views]).replace("<", "\\u003c")
    packed = ", ".join(embedded(v) for v in views)
    check = """window.found = views.map((view, i) => [view, packed[i]].map((one) => {
      const root = document.body.appendChild(document.createElement("div")), viewer = mount(root, one), seen = [];
      for (const target of [...view.explanations.keys(), "both"]) for (const level of ["tokens", "words", "sentences"]) {
        viewer.restore({ target, level });
        const units = [...root.shadowRoot.querySelectorAll(".unit, .chart circle, .chart rect")].map((e) => [e.className, e.ariaLabel, e.style?.cssText, e.querySelector("title")?.textContent]);
        seen.push(root.shadowRoot.querySelector(".viewer").textContent, JSON.stringify(units));
      }
      root.remove();
      return seen; }));"""
    p = tab.open(f'<meta charset="utf-8"><body><script type="module">{source()}\nconst views = {plain}, packed = [{packed}];\n{check}</script>', tmp_path)  # fmt: skip
    p.wait_for_function("window.found")
    for one, other in p.evaluate("found"):
        assert one == other
    assert p.evaluate("found.map(([seen]) => seen.length)") == [12, 18, 18, 24, 18, 12, 12, 24]


def test_large_pages_stay_small() -> None:
    rng, text = np.random.default_rng(0), " ".join(f"w{i}" for i in range(512))
    starts = np.cumsum([0, *(len(w) + 1 for w in text.split())])
    tokens = tuple(Token(w, i, (int(s), int(s) + len(w)), word=i) for i, (w, s) in enumerate(zip(text.split(), starts, strict=False)))  # fmt: skip
    scores, layers = rng.normal(size=(7, 512)), rng.normal(size=(12, 512))
    elements = {"quantiles": rng.normal(size=(12, 512, 5)), "entropy": rng.uniform(size=(12, 512))}
    each = [Explanation(text, tokens, s, Target(f"class {i}", i), "deeplift", "mask", float(s.sum()), 0.0, 0.0, layers=layers * (i + 1), elements={k: v * (i + 1) for k, v in elements.items()}) for i, s in enumerate(scores)]  # fmt: skip
    assert len(embedded(Explanations(tuple(each)).view())) <= 1_100_000 + 7 * 45_000  # 28: under 2.4 MB
    plain = replace(film(), layers=None, elements=None, heads=None, attentions=None, parts=None, measures=None)
    many = [replace(plain, scores=plain.scores * (i + 1), probability=i / 400) for i in range(400)]
    view = Explanations(tuple(many)).view()
    assert len(embedded(view)) <= 400 * 1200 and "are shown where JavaScript runs" in page(view)


def test_a_generated_token_has_its_rank_and_its_rivals(tab: Tab, tmp_path: Path) -> None:
    step = {"probability": 0.2, "rank": 2, "strongest": [["the", 0.5], ["time", 0.2], ["an <b>", 0.1]]}
    es = generated()
    p = opened(tab, Explanations((es[0], replace(es[1], meta={**es[1].meta, "step": step}), es[2])), tmp_path)
    made = p.get_by_role("group", name="Generated tokens").get_by_role("button", name="time")
    assert made.inner_text().split() == ["time", "20.0%", "#2"]
    made.click()
    assert "time has probability 20.0%, rank 2 at its place" in p.locator(".rivals").inner_text()
    rows = p.locator(".rivals .class").all_inner_texts()
    assert [row.split("\n") for row in rows] == [["the", "50.0%"], ["time", "20.0%"], ["an <b>", "10.0%"]]
    assert p.locator(".rivals .class.on .name").inner_text() == "time"
    later = p.locator(".later").all_inner_texts()  # what was not yet there is no unit, and has no zero
    assert later == ["time", "there"] and "there" not in p.locator(".viewer .bars").first.inner_text()
    p.locator(".unit", has_text="upon").click()
    assert p.get_by_role("group", name="What the pinned word made").inner_text().split() == ["a", "+2.50", "time", "+3.50", "there", "+4.50"]  # fmt: skip


def test_an_entity_is_chosen(tab: Tab, tmp_path: Path) -> None:
    e = film()
    at = [next(i for i, t in enumerate(e.tokens) if t.text == word) for word in ("film", "slow")]
    told = {"layers": None, "elements": None, "parts": None, "measures": None, "attentions": None, "heads": None}
    each = [replace(e, scores=e.scores * (k + 1), target=Target(f"B-{k}", k, i), meta={"task": "token-classification"}, **told) for k, i in enumerate(at)]  # fmt: skip
    p = opened(tab, Explanations(tuple(each)), tmp_path)
    entities = p.get_by_role("group", name="Entities")
    assert [t.split() for t in entities.get_by_role("button").all_inner_texts()] == [["film", "B-0"], ["slow", "B-1"]]
    entities.get_by_role("button", name="slow").click()
    p.locator(".unit", has_text="great").hover()
    score = next(w.score for w in each[1].words() if w.text == "great")
    assert number(p.locator(".detail .value").inner_text()) == pytest.approx(score, abs=5e-4)


def test_the_course_of_a_token_has_boxes_and_entropy(tab: Tab, tmp_path: Path) -> None:
    e, p = film(), opened(tab, film(), tmp_path)
    p.locator(".unit", has_text="great").click()
    at = next(i for i, t in enumerate(e.tokens) if t.text == "great")
    assert e.elements is not None
    told = p.locator(".box title").evaluate_all("all => all.map((e) => e.textContent.split(': ')[1].split(', '))")
    assert np.array([[number(n) for n in five] for five in told]) == pytest.approx(
        e.elements["quantiles"][:, at], abs=6e-5
    )
    chart = p.get_by_role("img", name=re.compile("^Course of great"))
    written = chart.locator("text").all_text_contents()
    bits = written[written.index("entropy, bits") + 1 :]
    assert [float(b) for b in bits] == pytest.approx(e.elements["entropy"][:, at], abs=0.051)
    box, rule = (chart.locator(kind).first.bounding_box() for kind in ("rect", ".rule >> nth=1"))
    assert box["y"] < rule["y"] + 2 and box["y"] + box["height"] > rule["y"] - 2  # the quartiles lie around 0


def test_a_saved_page_is_added_to_the_comparison(tab: Tab, tmp_path: Path) -> None:
    from scipy.stats import spearmanr

    other = replace(film(), scores=np.roll(film().scores, 3), method="occlusion")
    saved = other.save(tmp_path / "other <i>.html")
    p = opened(tab, film(), tmp_path)
    p.get_by_role("button", name="Compare", exact=True).click()
    p.get_by_label("A page of explanations, as a file").set_input_files(saved)
    told = p.get_by_role("region", name="Compare")
    rho = spearmanr(*([w.score for w in e.words()] for e in (film(), other))).statistic
    told.get_by_text(f"Rank correlation of their scores: {rho:.3f}").wait_for()
    assert "2: other <i>.html" in p.get_by_label("Second").inner_text()
    wrong = tmp_path / "wrong.html"
    wrong.write_text('<script type="application/json">{"explanations": 3}</script>')
    p.get_by_label("A page of explanations, as a file").set_input_files(wrong)
    p.get_by_text("This file holds no explanation that Pellucid saved.").wait_for()


def test_source_and_continuation_stand_side_by_side(tab: Tab, tmp_path: Path) -> None:
    es = generated()
    p = opened(tab, Explanations(tuple(replace(e, meta={"task": "text2text-generation"}) for e in es)), tmp_path)
    left, right = (place.bounding_box() for place in p.locator(".held").all())
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    p.set_viewport_size({"width": 390, "height": 844})
    above, below = (place.bounding_box() for place in p.locator(".held").all())
    assert above["x"] == below["x"] and above["y"] + above["height"] <= below["y"]
