"""A stream of texts: any number of them, with a bounded number in memory, and the model back between chunks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import pellucid
from families import model, tokenizer
from itself import read, said
from pellucid import Model, errors
from pellucid._explain import CHUNK
from pellucid.types import Progress


@pytest.fixture(scope="module")
def small() -> Model:
    return Model(model("Bert", num_hidden_layers=1), tokenizer())


class Source:
    """Texts, and how many of them were taken."""

    def __init__(self, n: int):
        self.n, self.taken = n, 0

    def __iter__(self) -> Iterator[str]:
        for k in range(self.n):
            self.taken += 1
            yield ("good " if k % 3 else "bad ") * (1 + k % 5)


def test_a_stream_answers_as_a_list_does(small: Model) -> None:
    texts = list(Source(50))
    found = pellucid.explain(small, iter(texts))
    assert not isinstance(found, list) and iter(found) is found
    for text, a, b in zip(texts, found, pellucid.explain(small, texts), strict=True):
        assert a.text == b.text == text
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5 * np.abs(b.scores).max())


def test_a_bounded_number_is_in_memory(small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = 64
    monkeypatch.setattr("pellucid._explain.CHUNK", chunk)
    source, most = Source(10 * chunk), 0
    found = pellucid.explain(small, source, method="random", baseline="pad")
    assert source.taken == 0  # nothing is read before it is asked for
    for done, _ in enumerate(found):
        most = max(most, source.taken - done)
        if done == 5 * chunk:
            break
    assert 32 < most <= chunk < source.taken < 10 * chunk


def test_the_first_answers_come_soon(small: Model) -> None:
    source = Source(CHUNK)
    next(pellucid.explain(small, source, method="random"))
    assert source.taken <= 32


def test_between_two_answers_the_model_is_as_it_was(small: Model) -> None:
    small.model.train()
    try:
        found = pellucid.explain(small, Source(40))
        for _ in range(35):
            next(found)
            assert all(m.training for m in small.model.modules())
        found.close()
        assert all(m.training for m in small.model.modules())
    finally:
        small.model.eval()


@pytest.mark.parametrize(
    ("inputs", "texts"),
    [
        ((t for t in ("a", "b")), ["a", "b"]),
        (io.StringIO("a\nb\n"), ["a\n", "b\n"]),
        ({"a": 0, "b": 0}.keys(), ["a", "b"]),
        (range(0), []),
    ],
)
def test_whatever_yields_texts_is_a_stream(small: Model, inputs: Any, texts: list[str]) -> None:
    found = pellucid.explain(small, inputs, target=0)
    assert not isinstance(found, list)
    for e, text in zip(found, texts, strict=True):
        assert e.text == text and e.output == pytest.approx(
            said(small.model, read(small.tokenizer, text))[0, 0].item(), abs=1e-5
        )


def test_several_methods_and_baselines_of_a_stream(small: Model) -> None:
    how: dict[str, Any] = {"method": ["deeplift", "occlusion"], "baseline": ["mask", "pad"]}
    for text, es in zip(Source(3), pellucid.explain(small, Source(3), **how), strict=True):
        assert [(e.method, e.text) for e in es] == [("deeplift", text), ("occlusion", text)]
        assert all([b["baseline"] for b in e.meta["baselines"]] == ["mask", "pad"] for e in es)
        np.testing.assert_allclose(es.matrix(), pellucid.explain(small, text, **how).matrix(), atol=1e-5)


def test_progress_of_a_stream_knows_no_end(small: Model) -> None:
    told: list[Progress] = []
    assert len(list(pellucid.explain(small, Source(100), progress=told.append))) == 100
    assert [p.done for p in told] == sorted(p.done for p in told) and told[-1].done == 100
    assert told[-1].passes == 200 and {(p.total, p.left) for p in told} == {(None, None)}


def test_a_bad_call_is_told_at_once_and_a_bad_text_when_it_comes(small: Model) -> None:
    with pytest.raises(errors.UnknownMethod):
        pellucid.explain(small, Source(3), method="magic")
    with pytest.raises(errors.InputError, match="any number of"):
        pellucid.explain(small, Source(3), method="occlusion", groups=[[1]])
    found = pellucid.explain(small, iter(["good"] * 40 + [""]))
    told: list[str] = []
    with pytest.raises(errors.InputError, match="Input 40 is empty"):
        for e in found:
            told.append(e.text)
    assert told == ["good"] * 40  # all that come before the bad one


def test_a_single_input_is_no_stream(small: Model) -> None:
    for one in ("good", ("good", "bad"), {"text": "good"}):
        assert isinstance(pellucid.explain(small, one), pellucid.Explanation)
    with pytest.raises(errors.InputError, match="expected a text"):
        pellucid.explain(small, np.zeros(3))


def test_a_row_of_a_table_is_one_input_and_a_map_style_data_set_is_a_stream(small: Model) -> None:
    table = pandas.DataFrame({"sentence": ["good", "bad film"], "label": [1, 0]}, index=["a", "b"])
    e = pellucid.explain(small, table.iloc[1])
    assert (e.text, e.label) == ("bad film", small.labels[0])
    assert [e.text for e in pellucid.explain(small, table["sentence"])] == ["good", "bad film"]

    class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(table)

        def __getitem__(self, i: int) -> dict[str, Any]:
            return dict(table.iloc[i])

    found = pellucid.explain(small, Rows())
    assert not isinstance(found, list) and [e.text for e in found] == ["good", "bad film"]
