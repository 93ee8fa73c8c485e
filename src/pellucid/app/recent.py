"""The newest answers that hold attention, so that each layer that a person looks at needs no new run of the model."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..explanations import Explanations

ASKED = ("models", "model", "input", "request", "document", "run", "place", "row")
"""The parts of a body that say what is explained."""
MOST_BYTES = 256_000_000
"""The arrays of attention that are kept, in all answers together; a larger answer is not kept."""


@dataclass
class Recent:
    """Answers by their question. It belongs to the thread that answers: nothing else reads or writes it."""

    kept: OrderedDict[bytes, Explanations] = field(default_factory=OrderedDict[bytes, Explanations])

    def answer(self, body: Mapping[str, Any], ask: Callable[[], Explanations]) -> Explanations:
        """The answer to the question of a body; `ask` is called where it is not kept."""
        question = {name: body[name] for name in ASKED if name in body}
        key = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).digest()
        found = self.kept.pop(key, None) or ask()
        if 0 < _size(found) <= MOST_BYTES:
            self.kept[key] = found
        while sum(map(_size, self.kept.values())) > MOST_BYTES:
            self.kept.popitem(last=False)
        return found


def _size(found: Explanations) -> int:
    """The bytes of the arrays of attention."""
    of_one = lambda e: [e.heads, e.attentions, *(e.measures or {}).values()]
    return sum(array.nbytes for e in found for array in of_one(e) if array is not None)
