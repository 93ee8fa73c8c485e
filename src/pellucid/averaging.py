"""One Explanation from those of several baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .explanation import Explanation
from .status import combined
from .tokens import Array, Meta


def average(explanations: Sequence[Explanation], baseline: str) -> Explanation:
    """One Explanation from several that differ in their baseline only: averaged, each delta kept in `meta`."""
    first = explanations[0]
    each = [
        {"baseline": e.baseline, "baseline_output": e.baseline_output, "delta": e.delta, "status": e.status}
        for e in explanations
    ]
    errors = [e.error for e in explanations if e.error is not None]  # their mean bounds that of dependent estimates
    parts = first.parts and {k: np.mean([(e.parts or {})[k] for e in explanations], axis=0) for k in first.parts}
    return replace(
        first,
        scores=_mean([e.scores for e in explanations]),
        layers=_mean([e.layers for e in explanations]),
        heads=_mean([e.heads for e in explanations]),
        elements=None,
        parts=parts,
        status=combined(e.status for e in explanations),
        notes=tuple(dict.fromkeys(note for e in explanations for note in e.notes)),
        baseline=baseline,
        baseline_output=float(np.mean([e.baseline_output for e in explanations])),
        delta=float(np.mean([e.delta for e in explanations])),
        passes=sum(e.passes for e in explanations),
        error=np.sum(errors, axis=0) / len(explanations) if errors else None,
        meta={**first.meta, "baselines": each, **_average_parts([e.meta["parts"] for e in explanations if parts])},
    )


def _mean(found: Sequence[Array | None]) -> Array | None:
    there = [values for values in found if values is not None]
    return np.mean(there, axis=0) if there else None


def _average_parts(each: Sequence[Meta]) -> dict[str, Any]:
    """What `meta` says of parts whose scores are averaged."""
    if not each:
        return {}
    mean = {k: float(np.mean([told[k] for told in each])) for k in ("output", "baseline_output", "delta")}
    names = ", ".join(told["baseline"] for told in each)
    status, passes = combined(told["status"] for told in each), sum(told["passes"] for told in each)
    return {"parts": {"baseline": names, **mean, "status": status, "passes": passes}}
