"""Each kind of picture draws the numbers that the explanation has, of 5 tokens and of 512, and pages hold texts."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid import Explanation, Explanations, Model, Target, Token
from pellucid.errors import InputError
from pellucid.render import plot_maps, plot_pieces
from test_render import explained

pytest.importorskip("matplotlib")
KINDS = ("words", "waterfall", "layers", "distribution", "heads", "attention", "norms", "parts", "force")
INSIDE = ("layers", "heads", "attentions", "norms", "parts")


@pytest.fixture(scope="module")
def inside(bundled: Model) -> Explanation:
    return pellucid.explain(bundled, "A good film, really.", detail=INSIDE)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_on_both_papers(kind: str, dark: bool, inside: Explanation) -> None:
    figure = inside.plot(kind, dark)
    with plot_pieces.unwarned():
        figure.canvas.draw()
    paper = [round(255 * c) for c in figure.get_facecolor()[:3]]
    assert (max(paper) < 64) == dark and figure.axes


def drawn(figure: Any) -> Any:
    return figure.axes[0].images[0].get_array()


def test_matrices_are_the_data(inside: Explanation) -> None:
    assert np.allclose(drawn(inside.plot("heads")), inside.heads.sum(axis=(2, 3)))
    assert np.allclose(drawn(inside.plot("norms")), np.array(inside.measures["norm_sum_af"]).mean(axis=1))
    assert np.allclose(drawn(inside.plot("parts")), list(inside.parts.values()))
    tiles = np.ma.filled(drawn(inside.plot("attention")), np.nan)
    n = len(inside.tokens)
    head = inside.attentions[1, 2]
    step = n + max(1, n // 12)
    assert np.allclose(tiles[step : step + n, 2 * step : 2 * step + n], head / head.max())


def test_entropy_is_that_of_the_shares(inside: Explanation) -> None:
    values = np.zeros((4, len(inside.tokens)))
    values[:, :4] = [[1.0, -1, 1, -1], [3, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 0]]
    e = replace(inside, layers=values, elements=None)
    (dashed,) = e.plot("distribution").axes[1].lines
    assert dashed.get_ydata() == pytest.approx([2, 0, 0, 1.5])


def test_boxes_are_the_quartiles_of_each_layer(inside: Explanation) -> None:
    boxes = [line.get_ydata() for line in inside.plot("distribution").axes[0].lines]
    for layer in inside.layers:
        middle = np.median(layer)
        assert any(np.allclose(line, middle) for line in boxes)
    best = int(np.abs(inside.layers).sum(axis=0).argmax())
    _, below, dashed, _ = inside.plot("distribution").axes
    boxes = [line.get_ydata() for line in below.lines]
    for five in inside.elements["quantiles"][:, best]:
        assert any(np.allclose(line, five[2]) for line in boxes) and any(np.allclose(line, five[4]) for line in boxes)
    assert dashed.lines[0].get_ydata() == pytest.approx(inside.elements["entropy"][:, best])


def test_the_strip_of_forces_runs_from_baseline_to_output(inside: Explanation) -> None:
    bars = inside.plot("force").axes[0].patches
    up = sum(-b.get_width() for b in bars if b.get_width() < 0)
    down = sum(b.get_width() for b in bars if b.get_width() > 0)
    assert up - down == pytest.approx(inside.change, abs=1e-6)


def test_a_generation_is_one_matrix(tmp_path: Path) -> None:
    tokens = tuple(Token(f"Ġt{i}", i, (0, 1), word=i, segment=int(i > 2)) for i in range(6))
    scores = np.array([1.0, -2, 3, 0, 0, 0])
    base = explained(("ab", "cd"), tokens=tokens, scores=scores, meta={"task": "text-generation"})
    es = Explanations(tuple(replace(base, target=Target("x", 1, position=3 + i)) for i in range(3)))
    axes = es.plot("generation").axes[0]
    values = axes.images[0].get_array()
    assert values.shape == (3, 6) and values[0, :3].tolist() == [1, -2, 3] and np.ma.getmaskarray(values)[0, 3:].all()
    assert [t.get_text() for t in axes.get_yticklabels()] == ["1  t3", "2  t4", "3  t5"]
    with pytest.raises(InputError, match="language model"):
        base.plot("generation")


def test_comparison_aligns_words_of_different_texts() -> None:
    a, b = explained("a good film", {"good": 2.0}), explained("a really bad film", {"bad": -1.0})
    axes = Explanations((a, b)).plot("compare").axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "good / really", "bad", "film"]
    first, second = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert first == pytest.approx([0.01, 2, 0, 0.01]) and second == pytest.approx([0.01, 0.01, -1, 0.01])
    with pytest.raises(InputError, match="two or more"):
        a.plot("compare")


@pytest.mark.parametrize("kind", ["layers", "heads", "attention", "norms", "parts", "distribution"])
def test_what_is_lacking_is_named(kind: str) -> None:
    with pytest.raises(InputError, match=r"Explain with detail=\('"):
        explained("a film").plot(kind)


def test_512_tokens_are_legible() -> None:
    e = explained("word " * 510, {"word": 0.1})
    scores = np.random.default_rng(0).normal(size=len(e.tokens))
    e = replace(e, scores=scores, layers=np.stack([scores] * 12))
    figure = e.plot("layers")
    figure.canvas.draw()
    labels = [t.get_window_extent() for t in figure.axes[0].get_xticklabels() if t.get_text()]
    assert len(labels) > 10 and all(a.x1 <= b.x0 + 1 for a, b in pairwise(labels))


def test_thumbnails_keep_the_strongest_of_a_block() -> None:
    head = np.zeros((512, 512))
    head[300, 17] = -5.0
    small = plot_maps._thumbnail(head)
    assert small.shape == (64, 64) and small.min() == -5 and small[300 // 8, 17 // 8] == -5


def test_characters_without_a_font_are_said_to_be_missing() -> None:
    assert plot_pieces.missing(["plain é text"]) == "" and plot_pieces.missing(["a \U0010fffd\u200d\U0010fffd"]) == (
        "\U0010fffd"
    )
    figure = explained("a \U0010fffd film", tokens=(Token("\U0010fffd", 1, (2, 3)),), scores=np.ones(1)).plot()
    assert "No font here has 1 of the characters (U+10FFFD)" in figure.get_supxlabel()


def pages_of(path: Path) -> tuple[int, set[str]]:
    content = path.read_bytes()
    boxes = {m.decode() for m in re.findall(rb"/MediaBox\s*\[([^\]]*)\]", content)}
    return len(re.findall(rb"/Type\s*/Page\b", content)), boxes


@pytest.mark.parametrize(("texts", "each"), [(1, 1), (7, 1), (2, 2), (1, 40)])
def test_a_pdf_has_pages_of_one_size(texts: int, each: int, tmp_path: Path) -> None:
    es = [explained(f"text {i} is a good film", {"good": 1.0 + k}) for i in range(texts) for k in range(each)]
    count, boxes = pages_of(Explanations(tuple(es)).save(tmp_path / "x.pdf"))
    assert 1 <= count <= 2 * texts and len(boxes) == 1
    _, _, width, height = map(float, boxes.pop().split())
    assert (round(width), round(height)) == (595, 842)
