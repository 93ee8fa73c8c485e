"""A `View`: everything that a person is shown of one or several explanations, as data.

The terminal, the page, the plots and an interactive viewer draw a View and compute nothing of their own. Strings that
come from outside (texts, tokens, labels, names) stand in it as they are: whoever draws them escapes them. Scores are
never normalised; `peak` is what full colour means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from .hops import Hops
from .passages import Passage
from .plain_data import Json, as_plain
from .scored import Scored
from .source_units import Sources
from .tokens import Meta, Target

VIEW_SCHEMA_VERSION = 1
TARGET_PROBABILITY = "target probability"
"""The fact that follows a target whose probability is not the prediction's."""


@dataclass(frozen=True)
class Fact:
    """A name and a value to be read beside it, such as "baseline" and "mask". meaning: what the value says, in a
    sentence or two, where a newcomer would ask."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True)
class Term:
    """One number of the sum: its name, its value, and how it is written."""

    name: str
    value: float
    written: str


@dataclass(frozen=True)
class Sum:
    """`baseline + contributions + residual = output`, written so that the written numbers add up.

    terms: those four. verdict: one sentence on whether the sum holds. complete: whether the contributions are the
    change in the output, up to the tolerances that methods stop at. promised: whether the method promises that.
    relative_written: the relative delta, where the method promises a sum.
    """

    terms: tuple[Term, ...]
    verdict: str
    complete: bool
    promised: bool
    relative_delta: float
    relative_written: str = ""


@dataclass(frozen=True)
class Standing:
    """What an answer is worth: the word of its status, a message that holds the remedy, how the scores were obtained,
    whether the method promises a sum, and whether the sum holds (None: the residual says)."""

    name: str
    message: str
    obtained: str
    promises: bool | None
    holds: bool | None


@dataclass(frozen=True)
class Piece:
    """One token: as a person reads it (`text`), as its tokenizer writes it (`written`), and its score.

    word, sentence: the index of the item in `ExplanationView.words` and `.sentences` that the token is a part of.
    """

    text: str
    written: str
    id: int
    span: tuple[int, int] | None
    special: bool
    segment: int
    word: int
    sentence: int
    score: float
    error: float | None


@dataclass(frozen=True)
class Item:
    """A word or a sentence with its score.

    repeat: which one it is (1, 2, …) where it stands in the text more than once. written, error_written: the score and
    its estimated error, to the decimal places of the explanation. tokens: the indices of its tokens.
    """

    text: str
    repeat: int | None
    score: float
    written: str
    error: float | None
    error_written: str
    span: tuple[int, int] | None
    segment: int
    special: bool
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """The scores at the output of one layer, which are complete by themselves.

    number: from 1. delta: the residual. peak: the largest |score| of a word. strongest: the few words that count most;
    special tokens are among them, because the layers move what words contribute into such tokens. spread: the entropy
    of the shares of |score|, in bits: over how many tokens the contributions go. quantiles, entropy: of each token, the
    least, the quartiles and the largest of its elements, and their entropy in bits, as in `Explanation.elements`; empty
    where they are not known.
    """

    number: int
    scores: tuple[float, ...]
    delta: float
    written: str
    peak: float
    strongest: tuple[Item, ...]
    spread: float = 0.0
    quantiles: tuple[tuple[float, ...], ...] = ()
    entropy: tuple[float, ...] = ()


@dataclass(frozen=True)
class Parts:
    """The parts of the embedding (word, position, token type), a second answer with a baseline of its own.

    scores: of each part, one per token. sums: of those. sentence: the sum in words; empty where nothing is known of it.
    """

    scores: Mapping[str, tuple[float, ...]]
    sums: Mapping[str, float]
    baseline: str | None
    output: float | None
    baseline_output: float | None
    delta: float | None
    sentence: str


@dataclass(frozen=True)
class AttentionView:
    """One number for each query and key of each head of each layer, made small enough for a page.

    name, told: what the numbers are. peak: the largest |number|. kept: how many keys each query keeps at most, the
    strongest ones. cells: of each layer, head and query, the kept keys and their numbers in steps of peak/127, one
    after the other: (key, steps, key, steps, …); a number of less than half a step is left out. layer: the number, from
    0, of the layer with the strongest head; heads: of each layer its strongest, the head whose sizes have the largest
    sum.
    """

    name: str
    told: str
    peak: float
    kept: int
    cells: tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]
    layer: int = 0
    heads: tuple[int, ...] = ()


@dataclass(frozen=True)
class PatchMap:
    """The patches of an image, or of one of its tiles, as they lie in it.

    name: of the image and the tile, where there is more to see than one image. rows, columns: of patches. tokens: their
    indices, row by row. score: their sum. segment: the number of the image among the texts of the input.
    """

    name: str
    rows: int
    columns: int
    tokens: tuple[int, ...]
    score: float
    written: str
    segment: int


@dataclass(frozen=True)
class ExplanationView:
    """What a person is shown of one explanation.

    headline: the prediction, or what was explained where there is none. label: the true label. place: the token that
    the target was read from, in words. facts: what was explained and how. proof: how far the sum can be trusted and
    what it cost. words, sentences: in the order of the text. ranking: the indices of the words that are not special,
    strongest first; strongest: the few that count most. chance_written: the target's own probability, empty where
    it has none. peak: the largest |score| of a word, which full colour means; peaks: the same
    of tokens, words and sentences. places: the decimal places of scores. grid: rows and columns of an image's patches,
    row by row as the tokens are, where all that is explained is one image; maps: the patches of each image, alone or
    beside a text. probabilities: of every class, by its label; empty where unknown. attention: heads,
    attentions and measures in a form for pages. heads, attentions: None unless they were asked for. remark: a sentence
    where a special token carries more than any word; empty elsewhere. reading: how the colours and the sum are read.
    unit: what one of `words` is: a word, or a sentence, a source or a group where `groups=` asked for these.
    """

    headline: str
    prediction: str | None
    probability: float | None
    probability_written: str
    label: str | None
    target: Target
    place: str
    method: str
    baseline: str
    model: str
    task: str
    output: float
    output_written: str
    chance_written: str
    facts: tuple[Fact, ...]
    proof: tuple[Fact, ...]
    passes: int
    status: Standing
    notes: tuple[str, ...]
    passages: tuple[Passage, ...]
    tokens: Scored[Piece]
    words: Scored[Item]
    sentences: Scored[Item]
    ranking: tuple[int, ...]
    strongest: tuple[int, ...]
    peak: float
    peaks: Mapping[str, float]
    places: int
    sum: Sum
    layers: tuple[Layer, ...]
    parts: Parts | None
    measures: Mapping[str, Json]
    grid: tuple[int, int] | None
    probabilities: Mapping[str, float]
    attention: tuple[AttentionView, ...]
    heads: Json
    attentions: Json
    meta: Meta
    remark: str = ""
    reading: str = ""
    unit: str = "word"
    maps: tuple[PatchMap, ...] = ()


@dataclass(frozen=True)
class Generation:
    """Which tokens each token of a continuation, or each span of it, comes from: rows (targets) × columns (all tokens).

    method, baseline: those of all rows. explanations: the number of each row's explanation, from 0. rows: the position
    of each row's first token; until: of the first column that had no part in the row. first: the column at which the
    continuation begins. scores: None where the column's token was not yet there when the row's was generated. peak: the
    largest |score|.
    """

    method: str
    baseline: str
    explanations: tuple[int, ...]
    rows: tuple[int, ...]
    until: tuple[int, ...]
    first: int
    scores: tuple[Sequence[float | None], ...]
    peak: float


@dataclass(frozen=True)
class SharedNote:
    """A note, and the numbers (from 1) of the explanations that it is of; none where it is of all."""

    text: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """What a person is shown of one or several explanations.

    common: what is the same for all of them. differing: the names of what is not; each row of `own` has the values of
    one explanation, in that order. same_input: whether all are of one input. notes: each note once. generations: for
    each method and baseline, those of the explanations that are of generated tokens. both: where the explanations are
    of an answer's start and its end, what adds both up. names: of each explanation, its target and what else tells it
    from the others. answer: where the predicted answer of a question stands, (segment, start, end) in characters. hops:
    where the explanations are of the sentences of one answer, several of them, which of them came from which. sources:
    where the texts of the input have names, what each of them gave to each explanation.

    Examples:
        >>> View((), (), (), (), False, (), ()).to_json()[:21]
        '{"schema_version": 1,'
    """

    explanations: tuple[ExplanationView, ...]
    common: tuple[Fact, ...]
    differing: tuple[str, ...]
    own: tuple[tuple[str, ...], ...]
    same_input: bool
    notes: tuple[SharedNote, ...]
    generations: tuple[Generation, ...]
    both: ExplanationView | None = None
    names: tuple[str, ...] = ()
    answer: tuple[int, int, int] | None = None
    hops: Hops | None = None
    sources: Sources | None = None

    def to_dict(self) -> dict[str, Json]:
        """Plain values that JSON holds; a number that is not finite is None."""
        each = {f.name: as_plain(getattr(self, f.name), finite=True) for f in fields(self)}
        return {"schema_version": VIEW_SCHEMA_VERSION, **each}

    def to_json(self, indent: int | None = None) -> str:
        """One JSON document."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent, allow_nan=False)


@dataclass(frozen=True)
class AnswerRow:
    """One line of a table of answers: the number of the input, what was decided, what was explained, and why.

    error: why an input failed; it has nothing else then.
    """

    number: int
    text: str
    prediction: str
    probability: str
    target: str
    words: tuple[Item, ...]
    peak: float
    status: str
    error: str = ""


@dataclass(frozen=True)
class AnswersView:
    """The first answers to a list of inputs as the rows of a table. total: how many there are; rest: how many inputs
    are left out."""

    rows: tuple[AnswerRow, ...]
    total: int
    rest: int
