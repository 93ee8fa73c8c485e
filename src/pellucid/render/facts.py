"""What every drawing says in words and numbers: what was decided, and the sum, written so that it can be checked.

baseline + contributions + residual = output
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..explanation import Array, Explanation, Word
from ..token_text import SIGNS

FLOAT_PRECISION = 1e-5  # a relative delta that float32 alone leaves
COARSE = 0.05  # one that a method which promises a sum should not leave
_BIDI = (
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"  # can reorder what stands around them
)


@dataclass(frozen=True)
class Term:
    """One number of the sum: its name, its value, and how it is written."""

    name: str
    value: float
    shown: str


def about(e: Explanation) -> list[tuple[str, str]]:
    """What was explained and how, as names and values. From outside: escape it."""
    at = e.target.position
    token = "" if at is None or at >= len(e.tokens) else e.shown(at)
    place = "" if at is None else f" at {token} (token {at})" if token not in ("", e.target.name) else f" at token {at}"
    facts = [("target", e.target.name + place), ("method", e.method), ("baseline", e.baseline)]
    return facts + ([("model", str(e.meta["model"]))] if e.meta.get("model") else [])


def proof(e: Explanation) -> list[tuple[str, str]]:
    """How far the sum can be trusted and what it cost."""
    facts = [("relative delta", f"{e.relative_delta:.2g}"), ("passes", str(e.passes)), ("status", e.status)]
    return facts + ([] if e.error is None else [("estimated error", _relative_error(e.error, e.scores))])


def differing(explanations: Sequence[Explanation]) -> tuple[list[str], list[tuple[str, str]]]:
    """Of what is told of each of several explanations, the names of what differs, in order, and what is common."""
    rows = [dict(how(e)) for e in explanations]
    names = list(dict.fromkeys(name for row in rows for name in row))
    same = {name for name in names if len({row.get(name, "") for row in rows}) == 1}
    return [n for n in names if n not in same], [(n, rows[0].get(n, "")) for n in names if n in same]


def how(e: Explanation) -> list[tuple[str, str]]:
    """How an explanation was made, and what it is worth, without the numbers that are always its own."""
    return [*about(e)[1:], ("passes", str(e.passes)), ("status", str(e.status))]


def part_sums(e: Explanation) -> str:
    """The parts of the embedding, a second answer with a baseline of its own: their sums, and what these add up to."""
    told = e.meta.get("parts")
    if not e.parts or not told:
        return ""
    sums = {name: float(values.sum()) for name, values in e.parts.items()}
    places = decimals(max([abs(told["output"]), abs(told["baseline_output"]), *map(abs, sums.values())]))
    terms = " ".join(f"{signed(value, places)} {name}" for name, value in sums.items())
    ends = plain(told["baseline_output"], places), plain(told["output"], places)
    return f"{ends[0]} baseline {terms} = {ends[1]} output; their own baseline is {told['baseline']}"


def plus_minus(e: Explanation, tokens: Sequence[int], places: int) -> str:
    """± the estimated error of these tokens' sum, where they have one: errors add up at worst."""
    if e.error is None:
        return ""
    size = float(e.error[list(tokens)].sum())
    least = 10.0**-places
    return f"± <{least:.{places}f}" if 0 < size < least / 2 else f"± {plain(size, places)}"


def verdict(e: Explanation) -> str:
    """One sentence on the sum. Holds the method's name, from outside."""
    if not e.adds_up:
        return f"{e.method} does not promise that its scores add up: the residual is what they leave unexplained."
    if e.relative_delta >= COARSE:
        of = "the change in the output" if e.change else "their own size"
        return f"The contributions do not add up yet: the residual is {percent(e.relative_delta)} of {of}."
    close = "to floating-point precision" if e.relative_delta < FLOAT_PRECISION else "up to the residual"
    return f"The contributions add up to the change in the output, {close}."


def is_complete(e: Explanation) -> bool:
    """Whether the contributions are the change in the output, up to the tolerances that methods stop at by default."""
    return e.adds_up and e.relative_delta < COARSE


def percent(p: float) -> str:
    """A probability that says 100% only of certainty."""
    if 0.9995 <= p < 1:
        return ">99.9%"
    return "<0.1%" if 0 < p < 0.0005 else f"{p:.1%}"


def decimals(scale: float) -> int:
    """Decimal places that give a number of this size three or four digits."""
    size = math.floor(math.log10(abs(scale))) if scale and math.isfinite(scale) else 0
    return min(9, max(0, 3 - size if size >= 0 else 2 - size))


def signed(x: float, places: int) -> str:
    """+1.057, −0.120, 0; what would round to nothing is written +2e-05."""
    return "0" if x == 0 else f"{'+' if x > 0 else '−'}{_size(x, places)}"


def plain(x: float, places: int) -> str:
    """As `signed`, without the plus."""
    return signed(x, places).removeprefix("+")


def equation(e: Explanation) -> tuple[Term, Term, Term, Term]:
    """Baseline, contributions, residual and output, to as few places as make the written numbers add up exactly."""
    values = (e.baseline_output, float(e.scores.sum()), e.delta, e.output)
    least = decimals(max(abs(v) for v in values))
    places = next((p for p in range(least, least + 5) if _adds_up(values, p)), least)
    base, rest, left, out = values
    return (
        Term("baseline", base, plain(base, places)),
        Term("contributions", rest, signed(rest, places)),
        Term("residual", left, signed(left, places)),
        Term("output", out, plain(out, places)),
    )


def span_of(words: list[Word]) -> tuple[float, float]:
    """How far bars reach to the left and to the right: fractions that add to 1."""
    low, high = max([0.0, *(-w.score for w in words)]), max([0.0, *(w.score for w in words)])
    return (low / (low + high), high / (low + high)) if low + high else (0.0, 1.0)


def repeats(e: Explanation) -> dict[tuple[int, ...], int]:
    """Which one it is (1, 2, …) for each word that stands in the text more than once, by its tokens."""
    places: dict[str, list[tuple[int, ...]]] = {}
    for word in e.words():
        places.setdefault(word.text, []).append(word.tokens)
    return {tokens: i for same in places.values() if len(same) > 1 for i, tokens in enumerate(same, 1)}


def names(e: Explanation, words: Sequence[Word]) -> list[str]:
    """The words as one line each, numbered where one stands in the text more than once: movie (2)."""
    again = repeats(e)
    return [label(w.text) + (f" ({again[w.tokens]})" if w.tokens in again else "") for w in words]


def strongest(e: Explanation, special: bool = False) -> list[Word]:
    """The few words that count most, largest first; special tokens only where they are asked for."""
    return sorted((w for w in e.words() if w.score and (special or not w.special)), key=lambda w: -abs(w.score))[:4]


def at_layers(e: Explanation) -> list[Explanation]:
    """The explanation at the output of each layer, which is complete by itself; none where it was not asked for."""
    if e.layers is None or e.layer_deltas is None:
        return []
    each = zip(e.layers, e.layer_deltas, strict=True)
    return [replace(e, scores=scores, delta=float(delta), error=None, layers=None) for scores, delta in each]


def visible(text: str, keep: str = "") -> str:
    """Control characters, ANSI escapes among them, and marks that reorder text, written out: \\x1b."""
    return "".join(c if c in keep or not _unseen(c) else c.encode("unicode_escape").decode() for c in text)


def label(text: str) -> str:
    """A word as one line of a list: white space that is all there is gets a sign."""
    return visible(text if text.strip() else "".join(SIGNS.get(c, c) for c in text))


def _unseen(c: str) -> bool:
    return c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" or c in _BIDI or "\ud800" <= c <= "\udfff"


def _size(x: float, places: int) -> str:
    shown = f"{abs(x):.{places}f}"
    return shown if float(shown) and abs(x) < 1e9 else f"{abs(x):.0e}" if abs(x) < 1 else f"{abs(x):.6g}"


def _relative_error(error: Array, scores: Array) -> str:
    """That of the vector of scores, relative to it."""
    size, whole = float(np.linalg.norm(error)), float(np.linalg.norm(scores))
    return f"{100 * size / whole:.2g}% of the scores" if whole else f"{size:.2g}"


def _adds_up(values: tuple[float, ...], places: int) -> bool:
    base, rest, left, out = (round(v * 10**places) for v in values)
    return base + rest + left == out
