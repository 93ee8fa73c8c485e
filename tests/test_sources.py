"""Prompts made of several texts: each token is in one source, sources add up, and a drop is what the model says."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pellucid
from generative import generator
from pellucid import Explanations, Model, errors
from pellucid.cli import app
from test_task_causal import TEMPLATE

DOCUMENTS = {"first": "the film was great .", "second": "a dull plot ."}
ANSWER = " so good . the acting was bad ."
INPUT = {"documents": DOCUMENTS, "question": "was it good", "continuation": ANSWER}


@pytest.fixture(scope="module")
def m() -> Model:
    return generator("Llama")


def log_probabilities(m: Model, ids: list[int]) -> torch.Tensor:
    """Of each token but the first, after those before it."""
    with torch.no_grad():
        logits = m.model(input_ids=torch.tensor([ids])).logits[0, :-1]
    return logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]


def explained(m: Model, item: Any, **options: Any) -> Explanations:
    found = pellucid.explain(m, item, target="sentences", method=["deeplift"], **options)
    assert isinstance(found, Explanations)
    return found


def test_sentences_of_an_answer_from_named_documents(m: Model) -> None:
    es = explained(m, INPUT)
    assert [e.target.name for e in es] == ["so good .", "the acting was bad ."]
    names = ["first", "second", "question", "continuation", "template"]
    for e in es:
        assert e.text == (*DOCUMENTS.values(), "was it good", ANSWER)
        assert [s.name for s in e.sources()] == names
        assert sorted(i for s in e.sources() for i in s.tokens) == list(range(len(e.tokens)))
        assert sum(s.score for s in e.sources()) == pytest.approx(e.change, rel=1e-4)
        assert e.relative_delta < 1e-4
        of_text = [e.tokens[i] for i in e.sources()[1].tokens]
        assert "".join(e.text[1][slice(*t.span)] for t in of_text if t.span) == "adullplot."
    chances = log_probabilities(m, [t.id for t in es[0].tokens])
    first = len(chances) - 8
    assert es[0].output == pytest.approx(chances[first : first + 3].sum().item(), rel=1e-5)
    assert es[1].output == pytest.approx(chances[first + 3 :].sum().item(), rel=1e-5)
    assert [p.role for p in es.view().explanations[0].passages] == names[:-1]
    assert Explanations.from_json(es.to_json())[1].sources() == es[1].sources()


def test_the_answer_stays_where_only_the_prompt_is_replaced(m: Model) -> None:
    cited = pellucid.cite(m, INPUT, verify=False)
    assert isinstance(cited, pellucid.Citations) and m.filler is not None
    assert cited.baseline.endswith(", answer kept")
    e = cited.explanations[1]
    blank = [t.id if t.special or t.segment == 3 else m.filler.id for t in e.tokens]
    assert e.baseline_output == pytest.approx(log_probabilities(m, blank)[-5:].sum().item(), abs=1e-4)
    scores = {s.name: s.score for s in cited.sentences[1].sources}
    assert scores["continuation"] == 0
    assert sum(scores[name] for name in ("first", "second", "question")) == pytest.approx(e.change, rel=1e-4)
    again = explained(m, INPUT, baseline=cited.baseline)
    assert np.array_equal(again[1].scores, e.scores)
    with pytest.raises(errors.UnknownBaseline, match="answer kept"):
        pellucid.explain(pellucid.load(), "a film", baseline="filler, answer kept")


def test_a_source_that_is_taken_away_costs_what_the_model_says(m: Model) -> None:
    cited = pellucid.cite(m, INPUT)
    assert isinstance(cited, pellucid.Citations) and cited.text == ANSWER
    e = cited.explanations[1]
    left = [i for i in range(len(e.tokens)) if i not in e.sources()[1].tokens]
    whole, less = (log_probabilities(m, [e.tokens[i].id for i in kept]) for kept in (range(len(e.tokens)), left))
    for citation, last in zip(cited.sentences, (slice(-8, -5), slice(-5, None)), strict=True):
        drops = {s.name: s.drop for s in citation.sources}
        assert drops["second"] == pytest.approx((whole[last].sum() - less[last].sum()).item(), abs=1e-4)
        assert drops["continuation"] is None
        assert citation.output == pytest.approx(whole[last].sum().item(), abs=1e-4)
        assert sum(s.score for s in citation.sources) == pytest.approx(
            citation.output - citation.baseline_output, rel=1e-3
        )
        shares = sum(s.share for s in citation.sources)
        assert shares == pytest.approx(1, abs=1e-4)
    assert all(s.drop is None for c in pellucid.cite(m, INPUT, verify=False).sentences for s in c.sources)
    with redirect_stdout(io.StringIO()) as shown:
        cited.show()
    assert "so good ." in shown.getvalue() and "second" in shown.getvalue()


def test_the_model_answers_where_no_answer_is_given(m: Model) -> None:
    asked = [
        {k: v for k, v in INPUT.items() if k != "continuation"},
        {"parts": [("rules", "be good"), ("x", "a film")]},
    ]
    found = pellucid.cite(m, asked, max_new_tokens=3)
    assert isinstance(found, list) and len(found) == 2
    for item, cited in zip(asked, found, strict=True):
        alone = pellucid.cite(m, item, max_new_tokens=3)
        assert isinstance(alone, pellucid.Citations) and alone.text == cited.text
        scores = lambda c: np.array([s.score for sentence in c.sentences for s in sentence.sources])
        assert np.allclose(scores(alone), scores(cited), rtol=1e-3, atol=1e-4)


def test_a_conversation_is_read_by_its_turns() -> None:
    m = generator("Llama")
    m.tokenizer.chat_template = TEMPLATE
    turns = [("system", "be good"), ("user", "was it great ?"), ("assistant", "it was ."), ("user", " and the plot")]
    item = {"messages": [{"role": r, "content": c} for r, c in turns], "continuation": " bad ."}
    (e,) = explained(m, item)
    assert [s.name for s in e.sources()] == ["system", "user 1", "assistant", "user 2", "continuation", "template"]
    assert sorted(i for s in e.sources() for i in s.tokens) == list(range(len(e.tokens)))
    (f,) = explained(m, {**INPUT, "continuation": " bad ."})
    assert [s.name for s in f.sources()] == ["first", "second", "question", "continuation", "template"]
    written = m.tokenizer.apply_chat_template(
        [{"role": "user", "content": "the film was great .\n\na dull plot .\n\nQuestion: was it good"}],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert [t.id for t in f.tokens[:-2]] == m.tokenizer(written, add_special_tokens=False)["input_ids"]


def test_an_answer_that_was_cut_off_says_so(m: Model) -> None:
    """The model is stopped after three words, none of which ends a sentence; what a user wrote is as long as it is."""
    item = {"documents": DOCUMENTS, "question": "was it good"}
    cited = pellucid.cite(m, item, verify=False, max_new_tokens=3)
    assert isinstance(cited, pellucid.Citations)
    assert not cited.text.rstrip().endswith((".", "!", "?"))
    told = "The last sentence is unfinished: the answer was cut off after 3 tokens."
    told += " Raise max_new_tokens (--max-new-tokens)."
    assert told in cited.sentences[-1].notes and told in str(cited).replace("\n", " ")
    given = pellucid.cite(m, {**item, "continuation": " so good"}, verify=False, max_new_tokens=2)
    assert isinstance(given, pellucid.Citations) and not any("unfinished" in n for n in given.sentences[-1].notes)


def test_sources_in_pairs_are_one_input(m: Model) -> None:
    pairs = list(DOCUMENTS.items())
    for item in (
        {**INPUT, "documents": pairs},
        {"parts": [*pairs, ("question", "was it good")], "continuation": ANSWER},
    ):
        assert [s.name for s in explained(m, item)[0].sources()][:3] == ["first", "second", "question"]
    two = pellucid.explain(m, {**INPUT, "documents": [pairs, pairs[:1]], "question": ["was it", "so"]}, target="total")
    assert [len(e.text) for e in two] == [4, 3]  # type: ignore[arg-type,union-attr]


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"documents": [], "question": "a"}, "list of texts, or a mapping"),
        ({"documents": ["a", " "], "question": "a"}, "number 2 of 'documents'"),
        ({"documents": ["a"], "question": 3}, "as an input|in an input"),
        ({"parts": [{"name": "x"}]}, "number 1 of 'parts'"),
        ({"documents": ["a"]}, "expected a prompt"),
    ],
)
def test_what_is_no_source_is_refused(m: Model, item: Any, told: str) -> None:
    with pytest.raises(errors.InputError, match=told):
        pellucid.explain(m, item)
    with pytest.raises(errors.InputError, match="sources with names"):
        pellucid.cite(m, "a text")  # type: ignore[arg-type]


def test_sentences_of_sources_add_up_too(m: Model) -> None:
    cited = pellucid.cite(m, {**INPUT, "documents": ["a film . it was bad .", "the plot"]}, by="sentence")
    assert isinstance(cited, pellucid.Citations)
    for citation, e in zip(cited.sentences, cited.explanations, strict=True):
        names = [s.name for s in citation.sources if s.cited]
        assert names == [
            "document 1: a film .",
            "document 1: it was bad .",
            "document 2: the plot",
            "question: was it good",
        ]
        assert sum(s.score for s in citation.sources) == pytest.approx(float(e.scores.sum()), rel=1e-6)
        assert all((s.drop is not None) == s.cited for s in citation.sources)
    with pytest.raises(errors.InputError, match="'source', 'sentence'"):
        pellucid.cite(m, INPUT, by="word")


def test_sources_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, m: Model) -> None:
    for name, text in DOCUMENTS.items():
        (tmp_path / f"{name}.txt").write_text(text)
    files = [str(tmp_path / f"{name}.txt") for name in DOCUMENTS]
    (tmp_path / "chat.json").write_text('[{"role": "user", "content": "was it good"}]')
    monkeypatch.setattr("pellucid.cli.explain_command.load_model", lambda *_, **__: m)
    run = lambda *arguments: CliRunner().invoke(app, list(arguments))
    asked = run(
        "explain", "was it good", "--continuation", ANSWER, "--by", "source", "--verify", "--hops", "--sources", *files
    )
    assert asked.exit_code == 0, asked.output
    assert "1. so good ." in asked.output and "second.txt" in asked.output and "through hops" in asked.output
    kept = tmp_path / "hops.json"
    asked = run(
        "explain", "was it good", "--continuation", ANSWER, "--hops", "--sources", *files, "--json", "--save", str(kept)
    )
    told = json.loads(asked.stdout)
    assert told == json.loads(kept.read_text("utf-8"))
    assert told["hops"][0]["columns"][-1] == "sentence 2" and told["citations"][0]["by"] == "source"
    made = run("explain", "was it good", "--sources", *files, "--continuation", ANSWER, "--json")
    document = json.loads(made.output)
    direct = explained(m, {**INPUT, "documents": [(f"{n}.txt", t) for n, t in DOCUMENTS.items()]})
    assert [e["output"] for e in document["explanations"]] == pytest.approx([e.output for e in direct], rel=1e-5)
    tested = run("explain", "was it good", "--sources", *files, "--continuation", ANSWER, "--verify", "--json")
    (own,) = json.loads(tested.output)["citations"]
    cited = pellucid.cite(m, {**INPUT, "documents": [(f"{n}.txt", t) for n, t in DOCUMENTS.items()]})
    assert isinstance(cited, pellucid.Citations)
    for sentence, citation in zip(own["sentences"], cited.sentences, strict=True):
        assert [s["drop"] for s in sentence["sources"]] == pytest.approx([s.drop for s in citation.sources], abs=1e-4)
        assert [s["cited"] for s in sentence["sources"]] == [s.cited for s in citation.sources]
        assert sentence["delta"] == pytest.approx(citation.delta, abs=1e-5)
    before = run("explain", "was it good", "--sources", *files, "--continuation", ANSWER, "--dry-run")
    assert f"tokens, {len(cited.sentences)} targets" in before.output
    m.tokenizer.chat_template = TEMPLATE
    try:
        chat = run("explain", "--chat", str(tmp_path / "chat.json"), "--sources", *files, "--continuation", " bad .")
    finally:
        m.tokenizer.chat_template = None
    assert chat.exit_code == 0 and "first.txt" in chat.output
    numbered = run("explain", "was it", "--continuation", " good bad", "--target", "1", "--json")
    (one,) = json.loads(numbered.stdout)["explanations"]
    assert one["target"]["name"] == "bad"
    tested = run("explain", "a", "--verify").exception  # no sources: refused, not passed over
    assert isinstance(tested, errors.InputError) and "--verify without sources" in str(tested)
    failed = run("explain", "a", "--sources", str(tmp_path / "none.txt")).exception
    assert isinstance(failed, errors.InputError) and "none.txt" in str(failed)
    long = run("explain", "--sources", *files, "was it " * 100, "--continuation", ANSWER, "--dry-run")
    assert isinstance(long.exception, errors.TextTooLong)  # a text, however long, is no file
    failed = run("explain", "a", "--sources", *files, str(tmp_path / "none.txt")).exception  # no question, but a file
    assert isinstance(failed, errors.InputError) and "none.txt" in str(failed)


def test_rows_of_a_citation_add_up_to_the_change_and_a_sentence_names_the_source() -> None:
    from pellucid.citations import Citation, Cited, _meaning, _rows
    from pellucid.status import Status

    sources = [Cited(f"document {k}", k, 1.0 + k, 0.1, 3.0 - k, True) for k in range(12)]
    sources += [Cited("continuation", 12, 2.5, 0.1, None, False), Cited("template", -1, -0.5, 0.0, None, False)]
    whole = sum(s.score for s in sources) + 0.25
    rows = _rows(citation := Citation("So.", whole - 4.0, -4.0, tuple(sources), 0.25, Status.SAMPLED, ()))
    *parts, (_, change, _, _) = rows
    assert change == pytest.approx(whole) == pytest.approx(sum(score for _, score, _, _ in parts))
    shown = [f"document {k}" for k in (11, 10, 9, 8, 7, 1, 0)]  # the largest scores and the largest drops
    assert [name for name, *_ in rows][:-2] == [*shown, "5 other sources", "the answer itself", "template"]
    assert "most on document 0" in _meaning(citation) and "falls by 3.00" in _meaning(citation)
    assert "share here all the same, against the baseline in its place: document 3 10%." in _meaning(citation)
    few = replace(citation, sources=(replace(sources[0], score=-9.0), *sources[4:10]))
    assert [name for name, *_ in _rows(few)][6] == "document 0"  # one alone is not "1 other source"


def test_a_sentence_claims_no_more_than_the_numbers_say() -> None:
    from pellucid.citations import Citation, Cited, _meaning
    from pellucid.status import Status

    def said(*sources: tuple[float, float | None]) -> str:
        made = tuple(Cited(f"document {k}", k, score, 0.5, drop, True) for k, (score, drop) in enumerate(sources))
        return _meaning(Citation("So.", 1.0, 0.0, made, 0.0, Status.EXACT, ()))

    assert "as probable as with it (every drop, measured, is below 0.10)" in said((2.0, 0.01), (1.0, -0.09))
    rises = said((2.0, 0.01), (1.0, -0.83))
    assert "Without document 1 its log-probability rises by 0.83" in rises and "most" not in rises
    lowered = said((-1.46, 0.17), (-0.74, -0.14))
    assert "Without document 0" in lowered and "falls by 0.17" in lowered and "rests" not in lowered
    assert "rests most on document 0: without it" in (alone := said((1.0, 0.2), (0.1, -3.0)))
    assert "By the scores" not in alone and "By the scores document 1 comes first" in said((1.0, 6.0), (2.0, 0.5))
    assert "rests most on document 1: its score" in said((0.5, None), (1.0, None))
    assert "rests on none of them; none raises it" in said((-0.5, None), (-1.0, None))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"method": "occlusion"}, "do not add up"),
        ({"target": "total"}, "e.sources"),
        ({"errors": "return"}, "raised"),
        ({"output": "probability"}, "expected 'log-probability'"),
    ],
)
def test_what_a_citation_cannot_say_is_refused(m: Model, how: Any, told: str) -> None:
    with pytest.raises(errors.InputError, match=told):
        pellucid.cite(m, INPUT, **how)


@pytest.mark.parametrize("verify", [False, True])
def test_the_columns_are_explained_once_and_none_is_empty(m: Model, verify: bool) -> None:
    cited = pellucid.cite(m, {**INPUT, "continuation": " so good . so bad ."}, verify=verify)
    assert isinstance(cited, pellucid.Citations) and len(cited.sentences) == 2
    printed = " ".join(str(cited).split())
    assert printed.count("Share:") == 1 and printed.count("Drop:") == verify
    assert printed.count("drop without it") == 2 * verify


@pytest.mark.parametrize("verify", [False, True])
def test_a_text_without_a_name_is_refused_under_every_key(m: Model, verify: bool) -> None:
    for item in ({"prompt": "a film"}, {"text": "a film"}):
        with pytest.raises(errors.InputError, match="sources with names"):
            pellucid.cite(m, item, verify=verify)


@pytest.mark.parametrize("name", ["completion", "response", "chosen"])
def test_an_answer_under_each_of_its_names_is_tested(m: Model, name: str) -> None:
    item = {k: v for k, v in INPUT.items() if k != "continuation"} | {name: ANSWER}
    assert pellucid.cite(m, item).to_dict() == pellucid.cite(m, INPUT).to_dict()  # type: ignore[union-attr]


def test_the_answer_that_is_compared_with_is_no_source(m: Model) -> None:
    e: Any = pellucid.explain(m, {**INPUT, "versus": " so dull ."})
    named = {unit.name: unit.cited for unit in e.view().sources.units}
    assert [name for name, cited in named.items() if not cited] == ["continuation", "other continuation", "template"]


def test_sources_are_told_apart_from_the_answer_and_the_template(m: Model) -> None:
    m.tokenizer.chat_template = TEMPLATE
    try:
        named = {"continuation": "a film", "question": "a plot", "template": "so"}
        found = pellucid.cite(m, {"documents": named, "question": "was it", "continuation": " good ."})
    finally:
        m.tokenizer.chat_template = None
    assert isinstance(found, pellucid.Citations)
    names = [s.name for s in found.sentences[0].sources]
    assert names == ["continuation 1", "question 1", "template 1", "question 2", "continuation", "template"]
    assert [s.cited for s in found.sentences[0].sources] == [True] * 4 + [False] * 2
    twice = {"documents": ["a film . a film ."], "question": "so", "continuation": "\n\n good .\n\n bad .\n"}
    found = pellucid.cite(m, twice, by="sentence", verify=False)
    assert isinstance(found, pellucid.Citations)
    assert [s.name for s in found.sentences[0].sources][:2] == ["document 1: a film . 1", "document 1: a film . 2"]
    assert [c.sentence for c in found.sentences] == ["good .", "bad ."]


def test_a_text_alone_is_refused_with_the_call(bundled: Model) -> None:
    with pytest.raises(errors.InputError, match=r"cite\(model, question"):
        pellucid.cite(bundled, "When?")


def test_drops_are_of_the_very_tokens_that_were_generated(m: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose text the tokenizer may read as others, and which may end with a token that is in no text."""
    of = m.tokenizer.convert_tokens_to_ids
    ids = [of("so"), of("good"), of("."), of("bad"), m.tokenizer.sep_token_id]
    monkeypatch.setattr(m.model.generation_config, "eos_token_id", m.tokenizer.sep_token_id)
    generate = lambda input_ids, **more: torch.cat([input_ids, torch.tensor([ids])], 1)
    monkeypatch.setattr(m.model, "generate", generate, raising=False)
    cited = pellucid.cite(m, {k: v for k, v in INPUT.items() if k != "continuation"})
    assert isinstance(cited, pellucid.Citations)
    e, citation = cited.explanations[1], cited.sentences[1]
    assert [t.id for t in e.tokens][-5:] == ids
    left = [t.id for t in e.tokens if t.segment != 1 or t.special]
    whole, less = (log_probabilities(m, each)[-2:].sum().item() for each in ([t.id for t in e.tokens], left))
    assert citation.output == pytest.approx(whole, abs=1e-4)
    assert citation.sources[1].drop == pytest.approx(whole - less, abs=1e-4)
    assert abs(less - log_probabilities(m, left[:-1])[-1:].sum().item()) > 0.1  # the end has a part in it


def test_a_continuation_may_be_token_ids(m: Model) -> None:
    """As a model generated them: they go in as they are."""
    of = m.tokenizer.convert_tokens_to_ids
    ids = [of("good"), m.tokenizer.sep_token_id, of("bad")]
    for given in (ids, tuple(ids), torch.tensor(ids), np.array(ids)):
        for asked in ({"prompt": "the film"}, {k: v for k, v in INPUT.items() if k != "continuation"}):
            e = pellucid.explain(m, {**asked, "continuation": given}, target="total")
            assert isinstance(e, pellucid.Explanation) and [t.id for t in e.tokens][-3:] == ids
            assert e.output == pytest.approx(log_probabilities(m, [t.id for t in e.tokens])[-3:].sum().item(), rel=1e-5)
    asked = {"prompt": "the film", "continuation": [of("good")], "versus": [of("bad")]}
    named = {"prompt": "the film", "continuation": " good", "versus": " bad"}
    a, b = (pellucid.explain(m, each, target="total") for each in (asked, named))
    assert isinstance(a, pellucid.Explanation) and isinstance(b, pellucid.Explanation)
    assert a.scores == pytest.approx(b.scores) and a.output == pytest.approx(b.output)
    for wrong in ([], [1.5], [[1, 2]], 3, [True, False]):
        with pytest.raises(errors.InputError, match=r"as a continuation; expected a text, or the ids"):
            pellucid.explain(m, {"prompt": "the film", "continuation": wrong}, target="total")
    for wrong in ([10**6], [-1], [5, -(10**30)]):
        for part in ({"continuation": wrong}, {"continuation": " good", "versus": wrong}):
            with pytest.raises(errors.InputError, match="each from 0 to"):
                pellucid.explain(m, {"prompt": "the film", **part}, target="total")


def test_an_answer_without_a_word_is_refused(m: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    end = m.tokenizer.sep_token_id
    monkeypatch.setattr(m.model.generation_config, "eos_token_id", end)
    generate = lambda input_ids, **more: torch.cat([input_ids, torch.tensor([[end]])], 1)
    monkeypatch.setattr(m.model, "generate", generate, raising=False)
    with pytest.raises(errors.InputError, match="no word"):
        pellucid.cite(m, {k: v for k, v in INPUT.items() if k != "continuation"}, verify=False)
    with pytest.raises(errors.InputError, match="verify='yes'"):
        pellucid.cite(m, INPUT, verify="yes")  # pyright: ignore
