"""The Parquet schema of a run: one row for each Outcome, and the way from an Outcome to a row and back.

The columns (docs/corpus.md has them in a table) are those of `Explanation`, flat: a list where it has one value for
each token. Where an input has several explanations, the first is in the row's own columns, and the others, with the
same fields, are the list `others`. A Failure has `error_type` and `error`, and no scores.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..explanation import Explanation
from ..explanations import Explanations
from ..outcome import Failure, Outcome
from ..plain_data import as_plain
from ..tokens import Target, Token

SCHEMA_VERSION = 1

_strings, _ints, _doubles = pa.list_(pa.string()), pa.list_(pa.int32()), pa.list_(pa.float64())
_ARRAY = pa.struct([("name", pa.string()), ("shape", _ints), ("values", _doubles)])
_EXPLANATION = [
    ("text", pa.string()),
    ("texts", _strings),
    ("tokens", _strings),
    ("token_ids", _ints),
    ("starts", _ints),
    ("ends", _ints),
    ("special", pa.list_(pa.bool_())),
    ("words", _ints),
    ("segments", pa.list_(pa.int16())),
    ("scores", _doubles),
    ("target", pa.string()),
    ("target_index", _ints),
    ("target_position", pa.int32()),
    ("method", pa.string()),
    ("baseline", pa.string()),
    ("output", pa.float64()),
    ("baseline_output", pa.float64()),
    ("delta", pa.float64()),
    ("relative_delta", pa.float64()),
    ("prediction", pa.string()),
    ("probability", pa.float64()),
    ("probabilities", pa.string()),
    ("label", pa.string()),
    ("status", pa.string()),
    ("notes", _strings),
    ("passes", pa.int32()),
    ("adds_up", pa.bool_()),
    ("unread", pa.list_(_ints)),
    ("layers", pa.list_(_doubles)),
    ("arrays", pa.list_(_ARRAY)),
    ("meta", pa.string()),
]
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("row", pa.int64()),
        *_EXPLANATION,
        ("several", pa.bool_()),
        ("others", pa.list_(pa.struct(_EXPLANATION))),
        ("error_type", pa.string()),
        ("error", pa.string()),
        ("data", pa.string()),
    ]
)
NAMES: tuple[str, ...] = tuple(SCHEMA.names)
LIGHT = tuple(
    "id row text prediction probability label target output delta status passes error_type error data".split()
)
"""The columns that have one short value, by which rows are sorted and filtered."""
INDEXED = (
    *LIGHT,
    *"target_position method baseline baseline_output relative_delta adds_up several".split(),
)
"""The columns of an index: all that have one short value."""
_LARGE = ("heads", "attentions", "error")


def row_of(outcome: Outcome, id: str, row: int, text: str | None, data: str | None) -> dict[str, Any]:
    """The row of an Outcome. id, row: of the input, and its number in the data, from 0. text: the input's, where it
    failed. data: the other columns of the input, as JSON."""
    common: dict[str, Any] = {"id": id, "row": row, "data": data}
    if isinstance(outcome, Failure):
        return common | {"text": text, "error_type": outcome.type, "error": _unicode(outcome.message)}
    first, *others = outcome if isinstance(outcome, Explanations) else [outcome]
    several = isinstance(outcome, Explanations)
    return common | _flat(first) | {"several": several, "others": [_flat(e) for e in others] or None}


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    """The Outcome that a row holds."""
    if row["error_type"] is not None:
        return Failure(row["row"], row["error_type"], row["error"] or "")
    first = _explanation(row)
    if not row["several"]:
        return first
    return Explanations((first, *map(_explanation, row["others"] or ())))


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table with the schema."""
    return pa.Table.from_pylist([{name: row.get(name) for name in NAMES} for row in rows], SCHEMA)


def to_parquet(table: pa.Table, told: Mapping[str, str]) -> bytes:
    """A table as a Parquet file with metadata of its own."""
    meta = {"pellucid.schema_version": str(SCHEMA_VERSION), **told}
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(meta), out, compression="zstd", compression_level=6)
    return out.getvalue()


def as_text(value: Any) -> str | None:
    """What a failed input said, as far as it is a text that a file can hold."""
    if isinstance(value, Mapping):
        value = next((v for v in value.values() if isinstance(v, str)), None)
    if isinstance(value, (tuple, list)):
        value = next((v for v in value if isinstance(v, str)), None)
    return _unicode(value) if isinstance(value, str) else None


def _unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _flat(e: Explanation) -> dict[str, Any]:
    index = e.target.index
    return {
        "text": e.text if isinstance(e.text, str) else e.text[0],
        "texts": None if isinstance(e.text, str) else list(e.text),
        "tokens": [t.text for t in e.tokens],
        "token_ids": [t.id for t in e.tokens],
        "starts": [None if t.span is None else t.span[0] for t in e.tokens],
        "ends": [None if t.span is None else t.span[1] for t in e.tokens],
        "special": [t.special for t in e.tokens],
        "words": [t.word for t in e.tokens],
        "segments": [t.segment for t in e.tokens],
        "scores": e.scores,
        "target": e.target.name,
        "target_index": None if index is None else list(index) if isinstance(index, tuple) else [index],
        "target_position": e.target.position,
        "method": e.method,
        "baseline": e.baseline,
        "output": e.output,
        "baseline_output": e.baseline_output,
        "delta": e.delta,
        "relative_delta": e.relative_delta,
        "prediction": e.prediction,
        "probability": e.probability,
        "probabilities": None if e.probabilities is None else json.dumps(dict(e.probabilities), ensure_ascii=False),
        "label": e.label,
        "status": str(e.status),
        "notes": list(e.notes),
        "passes": e.passes,
        "adds_up": e.adds_up,
        "unread": [list(u) for u in e.unread],
        "layers": None if e.layers is None else list(e.layers),
        "arrays": _arrays(e) or None,
        "meta": json.dumps(as_plain({k: v for k, v in e.meta.items() if k != "seconds"}), ensure_ascii=False),
    }


def _arrays(e: Explanation) -> list[dict[str, Any]]:
    """The arrays that few ask for, by name: heads, attentions, the scores' error, parts, measures, elements."""
    found = {name: getattr(e, name) for name in _LARGE if getattr(e, name) is not None}
    found |= {f"parts.{k}": v for k, v in (e.parts or {}).items()}
    found |= {f"measures.{k}": v for k, v in (e.measures or {}).items()}
    found |= {f"elements.{k}": v for k, v in (e.elements or {}).items()}
    return [{"name": k, "shape": list(v.shape), "values": v.ravel()} for k, v in found.items()]


def _explanation(row: Mapping[str, Any]) -> Explanation:
    columns = ("tokens", "token_ids", "starts", "ends", "special", "words", "segments")
    tokens = tuple(
        Token(text, id, None if start is None else (start, end), special, word, segment)
        for text, id, start, end, special, word, segment in zip(*(row[c] for c in columns), strict=True)
    )
    index = row["target_index"]
    given: dict[str, Any] = {
        a["name"]: np.array(a["values"], dtype=np.float64).reshape(a["shape"]) for a in row["arrays"] or ()
    }
    inside: dict[str, Any] = {
        kind: {k.removeprefix(f"{kind}."): v for k, v in given.items() if k.startswith(f"{kind}.")} or None
        for kind in ("parts", "measures", "elements")
    }
    return Explanation(
        text=row["text"] if row["texts"] is None else tuple(row["texts"]),
        tokens=tokens,
        scores=np.array(row["scores"], dtype=np.float64),
        target=Target(
            row["target"],
            index if index is None else index[0] if len(index) == 1 else tuple(index),
            row["target_position"],
        ),
        probabilities=None if row["probabilities"] is None else json.loads(row["probabilities"]),
        label=row["label"],
        unread=tuple((s, a, b) for s, a, b in row["unread"] or ()),
        layers=None if row["layers"] is None else np.array(row["layers"], dtype=np.float64),
        meta=json.loads(row["meta"]),
        notes=tuple(row["notes"] or ()),
        **{name: given.get(name) for name in _LARGE},
        **{name: row[name] for name in ("method", "baseline", "output", "baseline_output", "delta", "prediction")},
        **{name: row[name] for name in ("probability", "status", "passes", "adds_up")},
        **inside,
    )


def check_version(metadata: Mapping[bytes, bytes] | None, path: str) -> None:
    """Raises InputError for a file that no version of this schema, or a later one, wrote."""
    found = (metadata or {}).get(b"pellucid.schema_version")
    if found is None or int(found) != SCHEMA_VERSION:
        raise InputError(
            f"Found {path!r} with schema version {found.decode() if found else None}; this version of Pellucid reads "
            f"{SCHEMA_VERSION}. Read the folder with the version that wrote it (see its manifest.json)."
        )
