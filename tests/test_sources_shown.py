"""Sources and hops in the viewer: what a person clicks is drawn, and what is drawn is what the data say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from browser import Tab
from generative import generator
from pellucid import Citations, Explanations
from pellucid.app import asking
from pellucid.number_text import signed
from pellucid.render.html import page
from pellucid.render.packed import packed
from pellucid.source_units import sources_of, units_of
from pellucid.viewer import source
from sized import long_answer
from test_hops import ITEM


@pytest.fixture(scope="module")
def cited() -> Citations:
    """Three sentences from two documents and a question, each document taken away in turn."""
    found = pellucid.cite(generator("Llama"), ITEM, baseline="filler")
    assert isinstance(found, Citations)
    return found


def opened(tab: Tab, shown: Any, folder: Path) -> Any:
    p = tab.open(page(shown.view()), folder)
    p.locator(".viewer").wait_for()
    return p


def bars(place: Any) -> dict[str, float]:
    names = place.locator(".bars .name").all_inner_texts()
    return dict(
        zip(names, map(float, place.locator(".bars data").evaluate_all("all => all.map((e) => e.value)")), strict=True)
    )


def test_a_sentence_is_chosen_and_its_sources_coloured(tab: Tab, cited: Citations, tmp_path: Path) -> None:
    p = opened(tab, cited, tmp_path)
    shown = p.get_by_role("region", name="Sources", exact=True)
    for number, (sentence, e) in enumerate(zip(cited.sentences, cited.explanations, strict=True)):
        p.get_by_role("group", name="Target").get_by_role("button").nth(number).click()
        assert p.locator(".viewer .title").inner_text() == sentence.sentence
        found = bars(shown)
        of = {s.name: s.score for s in sentence.sources}
        expected = {name: of[name] for name in ("first", "second", "question", "template")}
        expected |= {"the answer itself": of["continuation"], "residual": sentence.delta}
        assert found == pytest.approx(expected, abs=1e-9)
        assert sum(found.values()) == pytest.approx(e.change, abs=1e-9)
        for own in sentence.sources[:3]:
            assert own.drop is not None
            row = shown.locator("li", has_text=own.name).inner_text()
            assert f"{100 * abs(own.share):.1f}%" in row and f"drop {own.drop:+.3f}".replace("-", "−") in row
    shown.locator("li", has_text="second").hover()
    assert p.locator(".unit.lit").all_inner_texts() == ["a", "dull", "plot", "."]
    heat = p.get_by_role("img", name="Sentences by sources: 3 rows, 5 columns")
    heat.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        p.keyboard.press(key)
    score = cited.sentences[1].sources[1].score
    assert f"second → 2. the acting was bad .: {signed(score, 3)}" in shown.locator(".readout").inner_text()
    p.keyboard.press("Enter")
    assert p.locator(".viewer .title").inner_text() == "the acting was bad ."


def test_hops_of_any_sentence_are_those_of_python(tab: Tab, cited: Citations, tmp_path: Path) -> None:
    p = opened(tab, cited.explanations, tmp_path)
    p.get_by_role("button", name="Hops", exact=True).click()
    shown = p.get_by_role("region", name="Hops", exact=True)
    for number in range(3):
        p.get_by_role("group", name="Target").get_by_role("button").nth(number).click()
        hops = cited.hops(number)
        expected = dict(zip(hops.columns, hops.composed, strict=True))
        expected = {name: x for k, (name, x) in enumerate(expected.items()) if k <= hops.prompt + number}
        assert bars(shown) == pytest.approx(expected, abs=1e-9)
        told = shown.inner_text()
        assert f"Through the hops: {number + 1}. {hops.rows[number].sentence}" in told and "composition" in told
        for j, row in enumerate(hops.rows[: number + 1]):
            line = shown.locator("li", has_text=f"sentence {j + 1}").inner_text()
            assert f"direct {signed(row.scores and hops.direct[hops.prompt + j], 3)}" in line
            assert f"left over of {signed(row.arrived, 3)} that arrived" in line
    heat = p.get_by_role("img", name="Sentences by sentences: 3 rows, 7 columns")
    heat.focus()
    for key in ("ArrowRight", *["ArrowRight"] * 5):
        p.keyboard.press(key)
    assert shown.locator(".readout").inner_text() == "sentence 2 was not yet there when 1. so good . was generated."
    p.keyboard.press("ArrowDown")
    own = cited.hops().rows[1].scores[5]
    assert f"sentence 2 → 2. the acting was bad .: {signed(own, 3)}" in shown.locator(".readout").inner_text()


def test_a_generation_of_spans_leaves_no_score_out(cited: Citations) -> None:
    """A word of the sentence itself has a part in the words after it; the last word, and what follows, in none."""
    (found,) = cited.explanations.view().generations
    for row, e, end in zip(found.scores, cited.explanations, found.until, strict=True):
        assert sum(s or 0.0 for s in row) == pytest.approx(e.scores.sum(), abs=1e-9)
        assert [s is None for s in row] == [k >= end for k in range(len(row))]


def test_sources_by_sentence(tab: Tab, cited: Citations, tmp_path: Path) -> None:
    by = replace(cited, by="sentence", sentences=())
    names = [u.name for u in units_of(cited.explanations[0], "sentence")]
    assert names[:3] == ["first: the film was great .", "second: a dull plot .", "question: was it good"]
    p = tab.open(page(by.view()), tmp_path)
    assert set(names[:3]) <= bars(p.get_by_role("region", name="Sources", exact=True)).keys()


def test_citations_in_a_notebook_and_in_files(cited: Citations, tmp_path: Path) -> None:
    assert "<iframe" in cited._repr_html_() and "Sentences by sources" in cited._repr_html_()
    saved = json.loads(cited.save(tmp_path / "x.json").read_text("utf-8"))
    assert saved["sentences"][0]["sources"][0]["name"] == "first" and saved["by"] == "source"
    assert cited.save(tmp_path / "x.csv").read_bytes().decode() == cited.explanations.to_csv()
    view = json.loads(cited.view().to_json())["sources"]
    assert view["drops"] == [[s.drop for s in c.sources] for c in cited.sentences]
    plain = json.loads(cited.explanations.view().to_json())["sources"]
    assert plain["drops"] == [] and plain["scores"] == view["scores"]


def test_without_a_script_the_page_has_the_sources(cited: Citations) -> None:
    rows = re.findall(r"<tr><td><bdi>(.*?)</bdi></td><td>(.*?)</td>", page(cited.view()).split("Sources</p>")[1])
    for (name, cells), sentence in zip(rows, cited.sentences, strict=False):
        assert name == sentence.sentence
        shown = [float(x.replace("−", "-")) for x in re.findall(r"</bdi> (\S+)", cells)]
        assert sum(shown) == pytest.approx(sum(s.score for s in sentence.sources), abs=0.005)
        assert "the answer itself and the template" in cells and sentence.top(1)[0].name in cells


def test_hops_in_a_notebook(cited: Citations) -> None:
    hops = cited.hops(1)
    shown = unescape(hops._repr_html_())
    for name, direct, composed in zip(hops.columns, hops.direct, hops.composed, strict=True):
        assert (
            f"<td><bdi>{name}</bdi></td><td><bdi>{signed(direct, 2)}</bdi></td><td><bdi>{signed(composed, 2)}" in shown
        )
    assert "a composition" in shown


def test_the_app_draws_a_saved_answer_with_its_sources(cited: Citations) -> None:
    document = json.loads(cited.explanations.to_json())
    shown = asking.explained(asking.known_of([pellucid.load()], []), {"document": document})["view"]
    assert shown["sources"]["scores"] == [list(row) for row in sources_of(cited.explanations).scores]
    assert [row["sentence"] for row in shown["hops"]["rows"]] == [c.sentence for c in cited.sentences]


def test_ten_thousand_tokens_and_a_thousand_fit_a_page(
    tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is drawn as sentences, which open into tokens; it says how much its part without a script leaves out."""
    monkeypatch.setattr("pellucid.render.packed.EXACT", 0)  # as of the 50 sentences that the size is told of
    es = long_answer(prompt=10_000, answer=1_000, sentence=100)
    view = es.view()
    document, held = page(view), packed(view)
    each, rows = (len(json.dumps(part)) for part in (held["explanations"][-1], held["hops"]["rows"][-1]))
    assert len(document) + 40 * (each + rows) <= 5_000_000
    p = tab.open(document, tmp_path)
    p.locator(".viewer").wait_for()
    assert p.locator(".unit").count() == 100 + 1  # the sentences of the prompt, and the first of the answer
    found = bars(p.get_by_role("region", name="Sources", exact=True))
    assert "8 more" in found  # of 20 documents
    assert sum(found.values()) == pytest.approx(es[0].change, rel=1e-5)
    p.get_by_role("button", name="Hops", exact=True).click()
    own = bars(p.get_by_role("region", name="Hops", exact=True))
    assert "89 more" in own and sum(own.values()) == pytest.approx(es[0].change, rel=1e-5)
    assert "11000 tokens are listed where JavaScript runs" in document


def test_a_thousand_tokens_that_are_explained_fit_a_page() -> None:
    """The scores have a fixed room, and what all explanations share is written once."""
    named = long_answer(10_000, 100, 20, target=1)  # 900 fewer, whose own part is counted below
    view = Explanations(tuple(replace(e, text_names=()) for e in named)).view()
    document, held = page(view), packed(view)["explanations"]
    own = len(json.dumps({name: value for name, value in held[-1].items() if name != "kept"}))
    assert "pieces" not in held[-1] and "cuts" not in held[-1]
    assert held[0]["kept"]["count"] and len(document) + 900 * own <= 5_000_000


def test_what_a_page_leaves_out_is_a_number_and_nothing_else_changes(
    tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pellucid.render.packed.MOST", 0)
    monkeypatch.setattr("pellucid.render.packed.ROOM", 12 * 200)
    es = long_answer(prompt=100, answer=12, sentence=10, documents=2, target=1)
    p, e = tab.open(page(es.view()), tmp_path), es[0]
    p.get_by_role("button", name="Sentences", exact=True).click()
    sentences = [w.score for w in e.sentences()]
    assert [float(x) for x in units(p)] == pytest.approx(sentences[: len(units(p))], abs=2e-3)
    p.get_by_role("button", name="Words", exact=True).click()
    kept, order = len(units(p)), np.argsort(-np.abs(e.scores))
    assert 0 < kept < 105
    assert sorted(units(p)) == pytest.approx(sorted(e.scores[order[:kept]]), abs=2e-3)
    left = e.scores[order[kept:]]
    told = p.locator(".left").inner_text().replace("−", "-")
    count, largest, together = re.findall(r"[+-]?\d[\d.]*\d|\d+", told)
    assert int(count) == np.count_nonzero(left)
    assert float(largest) == pytest.approx(np.abs(left).max(), abs=2e-3)
    assert float(together) == pytest.approx(left.sum(), abs=2e-3)
    assert "tokens left out" in p.locator(".waterfall").inner_text()
    assert p.get_by_role("button", name="Spans", exact=True).count() == 0


def units(p: Any) -> list[float]:
    """The scores of the units that the text is drawn as."""
    names = p.locator(".unit").evaluate_all("all => all.map((e) => e.ariaLabel ?? e.getAttribute('aria-label'))")
    return [float(name.split()[-1].replace("−", "-")) for name in names]


def test_few_scores_keep_their_digits_and_many_single_precision(cited: Citations) -> None:
    assert packed(cited.explanations.view())["explanations"][0]["single"] is False
    assert "scores" not in packed(cited.explanations.view())["generations"][0]
    assert "Float32Array" in source()


def test_hostile_names_of_sources(tab: Tab, cited: Citations, tmp_path: Path) -> None:
    bad = ("</script><img src=x onerror=alert(1)>", "\u202e<b>", "question", "continuation")
    each = tuple(replace(e, text_names=bad) for e in cited.explanations)
    p = opened(tab, Explanations(each), tmp_path)
    names = p.get_by_role("region", name="Sources", exact=True).locator(".bars .name").all_inner_texts()
    assert bad[0] in names and "\\u202e<b>" in names
    assert p.locator("img, b").count() == 0
