"""What a user passes: rows and batches of data sets, loaders, token ids. Each is read as what it says, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from transformers import DataCollatorWithPadding

import pellucid
from families import model, tokenizer
from generative import generator
from heads import headed
from pellucid import Explanation, Model
from pellucid.errors import InputError, TextTooLong
from pellucid.models.text.decoding import spelled_out
from pellucid.models.text.labels import true_label

TEXTS = ["the film was great", "a dull film", "so bad"]
ROWS = [{"text": text, "label": i % 2} for i, text in enumerate(TEXTS)]
NAMES = ["negative", "positive", "negative"]
NLI = {"premise": "a film", "hypothesis": "so bad", "label": 1}
SQUAD = {
    "id": "56",
    "title": "Films",
    "question": "was it good ?",
    "context": "the film was good",
    "answers": {"text": ["good"], "answer_start": [13]},
}


def told(found: Any) -> list[tuple[Any, Any]]:
    return [(e.text, e.label) for e in found]


@pytest.fixture(scope="module")
def bert() -> Model:
    return Model(headed("Bert", "ForSequenceClassification", num_labels=3), tokenizer())


# ---------------------------------------------------------------------------------------------------------- a batch


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_batch_of_texts_is_as_many_texts(bundled: Model, size: int) -> None:
    found = list(pellucid.explain(bundled, DataLoader(TEXTS, batch_size=size)))  # type: ignore[arg-type]
    assert told(found) == [(text, None) for text in TEXTS]
    for e, alone in zip(found, pellucid.explain(bundled, TEXTS), strict=True):
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-5)


@pytest.mark.parametrize(
    "rows",
    [
        lambda: ROWS,
        lambda: iter(ROWS),
        lambda: (ROWS[i : i + 2] for i in (0, 2)),
        lambda: ({k: [r[k] for r in ROWS[i : i + 2]] for k in ROWS[0]} for i in (0, 2)),
        lambda: {"text": TEXTS, "label": torch.tensor([0, 1, 0])},
        lambda: [(r["text"], r["label"]) for r in ROWS],
        lambda: DataLoader(ROWS, batch_size=2),  # type: ignore[arg-type]
        lambda: DataLoader([(r["text"], r["label"]) for r in ROWS], batch_size=2),  # type: ignore[arg-type]
        lambda: DataLoader(ROWS, batch_size=2, collate_fn=list),  # type: ignore[arg-type]
        lambda: DataLoader(ROWS, batch_size=None),  # type: ignore[arg-type]
        lambda: DataLoader(ROWS, batch_size=2, collate_fn=texts_and_labels),  # type: ignore[arg-type]
        lambda: DataLoader(ROWS, batch_size=2, collate_fn=lambda rows: [*texts_and_labels(rows)]),  # type: ignore[arg-type]
        lambda: (TEXTS, [0, 1, 0]),
        lambda: iter([({"text": TEXTS[:2]}, np.array([0, 1])), ({"text": TEXTS[2:]}, [0])]),
    ],
)
def test_however_rows_come_their_labels_are_kept(bundled: Model, rows: Any) -> None:
    assert told(pellucid.explain(bundled, rows())) == list(zip(TEXTS, NAMES, strict=True))


def texts_and_labels(rows: Any) -> Any:
    return [r["text"] for r in rows], torch.tensor([r["label"] for r in rows])


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("kind", ["encoding", "two", "three", "four", "collated"])
def test_ids_and_labels_of_a_loader(bert: Model, size: int, kind: str) -> None:
    """What is explained is the model's own answer to each text without its padding."""
    tok = dict(bert.tokenizer(TEXTS, padding=True, return_tensors="pt"))
    tok["token_type_ids"] = torch.zeros_like(tok["input_ids"])
    labels = torch.tensor([2, 0, 1])
    columns = {"three": ["attention_mask"], "four": ["attention_mask", "token_type_ids"]}.get(kind, [])
    data: Any = TensorDataset(tok["input_ids"], *(tok[c] for c in columns), labels)
    if kind == "encoding":
        whole = lambda rows: (
            bert.tokenizer([t for t, _ in rows], padding=True, return_tensors="pt"),
            [i for _, i in rows],
        )
        loader: Any = DataLoader(list(zip(TEXTS, labels.tolist(), strict=True)), size, collate_fn=whole)  # type: ignore[arg-type]
    elif kind == "collated":
        rows = [({k: v[i] for k, v in tok.items()}, labels[i]) for i in range(3)]
        loader = DataLoader(rows, size)  # type: ignore[arg-type]
    else:
        loader = DataLoader(data, size)
    found = list(pellucid.explain(bert, loader, target=1))
    assert told(found) == list(zip(TEXTS, ["LABEL_2", "LABEL_0", "LABEL_1"], strict=True))
    for text, e in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            own = bert.model(**bert.tokenizer(text, return_tensors="pt")).logits[0, 1].item()
        assert e.output == pytest.approx(own, abs=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_ids_without_a_mask_are_no_part_of_the_text(bert: Model, side: str) -> None:
    ids = bert.tokenizer(TEXTS[0])["input_ids"]
    padded = [0] * 3 + ids if side == "left" else [*ids, 0, 0, 0]
    alone = pellucid.explain(bert, TEXTS[0], target=1)
    for given in (padded, torch.tensor([padded]), {"input_ids": padded, "token_type_ids": [0] * len(padded)}):
        e = pellucid.explain(bert, given, target=1)
        assert (e.text, e.output) == (TEXTS[0], pytest.approx(alone.output, abs=1e-6))
        assert "without an attention mask; 3 padding ids at their ends were left out." in e.notes[0]
    assert pellucid.explain(bert, ids, target=1).notes == alone.notes
    masked = pellucid.explain(bert, {"input_ids": padded, "attention_mask": [1] * len(padded)}, target=1)
    assert len(masked.tokens) == len(padded)  # the mask says that they are read


def test_the_end_of_text_of_a_gpt_that_pads_with_it() -> None:
    """One may be the end of the text; more are padding."""
    m = generator("GPT2")
    m.tokenizer.pad_token = m.tokenizer.eos_token = "[SEP]"
    end, ids = m.tokenizer.eos_token_id, m.tokenizer("the film was", add_special_tokens=False)["input_ids"]
    count = lambda ids: len([t for t in pellucid.explain(m, ids, max_new_tokens=1).tokens]) - 1
    assert (count(ids), count([*ids, end]), count([*ids, end, end])) == (len(ids), len(ids) + 1, len(ids))


def test_pairs_with_labels_stay_pairs(bert: Model) -> None:
    pairs, names = [("a film", "so bad"), ("the plot", "it was")], ["LABEL_1", "LABEL_0"]
    rows = list(zip(pairs, [1, 0], strict=True))
    for given in (DataLoader(rows, 2), iter([(pairs, [1, 0])]), (pairs, [1, 0])):  # type: ignore[arg-type]
        assert told(pellucid.explain(bert, given)) == list(zip(pairs, names, strict=True))


def test_pairs_from_a_loader_stay_pairs(bert: Model) -> None:
    pairs = [("a film", "so bad"), ("the plot", "it was"), ("dull", "great")]
    for loader in (DataLoader(pairs, batch_size=2), DataLoader(pairs, batch_size=2, collate_fn=list)):  # type: ignore[arg-type]
        assert [e.text for e in pellucid.explain(bert, loader)] == pairs
    assert [e.text for e in pellucid.explain(bert, iter([pairs[:2], pairs[2:]]))] == pairs


def test_a_list_is_no_pair(bert: Model) -> None:
    for inputs in ([["a film", "so bad"]], [[["a film"]]], [["a"], ["b"]]):
        with pytest.raises(InputError, match="A pair is a tuple"):
            pellucid.explain(bert, inputs)
    assert pellucid.explain(bert, ("a film", "so bad")).text == ("a film", "so bad")
    assert [e.text for e in pellucid.explain(bert, ["a film", "so bad"])] == ["a film", "so bad"]


# ------------------------------------------------------------------------------------------------------------ a row


@pytest.mark.parametrize(
    ("row", "text", "label"),
    [
        ({"sentence": "a film", "label": 2, "idx": 7}, "a film", "LABEL_2"),
        ({"title": "x", "content": "a film", "label": 0}, "a film", "LABEL_0"),
        ({"text": "a film", "label": 0, "label_text": "bad"}, "a film", "LABEL_0"),
        ({"text": "a film", "coarse_label": 0, "fine_label": 2}, "a film", None),
        ({"review": "a film", "review_id": "u1", "stars": 9}, "a film", "9"),
        ({"text": "a film", "label": -1}, "a film", None),
        ({"text": "a film", "label": None, "text_pair": None}, "a film", None),
        ({"text": "a film", "label": "label_1"}, "a film", "LABEL_1"),
        (NLI, ("a film", "so bad"), "LABEL_1"),
        ({"sentence1": "a film", "sentence2": "so bad", "idx": 0, "label": 0}, ("a film", "so bad"), "LABEL_0"),
        ({"question": "was it ?", "sentence": "a film", "label": 1}, ("was it ?", "a film"), "LABEL_1"),
        ({"question": "was it ?", "passage": "a film", "answer": True}, ("was it ?", "a film"), "LABEL_1"),
        ({"question1": "was it ?", "question2": "a film", "is_duplicate": 0}, ("was it ?", "a film"), "LABEL_0"),
    ],
)
def test_the_columns_of_data_sets(bert: Model, row: dict[str, Any], text: Any, label: str | None) -> None:
    e = pellucid.explain(bert, row)
    assert (e.text, e.label) == (text, label)
    np.testing.assert_array_equal(e.scores, pellucid.explain(bert, text).scores)
    assert Explanation.from_json(e.to_json()).label == label


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "a film", "foo": 3}, "the key 'foo'.*Known keys: text, sentence"),
        ({"text": "a film", "review": "dull"}, "the key 'review'"),
        ({"foo": "a film"}, "Known keys: text"),
        ({"text": 5, "label": 1}, "Found 5 as 'text' of input 0; expected a text"),
        ({"premise": "a film", "hypothesis": "so", "foo": 1, "bar": 2}, "the key 'foo', 'bar'"),
        ({"premise": "a film", "hypothesis": None}, "Found None as 'hypothesis' of input 0"),
        ({"sentence1": None, "sentence2": "a film"}, "Found None as 'sentence1' of input 0"),
        (("a", "b", "c"), "expected a text"),
        ((["a film", "so bad"], ["dull", "good"]), "inputs, labels. with one number for each"),
        ((["a film", "so bad"], [0]), "inputs, labels. with one number for each"),
        ((torch.ones(2, 3, dtype=torch.long), torch.full((2, 3), 7), torch.tensor([0, 1])), "with one number for each"),
        (torch.zeros(3), "expected a text"),
        (torch.zeros(2, 3, 4, dtype=torch.long), "expected a text"),
    ],
)
def test_what_is_not_known_is_named(bert: Model, row: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        pellucid.explain(bert, row)


def test_a_question_with_its_answer() -> None:
    m = Model(headed("Bert", "ForQuestionAnswering"), tokenizer())
    plain = pellucid.explain(m, (SQUAD["question"], SQUAD["context"]))
    for found in (pellucid.explain(m, SQUAD), *pellucid.explain(m, DataLoader([SQUAD, SQUAD], batch_size=2))):  # type: ignore[arg-type]
        assert [e.label for e in found] == ["good", "good"]
        np.testing.assert_allclose(found.matrix(), plain.matrix(), atol=1e-5)
    unanswered = pellucid.explain(m, {**SQUAD, "answers": {"text": [], "answer_start": []}})
    assert unanswered[0].label is None
    ids = m.tokenizer(SQUAD["question"], SQUAD["context"])
    assert pellucid.explain(m, ids)[0].tokens[-2].segment == 1
    with pytest.raises(InputError, match="those of one text"):
        pellucid.explain(m, m.tokenizer("a film"))


def test_words_with_their_tags() -> None:
    m = Model(headed("Bert", "ForTokenClassification", num_labels=3), tokenizer())
    row = {"id": "0", "tokens": ["the", "movies", "was", "good"], "ner_tags": [0, 1, 0, 2]}
    for word, tag in zip(row["tokens"], row["ner_tags"], strict=True):
        e = pellucid.explain(m, row, target=word)
        assert (e.text, e.label) == ("the movies was good", f"LABEL_{tag}")
        np.testing.assert_array_equal(e.scores, pellucid.explain(m, e.text, target=word).scores)
    assert pellucid.explain(m, {**row, "pos_tags": [1, 1, 1, 1]}, target="good").label is None  # which of the two?


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"prompt": "it was", "choices": ["so", "bad"], "label": 1}, "bad"),
        ({"question": "it was", "choices": {"text": ["so", "bad"], "label": ["A", "B"]}, "answerKey": "A"}, "so"),
        ({"goal": "it was", "sol1": "so", "sol2": "bad", "label": 0, "id": 3}, "so"),
        ({"sent1": "it was", "ending0": "so", "ending1": "bad", "label": 1}, "bad"),
        ({"ctx": "it was", "endings": ["so", "bad"], "label": "1", "ind": 24}, "bad"),
    ],
)
def test_the_columns_of_choices(row: dict[str, Any], label: str) -> None:
    m = Model(headed("Bert", "ForMultipleChoice"), tokenizer())
    e = pellucid.explain(m, row)
    assert (e.text, e.label) == (("it was", "so", "bad"), label)


def test_the_columns_of_generation() -> None:
    m = generator("GPT2")
    plain = pellucid.explain(m, ("the film was", " good"))
    for row in ({"prompt": "the film was", "completion": " good"}, {"text": "the film was", "response": " good"}):
        np.testing.assert_array_equal(pellucid.explain(m, row).scores, plain.scores)
    own = pellucid.explain(m, "the film was", max_new_tokens=2)
    for given in (m.tokenizer("the film was"), torch.tensor(m.tokenizer("the film was")["input_ids"])):
        np.testing.assert_array_equal(pellucid.explain(m, given, max_new_tokens=2).matrix(), own.matrix())


def test_a_label_by_its_name() -> None:
    assert true_label(np.int64(1), ("no", "yes")) == true_label(torch.tensor(1.0), ("no", "yes")) == "yes"
    assert true_label(3, ()) == "LABEL_3" and true_label(3, ("no", "yes")) == "3"
    assert true_label(2.5, ("stars",)) == "2.5" and true_label(4, ("stars",)) == "4"
    assert true_label([0, 2], ("a", "b", "c")) == true_label([1, 0, 1], ("a", "b", "c")) == "a, c"
    assert true_label(float("nan"), ("a", "b")) is None and true_label("1", ("no", "yes")) == "yes"


# --------------------------------------------------------------------------------------------------------- token ids


@pytest.mark.parametrize("text", ["the film was great", ("a film", "so bad"), "the [MASK] zzz 영화"])
@pytest.mark.parametrize(
    "given",
    [
        lambda t, text: t(*text) if isinstance(text, tuple) else t(text),
        lambda t, text: t(*text, return_tensors="pt") if isinstance(text, tuple) else t(text, return_tensors="pt"),
        lambda t, text: (t(*text) if isinstance(text, tuple) else t(text))["input_ids"],
        lambda t, text: torch.tensor((t(*text) if isinstance(text, tuple) else t(text))["input_ids"]),
        lambda t, text: np.array((t(*text) if isinstance(text, tuple) else t(text))["input_ids"]),
    ],
)
def test_ids_are_their_text(bert: Model, text: Any, given: Any) -> None:
    ids = given(bert.tokenizer, text)
    e, plain = pellucid.explain(bert, ids, target=1), pellucid.explain(bert, text, target=1)
    assert [t.id for t in e.tokens] == [t.id for t in plain.tokens]
    assert [t.special for t in e.tokens] == [t.special for t in plain.tokens]
    np.testing.assert_allclose(e.scores, plain.scores, atol=1e-6)


def test_ids_that_no_text_makes(bert: Model) -> None:
    """As the model reads them, whatever the tokenizer would make of their text."""
    ids: Any = [2, 30, 31, 7, 60, 3]  # letters that are one word each, and a piece of a word
    e = pellucid.explain(bert, ids, target=1)
    with torch.no_grad():
        logits = bert.model(torch.tensor([ids])).logits[0]
    assert e.output == pytest.approx(logits[1].item(), abs=1e-5) and [t.id for t in e.tokens] == ids
    text, tokens = spelled_out(bert.tokenizer, ids)
    assert e.text == text and [t.special for t in tokens] == [True, False, False, False, False, True]
    spans = [t.span for t in e.tokens if t.span]
    assert spans == sorted(spans) and spans[-1][1] == len(text) and bert.tokenizer.decode(ids[1:-1]) == text


def test_padding_is_no_part_of_the_ids(bert: Model) -> None:
    batch = bert.tokenizer(TEXTS, padding=True, return_tensors="pt")
    loader = DataLoader(
        [{**bert.tokenizer(t), "label": i % 2} for i, t in enumerate(TEXTS)],  # type: ignore[arg-type]
        batch_size=2,
        collate_fn=DataCollatorWithPadding(bert.tokenizer),
    )
    plain = pellucid.explain(bert, TEXTS)
    for found in (pellucid.explain(bert, batch), pellucid.explain(bert, loader)):
        for e, alone in zip(found, plain, strict=True):
            assert e.text == alone.text
            np.testing.assert_allclose(e.scores, alone.scores, atol=1e-5)
    labels = torch.tensor([0, 1, 2])
    rows = pellucid.explain(bert, DataLoader(TensorDataset(batch["input_ids"], labels), batch_size=2))
    for e, ids, label in zip(rows, batch["input_ids"], labels, strict=True):  # the mask is what the tokenizer says
        with torch.no_grad():
            assert e.output == pytest.approx(bert.model(ids[None][ids[None] != 0][None]).logits.max().item(), abs=1e-5)
        assert e.label == f"LABEL_{label}"


def test_ids_out_of_the_vocabulary_and_too_many(bert: Model) -> None:
    with pytest.raises(InputError, match="as this tokenizer numbers"):
        pellucid.explain(bert, [2, 10_000, 3])
    with pytest.raises(TextTooLong):
        pellucid.explain(bert, [2, *[7] * 100, 3])
    long: Any = [2, *[7] * 100, 3]
    e = pellucid.explain(bert, long, truncate=True)
    assert len(e.tokens) == 64 and e.tokens[-1].id == 3 and "38 tokens were not read." in e.notes


# ------------------------------------------------------------------------------------------------- no value at all


@pytest.mark.parametrize("nothing", [None, float("nan"), np.float64("nan")])
@pytest.mark.parametrize(
    ("item", "place"),
    [
        (lambda v: v, "input 1,"),
        (lambda v: ("a film", v), "part 2 of input 1,"),
        (lambda v: (v, "a film"), "part 1 of input 1,"),
        (lambda v: {"sentence": v, "label": 1}, "'sentence' of input 1,"),
    ],
)
def test_what_has_no_value_is_named_with_its_number(bert: Model, nothing: Any, item: Any, place: str) -> None:
    with pytest.raises(InputError) as caught:
        pellucid.explain(bert, ["a film", item(nothing)])
    assert f"Found {nothing!r} as {place}" in str(caught.value).replace(" which", "")
    good, failure = pellucid.explain(bert, iter(["a film", item(nothing)]), errors="return")
    assert good.text == "a film" and "input 1" in failure.message


def test_a_true_label_without_a_value_is_none(bert: Model) -> None:
    assert pellucid.explain(bert, {"sentence": "a film", "label": float("nan")}).label is None


def test_an_input_of_another_kind_is_named_with_its_number(bert: Model) -> None:
    with pytest.raises(InputError, match="Found 5 as input 1;"):
        pellucid.explain(bert, ["a film", 5])


def test_a_list_of_inputs_that_say_different_things_is_what_each_says_alone() -> None:
    """One row with token types and positions, one without: neither loses what it says, nor gets what it did not."""
    reader = tokenizer()
    m = Model(model("Bert"), reader)
    ids = reader("the film was good")["input_ids"]
    told = {"input_ids": ids, "token_type_ids": [1] * len(ids), "position_ids": [*range(3, 3 + len(ids))]}
    bare = {"input_ids": ids, "attention_mask": [1] * len(ids)}
    for given in ([told, "bad"], ["bad", told], ["the film was good", bare], [bare, told, "bad"]):
        together = pellucid.explain(m, given)
        for one, item in zip(together, given, strict=True):
            alone = pellucid.explain(m, item)
            assert one.output == pytest.approx(alone.output, abs=1e-5)
    with torch.no_grad():
        own = m.model(**{name: torch.tensor([value]) for name, value in told.items()}).logits[0]
    e = pellucid.explain(m, [told, "bad"], target=1)[0]
    assert e.output == pytest.approx(own[1].item(), abs=1e-5)
