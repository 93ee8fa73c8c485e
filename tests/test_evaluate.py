"""Evaluation: masked and closed-up texts against the model called directly, and a random ranking is the worst."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import families
import pellucid
from generative import generator
from pellucid import cli
from pellucid.choices import Choice, keep, kept
from pellucid.evaluation import cascading_randomisation, removal
from pellucid.evaluation.cost import measured as measured_cost
from pellucid.evaluation.data import inputs_of
from pellucid.metrics import bootstrap
from pellucid.metrics.bootstrap import Interval
from pellucid.metrics.faithfulness import normalised_area
from pellucid.metrics.plausibility import PLAUSIBILITY
from pellucid.metrics.removal_curves import order_of, removal_curves, search_orders
from pellucid.metrics.word_scores import group_scores
from pellucid.models.tasks.continuation import continuation

TEXTS = ["an unbelievably gripping film", "dull, and far too long", "it is great"]


@pytest.fixture(scope="module")
def model() -> pellucid.Model:
    return pellucid.load()


def probability(model: pellucid.Model, ids: list[int], label: object, hidden: list[int] | None = None) -> float:
    assert isinstance(label, int)
    mask = torch.tensor([[0 if i in (hidden or []) else 1 for i in range(len(ids))]])
    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor([ids]), attention_mask=mask).logits
    return logits.double().softmax(-1)[0, label].item()


@pytest.mark.parametrize("operator", ["mask", "pad", "delete", "attention mask"])
def test_a_curve_is_what_the_model_says_of_the_changed_ids(model: pellucid.Model, operator: str) -> None:
    token = {"mask": model.tokenizer.mask_token_id, "pad": model.tokenizer.pad_token_id}.get(operator)
    answers = [pellucid.explain(model, text) for text in TEXTS]
    with model.borrowed():
        for play in removal.plays(model, model.encode(TEXTS), operator, None):
            for row, number in enumerate(play.numbers):
                e, game = answers[number], play.games["probability"]
                words = [w for w in e.words() if not w.special]
                order = order_of(group_scores(game, row, e.scores))
                assert order.tolist() == sorted(range(len(words)), key=lambda k: -words[k].score)
                curves = {o: removal_curves(g, {"e": {row: order}})["e"][row] for o, g in play.games.items()}
                gone: list[int] = []
                for k in range(len(words) + 1):
                    gone += words[order[k - 1]].tokens if k else ()
                    ids = [t.id for t in e.tokens]
                    if operator == "delete":
                        ids = [i for n, i in enumerate(ids) if n not in gone]
                    elif token is not None:
                        ids = [token if n in gone else i for n, i in enumerate(ids)]
                    hidden = gone if operator == "attention mask" else []
                    p = probability(model, ids, e.target.index, hidden)
                    assert curves["probability"][k] == pytest.approx(p, abs=1e-6)
                    assert curves["log-odds"][k] == pytest.approx(np.log(p / (1 - p)), abs=1e-4)


@pytest.mark.parametrize("family", ["GPT2", "Llama", "Roberta"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_what_nothing_attends_to_stays_where_it_is(family: str, side: str) -> None:
    """Positions are those of the whole text, whichever of its tokens, or of the texts beside it, are removed."""
    net = families.model(family, "sdpa").double()
    model = pellucid.Model(net, families.tokenizer(mask=family == "Roberta", side=side))
    texts = ["a b c d", "e f a"]
    with model.borrowed():
        encodings = model.encode(texts)
        plays = removal.plays(model, encodings, "attention mask", 1)
        for play, row, number in ((p, row, number) for p in plays for row, number in enumerate(p.numbers)):
            e, game = encodings[number], play.games["probability"]
            n = game.players[row]
            curve = removal_curves(game, {"e": {row: np.arange(n)}})["e"][row]
            ids, own = torch.tensor([e.ids]), [k for k, t in enumerate(e.tokens) if not t.special]
            at = torch.arange(ids.shape[1])[None] + (net.config.pad_token_id + 1 if family == "Roberta" else 0)
            for k in range(n + 1):
                mask = torch.ones_like(ids)
                mask[0, own[:k]] = 0
                with torch.no_grad():
                    logits = net(input_ids=ids, attention_mask=mask, position_ids=at).logits
                assert curve[k] == pytest.approx(logits.softmax(-1)[0, 1].item(), rel=1e-9), (number, k)


def test_the_mean_embedding_stands_for_removed_words(model: pellucid.Model) -> None:
    (text,) = TEXTS[2:]
    assert isinstance(model.embedding, nn.Embedding)
    table = model.embedding.weight
    with model.borrowed():
        (play,) = removal.plays(model, model.encode([text]), "mean", "positive")
        n = play.games["probability"].players[0]
        curve = removal_curves(play.games["probability"], {"e": {0: np.arange(n)}})["e"][0]
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    x = table[ids].detach().clone()
    x[:, 1:-1] = table.mean(0).detach()
    with torch.no_grad():
        p = model.model(inputs_embeds=x, attention_mask=torch.ones_like(ids)).logits.softmax(-1)[0, 1].item()
    assert curve[-1] == pytest.approx(p, abs=1e-6)


def test_one_operator_alone_is_refused(model: pellucid.Model) -> None:
    with pytest.raises(pellucid.PellucidError, match="by construction"):
        removal.operators_of(model, ["mask"])
    with pytest.raises(pellucid.PellucidError, match="'mask'"):
        removal.operators_of(model, ["masc", "delete"])
    assert removal.operators_of(model, None) == ("mask", "delete")


def test_scores_of_another_input_are_refused(model: pellucid.Model) -> None:
    with model.borrowed():
        (play,) = removal.plays(model, model.encode(["it is great"]), "mask", None)
        with pytest.raises(pellucid.PellucidError, match="tokens"):
            group_scores(play.games["probability"], 0, [1.0, 2.0])


@pytest.fixture(scope="module")
def found(model: pellucid.Model) -> pellucid.Evaluation:
    return pellucid.evaluate(model, SOME, ["deeplift", "saliency"], ["mask", ["mask", "pad"]])


SOME = [
    "an unbelievably gripping film with a wonderful cast",
    "dull, and far too long for what it has to say",
    "it is great",
    "the plot is thin but the cast is wonderful",
    "I did not like it at all",
    "neither dull nor boring, and never too long",
    "a waste of time, money and talent",
    "charming from the first scene to the last",
]


def test_a_random_ranking_is_the_worst_and_rows_are_in_order(found: pellucid.Evaluation) -> None:
    assert [r.name for r in found.rows][-1] == "random"
    assert [r.total.mean for r in found.rows] == sorted((r.total.mean for r in found.rows), reverse=True)
    assert found.rows[0].method == "deeplift" and found.rows[0].better_than_random.low > 0
    assert sum(r.method == "random" for r in found.rows) == 1
    assert found.rows[0].behind == type(found.rows[0].behind)(0.0, 0.0, 0.0)


def masked_probability(model: pellucid.Model, e: pellucid.Explanation, gone: list[int]) -> float:
    mask = model.tokenizer.mask_token_id
    return probability(model, [mask if i in gone else t.id for i, t in enumerate(e.tokens)], e.target.index)


def test_the_total_is_that_of_the_model_called_directly(model: pellucid.Model, found: pellucid.Evaluation) -> None:
    totals = []
    for text in SOME:
        e = pellucid.explain(model, text)
        words = sorted((w for w in e.words() if not w.special), key=lambda w: -w.score)
        n = len(words)
        counts = [max(1, int(np.ceil(q * n - 1e-9))) for q in (0.01, 0.05, 0.1, 0.2, 0.5)]
        first = [masked_probability(model, e, [i for w in words[:k] for i in w.tokens]) for k in counts]
        only = [masked_probability(model, e, [i for w in words[k:] for i in w.tokens]) for k in counts]
        totals.append(np.mean(only) - np.mean(first))
    (row,) = [r for r in found.rows if r.method == "deeplift" and r.baseline == "mask"]
    assert row.by_operator["mask"].mean == pytest.approx(np.mean(totals), abs=1e-5)
    cells = {(c.operator, c.output, c.metric): c.value.mean for c in row.cells}
    comp, suff = (cells["mask", "probability", m] for m in ("comprehensiveness", "sufficiency"))
    assert comp - suff == pytest.approx(row.by_operator["mask"].mean, abs=1e-9)


def test_what_is_recommended_is_itself_better_than_chance(found: pellucid.Evaluation) -> None:
    sure, unsure = Interval(0.2, 0.1, 0.3), Interval(0.1, -0.1, 0.3)
    row = lambda passes, over: replace(found.rows[0], behind=unsure, passes=passes, better_than_random=over)
    best, cheap, cheaper = row(9.0, sure), row(3.0, sure), row(2.0, unsure)
    assert replace(found, rows=(best, cheaper, cheap)).choice == cheap
    assert replace(found, rows=(best, cheaper)).choice == best
    none = replace(found, rows=(cheaper,))
    assert none.choice is None and "No method" in none.sentence


def test_the_passes_are_those_of_the_explanations(found: pellucid.Evaluation) -> None:
    passes = {r.name: r.passes for r in found.rows}
    assert passes["deeplift · mask"] == 2 and passes["deeplift · mask, pad"] == 3
    assert passes["random"] is None  # it takes nothing
    assert all(r.cost > 0 and r.seconds > 0 for r in found.rows if r.method != "random")


def test_it_is_data_a_frame_and_a_sentence(found: pellucid.Evaluation) -> None:
    data = json.loads(json.dumps(found.to_dict()))
    assert data["schema_version"] == 1 and data["rows"][0]["total"]["mean"] == found.rows[0].total.mean
    assert data["sentence"] == found.sentence and "deeplift · mask" in found.sentence and "random" in found.sentence
    frame = found.to_frame()
    assert len(frame) == len(found.rows) * 2 * 3 * 8  # operators, outputs, metrics; no search, no normalised area
    for _, leaders in frame[frame.behind == 0].groupby(["operator", "output", "metric"]):
        assert leaders.tied.all()
    assert all(r.memory is None or r.memory > 0 for r in found.rows)
    assert (frame.behind >= 0).all() and (frame.value_low <= frame.value).all()
    assert "Use deeplift" in str(found)


def test_a_text_that_fails_is_left_out_for_all_methods(model: pellucid.Model) -> None:
    found = pellucid.evaluate(model, [*SOME[:3], "", "word", "no " * 2000], "deeplift")
    assert found.texts == 3 and [f.index for f in found.failures] == [3, 4, 5]
    assert found.failures[2].type == "TextTooLong"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".txt"])
def test_a_file_is_the_same_as_its_texts(model: pellucid.Model, tmp_path: Path, suffix: str) -> None:
    path, texts = tmp_path / f"data{suffix}", [SOME[0], SOME[2], 'a "good" film']
    quote = '""' if suffix == ".csv" else '"'
    cells = [f'"{t.replace(chr(34), quote)}"' if suffix == ".csv" else t for t in texts]
    head, lines = "text{0}grade", [f"{c}{{0}}1" for c in cells]
    if suffix in (".csv", ".tsv"):
        lines = [line.replace("{0}", {".csv": ",", ".tsv": "\t"}[suffix]) for line in [head, *lines]]
    elif suffix == ".jsonl":
        lines = [json.dumps({"text": t, "grade": 1}) for t in texts]
    else:
        lines = texts
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    column = None if suffix == ".txt" else "text"
    assert inputs_of(path, column, None) == texts
    assert inputs_of(str(path), column, 2) == texts[:2]


def test_wrong_data_is_named(tmp_path: Path, model: pellucid.Model) -> None:
    (tmp_path / "a.csv").write_text("text,label\ngood,1\n")
    for data, column, limit, said in (
        (tmp_path / "none.csv", None, None, "Could not read"),
        (tmp_path / "a.csv", "sentence", None, "'text', 'label'"),
        ([], None, None, "no inputs"),
        (["a"], None, 0, "limit"),
        (["a text"], 0, None, "row 0 is a text"),
        (3, None, None, "list of inputs"),
        ({"text": ["a", "b"]}, None, None, "columns and not its rows"),
    ):
        with pytest.raises(pellucid.PellucidError, match=said):
            inputs_of(data, column, limit)
    with pytest.raises(pellucid.PellucidError, match="probability"):
        pellucid.evaluate(model, SOME[:1], "saliency", target="positive - negative")
    with pytest.raises(pellucid.PellucidError, match="no baseline twice"):
        pellucid.evaluate(model, SOME[:1], "deeplift", ["mask", "pad", "mask"])
    with pytest.raises(pellucid.PellucidError, match="no baseline twice"):
        pellucid.evaluate(model, SOME[:1], "deeplift", [["mask", "pad"], ["pad", "mask"]])


def test_a_wrong_method_is_found_before_texts_are_explained(model: pellucid.Model) -> None:
    told: list[str] = []
    with pytest.raises(pellucid.errors.UnknownMethod, match="nope"):
        pellucid.evaluate(model, SOME, ["deeplift", "nope"], progress=told.append)
    with pytest.raises(pellucid.errors.UnknownBaseline, match="maks"):
        pellucid.evaluate(model, SOME, ["deeplift"], ["mask", "maks"], progress=told.append)
    assert not told


def test_few_texts_do_not_decide(model: pellucid.Model) -> None:
    one = pellucid.evaluate(model, SOME[:1], "deeplift")
    assert one.choice is None and "give several" in one.sentence
    few = pellucid.evaluate(model, SOME[:3], "deeplift")
    assert "fewer than 10" in few.sentence


def test_a_frame_is_not_read_as_the_names_of_its_columns() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS, "label": [1, 0, 1]})
    with pytest.raises(pellucid.PellucidError, match=r"DataFrame.*to_dict"):
        inputs_of(frame, None, None)
    assert inputs_of(frame.to_dict("records"), "text", None) == TEXTS


def test_an_interval_of_a_paired_difference_is_narrower() -> None:
    rng = np.random.default_rng(0)
    of_text = rng.normal(0, 1, 200)
    a, b = of_text + rng.normal(0.1, 0.1, 200), of_text + rng.normal(0, 0.1, 200)
    drawn = bootstrap.draws(200)
    own, paired = bootstrap.interval(a, drawn), bootstrap.interval(a - b, drawn)
    assert own.holds_zero and not paired.holds_zero
    assert paired.high - paired.mean == pytest.approx(1.96 * (a - b).std() / np.sqrt(200), rel=0.1)


def test_the_command_prints_what_the_function_finds(
    tmp_path: Path, model: pellucid.Model, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path, document = tmp_path / "films.tsv", tmp_path / "out.json"
    path.write_text("".join(f"{text}\t1\n" for text in SOME), encoding="utf-8")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["pellucid", "evaluate", str(path), *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed, error = capfd.readouterr()
        return int(stop.value.code or 0), printed, error

    given = ["--column", "0", "--limit", "5", "--methods", "deeplift,saliency", "--baselines", "mask,mask+pad"]
    code, printed, error = run(*given, "--json")
    assert code == 0, error
    found = pellucid.evaluate(model, SOME[:5], ["deeplift", "saliency"], ["mask", ["mask", "pad"]])
    means = {r["name"]: r["total"]["mean"] for r in json.loads(printed)["rows"]}
    assert means == pytest.approx({r.name: r.total.mean for r in found.rows}, abs=1e-6)
    code, printed, _ = run("--column", "0", "--limit", "3", "--json", str(document))
    assert code == 0 and not printed and json.loads(document.read_text())["texts"] == 3
    code, _, error = run("--column", "sentence")
    assert code == 2 and "no column 'sentence'" in error


def test_no_method_is_better_than_the_best_order(model: pellucid.Model) -> None:
    text = "the plot is thin but great"
    found = pellucid.evaluate(model, [text, SOME[2]], ["deeplift", "saliency"], beam=2)
    best = found.best_order
    assert best is not None and best.method == "best order" and len(found.rows) == 3
    at = lambda row: {(c.operator, c.metric): c.value.mean for c in row.cells if c.output == "probability"}
    top, each = at(best), {r.method: at(r) for r in found.rows}
    for way in found.operators:
        assert top[way, "normalised area"] == 1
        assert all(0 <= cells[way, "normalised area"] <= 1 for cells in each.values())
        assert each["deeplift"][way, "normalised area"] > each["random"][way, "normalised area"]
        for cells in each.values():
            assert top[way, "deletion"] <= cells[way, "deletion"] + 1e-12
            assert top[way, "insertion"] >= cells[way, "insertion"] - 1e-12
    with model.borrowed():  # of the text, by the curves themselves
        (play,) = removal.plays(model, model.encode([text]), "mask", None)
        game = play.games["probability"]
        bounds = search_orders(game, 0)
        orders = {"best": {0: bounds.steepest}, "worst": {0: bounds.flattest}}
        orders |= {"deeplift": {0: order_of(group_scores(game, 0, pellucid.explain(model, text).scores))}}
        curves = {name: rows[0] for name, rows in removal_curves(game, orders).items()}
    one = pellucid.evaluate(model, [text], "deeplift", beam=1)
    place = normalised_area(curves["deeplift"], curves["best"], curves["worst"])
    (row,) = [r for r in one.rows if r.method == "deeplift"]
    assert at(row)["mask", "normalised area"] == pytest.approx(place, abs=1e-9)


def test_the_random_ranking_is_measured_from_both_ends(model: pellucid.Model) -> None:
    drawn = [e.scores for e in pellucid.explain(model, SOME[:4], "random", seed=0)]
    found = pellucid.evaluate(model, SOME[:4], (), scores={"one": drawn, "other": [-s for s in drawn]})
    of = {r.method: {(c.operator, c.output, c.metric): c.value.mean for c in r.cells} for r in found.rows}
    assert of["one"] != of["other"]
    for key, value in of["random"].items():
        assert value == pytest.approx((of["one"][key] + of["other"][key]) / 2, abs=1e-12)
        assert key[2] not in ("area between", "LDS") or abs(value) < 1e-12  # as chance has it


def test_chance_is_the_mean_over_all_orders(model: pellucid.Model) -> None:
    text = "dull but great"
    tokens = pellucid.explain(model, text, "random").tokens
    orders = [[0, *o, 0] for o in permutations([3.0, 2.0, 1.0])]
    assert all(len(o) == len(tokens) for o in orders)
    each = {str(o): [o] for o in orders}
    found = pellucid.evaluate(model, [text], (), scores=each, random_rankings=400)
    of = {r.method: {(c.operator, c.output, c.metric): c.value.mean for c in r.cells} for r in found.rows}
    chance, one = of.pop("random"), {r.method: r for r in pellucid.evaluate(model, [text], (), scores=each).rows}
    assert [c.value for c in one["random"].cells] != list(chance.values())
    for key, value in chance.items():
        if key[2] != "LDS":  # which reads the scores themselves
            values = [cells[key] for cells in of.values()]
            assert value == pytest.approx(np.mean(values), abs=4 * np.std(values) / 20 + 1e-9)
    for wrong in (0, 1.5):
        with pytest.raises(pellucid.PellucidError, match="random_rankings"):
            pellucid.evaluate(model, [text], "saliency", random_rankings=wrong)  # pyright: ignore[reportArgumentType]


def test_a_span_where_no_word_is_is_told(model: pellucid.Model) -> None:
    with pytest.raises(pellucid.PellucidError, match=r"no word of 'dull but great' is"):
        pellucid.evaluate(model, ["dull but great"], "saliency", rationales=[[(40, 44)]])
    long = f"It is great. {'dull ' * 600}. It is over."  # the end is not read
    spans = [(0, 12), (3015, 3020)]
    found = pellucid.evaluate(model, [long], "saliency", rationales=[spans], truncate=True, groups="sentence")
    assert found.texts == 1 and all(0 <= r.plausibility["recall"].mean <= 1 for r in found.rows)


def test_scores_of_others_are_measured_like_ones_own(model: pellucid.Model) -> None:
    answers = pellucid.explain(model, SOME[:4])
    found = pellucid.evaluate(model, SOME[:4], "deeplift", scores={"theirs": [e.scores * 3 for e in answers]})
    assert {r.name for r in found.rows} == {"deeplift · mask", "theirs", "random"}
    of = {r.method: r for r in found.rows}
    assert of["theirs"].total == of["deeplift"].total and of["theirs"].cells == of["deeplift"].cells
    assert of["theirs"].passes is None and of["theirs"].cost is None and "theirs" in str(found)
    with pytest.raises(pellucid.PellucidError, match="other tokens"):
        pellucid.evaluate(model, SOME[:1], (), scores={"theirs": [[1.0, 2.0]]})
    for wrong in ("negative", "negative - positive"):  # "it is great …" is measured by its own label, positive
        with pytest.raises(pellucid.PellucidError, match=r"for 'negative.*expected one for 'positive'"):
            theirs = pellucid.explain(model, ["it is great fun"], target=wrong)
            pellucid.evaluate(model, ["it is great fun"], (), scores={"theirs": theirs})
    own = pellucid.evaluate(model, SOME[:4], (), scores={"random": [e.scores for e in answers]})
    assert {r.total for r in own.rows} == {of["theirs"].total, of["random"].total}  # the name makes it no control
    with pytest.raises(pellucid.PellucidError, match="scores of 1 inputs"):
        pellucid.evaluate(model, SOME[:2], (), scores={"theirs": [answers[0].scores]})


def test_rationales_are_compared_with_the_highest_words(model: pellucid.Model) -> None:
    texts = ["the plot is thin but the cast is wonderful", "dull, and far too long", "it is great"]
    spans = [[(texts[0].index("wonderful"), len(texts[0]))], [(0, 4)], []]
    scores = []
    for text, marked in zip(texts, spans, strict=True):
        tokens = pellucid.explain(model, text, method="random").tokens
        inside = lambda t, marked=marked: t.span is not None and any(a <= t.span[0] < b for a, b in marked)
        scores.append([float(inside(t)) for t in tokens])
    found = pellucid.evaluate(model, texts, "deeplift", scores={"a person": scores}, rationales=spans)
    of = {r.method: r.plausibility for r in found.rows}
    assert {name: i.mean for name, i in of["a person"].items()} == dict.fromkeys(PLAUSIBILITY, 1.0)
    assert of["deeplift"]["recall"].mean == 1.0 and of["random"]["AUPRC"].mean < 1
    lines: list[str] = []
    with pytest.raises(pellucid.PellucidError, match="span"):
        pellucid.evaluate(model, texts[:1], rationales=[[(5, 2)]], progress=lines.append)
    assert not any("removing" in line for line in lines)  # what is wrong is told before the long part


def test_sampled_words_are_those_of_the_texts_and_the_same_in_any_batch(model: pellucid.Model) -> None:
    encodings, curves = model.encode(SOME[:3]), []
    pool = {i for e in encodings for t, i in zip(e.tokens, e.ids, strict=True) if not t.special}
    drawn = removal._sampled(encodings)
    with model.borrowed():
        for batch in (encodings, encodings[1:2]):
            ids = drawn(model, batch)
            assert set(ids.flatten().tolist()) <= pool
            row = 1 if len(batch) > 1 else 0
            curves.append(ids[row, : len(encodings[1])].tolist())
    assert curves[0] == curves[1] != encodings[1].ids
    with model.borrowed():
        (play,) = removal.plays(model, encodings[:1], "sampled", "positive")
        game = play.games["probability"]
        gone = removal_curves(game, {"e": {0: np.arange(game.players[0])}})["e"][0][-1]
        own = removal._sampled(encodings[:1])(model, encodings[:1])[0].tolist()
    ids = [
        i if t.special else own[k] for k, (t, i) in enumerate(zip(encodings[0].tokens, encodings[0].ids, strict=True))
    ]
    assert gone == pytest.approx(probability(model, ids, 1), abs=1e-6)


def test_prompts_are_measured_by_the_probability_of_their_continuation() -> None:
    model = generator("Llama")
    prompts = [
        {"prompt": "it is a good film", "continuation": " and great"},
        {"prompt": "so dull", "continuation": " ."},
    ]
    found = pellucid.evaluate(model, prompts, "occlusion", operators=["mask", "delete", "mean"])
    assert found.task == "text-generation" and found.texts == 2
    with model.borrowed():
        encodings = model.encode(prompts)
        plays = removal.plays(model, encodings, "mask", "total")
        for play in plays:
            for row, number in enumerate(play.numbers):
                ids = torch.tensor([encodings[number].ids])
                told = continuation(encodings[number])
                with torch.no_grad():
                    log_p = model.model(ids).logits[0].double().log_softmax(-1)
                own = sum(log_p[told.first + k - 1, t.id] for k, t in enumerate(told.tokens))
                at_x = {name: game.output[row].item() for name, game in play.games.items()}
                assert at_x["log-probability"] == pytest.approx(float(own), rel=1e-5)
                assert at_x["probability"] == pytest.approx(np.exp(float(own)), rel=1e-5)


def test_a_prompt_without_a_continuation_is_measured_by_its_next_token() -> None:
    """The probability of twenty tokens together is about 0, whatever is removed."""
    m = generator("Llama")
    items = ["the film was great", "a dull plot"]
    found = pellucid.evaluate(m, items, ["deeplift"])
    said = [pellucid.explain(m, item, target="total", max_new_tokens=1) for item in items]
    assert all(isinstance(e, pellucid.Explanation) and sum(t.segment == 1 for t in e.tokens) == 1 for e in said)
    whole = np.mean([np.exp(e.output) for e in said])
    assert [c.values[0] for c in found.rows[0].curves] == pytest.approx([whole] * len(found.rows[0].curves), rel=1e-4)
    given = [{"prompt": item, "continuation": " so good"} for item in items]
    said = [pellucid.explain(m, item, target="total") for item in given]
    whole = np.mean([np.exp(e.output) for e in said])
    curves = pellucid.evaluate(m, given, ["deeplift"]).rows[0].curves
    assert [c.values[0] for c in curves] == pytest.approx([whole] * len(curves), rel=1e-4)


def test_sources_are_ranked_where_groups_are_given(model: pellucid.Model) -> None:
    texts = ["The cast is fine. The plot is a waste of time. It is long.", "Great fun. I liked it."]
    found = pellucid.evaluate(model, [*texts, "one sentence"], "occlusion", groups="sentence")
    assert found.texts == 2 and [f.index for f in found.failures] == [2]
    cells = {(c.operator, c.output, c.metric): c for c in found.rows[0].cells}
    whole, none = [], []
    for text in texts:
        e = pellucid.explain(model, text, output="probability")
        whole.append(e.output)
        none.append(masked_probability(model, e, [i for i, t in enumerate(e.tokens) if not t.special]))
    drop = cells["mask", "probability", "top-3 drop"].value.mean
    assert drop == pytest.approx(np.mean(whole) - np.mean(none), abs=1e-5)  # no text has more than three


def test_the_words_of_a_continuation_stay() -> None:
    """Whatever they score, what is removed is what the model was given."""
    m = generator("Llama", dtype=torch.float64)
    e = pellucid.explain(m, {"prompt": "the film was", "continuation": " so good"}, target="total")
    assert isinstance(e, pellucid.Explanation)
    ids, filler = [t.id for t in e.tokens], m.filler.id  # pyright: ignore[reportOptionalMemberAccess]

    def p(prompt: list[int]) -> float:
        with torch.no_grad():
            logs = m.model(torch.tensor([[*prompt, *ids[3:]]])).logits[0].log_softmax(-1)
        return float((logs[len(prompt) - 1, ids[3]] + logs[len(prompt), ids[4]]).exp())

    for after, groups in ((" so good", "word"), (ids[3:], "token"), (" so good", None)):
        item = {"prompt": "the film was", "continuation": after}
        ranking = {"mine": [np.array([0.0, 2.0, 1.0, 9.0, 8.0])]}
        found = pellucid.evaluate(m, [item], (), scores=ranking, operators=("mask", "delete"), groups=groups)
        (row,) = [r for r in found.rows if r.method == "mine"]
        drop = {c.operator: c.value.mean for c in row.cells if (c.output, c.metric) == ("probability", "top-1 drop")}
        assert drop["mask"] == pytest.approx(p(ids[:3]) - p([ids[0], filler, ids[2]]))
        assert drop["delete"] == pytest.approx(p(ids[:3]) - p([ids[0], ids[2]]))


def test_memory_at_the_peak_is_that_of_the_call() -> None:
    size = 64 * 2**20
    found, cost = measured_cost(lambda: int(np.ones(size, dtype=np.uint8)[0]), torch.device("cpu"))
    assert found == 1 and cost.seconds > 0
    assert cost.memory is None or size * 0.9 < cost.memory < size * 1.5


def test_shuffled_weights_give_other_explanations_and_the_model_stays(model: pellucid.Model) -> None:
    before = {name: p.clone() for name, p in model.model.named_parameters()}
    steps = cascading_randomisation(model, SOME)
    assert [s.part for s in steps][:2] == ["after the layers", "layer 2"] and steps[-1].part == "before the layers"
    assert abs(steps[-1].similarity.mean) < 0.4
    unchanged = cascading_randomisation(model, SOME[:3], "random")  # which looks at no weight
    assert all(s.similarity.mean == 1 for s in unchanged)
    assert all(torch.equal(p, before[name]) for name, p in model.model.named_parameters())


def test_auto_is_what_an_evaluation_chose_for_this_very_model(
    model: pellucid.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELLUCID_CHOICES", str(tmp_path / "choices"))
    default, before = pellucid.explain(model, SOME[0]), pellucid.explain(model, SOME[0], "auto")
    assert before.scores.tolist() == default.scores.tolist() and "the default" in before.notes[-1]
    found = pellucid.evaluate(model, SOME[:5], ["saliency", "occlusion"], [["mask", "pad"]], keep=True)
    assert found.choice is not None and found.choice.method == "occlusion"
    own = pellucid.explain(model, SOME[0], "occlusion", baseline=["mask", "pad"])
    (listed,) = pellucid.explain(model, SOME[:1], "auto")
    streamed = next(iter(pellucid.explain(model, iter(SOME[:1]), "auto")))
    for e in (pellucid.explain(model, SOME[0], "auto"), listed, streamed):
        assert (e.method, e.baseline) == ("occlusion", own.baseline) and e.scores.tolist() == own.scores.tolist()
        assert e.notes[-1] == "An evaluation of this model chose occlusion against mask, pad."
    other = pellucid.load()
    with torch.no_grad():
        other.model.classifier.bias.add_(1.0)
    assert pellucid.explain(other, SOME[0], "auto").method == "deeplift"  # another model, by its weights
    (path,) = (tmp_path / "choices").iterdir()
    path.write_text("{")
    assert pellucid.explain(model, SOME[0], "auto").method == "deeplift"
    with pytest.raises(pellucid.PellucidError, match="offloaded weights"):
        kept(torch.nn.Linear(2, 2, device="meta"))


def test_the_page_holds_curves_and_runs_nothing_that_it_was_given(model: pellucid.Model, tmp_path: Path) -> None:
    name = "<script>alert('x')</script>"
    two = ["it is great fun", "dull and long"]
    found = pellucid.evaluate(model, two, "deeplift", scores={name: pellucid.explain(model, two)}, beam=1)
    html = found.to_html()
    assert "<script" not in html and "&lt;script&gt;" in html and html.count("<polyline") == 2 * 2 * 4
    points = html.split("<polyline points='")[1].split("'")[0].split()
    assert len(points) == 21
    values = [float(p.split(",")[1]) for p in points]
    (curve,) = [c for c in found.rows[0].curves if (c.operator, c.first) == ("mask", "most relevant first")]
    span = [v - values[0] for v in values]  # down the page is less
    expected = [curve.values[0] - v for v in curve.values]
    assert np.corrcoef(span, expected)[0, 1] == pytest.approx(1, abs=1e-4)


def test_a_run_is_measured_as_it_stands_and_a_folder_goes_on(model: pellucid.Model, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pip install 'pellucid[jobs]'")
    two = ["it is great fun", "dull and long"]
    direct = pellucid.evaluate(model, two, "occlusion")
    first = pellucid.evaluate(model, two, "occlusion", out=tmp_path)
    again = pellucid.evaluate(model, two, "occlusion", out=tmp_path)
    stored = pellucid.evaluate(model, tmp_path / "occlusion_mask")
    for found in (first, again, stored):
        of = {r.method: r for r in found.rows}
        assert of.keys() == {"occlusion", "random"}
        for mine, theirs in zip(of["occlusion"].cells, direct.rows[0].cells, strict=True):
            assert mine.value.mean == pytest.approx(theirs.value.mean, abs=1e-6)
    pellucid.run(model, two, tmp_path / "negative", target="negative")
    with pytest.raises(pellucid.PellucidError, match="'negative'; expected one for 'positive'"):
        pellucid.evaluate(model, tmp_path / "negative")
    assert pellucid.evaluate(model, tmp_path / "negative", target="negative").texts == 2
    for limit in (0, -1):
        with pytest.raises(pellucid.PellucidError, match="limit"):
            pellucid.evaluate(model, tmp_path / "occlusion_mask", limit=limit)
    pellucid.run(model, two, tmp_path / "both", method=["occlusion", "saliency"])
    with pytest.raises(pellucid.PellucidError, match="2 methods"):
        pellucid.evaluate(model, tmp_path / "both")
    assert first.rows[0].cost is not None and again.rows[0].cost is None  # nothing was explained again
    other = pellucid.load()
    with torch.no_grad():
        other.model.classifier.weight.mul_(-1)
    with pytest.raises(pellucid.PellucidError):
        pellucid.evaluate(other, two, "occlusion", out=tmp_path)


def test_what_is_kept_is_of_this_very_model_and_names_methods(
    model: pellucid.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELLUCID_CHOICES", str(tmp_path))
    keep(model.model, Choice("occlusion", ("mask",), "why"))
    assert pellucid.explain(model, SOME[0], "auto").method == "occlusion"
    own = pellucid.explain(model, SOME[0], "auto", baseline="zero")
    assert own.baseline == "zero" and own.notes[-1].endswith("chose occlusion against mask. The baseline is your own.")
    other = pellucid.load()
    with torch.no_grad():
        other.model.get_input_embeddings().weight[777] = 0.0  # pyright: ignore
    assert pellucid.explain(other, SOME[0], "auto").method == "deeplift"
    (path,) = tmp_path.iterdir()
    path.write_text('{"method": "deeplift", "baselines": "mask", "sentence": ""}')
    assert "the default" in pellucid.explain(model, SOME[0], "auto").notes[-1]
    with pytest.raises(pellucid.PellucidError, match="'auto', which stands for one"):
        pellucid.evaluate(model, SOME[:2], "auto", keep=True)


def test_a_baseline_whose_name_has_a_comma_can_be_said() -> None:
    from pellucid.cli.evaluate_command import _baselines

    kept = "filler, answer kept"
    assert _baselines(f"mask, {kept},pad") == ["mask", kept, "pad"]
    assert _baselines(f"{kept}+mask") == [[kept, "mask"]] and _baselines(f"mask+{kept},pad") == [["mask", kept], "pad"]
