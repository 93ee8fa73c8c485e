"""A View → a terminal's lines, dark or light: all is there without colour, no text from outside is obeyed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.rule import Rule
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..passages import Run
from ..view import AnswersView, ExplanationView, Fact, Item, View
from .colour import TERMINAL, background, ink_on, strength
from .facts import NUMBERS, drawn, label, ranked, reach, short, strongest, visible

TOP = 10
BAR = 28
WIDE = 100  # columns of the text that print() gets
MANY = 4  # so many explanations of one input are shown as lines
FAINT = 0.1  # as colour.FAINT, higher: the paper of the scale is not the terminal's
DIM = Style(dim=True)
BOLD = Style(bold=True)
ANSWER_COLUMNS = ("", "text", "prediction", "probability", "target", "strongest words", "status")


def show(what: RenderableType) -> None:
    """Prints on standard output, with colour where that is a terminal."""
    Console().print(what)


def as_text(what: RenderableType, width: int = WIDE) -> str:
    """What the terminal shows, as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(what)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def draw(view: View) -> RenderableType:
    """Explanations one under the other; where there are many of one input, a line for each."""
    if len(view.explanations) >= MANY and view.same_input:
        return _lines(view)
    parts: list[RenderableType] = []
    for i, v in enumerate(view.explanations):
        parts += [*([Text(""), Rule(style=DIM), Text("")] if i else []), _explanation(v)]
    return Group(*parts)


def draw_answers(view: AnswersView) -> RenderableType:
    """A table of answers, a row for each, and how many more there are."""
    table = _grid(ANSWER_COLUMNS, right=("", "probability"))
    for row in view.rows:
        words = _words(row.words, row.peak)
        told = (short(row.text), visible(row.prediction), row.probability, visible(row.target))
        table.add_row(str(row.number), *told, words, visible(row.status))
    rest = [Text(f"… and {view.rest} more of {view.total}", DIM)] if view.rest else []
    return Group(table, *rest)


def _explanation(v: ExplanationView) -> RenderableType:
    """The header, the text with its words coloured, the top words, and the sum."""
    blank = Text("")
    layers = [blank, _layers(v)] if v.layers else []
    return Group(_header(v), blank, *_texts(v), blank, _top(v), *layers, blank, *_sum(v))


def _grid(columns: Sequence[str], right: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for column in columns:
        is_number = column in right
        table.add_column(justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    table.add_row(*(Text(c, DIM) for c in columns))
    return table


def _lines(view: View) -> RenderableType:
    """What was explained, line by line: each with its strongest words, and its proof."""
    columns = ("explained", *view.differing, "output", "strongest words", "relative delta")
    table = _grid(columns, right=NUMBERS)
    for v, own in zip(view.explanations, view.own, strict=True):
        at = v.target.position
        place = v.target.name if at is None or at >= len(v.tokens) else v.tokens[at].text
        name = Text(label(place)).append("" if place == v.target.name else f"  {visible(v.target.name)}", DIM)
        words = _words(strongest(v), v.peak)
        table.add_row(name, *map(visible, own), v.output_written, words, f"{v.sum.relative_delta:.2g}")
    facts = [_facts(view.common)] if view.common else []
    rows = {note.text: f"row {', '.join(map(str, note.rows))}: " if note.rows else "" for note in view.notes}
    notes = [_note(row + note) for note, row in rows.items()]
    return Group(*_texts(view.explanations[0], plain=True), Text(""), table, Text(""), *facts, *notes)


def _note(note: str) -> Text:
    return Text("note  ", DIM).append(visible(note), Style(dim=False, italic=True))


def _words(words: Sequence[Item], peak: float) -> Text:
    """Words and their scores on one line."""
    line = Text()
    for word in words:
        line.append("   " if line else "").append(f"{label(word.text)} ", _style(strength(word.score, peak)))
        line.append(word.written)
    return line


def _layers(v: ExplanationView) -> RenderableType:
    """What counted most at the output of each layer, which is complete by itself."""
    table = _grid(("layer", "strongest words", "residual"), right=("layer", "residual"))
    for layer in v.layers:
        table.add_row(str(layer.number), _words(layer.strongest, layer.peak), layer.written)
    return table


def _header(v: ExplanationView) -> RenderableType:
    line = Text()
    if v.prediction is not None:
        line.append(visible(v.prediction), BOLD)
        line.append(f"  {v.probability_written}\n" if v.probability is not None else "\n")
    true = [Fact("label", v.label)] if v.label is not None else []
    return line.append_text(_facts([*v.facts, *true]))


def _texts(v: ExplanationView, plain: bool = False) -> list[RenderableType]:
    """The texts, each under the name of its role where there are several. plain: without the colour of scores."""
    shown: list[RenderableType] = []
    for i, passage in enumerate(v.passages):
        if len(v.passages) > 1:
            shown += [*([Text("")] if i and not plain else []), Text(visible(passage.role), DIM)]
        runs = drawn(passage.words, v.peak)
        shown.append(_passage([r for r in runs if r.text] if plain else runs, 0.0 if plain else v.peak))
    return shown


def _passage(runs: Sequence[Run], peak: float) -> Text:
    """The text as it is; special tokens that count, which stand for no text, with a space on either side."""
    text = Text()
    for run in runs:
        t = strength(run.score, peak)
        if run.text:
            style = DIM if run.unread else _style(t) if run.tokens else ""
            text.append(visible(run.text, keep="\n\t"), style)
        else:
            text.append("" if not text or text.plain[-1].isspace() else " ")
            text.append(label(run.label), _style(t) + Style(italic=True)).append(" ")
    text.rstrip()
    return text


def _style(t: float) -> Style:
    """Negative words are underlined as well: the sign outlives the colour."""
    if abs(t) < FAINT:
        return Style()
    colour = background(t, TERMINAL)
    return Style(bgcolor=colour, color=ink_on(colour), underline=t < 0)


def _top(v: ExplanationView) -> RenderableType:
    words = ranked(v, TOP)
    low, _, unit = reach(words)
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=24, overflow="ellipsis", no_wrap=True)
    table.add_column(max_width=BAR)
    table.add_column(justify="right", no_wrap=True, min_width=max((len(w.written) for w in words), default=1))
    errors = [w.error_written for w in words]
    if any(errors):
        table.add_column(justify="right", no_wrap=True, min_width=max(map(len, errors)), style=DIM)
    for word, error in zip(words, errors, strict=True):
        name = Text(label(word.text)).append(f" ({word.repeat})" if word.repeat is not None else "", DIM)
        table.add_row(name, Bar(word.score * unit, low), word.written, *([error] if error else []))
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


def _sum(v: ExplanationView) -> list[Text]:
    line = Text()
    for term, sign in zip(v.sum.terms, ("", " + ", " + ", " = "), strict=True):
        line.append(sign).append(f"{term.name} ", DIM).append(term.written, BOLD)
    parts = [Text("parts ", DIM).append(visible(v.parts.sentence))] if v.parts else []
    caution = [] if v.sum.complete else [Text(visible(v.sum.verdict), Style(italic=True))]
    return [line, _facts(v.proof), *parts, *caution, *map(_note, v.notes)]


def _facts(facts: Sequence[Fact]) -> Text:
    line = Text()
    for i, fact in enumerate(facts):
        line.append(" · " if i else "", DIM).append(f"{fact.name} ", DIM).append(visible(fact.value))
    return line
