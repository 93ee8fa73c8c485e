"""A View as the JSON of a page: columns instead of records, arrays as base64, and nothing twice.

Of the explanations after the first only what differs from the first is written. The viewer unpacks an explanation when
it is looked at (`viewer/unpacked.js`). Left out is what the viewer does not draw: `words`, `sentences`, which of them a
token is in, and what is ranked from them, whose runs and tokens are there; the matrix of a generation, whose numbers
are the explanations' scores; and the arrays that `ExplanationView.attention` has in a smaller form. Scores keep all
their digits, up to `EXACT` of them; more, those of layers, and the distribution of their elements, those of float32. Of
many explanations that distribution is kept for the strongest tokens of each, as many as `BOXES` allows.

More scores than `MOST` are not all in a page: each explanation has every sentence, its strongest words with all their
tokens, as many as `ROOM` allows, and how many tokens were left out, with the sum and the largest of their scores.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np

from ..hops import Hops
from ..passages import Passage, Run
from ..plain_data import as_plain
from ..tokens import Array
from ..view import VIEW_SCHEMA_VERSION, ExplanationView, Layer, View

PACKED = ("passages", "tokens", "layers")
"""The fields that are columns in a page."""
BOXES = 30_000
"""Of how many layers and tokens, in all explanations together, the distribution of the elements is kept."""
EXACT = 200_000
"""More scores than these, in all explanations together, are kept in single precision."""
MOST = 600_000
"""More scores than these, in all explanations together, are not all in a page."""
ROOM = 1_700_000
"""How many bytes the scores have then, in all explanations together."""
STEPS = 2**15 - 1
"""They are kept in steps of the largest |score| / STEPS."""
LEFT_OUT = ("words", "sentences", "ranking", "strongest", "measures", "heads", "attentions")


def embedded(view: View) -> str:
    """The packed View as JSON that can stand in an HTML script element: in ASCII, so that no text can end the
    element."""
    plain = json.dumps(packed(view), allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def packed(view: View) -> dict[str, Any]:
    """The packed View as plain values, for a page, a notebook and the app."""
    boxes = BOXES // max(1, sum(len(v.layers) for v in view.explanations))
    total = sum(len(v.tokens) for v in view.explanations)
    kind = "<f4" if total > EXACT else "<f8"
    drawn = any(v.maps for v in view.explanations)  # an image is drawn patch by patch
    finite = all(np.isfinite(v.tokens.scores).all() for v in view.explanations)
    room = ROOM // len(view.explanations) if total > MOST and finite and not drawn else None
    known: dict[int, Any] = {}
    first, *others = [_packed(v, boxes, kind, room, known) for v in view.explanations] or [{}]
    apart = lambda own: {n: value for n, value in own.items() if value is not first[n] and value != first[n]}
    whole = ("explanations", "both", "generations", "hops")
    rest = {name: as_plain(getattr(view, name), finite=True) for name in _names(view) if name not in whole}
    rest |= {
        "explanations": [first, *map(apart, others)] if first else [],
        "both": view.both and apart(_packed(view.both, boxes, kind, room, known)),
        "generations": [{n: as_plain(getattr(g, n)) for n in _names(g) if n != "scores"} for g in view.generations],
        "hops": view.hops and _hops(view.hops),
    }
    return {"schema_version": VIEW_SCHEMA_VERSION, "packed": True, **rest}


def _names(value: object) -> list[str]:
    return list(value.__dataclass_fields__)  # type: ignore[attr-defined]


def _hops(hops: Hops) -> dict[str, Any]:
    rows = [{n: getattr(row, n) for n in _names(row)} | {"scores": _floats(row.scores, "<f8")} for row in hops.rows]
    return {n: as_plain(getattr(hops, n), finite=True) for n in _names(hops)} | {"rows": as_plain(rows, finite=True)}


def _packed(v: ExplanationView, boxes: int, kind: str, room: int | None, known: dict[int, Any]) -> dict[str, Any]:
    """boxes: of how many tokens the distribution of the elements is kept. kind: of the scores, as NumPy names it. room:
    for how many bytes of scores there is room; None: for all. known: the columns of tokens, and the cuts, that were
    packed before, by the id of what the explanations share: they are the same objects then."""
    kept = [name for name in _names(v) if name not in PACKED and name not in LEFT_OUT]
    found: dict[str, Any] = {name: as_plain(getattr(v, name), finite=True) for name in kept}
    columns = ("text", "written", "id", "span", "special", "segment")
    items, scores, errors = v.tokens.items, v.tokens.scores, v.tokens.errors
    if id(items) not in known:
        pieces = {name: as_plain([getattr(t, name) for t in items]) for name in columns}
        known[id(items)] = pieces, [_cut(passage) for passage in v.passages]
    found["pieces"], found["cuts"] = known[id(items)]
    found["single"] = kind == "<f4"
    found["kept"] = None if room is None else _kept(v, room)
    found["scores"] = _floats(scores, kind) if room is None else ""
    found["errors"] = _floats(errors, kind) if room is None and errors is not None else ""
    strongest = np.argsort(-np.abs(scores), kind="stable")[:boxes].tolist()
    boxed = strongest if any(layer.quantiles for layer in v.layers) else []
    found["boxed"] = boxed
    found["depths"] = [_layer(layer, boxed) for layer in v.layers]
    return found


def _kept(v: ExplanationView, room: int) -> dict[str, Any]:
    """Every sentence, and the strongest words with all their tokens, in so many bytes.

    until: the first token of those at the end whose scores are 0. tokens: the indices of what is kept; scores, errors:
    of those; sums, sum_errors: of each run of a sentence, in the order of the text. count, sum, largest: of the tokens
    before `until` that are left out.
    """
    scores, errors = v.tokens.scores, v.tokens.errors
    columns = 1 if errors is None else 2
    sentences = [run for passage in v.passages for run in passage.sentences if run.tokens]
    words = [run for passage in v.passages for run in passage.words.items if run.tokens]
    sizes = np.concatenate([p.words.scores[[bool(run.tokens) for run in p.words.items]] for p in v.passages])
    most = max(0, room - 2 * columns * len(sentences)) // (4 + 2 * columns)
    order = np.argsort(-np.abs(sizes), kind="stable")[:most].tolist()
    filled = accumulate(len(words[i].tokens) for i in order)
    own = [words[i].tokens for i, size in zip(order, filled, strict=True) if size <= most]
    kept = np.array(sorted(chain.from_iterable(own)), dtype=np.int64)
    until = int(np.flatnonzero(scores).max(initial=-1)) + 1
    kept = kept[kept < until]
    left = np.delete(scores[:until], kept)
    return {
        "until": until,
        "tokens": b64encode(kept.astype("<u4").tobytes()).decode("ascii"),
        "scores": _steps(scores[kept]),
        "errors": _steps(errors[kept]) if errors is not None else None,
        "sums": _steps(np.array([run.score for run in sentences])),
        "sum_errors": _steps(np.array([run.error for run in sentences], dtype=float)) if errors is not None else None,
        "count": len(left),
        "sum": as_plain(float(left.sum()), finite=True),
        "largest": as_plain(float(np.abs(left).max(initial=0.0)), finite=True),
    }


def _steps(values: Array) -> tuple[str, float]:
    """Numbers as whole steps of 16 bits, in base64, and how large a step is."""
    step = float(np.abs(values).max(initial=0.0)) / STEPS or 1.0
    return b64encode(np.rint(values / step).astype("<i2").tobytes()).decode("ascii"), step


def _layer(layer: Layer, boxed: Sequence[int]) -> dict[str, Any]:
    quantiles, entropy = [layer.quantiles[i] for i in boxed], [layer.entropy[i] for i in boxed]
    columns = (layer.scores, chain.from_iterable(quantiles), entropy)
    packed = zip(("scores", "quantiles", "entropy"), (_floats(values, "<f4") for values in columns), strict=True)
    told = {name: as_plain(getattr(layer, name), finite=True) for name in ("number", "delta", "written", "spread")}
    return {**told, **dict(packed)}


def _floats(values: Iterable[float], kind: str) -> str:
    """Numbers as base64 of their little-endian bytes."""
    return b64encode(np.fromiter(values, float).astype(kind).tobytes()).decode("ascii")


def _cut(passage: Passage) -> dict[str, Any]:
    levels = {level: [_run(run) for run in getattr(passage, level)] for level in ("tokens", "words", "sentences")}
    return {"role": passage.role, "segment": passage.segment, "text": passage.text, **levels}


def _run(run: Run) -> int | Sequence[int]:
    """A gap is the length of its text, negative where the model did not read it; any other run is [length, tokens …].
    Lengths are in UTF-16, in which JavaScript counts."""
    length = len(run.text.encode("utf-16-le", "surrogatepass")) // 2
    return [length, *run.tokens] if run.tokens else -length if run.unread else length
