"""Many inputs: one that cannot be explained fails alone, with its number among all, and the others are answered."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import Explanation, Failure, Model, Request, errors

TEXTS = [f"a good film {i}" for i in range(70)]


def with_bad(*places: int) -> list[Any]:
    return [("" if i % 2 else 3.5) if i in places else text for i, text in enumerate(TEXTS)]


def test_one_bad_text_among_many_is_a_failure_and_the_others_are_answered(bundled: Model) -> None:
    bad = [0, 33, 41, 69]
    found = pellucid.explain(bundled, with_bad(*bad), errors="return")
    assert [i for i, o in enumerate(found) if isinstance(o, Failure)] == bad
    assert [(o.index, o.type) for o in found if isinstance(o, Failure)] == [(i, "InputError") for i in bad]
    assert "Input 33 is empty" in found[33].message and "3.5 as input 0" in found[0].message
    whole = pellucid.explain(bundled, TEXTS)
    for i in set(range(70)) - set(bad):
        assert found[i].text == TEXTS[i]
        np.testing.assert_allclose(found[i].scores, whole[i].scores, atol=2e-5)


def test_an_input_that_fails_in_the_model_fails_alone(bundled: Model) -> None:
    """A user's function of the tokens that raises for one text, whatever it raises."""

    def groups(tokens: Any) -> list[list[int]]:
        own = [i for i, t in enumerate(tokens) if not t.special]
        if any(t.text == "terrible" for t in tokens):
            raise ZeroDivisionError("no groups for this one")
        return [own]

    texts = [*TEXTS[:20], "a terrible film", *TEXTS[20:40]]
    found = pellucid.explain(bundled, texts, method="occlusion", groups=groups, errors="return")
    assert [type(o) for o in found] == [Explanation] * 20 + [Failure] + [Explanation] * 20
    assert found[20] == Failure(20, "ZeroDivisionError", "no groups for this one")
    with pytest.raises(ZeroDivisionError):
        pellucid.explain(bundled, texts, method="occlusion", groups=groups)


def test_a_table_has_room_for_the_reason_of_a_failure(bundled: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    answers = pellucid.explain(bundled, ["a good film", "word " * 600], errors="return")
    failed = answers[1]
    assert isinstance(failed, Failure)
    lines = str(answers).splitlines()
    (begins,) = (i for i, line in enumerate(lines) if line.startswith("input 1  "))
    told = " ".join(line.strip() for line in lines[begins:])
    assert told == f"input 1  {failed.type}: {failed.message}" and len(lines[begins]) > 80
    assert [line.split() for line in lines if line.startswith("1")] == [["1", "failed"]]


def test_the_first_error_is_raised_when_all_others_were_tried(bundled: Model) -> None:
    done: list[int] = []
    with pytest.raises(errors.InputError, match="Input 41 is empty") as caught:
        pellucid.explain(bundled, with_bad(41, 69), progress=lambda p: done.append(p.done))
    assert "input 41, and 1 more failed" in caught.value.__notes__[0] and done[-1] == 70


def test_a_request_that_no_input_can_answer_is_raised_at_once(bundled: Model) -> None:
    done: list[int] = []
    with pytest.raises(errors.UnknownTarget):
        pellucid.explain(bundled, TEXTS, target="magnificent", progress=lambda p: done.append(p.done))
    assert max(done) == 0
    found = pellucid.explain(bundled, TEXTS, target="magnificent", errors="return")
    assert [(o.index, o.type) for o in found] == [(i, "UnknownTarget") for i in range(70)]


def test_one_input_and_a_stream_return_failures_too(bundled: Model) -> None:
    assert pellucid.explain(bundled, "", errors="return").type == "InputError"
    found = list(pellucid.explain(bundled, iter(with_bad(35, 68)), errors="return"))
    assert [o.index for o in found if isinstance(o, Failure)] == [35, 68] and len(found) == 70
    with pytest.raises(errors.InputError, match="errors='ignore'"):
        pellucid.explain(bundled, "good", errors="ignore")


def test_a_stream_tells_all_that_come_before_the_error(bundled: Model) -> None:
    told: list[str] = []
    with pytest.raises(errors.InputError, match="Input 35 is empty"):
        for e in pellucid.explain(bundled, iter(with_bad(35))):
            told.append(e.text)
    assert told == TEXTS[:35]


REQUEST = Request(
    methods=("integrated_gradients", "occlusion"),
    options={"tol": 0.001, "width": 2},
    targets=("positive", {"span": (0, 4)}, None),
    baselines=("mask", torch.arange(6.0).view(2, 3), np.arange(3)),
    detail=frozenset({"layers", "heads"}),
    window=128,
)


def test_a_request_survives_json_and_pickle() -> None:
    assert Request.from_dict(REQUEST.to_dict()) == REQUEST == pickle.loads(pickle.dumps(REQUEST))
    assert hash(Request.from_dict(REQUEST.to_dict())) == hash(REQUEST)


def test_the_digest_is_of_what_is_asked() -> None:
    """The same in another process, with other hash seeds; another one for anything else that is asked."""
    told = Request(detail=frozenset({"layers", "heads", "parts"}), groups="word").digest
    assert told == "bafb3170e2edc33963eabe392a11fba7ab0147373cfd8da8fe4214cca3adf8d1"
    others = [
        Request(),
        Request(methods=("occlusion",)),
        Request(options={"segments": 2}),
        Request(baselines=("pad",)),
        Request(baselines=(torch.zeros(2),)),
        Request(baselines=(torch.ones(2),)),
        Request(groups=lambda tokens: [[0]]),
        Request(groups=lambda tokens: [[1]]),
        Request(truncate=True),
        Request(several=True),
    ]
    assert len({r.digest for r in others}) == len(others)


def test_a_request_with_a_function_is_written_and_not_read_back() -> None:
    with pytest.raises(errors.InputError, match="cannot be read back"):
        Request.from_dict(Request(targets=(len,)).to_dict())
    with pytest.raises(errors.InputError, match="schema_version=2"):
        Request.from_dict({**Request().to_dict(), "schema_version": 2})
    with pytest.raises(errors.InputError, match="colour"):
        Request.from_dict({**Request().to_dict(), "colour": 1})


def test_the_number_is_among_all_inputs_wherever_a_chunk_ends(bundled: Model) -> None:
    for n in (32, 33, 40):  # a stream's first chunk has 32
        with pytest.raises(errors.InputError, match=f"Input {n} is empty"):
            list(pellucid.explain(bundled, iter(["good"] * n + [""])))
    found = pellucid.explain(bundled, ["good", {"Input 0": "x"}], errors="return")
    assert "{'Input 0': 'x'} as input 1;" in found[1].message


def test_functions_are_equal_that_do_the_same() -> None:
    """Closures over other values, other defaults, other constants inside, other arguments of a partial: other requests.
    The digest is the same in another process, whatever its hash seed."""

    def closed(k: int) -> Any:
        return lambda tokens: [[k]]

    digest = lambda f: Request(groups=f).digest
    assert digest(closed(1)) == digest(closed(1)) != digest(closed(2))
    assert digest(lambda t, k=1: [[k]]) != digest(lambda t, k=2: [[k]])
    assert digest(lambda t: lambda: 1) != digest(lambda t: lambda: 2)
    assert digest(partial(closed, 1)) == digest(partial(closed, 1)) != digest(partial(closed, 2))
    code = "from pellucid import Request; print(Request(groups=lambda t: t in {'a', 'b', 'c', 'd'}).digest)"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("5", "6")
    }
    assert len(told) == 1 and len(told.pop()) == 65
