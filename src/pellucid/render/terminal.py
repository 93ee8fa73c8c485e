"""An Explanation → a terminal's lines, dark or light: all is there without colour, no text from outside is obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.rule import Rule
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..explanation import Explanation
from .colour import TERMINAL, background, ink_on, strength
from .facts import (
    about,
    at_layers,
    decimals,
    differing,
    equation,
    how,
    is_complete,
    label,
    part_sums,
    percent,
    plain,
    plus_minus,
    proof,
    repeats,
    signed,
    span_of,
    strongest,
    verdict,
    visible,
)
from .passage import Run, passages, peak

TOP = 10
BAR = 28
MANY = 4  # so many explanations of one input are shown as lines
FAINT = 0.1  # as colour.FAINT, higher: the paper of the scale is not the terminal's
DIM = Style(dim=True)
BOLD = Style(bold=True)


def view(e: Explanation) -> RenderableType:
    """The header, the text with its words coloured, the top words, and the sum."""
    blank = Text("")
    layers = [blank, _layers(e)] if e.layers is not None else []
    return Group(_header(e), blank, *_texts(e), blank, _top(e), *layers, blank, *_sum(e))


def views(explanations: Sequence[Explanation]) -> RenderableType:
    """Several views, one under the other; where there are many of one input, a line for each."""
    first = explanations[0] if explanations else None
    if first is not None and len(explanations) >= MANY and all(e.tokens == first.tokens for e in explanations):
        return _lines(explanations)
    parts: list[RenderableType] = []
    for i, e in enumerate(explanations):
        parts += [*([Text(""), Rule(style=DIM), Text("")] if i else []), view(e)]
    return Group(*parts)


def _lines(explanations: Sequence[Explanation]) -> RenderableType:
    """What was explained, line by line: each with its strongest words, and its proof."""
    first = explanations[0]
    table = Table.grid(padding=(0, 2))
    differ, common = differing(explanations)
    columns = ("explained", *differ, "output", "strongest words", "relative delta")
    for column in columns:
        numbers = column in ("output", "relative delta", "passes")
        table.add_column(justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
    table.add_row(*(Text(c, DIM) for c in columns))
    for e in explanations:
        place = e.shown(e.target.position) if e.target.position is not None else e.target.name
        name = Text(label(place)).append("" if place == e.target.name else f"  {visible(e.target.name)}", DIM)
        own = dict(how(e))
        told = (visible(own.get(column, "")) for column in differ)
        table.add_row(name, *told, plain(e.output, decimals(e.output)), _strongest(e), f"{e.relative_delta:.2g}")
    facts = [_facts([(n, visible(v)) for n, v in common])] if common else []
    return Group(*_texts_alone(first), Text(""), table, Text(""), *facts, *_notes_of(explanations))


def _notes_of(explanations: Sequence[Explanation]) -> list[Text]:
    """The notes of several explanations, each once; which they are of, where not of all."""
    of: dict[str, list[int]] = {}
    for i, e in enumerate(explanations, 1):
        for note in e.notes:
            of.setdefault(note, []).append(i)
    rows = {note: "" if len(n) == len(explanations) else f"row {', '.join(map(str, n))}: " for note, n in of.items()}
    return [_note(row + note) for note, row in rows.items()]


def _note(note: str) -> Text:
    return Text("note  ", DIM).append(visible(note), Style(dim=False, italic=True))


def _strongest(e: Explanation, special: bool = False) -> Text:
    """As `facts.strongest`, on one line."""
    words, places = Text(), decimals(peak(e))
    for word in strongest(e, special):
        words.append("   " if words else "").append(f"{label(word.text)} ", _style(strength(word.score, peak(e))))
        words.append(signed(word.score, places))
    return words


def _layers(e: Explanation) -> RenderableType:
    """What counted most at the output of each layer, which is complete by itself."""
    table = Table.grid(padding=(0, 2))
    for column in ("right", "left", "right"):
        table.add_column(justify=column, overflow="fold")
    table.add_row(*(Text(c, DIM) for c in ("layer", "strongest words", "residual")))
    for i, at in enumerate(at_layers(e), 1):
        table.add_row(str(i), _strongest(at, special=True), signed(at.delta, decimals(peak(e))))
    return table


def _texts_alone(e: Explanation) -> list[RenderableType]:
    plain_text = lambda runs: Text().join(Text(visible(r.text, keep="\n\t"), DIM if r.unread else "") for r in runs)
    return [plain_text(runs) for runs in passages(e)]


def _header(e: Explanation) -> RenderableType:
    line = Text()
    if e.prediction is not None:
        line.append(visible(e.prediction), BOLD)
        line.append(f"  {percent(e.probability)}\n" if e.probability is not None else "\n")
    return line.append_text(_facts([(name, visible(value)) for name, value in about(e)]))


def _texts(e: Explanation) -> list[RenderableType]:
    top, every = peak(e), passages(e)
    shown: list[RenderableType] = []
    for i, runs in enumerate(every):
        if len(every) > 1:
            shown += [*([Text("")] if i else []), Text(f"text {i + 1}", DIM)]
        shown.append(_passage(runs, top))
    return shown


def _passage(runs: list[Run], top: float) -> Text:
    """The text as it is; special tokens that count, which stand for no text, with a space on either side."""
    text = Text()
    for run in runs:
        t = strength(run.score, top)
        if run.text:
            text.append(visible(run.text, keep="\n\t"), DIM if run.unread else _style(t) if run.words else "")
        else:
            text.append("" if not text or text.plain[-1].isspace() else " ")
            text.append(label(run.words[0].text), _style(t) + Style(italic=True)).append(" ")
    text.rstrip()
    return text


def _style(t: float) -> Style:
    """Negative words are underlined as well: the sign outlives the colour."""
    if abs(t) < FAINT:
        return Style()
    colour = background(t, TERMINAL)
    return Style(bgcolor=colour, color=ink_on(colour), underline=t < 0)


def _top(e: Explanation) -> RenderableType:
    words = e.top(TOP)
    low, high = span_of(words)
    places, again, top = decimals(peak(e)), repeats(e), max((abs(w.score) for w in words), default=0.0)
    numbers = [signed(w.score, places) for w in words]
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=24, overflow="ellipsis", no_wrap=True)
    table.add_column(max_width=BAR)
    table.add_column(justify="right", no_wrap=True, min_width=max(map(len, numbers), default=1))
    errors = [plus_minus(e, w.tokens, places) for w in words]
    if any(errors):
        table.add_column(justify="right", no_wrap=True, min_width=max(map(len, errors)), style=DIM)
    for word, number, error in zip(words, numbers, errors, strict=True):
        name = Text(label(word.text)).append(f" ({again[word.tokens]})" if word.tokens in again else "", DIM)
        bar = Bar(word.score * max(low, high) / top if top else 0.0, low)
        table.add_row(name, bar, number, *([error] if error else []))
    return table


@dataclass(frozen=True)
class Bar:
    """A bar as wide as it may be: `share` of that width, to the left of an axis at `low` of it or to the right."""

    share: float
    low: float

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, BAR)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(0, min(BAR, options.max_width) - 1)
        left = round(width * self.low)
        full, half = divmod(round(2 * width * abs(self.share)), 2)
        if self.share < 0:
            bar = ("▐" * half + "█" * full)[-left:] if left else ""
            line = Text().append(bar.rjust(left), TERMINAL.negative).append("│" + " " * (width - left), DIM)
        else:
            bar = ("█" * full + "▌" * half)[: width - left]
            line = Text().append(" " * left + "│", DIM).append(bar.ljust(width - left), TERMINAL.positive)
        yield line


def _sum(e: Explanation) -> list[Text]:
    line = Text()
    for term, sign in zip(equation(e), ("", " + ", " + ", " = "), strict=True):
        line.append(sign).append(f"{term.name} ", DIM).append(term.shown, BOLD)
    facts = _facts([(name, visible(value)) for name, value in proof(e)])
    parts = [Text("parts ", DIM).append(visible(part_sums(e)))] if e.parts else []
    caution = [] if is_complete(e) else [Text(visible(verdict(e)), Style(italic=True))]
    return [line, facts, *parts, *caution, *map(_note, e.notes)]


def _facts(facts: Sequence[tuple[str, str]]) -> Text:
    line = Text()
    for i, (name, value) in enumerate(facts):
        line.append(" · " if i else "", DIM).append(f"{name} ", DIM).append(value)
    return line
