"""A View as the JSON of a page: columns instead of records, arrays as base64, and nothing twice.

Of the explanations after the first only what differs from the first is written. The viewer unpacks an explanation when
it is looked at (`viewer/unpacked.js`). Left out is what the viewer does not draw: `words`, `sentences`, which of them a
token is in, and what is ranked from them, whose runs and tokens are there; the matrix of a generation, whose numbers
are the explanations' scores; and the arrays that `ExplanationView.attention` has in a smaller form. Scores keep all
their digits, up to `EXACT` of them; more, those of layers, and the distribution of their elements, those of float32. Of
many explanations that distribution is kept for the strongest tokens of each, as many as `BOXES` allows.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..hops import Hops
from ..passages import Passage, Run
from ..plain_data import as_plain
from ..view import VIEW_SCHEMA_VERSION, ExplanationView, Layer, View

PACKED = ("passages", "tokens", "layers")
"""The fields that are columns in a page."""
BOXES = 30_000
"""Of how many layers and tokens, in all explanations together, the distribution of the elements is kept."""
EXACT = 200_000
"""More scores than these, in all explanations together, are kept in single precision."""
LEFT_OUT = ("words", "sentences", "ranking", "strongest", "measures", "heads", "attentions")


def embedded(view: View) -> str:
    """The packed View as JSON that can stand in an HTML script element: in ASCII, so that no text can end the
    element."""
    plain = json.dumps(packed(view), allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def packed(view: View) -> dict[str, Any]:
    """The packed View as plain values, for a page, a notebook and the app."""
    boxes = BOXES // max(1, sum(len(v.layers) for v in view.explanations))
    kind = "<f4" if sum(len(v.tokens) for v in view.explanations) > EXACT else "<f8"
    first, *others = [_packed(v, boxes, kind) for v in view.explanations] or [{}]
    apart = lambda own: {name: value for name, value in own.items() if value != first[name]}
    whole = ("explanations", "both", "generations", "hops")
    rest = {name: as_plain(getattr(view, name), finite=True) for name in _names(view) if name not in whole}
    rest |= {
        "explanations": [first, *map(apart, others)] if first else [],
        "both": view.both and apart(_packed(view.both, boxes, kind)),
        "generations": [{n: as_plain(getattr(g, n)) for n in _names(g) if n != "scores"} for g in view.generations],
        "hops": view.hops and _hops(view.hops),
    }
    return {"schema_version": VIEW_SCHEMA_VERSION, "packed": True, **rest}


def _names(value: object) -> list[str]:
    return list(value.__dataclass_fields__)  # type: ignore[attr-defined]


def _hops(hops: Hops) -> dict[str, Any]:
    rows = [{n: getattr(row, n) for n in _names(row)} | {"scores": _floats(row.scores, "<f8")} for row in hops.rows]
    return {n: as_plain(getattr(hops, n), finite=True) for n in _names(hops)} | {"rows": as_plain(rows, finite=True)}


def _packed(v: ExplanationView, boxes: int, kind: str) -> dict[str, Any]:
    """boxes: of how many tokens the distribution of the elements is kept. kind: of the scores, as NumPy names it."""
    kept = [name for name in _names(v) if name not in PACKED and name not in LEFT_OUT]
    found: dict[str, Any] = {name: as_plain(getattr(v, name), finite=True) for name in kept}
    columns = ("text", "written", "id", "span", "special", "segment")
    found["pieces"] = {name: as_plain([getattr(t, name) for t in v.tokens]) for name in columns}
    found["single"] = kind == "<f4"
    found["scores"] = _floats((t.score for t in v.tokens), kind)
    found["errors"] = _floats((t.error for t in v.tokens if t.error is not None), kind)
    found["cuts"] = [_cut(passage) for passage in v.passages]
    strongest = sorted(range(len(v.tokens)), key=lambda i: -abs(v.tokens[i].score))[:boxes]
    boxed = strongest if any(layer.quantiles for layer in v.layers) else []
    found["boxed"] = boxed
    found["depths"] = [_layer(layer, boxed) for layer in v.layers]
    return found


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
