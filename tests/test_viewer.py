"""The viewer in a real browser: what is clicked, and what is on the screen then, held against the explanation's data."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from browser import chromium, drawn, opened
from pellucid import viewer
from pellucid.explanation import Explanation, Explanations, Target, Token
from pellucid.packed_arrays import packed

TEXT = "It starts slowly, but the acting is superb and the ending is wonderful."


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def explained() -> Explanations:
    detail = ("layers", "heads", "attentions", "parts", "norms")
    return pellucid.explain(pellucid.load(), TEXT, target=["positive", "negative"], detail=detail)


@pytest.fixture(scope="module")
def page(browser: Any, explained: Explanations, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    file = explained.save(tmp_path_factory.mktemp("page") / "x.html")
    with opened(browser, file, viewport={"width": 1000, "height": 900}) as found:
        yield found


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    if "page" in request.fixturenames:
        page = request.getfixturevalue("page")
        page.evaluate("history.replaceState(null, '', location.pathname)")
        page.reload()
        drawn(page)


def scores(page: Any) -> list[float]:
    return page.eval_on_selector_all(".passage [data-score]", "runs => runs.map(r => Number(r.dataset.score))")


def test_it_is_small() -> None:
    assert len(viewer.source().encode()) <= 80_000


def test_the_text_is_shown_as_it_is_and_every_score_is_the_words(page: Any, explained: Explanations) -> None:
    assert page.inner_text(".passage").strip() == TEXT
    words = [w.score for w in explained[0].words() if not w.special]
    assert scores(page) == pytest.approx(words)


def test_a_tab_changes_the_target_and_its_colours(page: Any, explained: Explanations) -> None:
    colour = "getComputedStyle([...document.querySelector('#viewer').shadowRoot.querySelectorAll('.run')].find(r => r.textContent === 'wonderful')).backgroundColor"
    before = page.evaluate(colour)
    page.get_by_role("tab", name="negative").click()
    assert page.evaluate(colour) != before
    assert sum(scores(page)) == pytest.approx(sum(w.score for w in explained[1].words() if not w.special))
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(colour) == before


def test_levels_all_add_up(page: Any, explained: Explanations) -> None:
    whole = float(explained[0].scores.sum())
    page.get_by_label("special tokens").check()
    for level in ("tokens", "words", "sentences"):
        page.get_by_role("button", name=level, exact=True).click()
        assert sum(scores(page)) == pytest.approx(whole, abs=1e-5)


def test_a_word_is_read_out_and_lights_up_elsewhere(page: Any, explained: Explanations) -> None:
    page.locator(".run", has_text="wonderful").hover()
    page.wait_for_selector(".bars li.on")
    told = page.inner_text(".text > .readout")
    best = max(explained[0].words(), key=lambda w: abs(w.score))
    share = abs(best.score) / np.abs(explained[0].scores).sum()
    assert told.startswith(f"wonderful +{best.score:.3f}") and f"{share:.1%}" in told and "rank 1 of" in told
    assert page.inner_text(".bars li.on .name") == "wonderful"


def test_the_keyboard_alone_moves_from_word_to_word(page: Any) -> None:
    page.locator(".run").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(".run.on")
    assert page.inner_text(".run.on") == "slowly"


def test_the_threshold_takes_colour_from_the_weak(page: Any) -> None:
    many = page.locator(".run.tint").count()
    page.get_by_label("Leave scores below").fill("0.5")
    assert 0 < page.locator(".run.tint").count() < many


def test_the_waterfall_leads_from_the_baseline_to_the_output(page: Any, explained: Explanations) -> None:
    steps = page.eval_on_selector_all(".waterfall data", "all => all.map(d => Number(d.value))")
    assert steps[0] == pytest.approx(explained[0].baseline_output)
    assert steps[-1] == pytest.approx(explained[0].output)
    assert sum(steps[:-1]) == pytest.approx(explained[0].output, abs=1e-4)
    assert "How to read this" in page.inner_text("details")


def test_what_a_status_means_is_one_click_away(page: Any, explained: Explanations) -> None:
    page.get_by_role("button", name="status").click()
    assert page.inner_text(".remark") == explained[0].status.message


def test_layers_are_read_out_cell_by_cell(page: Any, explained: Explanations) -> None:
    layers = explained[0].layers
    assert layers is not None
    page.locator("canvas.cells").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    told = page.locator(".heatmap + .readout").first.inner_text()
    assert f"{layers[0][1]:+.3f}".replace("-", "−") in told


def test_attention_shows_each_measure_and_one_head(page: Any) -> None:
    for name in ("contribution to this answer", "probability", "norm of what is attended to"):
        page.get_by_role("button", name=name).click()
        assert page.locator(".lines path").count() > 0
    page.locator("summary", has_text="All 3 × 12 heads").click()
    page.get_by_role("button", name="Layer 2, head 3", exact=True).click()
    pressed = page.eval_on_selector_all(".head[aria-pressed=true]", "all => all.map(h => h.textContent)")
    assert pressed == ["3"] and page.locator("select[aria-label=Layer]").input_value() == "1"


def test_two_explanations_are_compared_on_one_scale(page: Any, explained: Explanations) -> None:
    page.get_by_label("Compare with").select_option("1")
    rows = page.eval_on_selector_all(".compare tbody tr", "all => all.map(r => [...r.cells].map(c => c.textContent))")
    number = lambda text: float(text.replace("−", "-"))
    for word, a, b, difference in rows:
        assert number(a) - number(b) == pytest.approx(number(difference), abs=0.0021), word
    assert "rank correlation" in page.inner_text("section[aria-label=Compare]")


def test_a_link_restores_what_was_selected(page: Any) -> None:
    page.get_by_role("tab", name="negative").click()
    page.get_by_role("button", name="tokens", exact=True).click()
    link = page.evaluate("""() => new Promise(done => { navigator.clipboard.writeText = async (t) => done(t);
        [...document.querySelector('#viewer').shadowRoot.querySelectorAll('button')].find(b => b.textContent === 'Copy link').click(); })""")
    page.goto("about:blank")
    page.goto(link)
    drawn(page)
    assert page.locator("[role=tab][aria-selected=true]").inner_text().startswith("negative")
    assert page.get_by_role("button", name="tokens", exact=True).get_attribute("aria-pressed") == "true"


def test_numbers_and_pictures_are_taken_away(page: Any, explained: Explanations, tmp_path: Path) -> None:
    for name, suffix in (
        ("CSV", ".csv"),
        ("JSON", ".json"),
        ("Text SVG", ".svg"),
        ("Text PNG", ".png"),
        ("layers PNG", ".png"),
    ):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=name, exact=True).click()
        waiting.value.save_as(tmp_path / f"x{suffix}")
        content = (tmp_path / f"x{suffix}").read_bytes()
        if suffix == ".csv":
            rows = content.decode().split("\r\n")[1:-1]
            assert sum(float(r.rsplit(",", 1)[1]) for r in rows) == pytest.approx(
                float(explained[0].scores.sum()), abs=1e-5
            )
        elif suffix == ".json":
            assert json.loads(content)["explanations"][0]["output"] == pytest.approx(explained[0].output)
        else:
            assert content.startswith(b"<svg" if suffix == ".svg" else b"\x89PNG")


def test_dark_light_and_phone(browser: Any, explained: Explanations, tmp_path: Path) -> None:
    file = explained.save(tmp_path / "x.html")
    seen = set()
    for scheme in ("light", "dark"):
        with opened(browser, file, viewport={"width": 390, "height": 800}, color_scheme=scheme) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            body = (
                "getComputedStyle(document.querySelector('#viewer').shadowRoot.querySelector('.body')).backgroundColor"
            )
            seen.add(page.evaluate(body))
    assert len(seen) == 2


def test_without_scripts_the_page_reads_as_well(browser: Any, explained: Explanations, tmp_path: Path) -> None:
    file = explained.save(tmp_path / "x.html")
    page = browser.new_page(java_script_enabled=False)
    page.goto(file.as_uri())
    assert page.locator("#static .passage").first.inner_text() == TEXT and not page.locator("#viewer").is_visible()
    page.close()


def test_a_generation_is_a_matrix_whose_rows_are_chosen(browser: Any, tmp_path: Path) -> None:
    meta = {"task": "text-generation", "output": "log-probability"}
    tokens = tuple(Token(t, i, (3 * i, 3 * i + 2)) for i, t in enumerate(["aa", "bb", "cc", "dd"]))
    text = ("aa bb", " cc dd")
    segments = tuple(
        replace(t, segment=int(i > 1), span=((0, 2), (3, 5), (1, 3), (4, 6))[i]) for i, t in enumerate(tokens)
    )
    rows = [
        Explanation(
            text=text,
            tokens=segments,
            scores=np.array(s),
            target=Target(n, p, p),
            method="m",
            baseline="b",
            output=-0.5,
            baseline_output=-0.5 - sum(s),
            delta=0.0,
            meta=meta,
        )
        for n, p, s in (("cc", 2, [1.0, 0.5, 0.0, 0.0]), ("dd", 3, [0.25, -2.0, 0.75, 0.0]))
    ]
    found = Explanations(tuple(rows))
    assert found.view().generations
    with opened(browser, found.save(tmp_path / "g.html")) as page:
        page.locator(".continuation .made").nth(1).click()
        page.wait_for_selector(".continuation .chosen")
        assert page.inner_text(".continuation .chosen").strip() == "dd"
        page.locator("canvas.cells").first.focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowRight"):
            page.keyboard.press(key)
        assert (
            "−2.000" in page.locator(".heatmap + .readout").inner_text()
            or "not there yet" in page.locator(".heatmap + .readout").inner_text()
        )


def test_many_texts_are_listed_found_and_opened(browser: Any, tmp_path: Path) -> None:
    one = lambda i: Explanation(
        text=f"text {i} good",
        tokens=(Token("good", 1, (len(f"text {i} "), len(f"text {i} good"))),),
        scores=np.array([float(i)]),
        target=Target("positive"),
        method="m",
        baseline="mask",
        output=float(i),
        baseline_output=0.0,
        delta=0.0,
        prediction="positive" if i % 2 else "negative",
        probability=i / 2001,
        label="positive",
    )
    file = Explanations(tuple(one(i) for i in range(2000))).save(tmp_path / "many.html")
    with opened(browser, file) as page:
        assert page.locator(".row").count() < 60
        page.get_by_label("Search the texts").fill("text 1999 ")
        page.locator(".row").first.click()
        assert "1999" in page.inner_text(".passage")
        page.get_by_label("Show only").select_option("wrong")
        page.get_by_label("Search the texts").fill("")
        assert page.inner_text(".list [role=status]") == "1000 of 2000"
        page.get_by_label("Sort by").select_option("probability")
        assert "text 1998" in page.locator(".row").first.inner_text()


HOSTILE = [
    "<script>hurt=1</script>",
    "</script><img src=x onerror=hurt=1>",
    '"><svg onload=hurt=1>',
    "'`${hurt=1}`",
    "\u202eabc\u202c",
    "\u2028\u2029",
    "\ud800",
    "\x00\x1b[31m",
    "&lt;b&gt;",
    "<!--",
    "]]>",
    "x" * 3000,
    "👩‍👩‍👧‍👦",
    "שלום",
    "{{hurt=1}}",
]


def test_hostile_strings_stay_text(browser: Any, tmp_path: Path) -> None:
    draw = random.Random(0)
    strings = ["".join(draw.choices(HOSTILE, k=draw.randint(1, 3))) for _ in range(500)]
    all_of = [
        Explanation(
            text=s,
            tokens=(Token(s, 1, (0, len(s))),),
            scores=np.array([1.0]),
            target=Target(s),
            method="m",
            baseline=s,
            output=1.0,
            baseline_output=0.0,
            delta=0.0,
            prediction=s,
            label=s,
            notes=(s,),
            meta={"model": s, "task": s},
        )
        for s in strings
    ]
    with opened(browser, Explanations(tuple(all_of)).save(tmp_path / "h.html")) as page:
        for i in range(0, 500, 25):
            page.evaluate("i => { location.hash = encodeURIComponent(JSON.stringify({index: i})); }", i)
            page.wait_for_timeout(30)
            shown = page.evaluate("document.querySelector('#viewer').shadowRoot.querySelector('.passage').textContent")
            assert shown == strings[i].encode("utf-8", "replace").decode()
        assert page.evaluate("typeof hurt") == "undefined"
        assert (
            page.evaluate("document.querySelector('#viewer').shadowRoot.querySelectorAll('script, img, iframe').length")
            == 0
        )


def test_a_large_answer_fits_into_a_page_and_is_drawn_at_once(browser: Any, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    n, words = 512, [f"word{i}" for i in range(512)]
    text, at, tokens = " ".join(words), 0, []
    for i, w in enumerate(words):
        tokens.append(Token(w, i, (at, at + len(w))))
        at += len(w) + 1
    e = Explanation(
        text=text,
        tokens=tuple(tokens),
        scores=draw.normal(size=n),
        target=Target("a"),
        method="m",
        baseline="mask",
        output=1.0,
        baseline_output=0.0,
        delta=0.0,
        layers=draw.normal(size=(12, n)),
        heads=draw.normal(size=(12, 12, n, n)).astype(np.float32),
    )
    e = replace(e, delta=1.0 - float(e.scores.sum()))
    file = e.save(tmp_path / "large.html")
    assert file.stat().st_size <= 3e6
    with opened(browser, file) as page:
        assert "strongest keys" in page.inner_text("section[aria-label=Attention]")


def test_packed_arrays_keep_the_strongest_and_say_what_is_left_out() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 5, 7))
    whole = packed(values)
    assert isinstance(whole, dict) and whole["keys"] is None and whole["left"] == 0.0
    less = packed(values, most=200)
    assert isinstance(less, dict) and less["kept"] == 3
    strongest = np.sort(np.abs(values), -1)[..., -3:].sum()
    assert less["left"] == pytest.approx(1 - strongest / np.abs(values).sum())
