"""`Explanations`: several explanations of one input, for several targets or methods."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast, overload

import numpy as np

from .errors import InputError
from .explanation import SCHEMA_VERSION, Explanation
from .plain_data import read_json
from .tokens import Array, Meta
from .view import View
from .view_building import build_view
from .viewed import Viewed

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]


@dataclass(frozen=True, repr=False)
class Explanations(Viewed, Sequence[Explanation]):
    """Explanations of one input, for several targets or methods. A frozen sequence that renders together.

    Examples:
        >>> both = pellucid.explain(model, "It's great!", target=["positive", "negative"])
        >>> [e.target.name for e in both], both.matrix().shape
        (['positive', 'negative'], (2, 7))
        >>> Explanations.from_json(both.to_json()) == both
        True
        >>> both.to_frame().groupby("target", sort=False).score.sum().round(2).to_dict()
        {'positive': 2.69, 'negative': -2.7}
    """

    items: tuple[Explanation, ...]

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, i: int) -> Explanation: ...
    @overload
    def __getitem__(self, i: slice) -> Explanations: ...
    def __getitem__(self, i: int | slice) -> Explanation | Explanations:
        return Explanations(self.items[i]) if isinstance(i, slice) else self.items[i]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.items)

    def __getattr__(self, name: str) -> NoReturn:
        """Raises AttributeError; it says where what one Explanation has is found."""
        own = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name.startswith("_") or not (hasattr(Explanation, name) or name in Explanation.__dataclass_fields__):
            raise AttributeError(own)
        of = ", ".join(map(repr, dict.fromkeys(e.target.name for e in self.items[:4])))
        raise AttributeError(
            f"{own}: they are {len(self.items)} explanations (of {of}). Take one of them, [0].{name}, or all: "
            f"[e.{name} for e in …]."
        )

    def matrix(self) -> Array:
        """The scores, explanations × tokens. Raises InputError unless all have as many tokens."""
        if len({len(e.tokens) for e in self.items}) != 1:
            raise InputError(
                f"Found explanations of {[len(e.tokens) for e in self.items]} tokens; expected some, of one input."
            )
        return np.stack([e.scores for e in self.items])

    def to_dict(self) -> dict[str, object]:
        """`{"schema_version": …, "explanations": [ … ]}`, the document that the command line writes."""
        return {"schema_version": SCHEMA_VERSION, "explanations": [e.to_dict() for e in self.items]}

    def to_json(self, indent: int | None = None) -> str:
        """One JSON document."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    @classmethod
    def from_dict(cls, data: Meta) -> Explanations:
        """What `to_dict` described; a document of one Explanation is read too. Raises InputError."""
        if "explanations" not in data:
            return cls((Explanation.from_dict(data),))
        if data.get("error"):
            raise InputError(f"Found the report of an error, {data['error']}; expected explanations.")
        each = data["explanations"]
        if not isinstance(each, list) or not all(isinstance(e, Mapping) for e in cast("list[object]", each)):
            raise InputError("This is not a document of Pellucid explanations. Expected what to_dict() writes.")
        return cls(tuple(map(Explanation.from_dict, cast("list[Meta]", each))))

    @classmethod
    def from_json(cls, text: str) -> Explanations:
        """What `to_json`, `save` and the command line's --json write."""
        return cls.from_dict(read_json(text))

    def document(self, indent: int | None = None) -> str:
        """The JSON that is saved: as `Explanation.to_json` for one explanation, and as `to_json` for several."""
        return self.items[0].to_json(indent) if len(self.items) == 1 else self.to_json(indent)

    def to_csv(self) -> str:
        """One CSV document, one row per token; the columns are those of `to_frame`, and the notes."""
        from .tables import to_csv

        return to_csv(self.items)

    def to_frame(self) -> pd.DataFrame:
        """As `Explanation.to_frame`, of all of them; the first column, `explanation`, is their number, from 0."""
        from .tables import to_frame

        return to_frame(self.items, numbered=True)

    def view(self, include: Sequence[str] = ()) -> View:
        """As `Explanation.view`, of all of them, with what differs between them and what is common."""
        return build_view(self.items, include)

    def save(self, path: str | Path) -> Path:
        """As `Explanation.save`, all of them in one file."""
        from .render.files import save

        if not self.items:
            raise InputError("Found no explanations; expected at least one to save.")
        return save(self, Path(path))

    def __repr__(self) -> str:
        return f"Explanations([{', '.join(map(repr, self.items))}])"
