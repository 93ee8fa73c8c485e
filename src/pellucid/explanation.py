"""The answer a person reads: tokens, scores, and the number that proves they add up. No torch in here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, MissingExtra
from .status import Status, combined
from .token_text import shown

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Token:
    """One token of the input.

    text: as the tokenizer writes it. id: in the vocabulary. span: (start, end) characters in the original text, or
    None where it stands for none. special: added by the tokenizer, or a mask to be filled: it stays in every baseline.
    word: which word it is a piece of, or None. segment: which of two texts it belongs to. For people it is shown as
    `Explanation.shown` has it.
    """

    text: str
    id: int
    span: tuple[int, int] | None = None
    special: bool = False
    word: int | None = None
    segment: int = 0


@dataclass(frozen=True)
class Target:
    """What was explained: a label's `name`, its `index`, and the `position` of the token it was read from, if any."""

    name: str
    index: int | tuple[int, ...] | None = None
    position: int | None = None


@dataclass(frozen=True)
class Word:
    """A word and the sum of its pieces' scores. `tokens` are its pieces' places in the Explanation."""

    text: str
    score: float
    span: tuple[int, int] | None
    special: bool
    segment: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which tokens made the model's output what it is.

    `scores` (tokens,) are in the unit of `output` (a logit unless the target says otherwise), never normalised:
    `baseline_output + scores.sum() + delta == output`. `adds_up` says whether the method promises a small `delta`.

    What `detail` asked for: `layers` (layers × tokens), each row complete, `layer_deltas` its residuals; `heads`
    (layers × heads × queries × keys), what each attention probability contributed, a part of the whole; `attentions`,
    those probabilities; `parts`, the word, position and token type embeddings by name (tokens,): a second answer beside
    `scores`, complete together from a baseline of its own, in which every token has the position and type of the first.
    `meta["parts"]` names that baseline and has the `output`, `baseline_output` and `delta` that they add up to.
    `measures` say how a model attends, and are no attributions to an output: "norm_f", "norm_af", "norm_sum_af",
    "rollout", "attention_x_gradient".

    label: the true label, where the input said it. unread: the parts of the text that the model did not read, (segment,
    start, end) in characters: no score is given to them. notes: short sentences about what a reader must know; none
    where there is nothing to say. status: a member of `Status`, whose `message` says what it means and what to do.

    Examples:
        >>> e = Explanation(
        ...     text="good film", tokens=(Token("good", 1, (0, 4), word=0), Token("film", 2, (5, 9), word=1)),
        ...     scores=np.array([1.5, 0.25]), target=Target("positive", 1), method="deeplift", baseline="mask",
        ...     output=2.0, baseline_output=0.25, delta=0.0, prediction="positive", probability=0.9)
        >>> [(w.text, w.score) for w in e.top(1)]
        [('good', 1.5)]
        >>> Explanation.from_json(e.to_json()).relative_delta
        0.0
    """

    text: str | tuple[str, ...]
    tokens: tuple[Token, ...]
    scores: Array
    target: Target
    method: str
    baseline: str
    output: float
    baseline_output: float
    delta: float
    prediction: str | None = None
    probability: float | None = None
    adds_up: bool = True
    passes: int = 0
    status: Status = Status.EXACT
    error: Array | None = None
    layers: Array | None = None
    heads: Array | None = None
    attentions: Array | None = None
    parts: Mapping[str, Array] | None = None
    measures: Mapping[str, Array] | None = None
    label: str | None = None
    unread: tuple[tuple[int, int, int], ...] = ()
    notes: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "status", Status(self.status))
        except ValueError as error:
            raise InputError(f"Found status={self.status!r}; expected one of {', '.join(Status)}.") from error
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "unread", tuple((s, a, b) for s, a, b in self.unread))
        for name in ("scores", "error", "layers", "heads", "attentions"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _frozen(getattr(self, name)))
        for name in ("parts", "measures"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, {k: _frozen(v) for k, v in getattr(self, name).items()})
        if len(self.tokens) != len(self.scores):
            raise InputError(
                f"Found {len(self.tokens)} tokens and {len(self.scores)} scores; expected as many of each."
            )

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """A copy, or what was pickled, is frozen too: NumPy's own copies are not."""
        self.__dict__.update(state)
        self.__post_init__()

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, in every field and number."""
        if not isinstance(other, Explanation):
            return NotImplemented
        return all(_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        return hash((self.text, self.tokens, self.target, self.method, self.baseline, self.output))

    @property
    def layer_deltas(self) -> Array | None:
        """What is left over at each layer: `output − baseline_output − layers.sum(1)`."""
        return None if self.layers is None else self.change - self.layers.sum(1)

    @property
    def change(self) -> float:
        """`output − baseline_output`: what the scores explain."""
        return self.output - self.baseline_output

    @property
    def relative_delta(self) -> float:
        """|delta| over |output − baseline_output|, or over Σ|scores| where the output did not change."""
        scale = abs(self.change) or float(np.abs(self.scores).sum())
        return abs(self.delta) / scale if scale else abs(self.delta)

    def words(self) -> list[Word]:
        """Word pieces merged by summing: the words' scores add up exactly as the tokens' do. Order kept."""
        groups: list[list[int]] = []
        for i, token in enumerate(self.tokens):
            last = self.tokens[groups[-1][-1]] if groups else None
            if last is not None and token.word is not None and (last.word, last.segment) == (token.word, token.segment):
                groups[-1].append(i)
            else:
                groups.append([i])
        return [self._word(tuple(group)) for group in groups]

    def top(self, k: int = 5) -> list[Word]:
        """The k words with the largest scores in size, largest first; special tokens left out."""
        return sorted((w for w in self.words() if not w.special), key=lambda w: -abs(w.score))[: max(0, k)]

    def segment_text(self, segment: int) -> str:
        """The original text that tokens of this segment have their spans in."""
        return self.text if isinstance(self.text, str) else self.text[segment]

    def shown(self, i: int) -> str:
        """The i-th token as a person reads it: without the marks that tokenizers write (Ġ, ▁, Ċ)."""
        token = self.tokens[i]
        return shown(token.text, self.segment_text(token.segment)[slice(*token.span)] if token.span else "")

    def _word(self, group: tuple[int, ...]) -> Word:
        pieces = [self.tokens[i] for i in group]
        spans = [p.span for p in pieces if p.span is not None]
        span = (min(s for s, _ in spans), max(e for _, e in spans)) if spans else None
        first = pieces[0]
        text = self.segment_text(first.segment)[slice(*span)] if span else first.text
        score = float(self.scores[list(group)].sum())
        return Word(text or shown(first.text), score, span, first.special, first.segment, group)

    # ------------------------------------------------------------------------------------------------ as data

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values only; `from_dict` makes the Explanation again."""
        data = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        data["relative_delta"] = self.relative_delta
        return {"schema_version": SCHEMA_VERSION, **data}

    def to_json(self, indent: int | None = None) -> str:
        """One JSON document, numbers at full precision."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Explanation:
        """The Explanation that `to_dict` described. Raises InputError on another schema version or a missing field."""
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"Found schema_version={version!r}; this version of Pellucid reads {SCHEMA_VERSION}. "
                "Load the file with the version that wrote it (see its 'meta')."
            )
        if "explanations" in data:
            raise InputError("Found a document of several explanations; expected one. Use Explanations.from_dict.")
        given = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        try:
            given["tokens"] = tuple(Token(**{**t, "span": _pair(t["span"])}) for t in given["tokens"])
            given["target"] = Target(**{**given["target"], "index": _pair(given["target"]["index"])})
            given["text"] = _pair(given["text"])
            return cls(**given)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"This is not a Pellucid explanation: {error}. Expected what to_dict() writes.") from error

    @classmethod
    def from_json(cls, text: str) -> Explanation:
        """The Explanation that `to_json` wrote."""
        return cls.from_dict(_read(text))

    def to_frame(self) -> pd.DataFrame:
        """A pandas frame, one row per token: token, id, start, end, special, word, segment, score. Its `attrs` hold the
        notes."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra(
                "to_frame() needs pandas: pip install 'pellucid[plots]', or pip install pandas"
            ) from error
        rows = [
            {
                "token": t.text,
                "id": t.id,
                "start": None if t.span is None else t.span[0],
                "end": None if t.span is None else t.span[1],
                "special": t.special,
                "word": t.word,
                "segment": t.segment,
                "score": score,
            }
            for t, score in zip(self.tokens, self.scores, strict=True)
        ]
        frame = pd.DataFrame(rows)
        frame = frame.astype({"start": "Int64", "end": "Int64", "word": "Int64"})
        frame.attrs["notes"] = list(self.notes)
        return frame

    # ----------------------------------------------------------------------------------------------- for people

    def to_html(self) -> str:
        """One page that stands alone: no network, no script, every outside string escaped."""
        from .render.html import page

        return page([self])

    def plot(self, kind: str = "words") -> Any:
        """A matplotlib Figure: "words" (a bar per word), "waterfall" (from baseline to output), "layers" or "image"
        (the patches of an image as a heat map). Needs [plots]."""
        from .render.plots import plot

        return plot(self, kind)

    def save(self, path: str | Path) -> Path:
        """Writes .json, .html, .csv, .svg, .png or .pdf by suffix: the whole file, or nothing."""
        from .render.files import save

        return save([self], Path(path))

    def __rich__(self) -> Any:
        from .render.terminal import view

        return view(self)

    def _repr_html_(self) -> str:
        from .render.html import fragment

        return fragment([self])

    def __repr__(self) -> str:
        best = ", ".join(f"{w.text!r}: {w.score:+.3g}" for w in self.top(3))
        return (
            f"Explanation({self.target.name!r} {self.baseline_output:.4g} → {self.output:.4g} by {self.method}; "
            f"{best}; delta {self.delta:.1e})"
        )


@dataclass(frozen=True, repr=False)
class Explanations(Sequence[Explanation]):
    """Explanations of one input, for several targets or methods. A frozen sequence that renders together."""

    items: tuple[Explanation, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: Any) -> Any:
        return Explanations(self.items[i]) if isinstance(i, slice) else self.items[i]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.items)

    def matrix(self) -> Array:
        """The scores, explanations × tokens. Raises InputError unless all have as many tokens."""
        if len({len(e.tokens) for e in self.items}) != 1:
            raise InputError(
                f"Found explanations of {[len(e.tokens) for e in self.items]} tokens; expected some, of one input."
            )
        return np.stack([e.scores for e in self.items])

    def to_dict(self) -> dict[str, Any]:
        """`{"schema_version": …, "explanations": [ … ]}`, the document that the command line writes."""
        return {"schema_version": SCHEMA_VERSION, "explanations": [e.to_dict() for e in self.items]}

    def to_json(self, indent: int | None = None) -> str:
        """One JSON document."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Explanations:
        """What `to_dict` described; a document of one Explanation is read too. Raises InputError."""
        if "explanations" not in data:
            return cls((Explanation.from_dict(data),))
        if data.get("error"):
            raise InputError(f"Found the report of an error, {data['error']}; expected explanations.")
        each = data["explanations"]
        if not isinstance(each, list) or not all(isinstance(e, Mapping) for e in each):
            raise InputError("This is not a document of Pellucid explanations. Expected what to_dict() writes.")
        return cls(tuple(map(Explanation.from_dict, each)))

    @classmethod
    def from_json(cls, text: str) -> Explanations:
        """What `to_json`, `save` and the command line's --json write."""
        return cls.from_dict(_read(text))

    def plot(self, kind: str = "words") -> Any:
        """As `Explanation.plot`, one under the other in one Figure."""
        from .render.plots import stacked

        return stacked(list(self.items), kind)

    def to_html(self) -> str:
        """As `Explanation.to_html`, all of them on one page."""
        from .render.html import page

        return page(list(self.items))

    def save(self, path: str | Path) -> Path:
        """As `Explanation.save`, all of them in one file."""
        from .render.files import save

        return save(list(self.items), Path(path))

    def __rich__(self) -> Any:
        from .render.terminal import views

        return views(list(self.items))

    def _repr_html_(self) -> str:
        from .render.html import fragment

        return fragment(list(self.items))

    def __repr__(self) -> str:
        return f"Explanations([{', '.join(map(repr, self.items))}])"


def average(explanations: Sequence[Explanation], baseline: str) -> Explanation:
    """One Explanation from several that differ in their baseline only: averaged, each delta kept in `meta`."""
    first = explanations[0]
    each = [
        {"baseline": e.baseline, "baseline_output": e.baseline_output, "delta": e.delta, "status": e.status}
        for e in explanations
    ]
    errors = [e.error for e in explanations if e.error is not None]  # their mean bounds that of dependent estimates
    mean = lambda found: None if found[0] is None else np.mean(found, axis=0)
    parts = None if first.parts is None else {k: mean([(e.parts or {})[k] for e in explanations]) for k in first.parts}
    return replace(
        first,
        scores=mean([e.scores for e in explanations]),
        layers=mean([e.layers for e in explanations]),
        heads=mean([e.heads for e in explanations]),
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


def _average_parts(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `meta` says of parts whose scores are averaged."""
    if not each:
        return {}
    mean = {k: float(np.mean([told[k] for told in each])) for k in ("output", "baseline_output", "delta")}
    names = ", ".join(told["baseline"] for told in each)
    status, passes = combined(told["status"] for told in each), sum(told["passes"] for told in each)
    return {"parts": {"baseline": names, **mean, "status": status, "passes": passes}}


def _frozen(values: Any) -> Array:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _plain(value: Any) -> Any:
    if isinstance(value, (Token, Target)):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _read(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"This is not JSON ({error}); expected what to_json() writes.") from error
    if not isinstance(data, dict):
        raise InputError(f"Found a JSON {type(data).__name__}; expected the object that to_json() writes.")
    return data


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=True)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    return _plain(a) == _plain(b)


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
