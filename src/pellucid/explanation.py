"""An `Explanation`: tokens, scores, and the residual that proves the scores add up. Nothing here loads torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import units
from .errors import InputError
from .plain_data import are_equal, as_plain, as_tuple, frozen_array, read_json
from .status import Status
from .token_text import shown
from .tokens import Array, Meta, Source, Target, Token, Word
from .view import View
from .view_building import build_view
from .viewed import Viewed

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Explanation(Viewed):
    """Which tokens made the model's output what it is.

    `scores` (tokens,) are in the unit of `output` (a logit unless the target says otherwise), never normalised:
    `baseline_output + scores.sum() + delta == output`. `adds_up` says whether the method promises a small `delta`.

    What `detail` asked for: `layers` (layers × tokens), each row complete, `layer_deltas` its residuals; `elements`,
    how the hidden elements whose sums `layers` has are distributed: "quantiles" (layers × tokens × 5), the least, the
    quartiles and the largest, and "entropy" (layers × tokens), −Σ p log₂ p of p = |element| / Σ |element|, which says
    over how many elements a contribution is spread; no elements where several baselines are averaged; `heads`
    (layers × heads × queries × keys), what each attention probability contributed, a part of the whole; `attentions`,
    those probabilities; `parts`, the word, position and token type embeddings by name (tokens,): a second answer beside
    `scores`, complete together from a baseline of its own, in which every token has the position and type of the first.
    `meta["parts"]` names that baseline and has the `output`, `baseline_output` and `delta` that they add up to.
    `measures` say how a model attends, and are no attributions to an output: "norm_f", "norm_af", "norm_sum_af",
    "rollout", "attention_x_gradient".

    probabilities: of every class at the input, by its label, where the task has classes. label: the true label, where
    the input said it. text_names: of the texts, where the input gave them. unread: the parts of the text that the model
    did not read, (segment, start, end) in characters: no score is given to them. notes: short sentences about what a
    reader must know; none where there is nothing to say. status: a member of `Status`, whose `message` says what it
    means and what to do.

    Examples:
        `explain` makes an Explanation. The examples of the methods below are about this one:

        >>> model = pellucid.load()
        >>> e = pellucid.explain(model, "It's great!")
        >>> e.target.name, e.prediction, e.status.value
        ('positive', 'positive', 'exact')
        >>> [(w.text, round(w.score, 2)) for w in e.top(2)]
        [('great', 1.98), ('It', 0.28)]

        Anything that has scores for tokens can be put into one by hand:

        >>> by_hand = Explanation(
        ...     text="good film", tokens=(Token("good", 1, (0, 4), word=0), Token("film", 2, (5, 9), word=1)),
        ...     scores=np.array([1.5, 0.25]), target=Target("positive", 1), method="mine", baseline="mask",
        ...     output=2.0, baseline_output=0.25, delta=0.0)
        >>> by_hand.relative_delta
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
    probabilities: Mapping[str, float] | None = None
    text_names: tuple[str, ...] = ()
    unread: tuple[tuple[int, int, int], ...] = ()
    notes: tuple[str, ...] = ()
    meta: Meta = field(default_factory=dict[str, Any])
    elements: Mapping[str, Array] | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "status", Status(self.status))
        except ValueError as error:
            raise InputError(f"Found status={self.status!r}; expected one of {', '.join(Status)}.") from error
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "text_names", tuple(self.text_names))
        object.__setattr__(self, "unread", tuple((s, a, b) for s, a, b in self.unread))
        for name in ("scores", "error", "layers", "heads", "attentions"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen_array(getattr(self, name)))
        for name in ("parts", "measures", "elements"):
            by_name: Mapping[str, Array] | None = getattr(self, name)
            if by_name is not None:
                object.__setattr__(self, name, {k: frozen_array(v) for k, v in by_name.items()})
        if len(self.tokens) != len(self.scores):
            raise InputError(
                f"Found {len(self.tokens)} tokens and {len(self.scores)} scores; expected as many of each."
            )

    def __setstate__(self, state: Mapping[str, object]) -> None:
        """A copy, or what was pickled, is frozen too: NumPy's own copies are not."""
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, in every field and number."""
        if not isinstance(other, Explanation):
            return NotImplemented
        return all(are_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        return hash((self.text, self.tokens, self.target, self.method, self.baseline, self.output))

    @property
    def layer_deltas(self) -> Array | None:
        """What is left over at each layer: `output − baseline_output − layers.sum(1)`.

        Examples:
            >>> deep = pellucid.explain(model, "It's great!", detail=("layers",))
            >>> deep.layers.shape, bool(abs(deep.layer_deltas).max() < 1e-4)
            ((3, 7), True)
        """
        return None if self.layers is None else self.change - self.layers.sum(1)

    @property
    def change(self) -> float:
        """`output − baseline_output`: what the scores explain.

        Examples:
            >>> round(e.change, 3), round(float(e.scores.sum()), 3)
            (2.695, 2.695)
        """
        return self.output - self.baseline_output

    @property
    def relative_delta(self) -> float:
        """|delta| over |output − baseline_output|, or over Σ|scores| where the output did not change.

        Examples:
            >>> e.relative_delta < 1e-4
            True
        """
        scale = abs(self.change) or float(np.abs(self.scores).sum())
        return abs(self.delta) / scale if scale else abs(self.delta)

    def words(self) -> list[Word]:
        """Word pieces merged by summing: the words' scores add up exactly as the tokens' do. Order kept.

        Examples:
            >>> [(w.text, round(w.score, 2)) for w in e.words() if not w.special]
            [('It', 0.28), ("'", 0.08), ('s', 0.26), ('great', 1.98), ('!', 0.09)]
        """
        return units.words(self)

    def groups(self) -> list[Word]:
        """What `groups=` asked to be taken together: words unless it said sentences, sources, or groups of its own.

        Each has the sum of its tokens' scores, and a special token is an item of its own, so the scores of the list add
        up exactly as the tokens' do. The text of a group that stands in several places has … between them. The order is
        that of the first tokens.

        Examples:
            >>> s = pellucid.explain(model, "It's great! The end is slow.", method="occlusion", groups="sentence")
            >>> [w.text for w in s.groups() if not w.special]
            ["It's great!", 'The end is slow.']
        """
        return units.groups(self)

    def sentences(self) -> list[Word]:
        """Sentences, each with the sum of its tokens' scores. Order kept.

        A special token, and any other that stands for no text, is an item of its own, as in `words()`, so the scores of
        the list add up exactly as the tokens' do. A sentence ends as `pellucid.sentences` says.

        Examples:
            >>> two = pellucid.explain(model, "It's great! The end is slow.")
            >>> [s.text for s in two.sentences() if not s.special]
            ["It's great!", 'The end is slow.']
        """
        return units.sentences(self)

    def spans(self, spans: Sequence[tuple[int, int] | tuple[int, int, int]]) -> list[Word]:
        """For each span of characters, (start, end) or (segment, start, end), the sum of the scores of its tokens.

        A token belongs to the span that it shares most characters with, and to the first of several that it shares as
        many with. Special tokens, and tokens in none of the spans, belong to none: what they contribute is
        `e.scores.sum() - sum(s.score for s in found)`. Raises InputError for spans that overlap or leave the text.

        Examples:
            >>> e = Explanation(
            ...     text="good film", tokens=(Token("good", 1, (0, 4)), Token("film", 2, (5, 9))),
            ...     scores=np.array([1.5, 0.25]), target=Target("positive"), method="m", baseline="mask",
            ...     output=2.0, baseline_output=0.25, delta=0.0)
            >>> [(s.text, s.score, s.tokens) for s in e.spans([(0, 4), (4, 9)])]
            [('good', 1.5, (0,)), (' film', 0.25, (1,))]
        """
        return units.spans(self, spans)

    def sources(self) -> list[Source]:
        """Each text of the input, such as a document or a message, with the sum of its tokens' scores, in order; and
        last, as "template", the tokens that belong to no text. Every token is in exactly one.

        Examples:
            >>> pair = pellucid.explain(model, ("It's great!", "It's slow."))
            >>> [s.name for s in pair.sources()]
            ['text 1', 'text 2', 'template']
            >>> bool(abs(sum(s.score for s in pair.sources()) - pair.scores.sum()) < 1e-9)
            True
        """
        return units.sources(self)

    def top(self, k: int = 5) -> list[Word]:
        """The k words with the largest scores in size, largest first; special tokens left out. Where `groups=` asked
        for sentences or others, these instead. Of a word that was half-written when the target was generated, what was
        there.

        Examples:
            >>> [w.text for w in e.top(3)]
            ['great', 'It', 's']
        """
        rows = [w for w in units.cut_at_targets(self.groups(), (self,)) if not w.special]
        return sorted(rows, key=lambda w: -abs(w.score))[: max(0, k)]

    def segment_text(self, segment: int) -> str:
        """The original text that tokens of this segment have their spans in.

        Examples:
            >>> e.segment_text(0)
            "It's great!"
        """
        return self.text if isinstance(self.text, str) else self.text[segment]

    def shown(self, i: int) -> str:
        """The i-th token as a person reads it: without the marks that tokenizers write (Ġ, ▁, Ċ).

        Examples:
            >>> [e.shown(i) for i in range(len(e.tokens))]
            ['[CLS]', 'it', "'", 's', 'great', '!', '[SEP]']
        """
        token = self.tokens[i]
        return shown(token.text, self.segment_text(token.segment)[slice(*token.span)] if token.span else "")

    def unit(self, group: tuple[int, ...]) -> Word:
        """The tokens of these indices as one: their text, and the sum of their scores.

        Examples:
            >>> e.unit((4, 5)).text, e.unit((1, 4)).text
            ('great!', 'It … great')
        """
        return units.unit(self, group)

    # ------------------------------------------------------------------------------------------------ as data

    def to_dict(self) -> dict[str, object]:
        """Plain Python values only; `from_dict` makes the Explanation again.

        Examples:
            >>> sorted(e.to_dict())[:4]
            ['adds_up', 'attentions', 'baseline', 'baseline_output']
        """
        data = {f.name: as_plain(getattr(self, f.name)) for f in fields(self)}
        data["relative_delta"] = self.relative_delta
        return {"schema_version": SCHEMA_VERSION, **data}

    def to_json(self, indent: int | None = None) -> str:
        """One JSON document, numbers at full precision.

        Examples:
            >>> Explanation.from_json(e.to_json()) == e
            True
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    @classmethod
    def from_dict(cls, data: Meta) -> Explanation:
        """The Explanation that `to_dict` described. Raises InputError on another schema version or a missing field.

        Examples:
            >>> Explanation.from_dict(e.to_dict()) == e
            True
        """
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"Found schema_version={version!r}; this version of Pellucid reads {SCHEMA_VERSION}. "
                "Load the file with the version that wrote it (see its 'meta')."
            )
        if "explanations" in data:
            raise InputError("Found a document of several explanations; expected one. Use Explanations.from_dict.")
        given: dict[str, Any] = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        try:
            given["tokens"] = tuple(Token(**{**t, "span": as_tuple(t["span"])}) for t in given["tokens"])
            given["target"] = Target(**{**given["target"], "index": as_tuple(given["target"]["index"])})
            given["text"] = as_tuple(given["text"])
            return cls(**given)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"This is not a Pellucid explanation: {error}. Expected what to_dict() writes.") from error

    @classmethod
    def from_json(cls, text: str) -> Explanation:
        """The Explanation that `to_json` wrote. Raises InputError as `from_dict`.

        Examples:
            >>> Explanation.from_json(e.to_json()).output == e.output
            True
        """
        return cls.from_dict(read_json(text))

    def document(self, indent: int | None = None) -> str:
        """The JSON that is saved: as `to_json`."""
        return self.to_json(indent)

    def to_csv(self) -> str:
        """One CSV document, one row per token; the columns are those of `to_frame`, and the notes."""
        from .tables import to_csv

        return to_csv([self])

    def to_frame(self) -> pd.DataFrame:
        """A pandas frame, one row per token: token, id, start, end, special, word, segment, score; then what is
        the same for all: text, target, method, model, prediction, probability, label. Its `attrs` hold the notes.

        Examples:
            >>> e.to_frame()[["token", "start", "end"]].values.tolist()[1:4]
            [['it', 0, 2], ["'", 2, 3], ['s', 3, 4]]
        """
        from .tables import to_frame

        return to_frame([self], numbered=False)

    # ----------------------------------------------------------------------------------------------- for people

    def view(self, include: Sequence[str] = ()) -> View:
        """What a person is shown, as data that JSON holds. include: "heads", "attentions" (large) where wanted.

        Examples:
            >>> [(t.name, t.written) for t in e.view().explanations[0].sum.terms][:2]
            [('baseline', '−0.001'), ('contributions', '+2.695')]
        """
        return build_view([self], include)

    def save(self, path: str | Path) -> Path:
        """Writes .json, .html, .csv, .svg, .png or .pdf by suffix: the whole file, or nothing.

        Examples:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp()
            >>> e.save(f"{folder}/great.json").name
            'great.json'
        """
        from .render.files import save

        return save(self, Path(path))

    def __repr__(self) -> str:
        best = ", ".join(f"{w.text!r}: {w.score:+.3g}" for w in self.top(3))
        return (
            f"Explanation({self.target.name!r} {self.baseline_output:.4g} → {self.output:.4g} by {self.method}; "
            f"{best}; delta {self.delta:.1e})"
        )
