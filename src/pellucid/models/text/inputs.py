"""One input from what a user passes: a text, a pair, token ids, or a row of a data set, whose true label is kept.

A row is a mapping of columns. A task names the parts that its inputs have, and the columns that hold each in the data
sets of the world (`Form.layouts`); a column that is neither one of these, nor a label, nor known to be beside the point
is an error. What holds several inputs is taken apart in `batch_inputs`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Number
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from ...errors import InputError, quoted
from .encoding import Encoding, Values
from .labels import true_label

Names = tuple[str, ...]
Value: TypeAlias = Any
"""What a user wrote in one place of an input: a text, a number, a list, a tensor, an array, an image."""
Record = Mapping[str, Value]
"""A record of a data set: by the name of a column, its value. Of an input that was read: by the name of a part."""

TEXT: Names = (
    *("text", "sentence", "content", "review", "review_body", "comment", "comment_text", "tweet", "utterance", "post"),
    *("verse_text", "headline", "document", "article", "body", "passage", "description", "message", "statement"),
    *("query", "question", "claim", "premise", "sentence1", "context", "title"),
)
"""Columns that hold a text, the likeliest first: where a row has two of them that are no pair, nothing is guessed."""
PAIRS = (
    *(("question", "context"), ("premise", "hypothesis"), ("sentence1", "sentence2"), ("text", "text_pair")),
    *(("question1", "question2"), ("question", "sentence"), ("question", "passage"), ("question", "answer")),
    *(("question", "text"), ("query", "passage"), ("query", "document"), ("query", "text"), ("query", "answer")),
    *(("text1", "text2"), ("text_a", "text_b"), ("sentence_A", "sentence_B"), ("sentence_a", "sentence_b")),
    *(("sentence", "sentence_pair"), ("anchor", "positive"), ("claim", "evidence"), ("passage", "question")),
)
LABELS: Names = (
    *(
        "label",
        "labels",
        "gold_label",
        "label_text",
        "label_name",
        "target",
        "class",
        "category",
        "sentiment",
        "emotion",
    ),
    *("intent", "score", "similarity_score", "relatedness_score", "stars", "rating", "polarity", "is_duplicate"),
    *("coarse_label", "fine_label", "entailment_judgment", "answer"),
)
_PLAIN = frozenset({"label", "labels", "gold_label", "tags", "answers", "answer", "answerKey", "target"})
"""Columns that hold the label where a row has others too; of two others, a coarse and a fine one, none is taken."""
ASIDE = frozenset(
    "title genre source url split_type activity_label ctx_a ctx_b "
    "lang language date time timestamp created_at user username author domain split phrase_id "
    "attention_mask token_type_ids position_ids special_tokens_mask offset_mapping length word_ids "
    "overflow_to_sample_mapping num_truncated_tokens".split()
)
_PROMPTS = frozenset({"messages", "documents", "parts", "prompt", "continuation"})
"""What an input for a language model has."""
_BY_TOKEN = ("attention_mask", "token_type_ids", "position_ids", "bbox")
_NUMBERING = re.compile(r"(?:^|_)(?:id|idx|ind|index|uid|guid)$|ID$|^__|_parse$", re.IGNORECASE)


TrueLabel = str | tuple[str | None, ...] | None
"""A true label by name; a tuple where every token has one; None for none."""


@dataclass(frozen=True)
class Ids:
    """Token ids that go into the model as they are. inputs: by name a list with a number for each token. texts: texts,
    or pairs of texts, of which the ids may be."""

    inputs: Mapping[str, Values]
    texts: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Given:
    """One input, read. item: as a task's `encode` takes it. label: the true label, as the row has it. parts: what the
    row says, by the name of a part."""

    item: Value
    label: Value = None
    parts: Record = field(default_factory=dict)


def _one_or_two(parts: Record) -> Value:
    """The text of an input, or the pair of texts."""
    return (parts["text"], parts["text_pair"]) if "text_pair" in parts else parts["text"]


def _by_index(label: Value, given: Given, encoding: Encoding, labels: Names) -> TrueLabel:
    """The true label by the model's name for its index."""
    return true_label(label, labels)


@dataclass(frozen=True)
class Form:
    """What the inputs of a task may be.

    layouts: each a way to say an input: for each part the columns that may hold it, the likeliest first.
    says: what is expected, for an error. optional: parts that may be left out. listed: parts that are a list in one
    input; all others are a text. labels: columns of the true label. made: parts → the item that the task reads.
    named: `(label, given, encoding, the model's labels) -> name`, a tuple of names where every token has one.
    ids: whether token ids may be given instead.
    """

    layouts: tuple[Mapping[str, Names], ...]
    says: str
    optional: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    labels: Names = LABELS
    made: Callable[[Record], object] = dict
    named: Callable[[Value, Given, Encoding, Names], TrueLabel] = _by_index
    ids: bool = True

    def layout(self, row: Record) -> tuple[dict[str, str], list[str]]:
        """For each part the column that holds it, by the layout that leaves the fewest columns over; and those.
        Nothing, and all of them, where no layout fits."""
        told = [name for name, value in row.items() if value is not None]
        found: list[tuple[dict[str, str], list[str]]] = [({}, told)]
        for layout in (*self.layouts, *([{"input_ids": ("input_ids",)}] if self.ids else [])):
            columns = {p: next((n for n in names if n in told), None) for p, names in layout.items()}
            if all(c is not None or p in self.optional for p, c in columns.items()) and any(columns.values()):
                used = {p: c for p, c in columns.items() if c is not None}
                found.append((used, [n for n in told if n not in used.values() and not self._aside(n, used)]))
        fitting = found[1:] or found
        return min(fitting, key=lambda f: (len(f[1]), -len(f[0])))

    def _aside(self, name: str, used: Mapping[str, str]) -> bool:
        """Whether a column is known to be no part of the input: a label, a number of the row, a description."""
        known = name in self.labels or name in ASIDE or bool(_NUMBERING.search(name))
        text = name in TEXT or name == "bbox" or any(name in pair for pair in PAIRS)
        return known or name == "input_ids" or ("input_ids" in used and text)


TEXT_OR_PAIR = Form(
    ({"text": TEXT}, *({"text": (a,), "text_pair": (b,)} for a, b in PAIRS)),
    "a text, a pair ('a', 'b'), or a mapping such as {'text': …, 'text_pair': …} or {'question': …, 'context': …}",
    made=_one_or_two,
)


# ------------------------------------------------------------------------------------------------------- one input


def read(item: Value, form: Form, number: int) -> Given:
    """One input, as its task reads it. Raises InputError."""
    named = getattr(item, "_asdict", None)  # a named tuple is a mapping
    item = item if named is None else named()
    _check_told(item, form, number)
    if isinstance(item, tuple) and len(item) == 2 and is_number(item[1]):
        return Given(read(item[0], form, number).item, item[1])
    if form.ids and are_ids(item):
        return Given(Ids({"input_ids": ints(item)}))
    if isinstance(item, list):
        raise InputError(
            f"Found the list {quoted(item, 80)} as input {number}; expected {form.says}. A pair is a tuple, ('a', "
            "'b'), and several texts are one list, without lists in it."
        )
    nested = isinstance(item, tuple) and isinstance(item[0], (list, Mapping, Tensor, np.ndarray))
    if nested and form.made is not dict and not are_ids(item[0]):
        raise InputError(
            f"Found {quoted(item, 80)} as input {number}; expected {form.says}. A batch of a loader is a list of "
            "inputs, or (inputs, labels) with one number for each input as its label."
        )
    if not isinstance(item, Mapping):
        return Given(item)
    columns, left = form.layout(item)
    if left or not columns:
        found = f"the key {', '.join(map(repr, left))} in " if columns else ""
        model = " A prompt needs a model that generates text: --model, or pellucid.load('name')."
        raise InputError(
            f"Found {found}{quoted(dict(item), 120)} as input {number}; expected {form.says}. Known keys: "
            f"{_known(form)}; and for the true label {', '.join(form.labels[:4])}, …"
            f"{model if _PROMPTS & item.keys() else ''}"
        )
    parts = {part: item[name] for part, name in columns.items()}
    names = [n for n in form.labels if _is_told(item.get(n)) and n not in columns.values()]
    label = item[names[0]] if names and (len(names) == 1 or names[0] in _PLAIN) else None
    if "input_ids" in item and form.ids:
        return Given(_ids(item, parts), label)
    for part, value in parts.items():
        if part not in form.listed and not isinstance(value, str) and form.made is not dict:
            raise InputError(f"Found {quoted(value)} as {columns[part]!r} of input {number}; expected a text.")
    return Given(form.made(parts), label, parts)


def _check_told(item: Value, form: Form, number: int) -> None:
    """Raises InputError where an input, a part of a tuple, or the column of a row that would be read, has no value."""
    places: dict[str, Value] = {}
    if isinstance(item, tuple):
        places = {f"part {k + 1} of input {number}, a tuple of {len(item)}": part for k, part in enumerate(item)}
    elif not isinstance(item, Mapping):
        places = {f"input {number}": item}
    else:
        used = set(form.layout(item)[0].values())
        every = {name for layout in form.layouts for names in layout.values() for name in names}
        used = used | _partners(item, form, used) if used else every
        places = {f"{name!r} of input {number}": value for name, value in item.items() if name in used}
    for place, value in places.items():
        if not _is_told(value):
            raise InputError(
                f"Found {value!r} as {place}, which stands for no value; expected {form.says}. Leave such inputs out, "
                "or fill them with a text."
            )


def _partners(row: Record, form: Form, used: set[str]) -> set[str]:
    """The other column of a pair of which only one has a value. `text_pair` is no such column: tokenizers say None
    there for no second text."""
    if len(used) != 1:
        return set()
    pairs = [[*layout.values()] for layout in form.layouts if len(layout) == 2]
    names = [{n for each in pair for n in each} for pair in pairs if all(len(each) == 1 for each in pair)]
    found = set().union(*(pair for pair in names if used & pair and pair <= row.keys()))
    return found - {"text_pair", *form.labels}


def _is_told(value: Value) -> bool:
    """Whether a cell of a table has a value: None has none, and neither has NaN."""
    return value is not None and not (isinstance(value, (float, np.floating)) and value != value)


def _known(form: Form) -> str:
    """The columns of a form's layouts, for a message."""
    names = [n for layout in form.layouts for p in layout for n in layout[p][:8]]
    return ", ".join(dict.fromkeys([*names, *(["input_ids"] if form.ids else [])]))


def is_number(value: Value) -> bool:
    """Whether this is one number, of Python, NumPy or PyTorch."""
    return isinstance(value, (Number, np.generic)) or (isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0)


def are_ids(item: Value) -> bool:
    """Whether this is the token ids of one input: integers one after the other, or as the only row of a tensor."""
    if isinstance(item, (Tensor, np.ndarray)):
        whole = item.dtype.kind in "iu" if isinstance(item, np.ndarray) else not fractional(item)
        return whole and (item.ndim == 1 or (item.ndim == 2 and len(item) == 1)) and len(item) > 0
    whole = lambda i: isinstance(i, (int, np.integer)) and not isinstance(i, bool)
    return isinstance(item, list) and bool(item) and all(map(whole, item))


def fractional(t: Tensor) -> bool:
    """Whether a tensor holds other numbers than the integers that ids are: fractions, or single bytes."""
    return t.is_floating_point() or t.is_complex() or t.dtype.itemsize == 1


def ints(values: Value) -> list[Value]:
    """The numbers of one input as a list of Python's."""
    plain = values.tolist() if isinstance(values, (Tensor, np.ndarray)) else list(values)
    one = plain[0] if len(plain) == 1 and isinstance(plain[0], list) else plain
    return [v.item() if isinstance(v, (Tensor, np.generic)) else v for v in one]


def _ids(item: Record, parts: Record) -> Ids:
    """The ids of a row, and what else it says of each of them; without padding, as the attention mask tells it."""
    inputs = {"input_ids": ints(item["input_ids"])}
    n = len(inputs["input_ids"])
    if not all(isinstance(i, int) for i in inputs["input_ids"]):
        raise InputError(
            f"Found input_ids {quoted(inputs['input_ids'], 80)}; expected the ids of one input, one whole number for "
            "each token. Of a document of sentences × tokens explain one sentence, or a network of your own that takes "
            "its tokens one after the other; or explain the ids: pellucid.attribute(lambda ids: model(ids), ids, "
            "other_ids, target=0)."
        )
    for name, values in item.items():
        if name in ASIDE - {"offset_mapping", "word_ids", "special_tokens_mask"} or name == "bbox":
            each = ints(values) if isinstance(values, (list, tuple, Tensor, np.ndarray)) else []
            if name in _BY_TOKEN and len(each) != n:
                raise InputError(f"Found {len(each)} of {name!r} for {n} token ids; expected one for each.")
            if len(each) == n:
                inputs[name] = each
    own = [bool(i) for i in inputs.get("attention_mask", [1] * n)]
    if not any(own) or not all(own[own.index(True) : n - own[::-1].index(True)]):
        raise InputError(
            f"Found the attention mask {quoted([int(i) for i in own], 80)}, which hides token ids that are no padding; "
            "expected 0 before the first token or after the last one only. Leave the others out."
        )
    inputs = {name: [v for v, mine in zip(values, own, strict=True) if mine] for name, values in inputs.items()}
    texts = tuple(parts[p] for p in ("text", "text_pair") if isinstance(parts.get(p), str))
    said = [v for name, v in item.items() if name in TEXT and isinstance(v, str)]
    return Ids(inputs, ((texts,) if texts else ()) + tuple((text,) for text in said))
