"""Hops: what the prompt gave to an answer through the sentences that were written before it.

A sentence of an answer comes from the prompt, from the sentences before it and from itself. With M[j, k] the score of
sentence k for sentence j, and c[j] the change in the log-probability of sentence j, each row is complete:

    c[j] = Σₖ M[j, k] + residual[j]

The sentences between have absorbed a part of the prompt. The composition passes that part on: of the amount a[j] that
arrives at sentence j, an earlier sentence i of the answer receives a[j]·M[j, i]/c[j], and a sentence k of the prompt
keeps a[j]·M[j, k]/c[j]. What j owes to itself stays there: it is left over by the hop. The composition begins with
a = c at the sentence that is explained. All that was kept and left over adds up to that c again; but it is a product of
shares along the way, and no attribution of one change of the model. It is told apart from the direct scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError
from .notebook import Displayed, Printed, Sheet, card
from .number_text import signed
from .passages import roles
from .plain_data import Json, as_plain
from .sentences import sentence_of_each
from .tokens import Array, Explained

if TYPE_CHECKING:
    from rich.console import RenderableType

_CANCELS = 1e-3
"""Where the change of a sentence is less than this part of Σ|scores|, its shares say nothing, and it passes on none."""
_SHOWN = 5
_TOLD = (
    "Direct: scores that the model's own change adds up to. Through hops: a composition, the product of the shares "
    "along the sentences between. Left over: what a sentence owes to itself, and its residual."
)
Unit = tuple[str, bool, tuple[int, ...]]
"""A sentence: its name, whether it is one of the answer, and its tokens."""


@dataclass(frozen=True)
class Hop:
    """One sentence of the answer.

    sentence: its text. change, delta: the change of its log-probability, and the residual. scores: of each column of
    `Hops`, complete with `delta`. arrived: how much of the explained sentence's change came to this one. left: how much
    of that stayed: what the sentence owes to itself, and its residual. passes: whether it passes on what arrives; not
    where its own scores cancel to less than a thousandth of their sizes.
    """

    sentence: str
    change: float
    delta: float
    scores: tuple[float, ...]
    arrived: float
    left: float
    passes: bool


@dataclass(frozen=True)
class Hops(Displayed, Printed):
    """Sentences × sentences: which sentences of the prompt and of the answer each sentence of the answer came from.

    columns: the names of the sentences, first those of the prompt, then "template" (all tokens that belong to no text),
    then those of the answer. prompt: how many columns come before the answer's. rows: a Hop for each sentence of the
    answer. explained: the number of the row that is composed, from 0. direct: its own scores. composed: for each column
    what the product along the hops gives it; for a sentence of the answer, what is left over there. Both add up to the
    change of the explained sentence: the direct scores with its residual, the composition with none. tokens: of each
    column, the indices of its tokens in the explanations. told: how the numbers are read.
    """

    columns: tuple[str, ...]
    prompt: int
    rows: tuple[Hop, ...]
    explained: int
    direct: tuple[float, ...]
    composed: tuple[float, ...]
    tokens: tuple[tuple[int, ...], ...] = ()
    told: str = _TOLD

    def matrix(self) -> Array:
        """The direct scores, sentences of the answer × columns."""
        return np.array([row.scores for row in self.rows])

    def to_dict(self) -> dict[str, Json]:
        """Plain Python values, which JSON holds."""
        return {"schema_version": 1, **{name: as_plain(value) for name, value in vars(self).items()}}

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        own = self.rows[self.explained]
        told = [Text(f"{self.explained + 1}. {own.sentence}", style="bold")]
        told.append(Text(f"change in its log-probability {signed(own.change, 2)}", style="dim"))
        return Group(*told, _strongest(self), Text(""), _between(self), Text(self.told, style="dim"))

    def _sheet(self) -> Sheet:
        own, heads = self.rows[self.explained], ("", "direct", "through hops, or left over", "arrived")
        arrived = [*[""] * self.prompt, *(signed(row.arrived, 2) for row in self.rows)]
        each = zip(self.columns, self.direct, self.composed, arrived, strict=True)
        rows = [(name, signed(a, 2), signed(b, 2), c) for name, a, b, c in each]
        facts = (("change in its log-probability", signed(own.change, 2)), ("residual", signed(own.delta, 2)))
        title = f"{self.explained + 1}. {own.sentence}"
        return Sheet(lambda: card(title, facts, heads, rows), told=(self.told,))


def trace_hops(answer: Sequence[Explained], sentence: int = -1) -> Hops:
    """Follows the sentences of an answer back to the prompt, through the sentences between.

    Examples:
        >>> answer = pellucid.explain(model, item, target="sentences", method=["deeplift"])  # doctest: +SKIP
        >>> pellucid.trace_hops(answer).show()  # doctest: +SKIP

    answer: the explanations of all sentences of one answer by one method, in order (target="sentences"), against a
        baseline that replaces the words of the answer too; the `explanations` of `pellucid.cite`, say.
    sentence: the number of the sentence that is composed, from 0, or from the end; the last unless you say otherwise.

    Returns Hops. Raises InputError for anything else.
    """
    are = isinstance(answer, Sequence) and all(hasattr(e, "target") for e in answer)
    starts = _starts(answer) if are else []
    n = len(starts)
    if not n:
        raise InputError(
            "Found explanations that are not of all sentences of one answer; expected those of explain(model, item, "
            "target='sentences', method=['deeplift']), or Citations.explanations."
        )
    if type(sentence) is not int or not -n <= sentence < n:
        raise InputError(f"Found sentence={sentence!r}; expected the number of one of {n} sentences, from 0.")
    columns, prompt, m = _matrix(answer, starts)
    if not m[:, prompt:].any() and len(answer[0].tokens) > starts[0] + 1:  # a token alone has no part in itself
        raise InputError(
            f"Found the baseline {answer[0].baseline!r}, which keeps the words of the answer, so that no sentence has "
            "a part in another; expected one that replaces them: baseline='filler'."
        )
    explained = sentence % n
    arrived, left, kept, passes = _composed(answer, m, prompt, explained)
    rows = tuple(
        Hop(e.target.name, e.output - e.baseline_output, e.delta, tuple(map(float, m[j])), *of_row)
        for j, (e, *of_row) in enumerate(zip(answer, arrived.tolist(), left.tolist(), passes, strict=True))
    )
    names, _, tokens = zip(*columns, strict=True)
    return Hops(names, prompt, rows, explained, rows[explained].scores, (*kept.tolist(), *left.tolist()), tokens)


def have_hops(answer: Sequence[Explained]) -> bool:
    """Whether these are the explanations of all sentences of one answer, in order, by one method that adds up, against
    a baseline that replaces the words of the answer too."""
    starts = _starts(answer)
    if not starts:
        return False
    _, prompt, m = _matrix(answer, starts)
    return bool(m[:, prompt:].any())


def _composed(
    answer: Sequence[Explained], m: Array, prompt: int, explained: int
) -> tuple[Array, Array, Array, list[bool]]:
    """What arrives at each sentence of the answer, what is left over there, what each column of the prompt keeps, and
    whether each sentence passes on what arrives."""
    n = len(answer)
    change = np.array([e.output - e.baseline_output for e in answer])
    passes = [abs(change[j]) > _CANCELS * float(np.abs(m[j]).sum()) for j in range(n)]
    arrived, left, kept = np.zeros(n), np.zeros(n), np.zeros(prompt)
    arrived[explained] = change[explained]
    for j in range(explained, -1, -1):
        shares = m[j] / change[j] if passes[j] else np.zeros_like(m[j])
        given = arrived[j] * shares
        kept += given[:prompt]
        arrived[:j] += given[prompt : prompt + j]
        left[j] = arrived[j] - given[: prompt + j].sum()
    return arrived, left, kept, passes


def _starts(answer: Sequence[Explained]) -> list[int]:
    """The number of the first token of each sentence; none where these are not the sentences of one answer."""
    if not answer:
        return []
    first, places = answer[0], [e.target.position for e in answer]
    starts = [p for p in places if p is not None]
    if len(starts) < len(places) or starts != sorted(set(starts)):
        return []
    alike = all((e.tokens, e.method, e.baseline) == (first.tokens, first.method, first.baseline) for e in answer)
    ends = [*starts[1:], len(first.tokens)]
    whole = all(
        isinstance(e.target.index, tuple) and len(e.target.index) == end - start
        for e, start, end in zip(answer, starts, ends, strict=True)
    )
    own = first.tokens[starts[0]].segment
    begins = not any(t.segment == own and not t.special for t in first.tokens[: starts[0]])
    return starts if alike and whole and begins and first.adds_up else []


def _matrix(answer: Sequence[Explained], starts: Sequence[int]) -> tuple[list[Unit], int, Array]:
    """The columns, how many of them are of the prompt, and the score of each column (rows: sentences)."""
    columns = _columns(answer[0], starts)
    m = np.array([[float(e.scores[list(tokens)].sum()) for _, _, tokens in columns] for e in answer])
    return columns, sum(not own for _, own, _ in columns), m


def _columns(e: Explained, starts: Sequence[int]) -> list[Unit]:
    """The sentences of the prompt, the template, and the sentences of the answer."""
    of_sentence: dict[tuple[int, int], list[int]] = {}
    rest: list[int] = []
    for i, where in enumerate(sentence_of_each(e.tokens[: starts[0]], e.text)):
        (rest if where is None else of_sentence.setdefault(where, [])).append(i)
    texts, named = ((e.text,) if isinstance(e.text, str) else e.text), roles(e)
    found: list[Unit] = []
    for (segment, _), tokens in sorted(of_sentence.items()):
        spans = [span for i in tokens if (span := e.tokens[i].span)]
        text = texts[segment][spans[0][0] : spans[-1][1]].strip()
        found.append((f"{named[segment]}: {text}", False, tuple(tokens)))
    found.append(("template", False, tuple(rest)))
    ends = [*starts[1:], len(e.tokens)]
    written = [
        (f"sentence {j}", True, tuple(range(a, b))) for j, (a, b) in enumerate(zip(starts, ends, strict=True), 1)
    ]
    return [*found, *written]


# ------------------------------------------------------------------------------------------------------------- shown


def _strongest(h: Hops) -> RenderableType:
    """The sentences of the prompt that count most, directly and through the hops."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("from the prompt")
    table.add_column("direct", justify="right")
    table.add_column("through hops", justify="right")
    order = sorted(range(h.prompt), key=lambda k: -max(abs(h.direct[k]), abs(h.composed[k])))
    for k in sorted(order[:_SHOWN]):
        name = Text(h.columns[k], overflow="ellipsis", no_wrap=True)
        table.add_row(name, signed(h.direct[k], 2), signed(h.composed[k], 2))
    if rest := order[_SHOWN:]:
        sums = [signed(sum(each[k] for k in rest), 2) for each in (h.direct, h.composed)]
        table.add_row(Text(f"{len(rest)} more", style="dim"), *sums)
    return table


def _between(h: Hops) -> RenderableType:
    """For each sentence of the answer up to the explained one: what it came from, and what passed through it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    names = ("sentence", "from prompt", "sentences before", "itself", "arrived", "left over")
    for name in names:
        table.add_column(name, justify="left" if name == "sentence" else "right")
    for j, row in enumerate(h.rows[: h.explained + 1]):
        before, own = row.scores[h.prompt : h.prompt + j], row.scores[h.prompt + j]
        numbers = (sum(row.scores[: h.prompt]), sum(before), own, row.arrived, row.left)
        name = f"{j + 1}. " + ("" if row.passes else "(cancels) ") + row.sentence
        table.add_row(Text(name, overflow="ellipsis", no_wrap=True), *(signed(v, 2) for v in numbers))
    return table
