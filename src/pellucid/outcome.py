"""`Failure`: the record that stands in the place of an input that could not be explained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from .explanation import Explanation
from .explanations import Explanations


@dataclass(frozen=True)
class Failure:
    """An input that could not be explained.

    index: its number among all inputs, from 0. type: the name of the error, such as "TextTooLong". message: what was
    found, what was expected and what to do.

    Examples:
        >>> good, empty = pellucid.explain(model, ["good", ""], errors="return")
        >>> empty.index, empty.type, sorted(empty.to_dict())
        (1, 'InputError', ['index', 'message', 'type'])
    """

    index: int
    type: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


Outcome: TypeAlias = Explanation | Explanations | Failure
"""What `explain(..., errors="return")` gives for each input of a list or a stream."""
