"""From explanations to a `View`: each of them, and what several have in common, differ in and say together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, cast

import numpy as np

from .hops import Hops, have_hops, trace_hops
from .passages import GENERATE, roles
from .scored import Scored
from .source_units import Sources, sources_of
from .status import combined
from .tokens import Array, Explained, Target, Token
from .units import read_until
from .view import TARGET_PROBABILITY, AnswerRow, ExplanationView, Fact, Generation, SharedNote, View
from .view_of_one import Layout, explanation_view, layout_of, rows_of

OPPOSED = 0.1
"""Signs are opposite where both scores are at least this part of their method's largest."""


def build_view(explanations: Sequence[Explained], include: Sequence[str] = ()) -> View:
    """The View of one or several explanations. include: as `explanation_view`."""
    first = explanations[0] if explanations else None
    same = first is not None and all(e.tokens == first.tokens and e.text == first.text for e in explanations)
    each = tuple(
        explanation_view(e, include, layout)
        for e, layout in zip(explanations, _layouts(explanations, same), strict=True)
    )
    told = [{f.name: f.value for f in how(v)} for v in each]
    names = list(dict.fromkeys(name for row in told for name in row))
    common = [n for n in names if len({row.get(n, "") for row in told}) == 1]
    differing = tuple(n for n in names if n not in common)
    return View(
        each,
        tuple(Fact(n, told[0].get(n, "")) for n in common),
        differing,
        tuple(tuple(row.get(n, "") for n in differing) for row in told),
        same,
        (*_shared_notes(explanations), *_opposed(each if same else ())),
        _generations(explanations),
        _both(explanations, each),
        tuple(
            _name(v, own, differing)
            for v, own in zip(each, ([row.get(n, "") for n in differing] for row in told), strict=True)
        ),
        _answer(explanations, each),
        _hops(explanations),
        _sources(explanations) if same else None,
    )


def _layouts(explanations: Sequence[Explained], same: bool) -> list[Layout]:
    """Of each explanation the layout of its input, made once for all that have it. same: whether all are of one."""
    if not same:
        return [layout_of(e) for e in explanations]
    rows, found = rows_of(*explanations), dict[Hashable, Layout]()
    keys = [(e.unread, *roles(e)) for e in explanations]
    for key, e in zip(keys, explanations, strict=True):
        if key not in found:
            found[key] = layout_of(e, rows)
    return [found[key] for key in keys]


def how(v: ExplanationView) -> list[Fact]:
    """How an explanation was made and what it is worth, without its target and the numbers that are always its own."""
    made = [fact for fact in v.facts[1:] if fact.name != TARGET_PROBABILITY]
    return [*made, Fact("passes", str(v.passes)), Fact("status", v.status.name)]


def answer_rows(number: int, explanations: Sequence[Explained]) -> list[AnswerRow]:
    """The rows of a table for the answer to one input, one for each explanation."""
    rows: list[AnswerRow] = []
    for e in explanations:
        v = explanation_view(e, ())
        words = tuple(v.words[i] for i in v.strongest)
        texts = [e.text] if isinstance(e.text, str) else e.text
        told = (" ⏎ ".join(texts), v.prediction or "", v.probability_written, v.facts[0].value)
        rows.append(AnswerRow(number, *told, words, v.peak, v.status.name))
    return rows


def _name(v: ExplanationView, own: Sequence[str], differing: Sequence[str]) -> str:
    """The target, and what else of the differing tells an explanation from the others."""
    others = [value for name, value in zip(differing, own, strict=True) if value and name not in ("target", "passes")]
    return " · ".join([v.target.name + (f" at {v.place}" if v.place else ""), *others])


def _answer(explanations: Sequence[Explained], each: Sequence[ExplanationView]) -> tuple[int, int, int] | None:
    """Where the answer of a question stands: from the start's token to the end's."""
    at = [(e, e.target.position) for e in explanations]
    tokens = [e.tokens[i] for e, i in at if i is not None and i < len(e.tokens)]
    spans = [t.span for t in tokens if t.span]
    asked = {v.task for v in each} == {"question-answering"} and len({e.text for e in explanations}) == 1
    if not asked or not spans:
        return None
    return tokens[0].segment, min(start for start, _ in spans), max(end for _, end in spans)


def _both(explanations: Sequence[Explained], each: Sequence[ExplanationView]) -> ExplanationView | None:
    """The start and the end of an answer, by one method, as one explanation: every number is the sum of theirs."""
    if len(explanations) != 2 or {v.task for v in each} != {"question-answering"}:
        return None
    a, b = explanations
    if (a.text, a.tokens, a.method, a.baseline) != (b.text, b.tokens, b.method, b.baseline):
        return None
    whole = replace(
        cast("Any", a),
        target=Target(f"{a.target.name} + {b.target.name}", None, a.target.position),
        scores=a.scores + b.scores,
        output=a.output + b.output,
        baseline_output=a.baseline_output + b.baseline_output,
        delta=a.delta + b.delta,
        layers=None if a.layers is None or b.layers is None else a.layers + b.layers,
        status=combined((a.status, b.status)),
        adds_up=a.adds_up and b.adds_up,
        notes=tuple(dict.fromkeys((*a.notes, *b.notes))),
        meta={name: value for name, value in a.meta.items() if name != "target_probability"},
        **dict.fromkeys(("error", "elements", "heads", "attentions", "parts", "measures")),
    )
    return explanation_view(whole, ())


def _hops(explanations: Sequence[Explained]) -> Hops | None:
    """The hops of an answer of several sentences; None for other explanations."""
    return trace_hops(explanations) if len(explanations) > 1 and have_hops(explanations) else None


def _sources(explanations: Sequence[Explained]) -> Sources | None:
    """What each named text of the input gave to what was generated; None for other explanations."""
    generated = all(e.meta.get("task") in GENERATE for e in explanations)
    return sources_of(explanations) if generated and len(explanations[0].text_names) > 1 else None


def _shared_notes(explanations: Sequence[Explained]) -> tuple[SharedNote, ...]:
    of: dict[str, list[int]] = {}
    for number, e in enumerate(explanations, 1):
        for note in dict.fromkeys(e.notes):
            of.setdefault(note, []).append(number)
    return tuple(SharedNote(note, () if len(n) == len(explanations) else tuple(n)) for note, n in of.items())


def _opposed(each: Sequence[ExplanationView]) -> list[SharedNote]:
    """Says so where methods give one of the strongest words of a target opposite signs."""
    with_signs = [v for v in each if v.sum.promised or (v.words.scores < 0).any()]
    for a, b in combinations(with_signs, 2):
        if a.method == b.method or a.target != b.target:
            continue
        for i in {*a.strongest, *b.strongest}:
            x, y = a.words[i].score / (a.peak or 1), b.words[i].score / (b.peak or 1)
            if x * y < 0 and min(abs(x), abs(y)) >= OPPOSED:
                told = f"{a.method} and {b.method} differ on the sign of {a.words[i].text!r}; "
                return [SharedNote(f"{told}`pellucid evaluate` measures which method to believe on your own data.", ())]
    return []


def _generations(explanations: Sequence[Explained]) -> tuple[Generation, ...]:
    """One matrix for each method and baseline by which generated tokens, or spans of them, are explained."""
    rows: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
    inputs: list[tuple[Token, ...]] = []  # found again without a hash of all tokens for each explanation
    for i, e in enumerate(explanations):
        at = e.target.position
        if e.meta.get("task") in GENERATE and at is not None and 0 <= at < len(e.tokens):
            inputs += [] if e.tokens in inputs else [e.tokens]
            rows.setdefault((e.method, e.baseline, inputs.index(e.tokens)), []).append((i, at))
    found: list[Generation] = []
    for (method, baseline, which), own in rows.items():
        tokens = inputs[which]
        begins = next(k for k, t in enumerate(tokens) if t.segment == tokens[own[0][1]].segment)
        until = tuple(read_until(explanations[i], at) for i, at in own)
        each = [explanations[i].scores for i, _ in own]
        scores = tuple(_until(row, end) for row, end in zip(each, until, strict=True))
        peak = max(float(np.abs(row[:end]).max(initial=0.0)) for row, end in zip(each, until, strict=True))
        numbers, positions = zip(*own, strict=True)
        found.append(Generation(method, baseline, numbers, positions, until, begins, scores, peak))
    return tuple(found)


def _until(scores: Array, end: int) -> Sequence[float | None]:
    """The scores of the columns before `end`, and None from there on."""
    columns = cast("Sequence[float | None]", range(len(scores)))
    return Scored(columns, scores, None, lambda column, score, _: score if cast("int", column) < end else None)
