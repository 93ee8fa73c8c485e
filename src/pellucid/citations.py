"""`pellucid.cite`: for each sentence of an answer, the sources that it came from, tested by taking each source away.

The score of a source is the sum of its tokens' scores, so that the sources of a sentence, the answer's own sentences
before it and the residual add up to the change in the sentence's log-probability. The drop is measured on the model: it
runs without the source, and the sentence's log-probability is read again (Cohen-Wang et al. 2024, 2409.00729, who
measure the same for the k strongest sources).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ._explain import explain
from .errors import InputError, quoted
from .explanation import Explanation
from .explanations import Explanations
from .hops import Hops, trace_hops
from .methods import METHODS
from .models.tasks.text_generation import AFTER
from .notebook import Displayed, Printed, Sheet
from .number_text import plain, signed
from .plain_data import Json, as_plain
from .render.files import save
from .render.html import page
from .sentences import is_finished
from .source_units import ANSWER, BY, DROP, TEMPLATE, sources_of, units_of
from .status import Status
from .tokens import Token
from .view import View
from .viewed import sheet_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .models import Model


@dataclass(frozen=True)
class Cited:
    """One source of one sentence.

    name: of the source, as the input has it; by sentences, that of its text and the sentence. segment: the number of
    its text; −1 for the template. score: what it contributed to the sentence's log-probability. share: its score as a
    share of the whole change. drop: by how much the sentence's log-probability falls where the source's own tokens are
    deleted from the prompt (what the format writes around them stays), or, beside images, put to its baseline; None
    where that was not asked for, and for what is no source.
    cited: whether it is a source, and not the answer itself or the template.
    """

    name: str
    segment: int
    score: float
    share: float
    drop: float | None
    cited: bool


@dataclass(frozen=True)
class Citation:
    """The sources of one sentence of an answer.

    sentence: its text. output, baseline_output: its log-probability, and that where the baseline stands in the place of
    the words that it replaces: those of the prompt, and with "filler" those of the answer too. sources: in the order of
    the input; then what the answer itself and the template gave, whose `drop` is None.
    delta: the residual, `output - baseline_output - Σ score`. status, notes: as an Explanation has them.
    """

    sentence: str
    output: float
    baseline_output: float
    sources: tuple[Cited, ...]
    delta: float
    status: Status
    notes: tuple[str, ...]

    def top(self, k: int = 3) -> list[Cited]:
        """The k sources that raised the sentence's log-probability most, the strongest first."""
        own = [s for s in self.sources if s.cited]
        return sorted(own, key=lambda s: -s.score)[: max(0, k)]


@dataclass(frozen=True, repr=False)
class Citations(Displayed, Printed):
    """What each sentence of an answer came from. text: the answer. method, baseline: as an Explanation has them. by:
    what is a source, as `cite` was asked."""

    text: str
    method: str
    baseline: str
    sentences: tuple[Citation, ...]
    explanations: Explanations
    by: str = "source"

    def to_dict(self) -> dict[str, Json]:
        """Plain Python values, which JSON holds; without the explanations, which have a `to_dict` of their own."""
        plain = {name: value for name, value in vars(self).items() if name != "explanations"}
        return {"schema_version": 1, **cast("dict[str, Json]", as_plain(plain))}

    def hops(self, sentence: int = -1) -> Hops:
        """What a sentence owes to the prompt through the sentences before it; as `trace_hops`."""
        return trace_hops(self.explanations, sentence)

    def view(self, include: Sequence[str] = ()) -> View:
        """As `Explanations.view`, with the sources that were cited, and what the answer loses without each."""
        drops = [[source.drop for source in citation.sources] for citation in self.sentences]
        tested = any(drop is not None for of_one in drops for drop in of_one)
        return replace(
            self.explanations.view(include), sources=sources_of(self.explanations, self.by, drops if tested else ())
        )

    def document(self, indent: int | None = None) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    def to_csv(self) -> str:
        """As `Explanations.to_csv`, of the explanations of the sentences."""
        return self.explanations.to_csv()

    def to_html(self) -> str:
        """As `Explanations.to_html`, with the sources."""
        return page(self.view())

    def save(self, path: str | Path) -> Path:
        """Writes .json, as `to_dict` has it; or the explanations of the sentences with their sources, as
        `Explanations.save`: .html, .csv, .svg, .png or .pdf. Returns the path."""
        return save(self, Path(path))

    def _sheet(self) -> Sheet:
        return sheet_of(self.view())

    def __repr__(self) -> str:
        first = "; ".join(f"{c.sentence!r}: {', '.join(s.name for s in c.top(1))}" for c in self.sentences[:3])
        return f"Citations({len(self.sentences)} sentences by {self.method}; {first})"

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        lines: list[RenderableType] = [Text(f"{self.method} against {self.baseline}", style="dim"), Text("")]
        tested = any(s.drop is not None for citation in self.sentences for s in citation.sources)
        for number, citation in enumerate(self.sentences, 1):
            table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
            for name in ("source", "score", "share", "drop without it")[: 3 + tested]:
                table.add_column(name, justify="left" if name == "source" else "right")
            change = citation.output - citation.baseline_output
            for name, score, drop, cited in _rows(citation):
                share = f"{score / change:.0%}".replace("-", "−") if change else ""
                cells = (signed(score, 2), share, "" if drop is None else signed(drop, 2))[: 2 + tested]
                table.add_row(Text(name, "" if cited else "dim", overflow="ellipsis", no_wrap=True), *cells)
            told = f"log-probability {plain(citation.output, 2)} · change {signed(change, 2)} · {citation.status}"
            lines += [Text(f"{number}. {citation.sentence}", style="bold"), table, Text(told, style="dim")]
            lines += [Text(_meaning(citation))]
            lines += [Text(note, style="dim") for note in citation.notes] + [Text("")]
        return Group(*lines, Text(_SHARE + DROP * tested, style="dim"))


_SHOWN = 5
"""So many sources are told by the size of their scores, and beside them those of the largest drops."""


def _rows(citation: Citation) -> list[tuple[str, float, float | None, bool]]:
    """Name, score, drop, and whether it is a source: the sources that count, then all the rest of the change, so that
    the rows add up to the last one."""
    cited = [s for s in citation.sources if s.cited]
    shown = _counting(cited)
    others = [s.score for s in cited if s not in shown]
    own = sum(s.score for s in citation.sources if not s.cited and s.segment >= 0)
    template = sum(s.score for s in citation.sources if not s.cited and s.segment < 0)
    rest = [(f"{len(others)} other sources", sum(others)), ("the answer itself", own), (TEMPLATE, template)]
    rest.append(("residual", citation.delta))
    change = citation.output - citation.baseline_output
    found = [(s.name, s.score, s.drop, True) for s in sorted(shown, key=lambda s: -s.score)]
    found += [(name, score, None, False) for name, score in rest if abs(score) >= 0.005]
    return [*found, ("change in the log-probability", change, None, False)]


def _counting(cited: Sequence[Cited]) -> list[Cited]:
    """The sources with the largest scores, of either sign, and those whose drops a reader is told of; all of them where
    one alone would be left."""
    tested = sorted((s for s in cited if s.drop is not None), key=lambda s: -(s.drop or 0.0))
    found = {*sorted(cited, key=lambda s: -abs(s.score))[:_SHOWN], *tested[:2], *tested[-1:]}
    return list(cited if len(cited) - len(found) < 2 else found)


SMALL = 0.1
"""Less of a log-probability says nothing: the sentence is as probable within a tenth."""
_SHARE = "Share: of the change from the baseline to the prompt."
_IDLE = 0.1
"""A source with such a share, and hardly a drop, says something about the baseline that a reader must know."""


def _meaning(citation: Citation) -> str:
    """The source of the sentence in words."""
    own = [s for s in citation.sources if s.cited]
    if not own:
        return ""
    drops = {s: s.drop for s in own if s.drop is not None}
    return _tested(drops) + _idle(drops) if drops else _by_scores(own)


def _tested(drops: Mapping[Cited, float]) -> str:
    """What the drops say, and whether the score of the source with the largest agrees."""
    best, least = max(drops, key=drops.__getitem__), min(drops, key=drops.__getitem__)
    if max(map(abs, drops.values())) < SMALL:
        return (
            "Without any one source the sentence is about as probable as with it (every drop, measured, is below "
            f"{plain(SMALL, 2)}): it rests on no source alone."
        )
    if drops[best] < SMALL:
        rise = plain(-drops[least], 2)
        return (
            "The sentence rests on no source alone: without any one it is as probable as with it, or more. Without "
            f"{least.name} its log-probability rises by {rise} (drop, measured)."
        )
    falls = f"the log-probability of the sentence falls by {plain(drops[best], 2)} (drop, measured)"
    if best.score > 0:
        rests = f"Of the sources the sentence rests most on {best.name}: without it {falls}."
        first = max(drops, key=lambda s: s.score)
        both = (
            f" By the scores {first.name} comes first: a score is a part of the change that all words make together, a "
            "drop is what is lost where all the others stay."
        )
        return rests if first is best else rests + both
    more = ", more than without any other source" if len(drops) > 1 else ""
    return f"Without {best.name} {falls}{more}; against the baseline its score is {signed(best.score, 2)}."


def _idle(drops: Mapping[Cited, float]) -> str:
    """The sources that the scores name and the model does not miss."""
    found = [s for s, drop in drops.items() if s.share >= _IDLE and abs(drop) < SMALL]
    if not found or max(drops.values()) < SMALL:
        return ""
    named = ", ".join(f"{s.name} {s.share:.0%}" for s in found)
    return f" Little is lost without what has a share here all the same, against the baseline in its place: {named}."


def _by_scores(own: Sequence[Cited]) -> str:
    """What the scores say where no source was taken away."""
    best, total = max(own, key=lambda s: s.score), sum(s.score for s in own)
    if best.score > 0 and total > 0:
        return (
            f"Of the sources the sentence rests most on {best.name}: its score is the largest, {signed(best.score, 2)} "
            "(--verify, or verify=True, takes it away to test it)."
        )
    lower = f"Against the baseline the sources change the log-probability of the sentence by {signed(total, 2)}"
    raises = f"{best.name} raises it most, by {signed(best.score, 2)}" if best.score > 0 else "none raises it"
    return f"{lower}: it rests on none of them; {raises} (--verify, or verify=True, takes them away to test it)."


_NAMED = "sources with names, such as {'documents': […], 'question': …}, {'messages': […]} or {'parts': {…}}"


def cite(
    model: Model,
    inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str,
    documents: Sequence[str] | None = None,
    *,
    by: str = "source",
    method: str = "deeplift",
    verify: bool = True,
    **options: Any,
) -> Citations | list[Citations]:
    """For each sentence of an answer, how much each source contributed to it.

    Examples:
        >>> found = pellucid.cite(model, {"documents": [...], "question": "When was it built?"})  # doctest: +SKIP
        >>> found.sentences[0].top(1)[0].name  # doctest: +SKIP
        'document 3'

    model: a model that generates text. inputs: a question, with `documents`; or an input with named texts, or a list of
        them: `{"documents": […], "question": …}`, `{"messages": […]}` or `{"parts": {…}}` (`types.Input`). Where it has
        a "continuation", that is the answer; else the model generates it.
    baseline: where none is given, the filler in the place of the prompt's words alone, so that the sources receive all
        of the change (docs/language-models.md). With "filler" the answer's own words have a part in it too, which
        `hops` needs.
    by: "source" for whole texts, "sentence" for each sentence of each text.
    method: any method that adds up, as `explain`. options: as `explain`, such as `baseline` or `max_new_tokens`.
    verify: whether each source is taken away and the model runs again, which costs a pass for each source.

    Returns Citations; a list of them for a list. Raises InputError for an input whose texts have no names, for a method
    that does not add up, for another output than log-probabilities, and what `explain` raises.
    """
    _check_options(method, options)
    if by not in BY:
        raise InputError(f"Found by={by!r}; expected one of {', '.join(map(repr, BY))}.")
    if not isinstance(verify, bool):
        raise InputError(f"Found verify={quoted(verify)}; expected True or False.")
    if isinstance(inputs, str) and documents is not None and not isinstance(documents, str):
        inputs = {"documents": list(documents), "question": inputs}
    elif isinstance(inputs, str) or documents is not None:
        raise InputError(
            f"Found {quoted(inputs, 80)} with documents={quoted(documents, 80)}; expected sources with names, such "
            "as a question and a list of texts: pellucid.cite(model, question, [text, …])."
        )
    if not isinstance(inputs, Iterable):
        raise InputError(f"Found {quoted(inputs, 80)} as inputs; expected {_NAMED}, or a list of such.")
    listed = [inputs] if isinstance(inputs, Mapping) else list(inputs)
    for number, item in enumerate(listed):
        if not isinstance(item, Mapping) or "prompt" in item:
            raise InputError(f"Found {quoted(item, 80)} as input {number}; expected {_NAMED}.")
    if model.filler is not None:
        options.setdefault("baseline", "filler, answer kept")
    answers = [cast(Explanations, a) for a in explain(model, listed, method=[method], target="sentences", **options)]
    texts = [_answer(a, number) for number, a in enumerate(answers)]
    tested: list[Sequence[Explanation | None]] = [[None] * len(a) for a in answers]
    if verify:
        asked_of = ({k: v for k, v in item.items() if k not in AFTER[ANSWER]} for item in listed)
        given = [{**item, ANSWER: [t.id for t in _answer_tokens(a)]} for item, a in zip(asked_of, answers, strict=True)]
        more = {k: v for k, v in options.items() if k in ("truncate", "progress")}
        gone = "mask" if model.does.without is None else "delete"
        asked = {"method": ["occlusion"], "groups": by, "baseline": gone, "target": "sentences"}
        tested = [list(cast(Explanations, a)) for a in explain(model, given, **asked, **more)]
    most = {} if "max_new_tokens" not in options else {"most": options["max_new_tokens"]}
    is_given = lambda item: any(item.get(k) is not None for k in AFTER[ANSWER])
    found = [
        _citations(a, text, t, by, "" if is_given(item) else _cut_off(a, text, **most))
        for item, a, text, t in zip(listed, answers, texts, tested, strict=True)
    ]
    return found[0] if isinstance(inputs, Mapping) else found


def _check_options(method: str, options: Mapping[str, object]) -> None:
    """Raises InputError for a method whose scores do not add up, so that there are no shares of the change, and for
    what `cite` decides itself."""
    row = METHODS.get(method) if isinstance(method, str) else None
    if row is not None and not row.adds_up:
        able = ", ".join(name for name, row in METHODS.items() if row.adds_up)
        raise InputError(
            f"Found method={method!r}, whose scores do not add up to the change; expected one of {able}. What is lost "
            "without a source stands beside its score in any case: verify=True."
        )
    if named := [name for name in ("target", "errors") if name in options]:
        raise InputError(
            f"Found {named[0]}={quoted(options[named[0]])} in cite; expected none: each sentence of the answer is a "
            f"target, and an error is raised. Use pellucid.explain(model, inputs, {named[0]}=…) and e.sources()."
        )
    if (output := options.get("output")) not in (None, "log-probability"):
        raise InputError(
            f"Found output={quoted(output)} in cite; expected 'log-probability', which the scores of a sentence add up "
            f"to. Use pellucid.explain(model, inputs, target='sentences', output={quoted(output)}) and e.sources()."
        )


def _answer(answer: Explanations, number: int) -> str:
    """The text of the continuation of an input, by its number. Raises InputError for an input whose texts have no
    names, and for an answer without a word."""
    first = answer[0]
    if ANSWER not in first.text_names:
        raise InputError(f"Found {quoted(first.text, 80)} as input {number}; expected {_NAMED}.")
    text = first.text[first.text_names.index(ANSWER)]
    if not text.strip():
        raise InputError(
            f"Found the answer {quoted(text, 80)} to input {number}, which has no word; expected a text to be cited. "
            "Where the model generated it, it ends at once: ask another way, or give a continuation."
        )
    return text


def _answer_tokens(answer: Explanations) -> list[Token]:
    """The tokens of the continuation: the very ones that are explained, since its text may be read as others."""
    return [t for t in answer[0].tokens if t.segment == answer[0].text_names.index(ANSWER)]


def _cut_off(answer: Explanations, text: str, most: int = 20) -> str:
    """A note for an answer that the model was stopped in the middle of; empty for another. most: how many tokens it
    could write."""
    own = _answer_tokens(answer)
    if len(own) < most or own[-1].special or is_finished(text):
        return ""
    cut = f"The last sentence is unfinished: the answer was cut off after {most} tokens."
    return f"{cut} Raise max_new_tokens (--max-new-tokens)."


def _citations(
    answer: Explanations, text: str, tested: Sequence[Explanation | None], by: str, cut_off: str
) -> Citations:
    """cut_off: a note on the last sentence."""
    if cut_off:
        answer = Explanations((*answer[:-1], replace(answer[-1], notes=(cut_off, *answer[-1].notes))))
    first = answer[0]
    each = tuple(_citation(e, t, by) for e, t in zip(answer, tested, strict=True))
    return Citations(text, first.method, first.baseline, each, answer, by)


def _citation(e: Explanation, tested: Explanation | None, by: str) -> Citation:
    units = units_of(e, by)
    drops = [None] * len(units) if tested is None else [unit.score(tested) for unit in units_of(tested, by)]
    sources: list[Cited] = []
    for unit, drop in zip(units, drops, strict=True):
        score = unit.score(e)
        share = score / e.change if e.change else 0.0
        sources.append(Cited(unit.name, unit.segment, score, share, drop if unit.cited else None, unit.cited))
    return Citation(e.target.name, e.output, e.baseline_output, tuple(sources), e.delta, e.status, e.notes)
