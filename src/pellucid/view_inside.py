"""What an explanation tells of the inside of a model, as a person is shown it: layers, parts, attention, patches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TypeAlias, cast

import numpy as np

from .number_text import decimals, plain, signed
from .scored import Units
from .tokens import Array, Explained
from .view import AttentionView, Item, Layer, Parts, PatchMap
from .view_items import with_score

STRONGEST = 4
"""So many words of a text, or of a layer, are named as its strongest."""
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
Nested: TypeAlias = "list[list[list[int]]]"
Cells: TypeAlias = tuple[tuple[tuple[int, ...], ...], ...]


def layer_views(e: Explained, words: Units[Item]) -> tuple[Layer, ...]:
    if e.layers is None or e.layer_deltas is None:
        return ()
    found: list[Layer] = []
    for number, (scores, delta) in enumerate(zip(e.layers, e.layer_deltas, strict=True), 1):
        sums = words.sums(scores)
        peak = words.largest(sums)
        items = words.scored(scores, None, partial(with_score, decimals(peak)))
        best = tuple(items[i] for i in words.ranking(sums, special=True)[:STRONGEST] if sums[i])
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


def parts_view(e: Explained) -> Parts | None:
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


def attention_views(e: Explained) -> tuple[AttentionView, ...]:
    """Heads, attentions and measures, each with as many keys a query as fit into a page together."""
    found = _of_heads(e)
    cells = sum(values.shape[0] * values.shape[1] * values.shape[2] for values in found.values())
    most = max(1, MOST_CELLS // cells) if cells else 0
    return tuple(_reduced(name, values, min(most, values.shape[3])) for name, values in found.items())


def layer_of_attention(e: Explained, name: str, layer: int) -> Cells:
    """All keys of all queries of each head of one layer, as `AttentionView.cells` has them. Raises KeyError where there
    is no such measure, IndexError."""
    values = _finite(_of_heads(e)[name])
    return _cells(values[layer], float(np.abs(values).max()), values.shape[3])


def _of_heads(e: Explained) -> dict[str, Array]:
    """What has a number for each query and key of each head of each layer, by name; of a layer as of its one head."""
    given = {"contribution": e.heads, "probability": e.attentions, **(e.measures or {})}
    there = [(name, values) for name, values in given.items() if values is not None and values.size]
    square = [(n, v) for n, v in there if v.ndim in (3, 4) and v.shape[-1] == v.shape[-2]]
    return {name: values if values.ndim == 4 else values[:, None] for name, values in square}


def _reduced(name: str, values: Array, kept: int) -> AttentionView:
    """values (layers, heads, queries, keys) with the kept strongest keys of each query."""
    finite = _finite(values)
    peak = float(np.abs(finite).max())
    each = tuple(_cells(layer, peak, kept) for layer in finite)
    sizes = np.abs(finite).sum(axis=(2, 3))
    strongest = tuple(map(int, sizes.argmax(axis=1)))
    return AttentionView(name, ATTENTION.get(name, name), peak, kept, each, int(sizes.max(axis=1).argmax()), strongest)


def _finite(values: Array) -> Array:
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _cells(values: Array, peak: float, kept: int) -> Cells:
    """values (heads, queries, keys) in steps of 1/127 of the peak: of each query key, step, key, step, …, the strongest
    first, without those of 0 steps."""
    steps = np.rint(values / (peak or 1.0) * 127).astype(int)
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")[..., :kept]
    keys, of = cast("Nested", order.tolist()), cast("Nested", np.take_along_axis(steps, order, -1).tolist())
    return tuple(
        tuple(tuple(x for k, n in zip(ks, ns, strict=True) if n for x in (k, n)) for ks, ns in zip(a, b, strict=True))
        for a, b in zip(keys, of, strict=True)
    )


_PATCH = re.compile(r"(?:(.*): )?(\d+),(\d+)")
"""The name of a patch: perhaps that of its image or tile, and "row,column"."""


def maps_of(e: Explained, names: Sequence[str], places: int) -> tuple[PatchMap, ...]:
    """The patches of each image and tile, as they lie in it. names: of the texts of the input, and of its images."""
    found: dict[tuple[int, str], dict[tuple[int, int], int]] = {}
    for i, t in enumerate(e.tokens):
        if t.span is None and not t.special and (m := _PATCH.fullmatch(t.text)):
            found.setdefault((t.segment, m[1] or ""), {})[int(m[2]), int(m[3])] = i
    maps: list[PatchMap] = []
    for (segment, tile), at in found.items():
        rows, columns = (1 + max(place[k] for place in at) for k in (0, 1))
        if rows * columns == len(at):
            tokens = tuple(at[place] for place in sorted(at))
            score, name = float(e.scores[list(tokens)].sum()), tile or (names[segment] if len(names) > 1 else "")
            maps.append(PatchMap(name, rows, columns, tokens, score, signed(score, places), segment))
    return tuple(maps)


def grid_of(e: Explained, maps: Sequence[PatchMap]) -> tuple[int, int] | None:
    """Rows and columns of an image's patches, where all that is explained is one image."""
    return next(((m.rows, m.columns) for m in maps if len(m.tokens) == len(e.tokens)), None)
