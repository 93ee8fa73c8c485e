"""A View → a terminal's lines, dark or light: all is there without colour, no text from outside is obeyed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..number_text import signed
from ..passages import Run
from ..view import TARGET_PROBABILITY, AnswersView, ExplanationView, Fact, Item, Layer, SharedNote, View
from .aligned import aligned, column_names, fits
from .colour import strength
from .facts import NUMBERS, drawn, label, name, ranked, reach, short, strongest, visible
from .screen import BOLD, DIM, Bar, Excerpt, Phrases, Screen, Sketch

TOP = 10
BAR = 72  # cells of the widest bar
MANY = 150
"""Of a text of more words than these a hint says how they are added up."""
ANSWER_COLUMNS = ("", "text", "prediction", "probability", "target", "strongest words", "status")


def draw(view: View) -> RenderableType:
    """Explanations one under the other; of one input, one table: a column for each, or a line where they are many."""
    return Sketch(lambda screen: _all(view, screen))


def draw_answers(view: AnswersView) -> RenderableType:
    """A table of answers, a row for each, why inputs failed, and how many more there are."""
    return Sketch(lambda screen: _answers(view, screen))


def _answers(view: AnswersView, screen: Screen) -> list[RenderableType]:
    table = _grid(ANSWER_COLUMNS, right=("", "probability"))
    for row in view.rows:
        words = _words(row.words, row.peak, screen)
        told = (short(row.text), visible(row.prediction), row.probability, visible(row.target))
        table.add_row(str(row.number), *told, words, visible(row.status))
    rest = [Text(f"… and {view.rest} more of {view.total}", DIM)] if view.rest else []
    failed = [
        Text(f"input {row.number}  ", DIM).append(visible(row.error), Style(dim=False))
        for row in view.rows
        if row.error
    ]
    return [table, *([Text(""), *failed] if failed else []), *rest]


def draw_attribution(
    facts: Sequence[str], heads: Sequence[str], rows: Iterable[tuple[Sequence[str], Sequence[str]]], told: Sequence[str]
) -> RenderableType:
    """What `attribute` found: facts, a table of rows, each of numbers and of phrases, and sentences."""
    table = _grid(heads, right=heads[1:-1])
    for numbers, best in rows:
        table.add_row(*numbers, Phrases(tuple(map(Text, best)), "   "))
    return Group(Phrases(tuple(map(Text, facts))), Text(""), table, Text(""), *map(Text, told))


def _all(view: View, screen: Screen) -> list[RenderableType]:
    if len(view.explanations) > 1 and view.same_input:
        drawn = _columns(view, screen) if not view.generations and fits(view, screen) else _lines(view, screen)
        return [*drawn, *_hint(view)]
    parts: list[RenderableType] = []
    for i, v in enumerate(view.explanations):
        parts += [*([Text(""), Rule(style=DIM), Text("")] if i else []), _explanation(v, screen)]
    return [*parts, *_hint(view)]


def _hint(view: View) -> list[RenderableType]:
    """What makes a long text easier to read, said once."""
    most = max((len(v.ranking) for v in view.explanations if v.unit == "word" and v.grid is None), default=0)
    told = f"{most} words are many to read: --groups sentence, or .sentences(), adds their scores up by sentence."
    return [Text("hint  ", DIM).append(told, Style(dim=False))] if most > MANY else []


def _explanation(v: ExplanationView, screen: Screen) -> RenderableType:
    """The header, what a reader must know first, the text with its words coloured, the top words, and the sum."""
    blank = Text("")
    layers = [blank, _layers(v, screen)] if v.layers else []
    notes = [blank, *map(_note, v.notes)] if v.notes else []
    return Group(_header(v), *notes, blank, *_texts(v, screen), blank, _top(v, screen), *layers, blank, *_sum(v))


def _grid(columns: Sequence[str], right: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for column in columns:
        is_number = column in right
        table.add_column(justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    table.add_row(*(Text(c, DIM) for c in columns))
    return table


def _columns(view: View, screen: Screen) -> list[RenderableType]:
    """Explanations of one input beside each other: words × explanations, and the sum of each column."""
    blank = Text("")
    first, names = view.explanations[0], column_names(view)
    rest: list[RenderableType] = []
    for v, column in zip(view.explanations, names, strict=True):
        about = visible(" ".join(column))
        rest += [blank, Text(f"layers of {about}", DIM), _layers(v, screen)] if v.layers else []
        rest += [Text(f"parts of {about} ", DIM).append(visible(v.parts.sentence))] if v.parts else []
        rest += [] if v.sum.complete else [Text(visible(v.sum.verdict), Style(italic=True))]
    one = len({v.prediction for v in view.explanations}) == 1
    head: list[RenderableType] = [_prediction(first)] if one and first.prediction is not None else []
    texts = _texts(first, screen, plain=True)
    return [*head, *_common(view), blank, *texts, blank, aligned(view, screen), *rest, *_notes(view.notes)]


def _common(view: View) -> list[RenderableType]:
    first = view.explanations[0]
    same = len({(v.target.name, v.place) for v in view.explanations}) == 1
    target = [fact for fact in first.facts if fact.name in ("target", TARGET_PROBABILITY)]
    return [_facts([*(target if same else []), *view.common, *_label(first)])]


def _lines(view: View, screen: Screen) -> list[RenderableType]:
    """What was explained, line by line: each with its strongest words, and its proof."""
    chances = [v.chance_written for v in view.explanations]
    chance = ("probability",) if any(chances) else ()
    columns = ("", "token", *chance, *view.differing, "output", "strongest words", "relative delta")
    table = _grid(columns, right=("", "probability", *NUMBERS))
    for i, (v, own) in enumerate(zip(view.explanations, view.own, strict=True)):
        at = v.target.position
        place = v.tokens[at].text if v.place and at is not None and at < len(v.tokens) else v.target.name
        known = place.strip() == v.target.name.strip()
        explained = Text(label(place)).append("" if known else f"  {visible(v.target.name)}", DIM)
        words = _words(strongest(v), v.peak, screen)
        told = (*([chances[i]] if chance else []), *map(visible, own), v.output_written)
        table.add_row(str(i + 1), explained, *told, words, v.sum.relative_written)
    facts = [_facts(view.common)] if view.common else []
    texts = _texts(view.explanations[0], screen, plain=True)
    return [*texts, Text(""), table, Text(""), *facts, *_notes(view.notes)]


def _notes(notes: Sequence[SharedNote]) -> list[RenderableType]:
    return [_note((f"row {', '.join(map(str, n.rows))}: " if n.rows else "") + n.text) for n in notes]


def _note(note: str) -> Text:
    return Text("note  ", DIM).append(visible(note), Style(dim=False, italic=True))


def _words(words: Sequence[Item], peak: float, screen: Screen) -> Phrases:
    """Words and their scores, none parted from its score."""
    return Phrases(tuple(_word(word, peak, screen) for word in words), "   ")


def _word(word: Item, peak: float, screen: Screen) -> Text:
    text = Text().append(label(word.text), screen.style(strength(word.score, peak)))
    return text.append(f" ({word.repeat})" if word.repeat is not None else "", DIM).append(f" {word.written}")


def _layers(v: ExplanationView, screen: Screen) -> RenderableType:
    """What counted most at the output of each layer, which is complete by itself."""
    table = _grid(("layer", f"strongest {v.unit}s", "residual"), right=("layer", "residual"))
    for layer in v.layers:
        table.add_row(str(layer.number), _words(layer.strongest, _strongest_score(layer), screen), layer.written)
    return table


def _strongest_score(layer: Layer) -> float:
    """What full colour means in the table of layers, where special tokens stand beside words."""
    return max((abs(word.score) for word in layer.strongest), default=0.0)


def _header(v: ExplanationView) -> RenderableType:
    told = [] if v.prediction is None else [_prediction(v)]
    return Group(*told, _facts([*v.facts, *_label(v)]))


def _prediction(v: ExplanationView) -> Text:
    chance = "" if v.probability is None else f"  {v.probability_written}"
    return Text().append(visible(v.prediction or ""), BOLD).append(chance)


def _label(v: ExplanationView) -> list[Fact]:
    return [] if v.label is None else [Fact("true label", v.label)]


def _texts(v: ExplanationView, screen: Screen, plain: bool = False) -> list[RenderableType]:
    """The texts, each under the name of its role where there are several. plain: without the colour of scores."""
    shown: list[RenderableType] = []
    for i, passage in enumerate(v.passages):
        image = [m for m in v.maps if m.segment == passage.segment and v.grid is None]
        if len(v.passages) > 1:
            of_all = f"  {signed(sum(m.score for m in image), v.places)}" if image and not plain else ""
            shown += [*([Text("")] if i and not plain else []), Text(visible(passage.role), DIM).append(of_all, BOLD)]
        if image:  # its patches stand in the table
            shown.append(Text(visible(passage.text)))
            continue
        runs = drawn(passage.words, v.peak)
        text = _passage([r for r in runs if r.text] if plain else runs, 0.0 if plain else v.peak, screen)
        shown.append(Excerpt(text))
    return shown


def _passage(runs: Sequence[Run], peak: float, screen: Screen) -> Text:
    """The text as it is; special tokens that count, which stand for no text, with a space on either side."""
    text = Text()
    for run in runs:
        t = strength(run.score, peak)
        if run.text:
            style = DIM if run.unread else screen.style(t) if run.tokens else ""
            text.append(visible(run.text, keep="\n\t"), style)
        else:
            text.append("" if not text or text.plain[-1].isspace() else " ")
            text.append(label(run.label), screen.style(t) + Style(italic=True)).append(" ")
    text.rstrip()
    return text


def _top(v: ExplanationView, screen: Screen) -> RenderableType:
    words = ranked(v, TOP)
    low, _, unit = reach(words)
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=24 if v.unit == "word" else screen.width // 2, overflow="ellipsis", no_wrap=True)
    table.add_column(max_width=BAR)
    table.add_column(justify="right", no_wrap=True, min_width=max((len(w.written) for w in words), default=1))
    errors = [w.error_written for w in words]
    if any(errors):
        table.add_column(justify="right", no_wrap=True, min_width=max(map(len, errors)), style=DIM)
    for word, error in zip(words, errors, strict=True):
        bar = Bar(word.score * unit, low, BAR, screen.positive, screen.negative)
        table.add_row(Text(name(word)), bar, word.written, *([error] if error else []))
    if others := len(v.words) - len(words):
        rest = signed(v.sum.terms[1].value - sum(w.score for w in words), v.places)
        table.add_row(Text(f"and {others} others" if others > 1 else "and 1 other", DIM), "", Text(rest, DIM))
    return table


def _sum(v: ExplanationView) -> list[RenderableType]:
    line: list[Text] = []
    for term, sign in zip(v.sum.terms, ("", "+ ", "+ ", "= "), strict=True):
        line.append(Text(sign).append(f"{term.name} ", DIM).append(term.written, BOLD))
    parts = [Text("parts ", DIM).append(visible(v.parts.sentence))] if v.parts else []
    caution = [] if v.sum.complete else [Text(visible(v.sum.verdict), Style(italic=True))]
    return [
        Phrases(tuple(line), " "),
        _facts(v.proof),
        *parts,
        *caution,
        *([_note(v.remark)] if v.remark else []),
    ]


def _facts(facts: Sequence[Fact]) -> Phrases:
    return Phrases(tuple(Text().append(f"{fact.name} ", DIM).append(visible(fact.value)) for fact in facts))
