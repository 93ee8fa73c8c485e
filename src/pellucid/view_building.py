"""From explanations to a `View`: the one place that derives rankings, sums, layers and what differs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, TypeAlias, cast

import numpy as np

from .grouping import UNITS
from .hops import Hops, are_sentences, trace_hops
from .number_text import decimals, percent, places_that_add_up, plain, plus_minus, signed
from .passages import passages
from .plain_data import as_plain
from .public_names import model_name
from .status import Status, combined
from .tokens import Array, Explained, Target, Token, Word
from .view import (
    AnswerRow,
    AttentionView,
    ExplanationView,
    Fact,
    Generation,
    Item,
    Json,
    Layer,
    Parts,
    Piece,
    SharedNote,
    Standing,
    Sum,
    Term,
    View,
)

FLOAT_PRECISION = 1e-5
"""A relative delta that float32 alone leaves."""
COARSE = 0.05
"""A relative delta that a method which promises a sum should not leave."""
STRONGEST = 4
OPPOSED = 0.1
"""Signs are opposite where both scores are at least this part of their method's largest."""
LARGE = ("heads", "attentions")
"""What is in a View only where it is asked for: arrays of layers × heads × tokens × tokens."""
MOST_CELLS = 120_000
"""How many numbers of attention a page of one explanation holds, all its measures together."""
ATTENTION = {
    "contribution": "What each attention probability contributed to this answer; a part of the whole.",
    "probability": "How much each query attends to each key.",
    "norm_f": "The length of the vector that a key offers, ‖f(x)‖ (Kobayashi et al. 2020).",
    "norm_af": "The length of the vector that attention moves, ‖αf(x)‖ (Kobayashi et al. 2020).",
    "norm_sum_af": "The length of the heads' moved vectors together, ‖Σαf(x)‖ (Kobayashi et al. 2020).",
    "rollout": "Attention rolled out over the layers up to this one (Abnar & Zuidema 2020).",
    "attention_x_gradient": "Attention times its gradient (Barkan et al. 2021).",
}
"""What the numbers of each kind of attention are."""
MEANINGS = {
    "relative delta": "The residual over the change in the output. About 1e-7 is what rounding leaves.",
    "passes": "How many times the model was run on a row, forward or forward and backward.",
    "estimated error": "How far the scores are from those of an endless sample or path, as the method estimates it.",
}
"""What the numbers of a proof say."""
READING = (
    "The output is compared with what the model says when the text is replaced by the {baseline} baseline. "
    "Each score says by how much one unit of the text moves the output, up (blue) or down (orange). "
    "Baseline, scores and residual together are the output, so a small residual proves that nothing was left out."
)
"""How the colours and the sum are read."""
Nested: TypeAlias = "list[list[list[int]]]"
GENERATE = ("text-generation", "text2text-generation")


def build_view(explanations: Sequence[Explained], include: Sequence[str] = ()) -> View:
    """The View of one or several explanations. include: which of `LARGE` are put in."""
    first = explanations[0] if explanations else None
    same = first is not None and all(e.tokens == first.tokens and e.text == first.text for e in explanations)
    coarsest = min(explanations, key=lambda e: len(e.groups())) if same else None
    each = tuple(_explanation(e, include, coarsest) for e in explanations)
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
    )


def how(v: ExplanationView) -> list[Fact]:
    """How an explanation was made and what it is worth, without the numbers that are always its own."""
    return [*v.facts[1:], Fact("passes", str(v.passes)), Fact("status", v.status.name)]


def answer_rows(number: int, explanations: Sequence[Explained]) -> list[AnswerRow]:
    """The rows of a table for the answer to one input, one for each explanation."""
    rows: list[AnswerRow] = []
    for e in explanations:
        v = _explanation(e, ())
        words = tuple(v.words[i] for i in v.strongest)
        texts = [e.text] if isinstance(e.text, str) else e.text
        told = (" ⏎ ".join(texts), v.prediction or "", v.probability_written, v.facts[0].value)
        rows.append(AnswerRow(number, *told, words, v.peak, v.status.name))
    return rows


# ----------------------------------------------------------------------------------------------------- one explanation


def _explanation(e: Explained, include: Sequence[str], coarsest: Explained | None = None) -> ExplanationView:
    """coarsest: the explanation of the same input whose groups are the rows, so that a table of several has one kind of
    row."""
    rows = coarsest or e
    words, sentences, name = [e.unit(w.tokens) for w in rows.groups()], e.sentences(), model_name(e.meta)
    peak, place = _peak(words, [w.score for w in words]), _place(e)
    places = decimals(peak)
    items = _items(words, e, e.scores, places)
    facts = [Fact("target", e.target.name + place), Fact("method", e.method), Fact("baseline", e.baseline)]
    facts += [Fact("groups", groups)] if (groups := _groups(e)) not in ("", "token") else []
    pieces = _pieces(e, words, sentences)
    own = [t for t in pieces if not t.special] or pieces
    return ExplanationView(
        headline=e.prediction if e.prediction is not None else e.target.name,
        prediction=e.prediction,
        probability=e.probability,
        probability_written="" if e.probability is None else percent(e.probability),
        label=None if e.label is None else e.label if isinstance(e.label, str) else " ".join(x or "–" for x in e.label),
        target=e.target,
        place=place.removeprefix(" at "),
        method=e.method,
        baseline=e.baseline,
        model=name,
        task=str(e.meta.get("task") or ""),
        output=e.output,
        output_written=plain(e.output, decimals(e.output)),
        chance_written=_chance(e),
        facts=(*facts, *([Fact("model", name)] if name else [])),
        proof=_proof(e),
        passes=e.passes,
        status=Standing(str(e.status), e.status.message, e.status.obtained, e.status.promises, e.status.holds),
        notes=tuple(e.notes),
        passages=passages(e, words),
        tokens=pieces,
        words=items,
        sentences=_items(sentences, e, e.scores, places),
        ranking=_ranking(items),
        strongest=tuple(i for i in _ranking(items) if items[i].score)[:STRONGEST],
        peak=peak,
        peaks={
            "tokens": max((abs(t.score) for t in own), default=0.0),
            "words": peak,
            "sentences": _peak(sentences, [s.score for s in sentences]),
        },
        places=places,
        unit=UNITS.get(_groups(rows) or "token", "group"),
        sum=_sum(e),
        layers=_layers(e, words),
        parts=_parts(e),
        measures={name: as_plain(values, finite=True) for name, values in (e.measures or {}).items()},
        grid=_grid(e),
        probabilities=dict(e.probabilities or {}),
        attention=_attention(e),
        heads=_asked(e.heads, "heads" in include),
        attentions=_asked(e.attentions, "attentions" in include),
        meta={**e.meta, "model": name} if "model" in e.meta else dict(e.meta),
        remark=_remark(items),
        reading=READING.format(baseline=e.baseline),
    )


def _groups(e: Explained) -> str:
    """What was asked to be taken together, in a word; empty for nothing."""
    asked = e.meta.get("groups", "")
    return asked if isinstance(asked, str) else "of its own"


def _remark(items: Sequence[Item]) -> str:
    """Says so where a special token carries more than any word."""
    special, own = (max((i for i in items if i.special is kind), key=_size, default=None) for kind in (True, False))
    if special is None or own is None or not _size(special) > _size(own):
        return ""
    told = f"{special.written}, before {own.text} with {own.written}"
    return f"The special token {special.text} carries the most: {told}."


def _size(item: Item) -> float:
    return abs(item.score)


def _chance(e: Explained) -> str:
    """The probability of a target whose output is its logarithm."""
    logarithm = e.meta.get("output") == "log-probability" and e.output <= 0
    return percent(float(np.exp(e.output))) if logarithm else ""


def _asked(values: Array | None, asked: bool) -> Json:
    return as_plain(values, finite=True) if asked else None


def _place(e: Explained) -> str:
    """Where the target was read from: ` at film (token 3)`; empty where it was read from no token."""
    at = e.target.position
    if at is None:
        return ""
    token = e.shown(at) if at < len(e.tokens) else ""
    return f" at token {at}" if token in ("", e.target.name) else f" at {token} (token {at})"


def _proof(e: Explained) -> tuple[Fact, ...]:
    told = f"{e.status.message} The scores come from {e.status.obtained}."
    found = [
        Fact("relative delta", _relative(e), MEANINGS["relative delta"]),
        Fact("passes", str(e.passes), MEANINGS["passes"]),
        Fact("status", str(e.status), told),
    ]
    if e.error is not None:
        size, whole = float(np.linalg.norm(e.error)), float(np.linalg.norm(e.scores))
        written = f"{100 * size / whole:.2g}% of the scores" if whole else f"{size:.2g}"
        found.append(Fact("estimated error", written, MEANINGS["estimated error"]))
    return tuple(found)


def _pieces(e: Explained, words: Sequence[Word], sentences: Sequence[Word]) -> tuple[Piece, ...]:
    word_of, sentence_of = ({i: k for k, unit in enumerate(units) for i in unit.tokens} for units in (words, sentences))
    return tuple(
        Piece(
            text=e.shown(i),
            written=t.text,
            id=t.id,
            span=t.span,
            special=t.special,
            segment=t.segment,
            word=word_of[i],
            sentence=sentence_of[i],
            score=float(e.scores[i]),
            error=None if e.error is None else float(e.error[i]),
        )
        for i, t in enumerate(e.tokens)
    )


def _peak(units: Sequence[Word], scores: Sequence[float]) -> float:
    """The largest |score|; special tokens count only where there is nothing else."""
    own = [abs(s) for unit, s in zip(units, scores, strict=True) if not unit.special]
    return max(own or map(abs, scores), default=0.0)


def _items(units: Sequence[Word], e: Explained, scores: Array, places: int) -> tuple[Item, ...]:
    """The units with the sums of these scores. e.error: only where the scores are the explanation's own."""
    counts: dict[str, int] = {}
    for unit in units:
        counts[unit.text] = counts.get(unit.text, 0) + 1
    seen: dict[str, int] = {}
    found: list[Item] = []
    for unit in units:
        seen[unit.text] = seen.get(unit.text, 0) + 1
        score = unit.score if scores is e.scores else float(scores[list(unit.tokens)].sum())
        error = None if e.error is None or scores is not e.scores else float(e.error[list(unit.tokens)].sum())
        repeat = seen[unit.text] if counts[unit.text] > 1 else None
        told = (signed(score, places), error, plus_minus(error, places))
        found.append(Item(unit.text, repeat, score, *told, unit.span, unit.segment, unit.special, unit.tokens))
    return tuple(found)


def _ranking(items: Sequence[Item], special: bool = False) -> tuple[int, ...]:
    own = [i for i, item in enumerate(items) if special or not item.special]
    return tuple(sorted(own, key=lambda i: -abs(items[i].score)))


def _sum(e: Explained) -> Sum:
    base, rest, left, out = e.baseline_output, float(e.scores.sum()), e.delta, e.output
    places = places_that_add_up((base, rest, left), out)
    terms = (
        Term("baseline", base, plain(base, places)),
        Term("contributions", rest, signed(rest, places)),
        Term("residual", left, signed(left, places)),
        Term("output", out, plain(out, places)),
    )
    return Sum(terms, _verdict(e), e.adds_up and _holds(e), e.adds_up, e.relative_delta, _relative(e))


def _relative(e: Explained) -> str:
    """The relative delta as it is written: it says nothing of a method that promises no sum."""
    return f"{e.relative_delta:.2g}" if e.adds_up else "no sum promised"


def _holds(e: Explained) -> bool:
    """Whether the residual is small, and the status does not say that the sum fails by more than rounding."""
    return e.relative_delta < COARSE and (e.status.holds is not False or e.status is Status.ROUNDED)


def _verdict(e: Explained) -> str:
    if not e.adds_up:
        return f"{e.method} does not promise that its scores add up: the residual is what they leave unexplained."
    if not _holds(e):
        of = "the change in the output" if e.change else "their own size"
        return f"The contributions do not add up yet: the residual is {percent(e.relative_delta)} of {of}."
    close = "to floating-point precision" if e.relative_delta < FLOAT_PRECISION else "up to the residual"
    return f"The contributions add up to the change in the output, {close}."


def _layers(e: Explained, words: Sequence[Word]) -> tuple[Layer, ...]:
    if e.layers is None or e.layer_deltas is None:
        return ()
    found: list[Layer] = []
    for number, (scores, delta) in enumerate(zip(e.layers, e.layer_deltas, strict=True), 1):
        sums = [float(scores[list(w.tokens)].sum()) for w in words]
        peak = _peak(words, sums)
        items = _items(words, e, scores, decimals(peak))
        best = tuple(items[i] for i in _ranking(items, special=True) if items[i].score)[:STRONGEST]
        own = tuple(map(float, scores))
        written = signed(float(delta), decimals(peak))
        found.append(Layer(number, own, float(delta), written, peak, best, _entropy(scores), *_elements(e, number - 1)))
    return tuple(found)


def _entropy(scores: Array) -> float:
    """−Σ p log₂ p of p = |score| / Σ |score|."""
    sizes = np.abs(scores[scores != 0])
    p = sizes / sizes.sum()
    return abs(float((p * np.log2(p)).sum()))


def _elements(e: Explained, layer: int) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]:
    """The quantiles and the entropy of a layer's elements, of each token."""
    if not e.elements:
        return (), ()
    quantiles, entropy = (e.elements[name][layer] for name in ("quantiles", "entropy"))
    return tuple(tuple(map(float, five)) for five in quantiles), tuple(map(float, entropy))


def _parts(e: Explained) -> Parts | None:
    if not e.parts:
        return None
    scores = {name: tuple(map(float, values)) for name, values in e.parts.items()}
    sums = {name: float(values.sum()) for name, values in e.parts.items()}
    told = e.meta.get("parts")
    if not told:
        return Parts(scores, sums, None, None, None, None, "")
    base, out = float(told["baseline_output"]), float(told["output"])
    places = decimals(max([abs(out), abs(base), *map(abs, sums.values())]))
    terms = " ".join(f"{signed(value, places)} {name}" for name, value in sums.items())
    sentence = (
        f"{plain(base, places)} baseline {terms} = {plain(out, places)} output; "
        f"their own baseline is {told['baseline']}"
    )
    return Parts(scores, sums, str(told["baseline"]), out, base, float(told["delta"]), sentence)


def _attention(e: Explained) -> tuple[AttentionView, ...]:
    """Heads, attentions and measures, each with as many keys a query as fit into a page together."""
    given = {"contribution": e.heads, "probability": e.attentions, **(e.measures or {})}
    found = {name: values if values.ndim == 4 else values[:, None] for name, values in _square(given)}
    cells = sum(values.shape[0] * values.shape[1] * values.shape[2] for values in found.values())
    most = max(1, MOST_CELLS // cells) if cells else 0
    return tuple(_reduced(name, values, min(most, values.shape[3])) for name, values in found.items())


def _square(given: Mapping[str, Array | None]) -> list[tuple[str, Array]]:
    """Those that have a number for each query and key, of each layer or of each of its heads."""
    there = [(name, values) for name, values in given.items() if values is not None and values.size]
    return [(name, values) for name, values in there if values.ndim in (3, 4) and values.shape[-1] == values.shape[-2]]


def _reduced(name: str, values: Array, kept: int) -> AttentionView:
    """values (layers, heads, queries, keys) with the kept strongest keys of each query, in steps of 1/127."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(np.abs(finite).max())
    steps = np.rint(finite / (peak or 1.0) * 127).astype(int)
    order = np.argsort(-np.abs(finite), axis=-1, kind="stable")[..., :kept]
    own = np.take_along_axis(steps, order, -1)
    keys, of = cast("list[Nested]", order.tolist()), cast("list[Nested]", own.tolist())
    each = tuple(
        tuple(
            tuple(
                tuple(x for k, n in zip(ks, ns, strict=True) if n for x in (k, n)) for ks, ns in zip(a, b, strict=True)
            )
            for a, b in zip(layer, steps_of, strict=True)
        )
        for layer, steps_of in zip(keys, of, strict=True)
    )
    sizes = np.abs(finite).sum(axis=(2, 3))
    strongest = tuple(map(int, sizes.argmax(axis=1)))
    return AttentionView(name, ATTENTION.get(name, name), peak, kept, each, int(sizes.max(axis=1).argmax()), strongest)


def _grid(e: Explained) -> tuple[int, int] | None:
    """Rows and columns of an image's patches, whose tokens are named "row,column"."""
    found = [re.fullmatch(r"(\d+),(\d+)", t.text) for t in e.tokens]
    patches = [(int(m[1]), int(m[2])) for m in found if m]
    if not patches or len(patches) < len(found):
        return None
    rows, columns = 1 + max(r for r, _ in patches), 1 + max(c for _, c in patches)
    return (rows, columns) if rows * columns == len(patches) else None


# ----------------------------------------------------------------------------------------------- several explanations


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
        **dict.fromkeys(("error", "elements", "heads", "attentions", "parts", "measures")),
    )
    return _explanation(whole, ())


def _hops(explanations: Sequence[Explained]) -> Hops | None:
    """The hops of an answer of several sentences; None for other explanations."""
    return trace_hops(explanations) if len(explanations) > 1 and are_sentences(explanations) else None


def _shared_notes(explanations: Sequence[Explained]) -> tuple[SharedNote, ...]:
    of: dict[str, list[int]] = {}
    for number, e in enumerate(explanations, 1):
        for note in dict.fromkeys(e.notes):
            of.setdefault(note, []).append(number)
    return tuple(SharedNote(note, () if len(n) == len(explanations) else tuple(n)) for note, n in of.items())


def _opposed(each: Sequence[ExplanationView]) -> list[SharedNote]:
    """Says so where methods give one of the strongest words of a target opposite signs."""
    with_signs = [v for v in each if v.sum.promised or any(w.score < 0 for w in v.words)]
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
    """One matrix for each method and baseline by which generated tokens of one text are explained."""
    rows: dict[tuple[str, str, tuple[Token, ...]], list[tuple[int, int]]] = {}
    for i, e in enumerate(explanations):
        at = e.target.position
        if e.meta.get("task") in GENERATE and at is not None and 0 <= at < len(e.tokens):
            rows.setdefault((e.method, e.baseline, e.tokens), []).append((i, at))
    found: list[Generation] = []
    for (method, baseline, tokens), own in rows.items():
        begins = next(k for k, t in enumerate(tokens) if t.segment == tokens[own[0][1]].segment)
        scores = tuple(
            tuple(float(s) if k < at else None for k, s in enumerate(explanations[i].scores)) for i, at in own
        )
        peak = max((abs(s) for row in scores for s in row if s is not None), default=0.0)
        each, positions = zip(*own, strict=True)
        found.append(Generation(method, baseline, each, positions, begins, scores, peak))
    return tuple(found)
