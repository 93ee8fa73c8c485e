"""Pictures made of bars: words, the sum as steps or as one strip, and explanations beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from textwrap import wrap
from typing import TYPE_CHECKING

from ..errors import InputError
from ..number_text import decimals, plain, signed
from ..view import ExplanationView, Item
from .colour import Theme, background, ink_on
from .facts import name, ranked
from .plot_pieces import bare, font, number, rows, short, sign_colour, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOP = 12
STEPS = 8


def words(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """A bar for each of the strongest words."""
    strongest = ranked(v, TOP)
    scores = [w.score for w in strongest]
    axes.barh(range(len(scores)), scores, height=0.62, color=[sign_colour(s, theme) for s in scores])
    axes.axvline(0, color=theme.muted, linewidth=0.8)
    rows(axes, [name(w) for w in strongest], theme)
    for row, w in enumerate(strongest):
        number(axes, w.score, row, w.written, w.score < 0, theme)
    title(axes, v, theme)
    axes.set_xticks([])
    axes.set_xlabel("\n".join(below(v)), fontsize=7.5, color=theme.muted, parse_math=False, **font())


def below(v: ExplanationView) -> list[str]:
    """The lines under a picture of words: the sum, what it is worth where it does not hold, and the notes."""
    terms = " ".join(f"{sign}{t.name} {t.written}" for t, sign in zip(v.sum.terms, ("", "+ ", "+ ", "= "), strict=True))
    told = [terms, *([] if v.sum.complete else [v.sum.verdict]), *v.notes]
    return [line for sentence in told for line in wrap(sentence, 110)]


def waterfall(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """From the baseline's output to the output, a step for each of the strongest words."""
    each = steps(v)
    baseline, _, _, output = (term.value for term in v.sum.terms)
    places = decimals(max(abs(output), abs(baseline), v.peak))
    at = baseline
    for row, (_, change) in enumerate(each, 1):
        axes.barh(row, change, left=at, height=0.62, color=sign_colour(change, theme))
        axes.plot([at, at], [row - 1, row + 0.31], color=theme.muted, linewidth=0.7)
        number(axes, at + change, row, signed(change, places), change < 0, theme)
        at += change
    last = len(each) + 1
    axes.plot([at, at], [last - 1, last], color=theme.muted, linewidth=0.7)
    for row, value in ((0, baseline), (last, output)):
        axes.plot([value], [row], "o", color=theme.ink, markersize=5)
        number(axes, value, row, plain(value, places), False, theme)
    rows(axes, ["baseline", *(step for step, _ in each), "output"], theme)
    title(axes, v, theme)
    axes.grid(axis="x", color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)


def steps(v: ExplanationView) -> list[tuple[str, float]]:
    """The strongest words, what the others come to, and the residual: from baseline to output, nothing left out."""
    named = ranked(v, STEPS)
    others = len(v.words) - len(named)
    _, contributions, residual, _ = (term.value for term in v.sum.terms)
    rest = contributions - sum(w.score for w in named)
    return (
        [(name(w), w.score) for w in named]
        + ([(f"{others} others", rest)] if others else [])
        + [("residual", residual)]
    )


def force(axes: Axes, v: ExplanationView, theme: Theme) -> None:
    """One strip on the axis of the output: what raises it ends at the output from below, what lowers it from above."""
    each = steps(v)
    baseline, output = v.sum.terms[0].value, v.sum.terms[3].value
    whole = sum(abs(s) for _, s in each) or 1.0
    for sign in (1, -1):
        at = output
        for step, change in sorted((s for s in each if s[1] * sign > 0), key=lambda s: -abs(s[1])):
            colour = background(max(-1.0, min(1.0, change / v.peak)) if v.peak else 0.0, theme)
            axes.barh(0, -change, left=at, height=0.5, color=colour, edgecolor=theme.paper)
            if abs(change) / whole > 0.06:
                told = short(step, max(2, round(90 * abs(change) / whole)))
                axes.text(at - change / 2, 0, told, ha="center", va="center", fontsize=8, color=ink_on(colour),
                          parse_math=False, **font())  # fmt: skip
            at -= change
    for value, told, row in ((output, "output", 0.45), (baseline, "baseline", -0.45)):
        axes.plot([value, value], [-0.3, 0.3], color=theme.ink, linewidth=1.2)
        va = "bottom" if row > 0 else "top"
        axes.text(value, row, f"{told} {plain(value, decimals(value))}", ha="center", va=va, fontsize=8.5,
                  color=theme.ink)  # fmt: skip
    bare(axes, theme)
    axes.set_ylim(-1.1, 1.1)
    axes.margins(x=0.08)
    axes.set_yticks([])
    title(axes, v, theme)


def compare(axes: Axes, each: Sequence[ExplanationView], names: Sequence[str], theme: Theme) -> None:
    """The words of several explanations on one scale, a bar for each explanation; words of other texts are aligned."""
    aligned = align(each)
    order = sorted(range(len(aligned)), key=lambda i: -max(abs(w.score) for w in aligned[i] if w))[:TOP]
    kept = [aligned[i] for i in sorted(order)]
    height = 0.8 / len(each)
    for k, told in enumerate(names):
        scores = [row[k].score if row[k] else 0.0 for row in kept]  # type: ignore[union-attr]
        at = [i - 0.4 + (k + 0.5) * height for i in range(len(kept))]
        shade = background(1 - 0.75 * k / max(1, len(each) - 1), theme)
        axes.barh(at, scores, height=0.9 * height, color=shade, label=short(told))
    axes.axvline(0, color=theme.muted, linewidth=0.8)
    rows(axes, [" / ".join(dict.fromkeys(name(w) for w in row if w)) for row in kept], theme)
    axes.legend(frameon=False, labelcolor=theme.ink, prop={"family": font()["fontfamily"], "size": 8.5})
    title(axes, each[0], theme, told=f"{len(kept)} of {len(aligned)} words, in the order of the text")


def align(each: Sequence[ExplanationView]) -> list[list[Item | None]]:
    """Rows of words that stand for each other in each explanation; None where one has no such word."""
    if len(each) < 2:
        raise InputError("Found one explanation; expected two or more to compare, such as method=['deeplift', 'lime'].")
    first = [w for w in each[0].words if not w.special]
    table: list[list[Item | None]] = [[w] for w in first]
    for k, v in enumerate(each[1:], 1):
        mine = [w for w in v.words if not w.special]
        there = [next(w for w in reversed(row) if w).text if any(row) else "" for row in table]
        found: list[list[Item | None]] = []
        for _, a, b, c, d in SequenceMatcher(None, there, [w.text for w in mine], autojunk=False).get_opcodes():
            for i in range(max(b - a, d - c)):
                row = table[a + i] if a + i < b else [None] * k
                found.append([*row, mine[c + i] if c + i < d else None])
        table = found
    return table
