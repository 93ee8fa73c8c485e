"""What the terminal, the page and the plots have in common: how a View's strings and runs are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from ..passages import Run
from ..token_text import SIGNS
from ..view import ExplanationView, Item, Piece
from .colour import strength

HIDDEN = 0.005
"""A token that stands for no text and is weaker than this is left out of the drawn text."""
NUMBERS = ("passes", "output", "relative delta")
"""The columns of a table of explanations that are set to the right."""
_BIDI = (
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"  # can reorder what stands around them
)


def visible(text: str, keep: str = "") -> str:
    """A text with control characters, ANSI escapes among them, and marks that reorder text written out.

    Examples:
        >>> visible("a\\x1b[31m")
        'a\\\\x1b[31m'
    """
    return "".join(c if c in keep or not _is_unseen(c) else c.encode("unicode_escape").decode() for c in text)


def label(text: str) -> str:
    """A word as one line of a list; white space that is all there is gets a sign.

    Examples:
        >>> label("film"), label("\\n")
        ('film', '⏎')
    """
    return visible(text if text.strip() else "".join(SIGNS.get(c, c) for c in text))


def short(text: str, most: int = 40) -> str:
    """The beginning of a text as one line of at most so many characters.

    Examples:
        >>> short("a long film", 7)
        'a long…'
    """
    line = label(text) if not text.strip() else label(" ".join(text[: 5 * most].split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def name(item: Item) -> str:
    """A word as one line, numbered where it stands in the text more than once: movie (2)."""
    return label(item.text) + (f" ({item.repeat})" if item.repeat is not None else "")


def ranked(v: ExplanationView, most: int) -> list[Item]:
    """The strongest words that are not special, strongest first."""
    return [v.words[i] for i in v.ranking[:most]]


def strongest(v: ExplanationView) -> list[Item]:
    """The few words that count most."""
    return [v.words[i] for i in v.strongest]


def drawn(runs: Sequence[Run], peak: float) -> list[Run]:
    """The runs that are drawn: all but tokens that stand for no text and hardly count."""
    return [run for run in runs if run.text or abs(strength(run.score, peak)) >= HIDDEN]


def pieces_of(v: ExplanationView, run: Run) -> list[Piece]:
    """The tokens of a run."""
    return [v.tokens[i] for i in run.tokens]


def reach(items: Sequence[Item]) -> tuple[float, float, float]:
    """How far bars reach to the left and to the right, as fractions that add to 1, and the width of a score of 1."""
    low, high = max([0.0, *(-i.score for i in items)]), max([0.0, *(i.score for i in items)])
    if not low + high:
        return 0.0, 1.0, 0.0
    return low / (low + high), high / (low + high), 1 / (low + high)


def _is_unseen(c: str) -> bool:
    return c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" or c in _BIDI or "\ud800" <= c <= "\udfff"
