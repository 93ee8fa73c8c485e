"""How faithful Pellucid's methods and their rivals are, with intervals: models × ways to remove words × metrics.

    python benchmarks/leaderboard.py [--shared ../shared] [--language-model DIR] [--work .leaderboard] [--texts 40]
                                     [--prompts 24] [--model NAME]… [--device cuda] [--page docs/faithfulness.md]
                                     [--json OUT.json]

What each method says of each model's texts is kept in --work, one file for a model and method, and is not asked for
again there; then all of it goes through `pellucid.evaluate`. Seconds are those of the processor: with one thread they
are those of a machine that does nothing else. Models: the bundled classifier; that classifier trained with a planted
shortcut (`planted.py`, two minutes); minilm-sst2 of --shared; a causal checkpoint. Those whose files are missing are
left out, and so are methods that raise (Captum's DeepLift of a Llama, LIME of a prompt) or whose library is not
installed (shap, lime). The page is written between its markers `<!-- leaderboard -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from planted import planted, read, train, training_texts
from probes import PROBES
from rivals import RIVALS

import pellucid
from pellucid.evaluation.measuring import forward_backward_seconds
from pellucid.number_text import times

OPERATORS = ("mask", "delete", "sampled")
METRICS = (
    ("probability", "comprehensiveness"),
    ("probability", "sufficiency"),
    ("log-odds", "area between"),
    ("probability", "normalised area"),
)
BEAM = 2
RANDOM = 16
"""The row of chance is the mean of so many rankings."""
SHORT = 12
"""Prompts of at most so many words, of which orders can be searched in time."""
ASKED = 5
"""Questions of at least so many words."""
OWN = 3
"""So many tokens of the model's own answer to a question are explained."""
LIKELY = 0.1
"""The least probability of a prompt's continuation: of an improbable one no removal can be seen to take it away."""
INPUTS = "inputs.json"
"""What is measured of a model, in its folder: what it is asked is not found anew each time."""
WORDS = 16
"""Sentences of at most so many words, for the same reason."""
FEW = 4
"""So many passes are few."""

SAMPLES = {"n_samples": 200}
OURS: dict[str, dict[str, Any]] = {
    "deeplift · default": {},
    "deeplift · mask, 1 segment": {"segments": 1},
    "deeplift · mask, 2 segments": {"segments": 2},
    "deeplift · pad": {"baseline": "pad"},
    "deeplift · zero": {"baseline": "zero"},
    "deeplift · mean": {"baseline": "mean"},
    "deeplift · mask, pad": {"baseline": ["mask", "pad"]},
    "deeplift · mask, pad, zero": {"baseline": ["mask", "pad", "zero"]},
    "deeplift_apart · mask": {"method": "deeplift_apart"},
    "integrated gradients to 1 % · mask": {"method": "integrated_gradients"},
    "input × gradient · mask": {"method": "input_x_gradient"},
    "saliency": {"method": "saliency"},
    "smoothgrad": {"method": "smoothgrad"},
    "leave-one-out (the limit of SIG) · mask": {"method": "occlusion", "groups": "word"},
    "leave-one-out · delete": {"method": "occlusion", "baseline": "delete", "groups": "word"},
    "kernel SHAP (200) · mask": {"method": "kernel_shap", "groups": "word", **SAMPLES},
    "Owen values (partition SHAP, 200) · mask": {"method": "partition_shap", "groups": "word", "max_passes": 200},
    "LIME (200) · delete": {"method": "lime", "groups": "word", "baseline": "delete", **SAMPLES},
}
FILLERS: dict[str, dict[str, Any]] = {
    f"deeplift · {', '.join(map(repr, names))}, {n} segment{'s' * (n > 1)}": {"baseline": list(names), "segments": n}
    for names in ((" _",), (" a",), (" the", " a"), (" the", " _"), (" the", " a", ",", " of"))
    for n in (1, 2)
}
FILLERS |= {
    "integrated gradients to 1 % · mask": {"method": "integrated_gradients", "max_passes": 25},
    "smoothgrad": {"method": "smoothgrad", "n_samples": 8},
}
"""For decoders: what is theirs alone, and less of what takes many passes."""

PROMPTS = (
    ("The first month of the year is", " January"),
    ("Two plus two equals", " four"),
    ("The sun rises in the", " east"),
    ("She opened the door with her", " key"),
    ("The dog chased the", " cat"),
    ("The dogs in the garden", " are"),
    ("Paris is the capital of", " France"),
    ("Water freezes and turns into", " ice"),
    ("The doctor told the patient to take", " the"),
    ("I put on my coat because it was", " cold"),
    ("The plural of mouse is", " mice"),
    ("He bought bread and butter at the", " store"),
)


@dataclass(frozen=True)
class Entry:
    """A model of the leaderboard with its inputs. load: makes the model, on a device. target: of all inputs.
    rationales: where the words that decide are known."""

    name: str
    load: Callable[..., pellucid.Model]
    items: Sequence[Any]
    target: Any = None
    rationales: Sequence[Any] | None = None
    causal: bool = False


def entries(shared: Path, language_model: Path | None, work: Path, texts: int, prompts: int) -> list[Entry]:
    """The models whose files are there."""
    found: list[Entry] = []
    dev, train_file = shared / "data" / "sst2-dev.tsv", shared / "data" / "sst2-train.tsv"
    short = lambda text: 4 <= words(text) <= WORDS
    rows = [(t, y) for t, y in read(dev) if short(t)][:texts] if dev.exists() else []
    if rows:
        sentences = [t for t, _ in rows]
        found.append(Entry("bundled", pellucid.load, sentences))
        checkpoint = shared / "models" / "minilm-sst2"
        if checkpoint.is_dir():
            found.append(Entry("minilm-sst2", partial(pellucid.load, str(checkpoint)), sentences))
    if rows and train_file.exists():
        draw, inputs = random.Random(1), []
        for i, (text, _) in enumerate(rows):
            inputs.append(planted(text, i % 2, draw))
        load = partial(_planted, work / "planted model", train_file)
        found.append(Entry("planted", load, [t for t, _ in inputs], rationales=[[span] for _, span in inputs]))
    if language_model is not None and language_model.is_dir():
        name, load = language_model.resolve().name, partial(pellucid.load, str(language_model))
        kept = work / name / INPUTS
        inputs = json.loads(kept.read_text("utf-8")) if kept.exists() else []
        if len(inputs) < prompts:
            inputs = list(islice(asked(load(), shared), prompts))
        found.append(Entry(name, load, inputs[:prompts], "total", causal=True))
    return found


def asked(model: pellucid.Model, shared: Path) -> Iterator[dict[str, Any]]:
    """What a language model is asked: questions, of a model that chats; else short prompts."""
    passages = shared / "data" / "xquad.en.json"
    chats = getattr(model.tokenizer, "chat_template", None) is not None and passages.exists()
    return questions(model, passages) if chats else likely(model, shared)


def questions(model: pellucid.Model, passages: Path) -> Iterator[dict[str, Any]]:
    """Questions of XQuAD as a user asks them in a chat, each with the first tokens of the model's own answer, of which
    it is sure enough."""
    data = json.loads(passages.read_text("utf-8"))["data"]
    found = [q["question"] for a in data for p in a["paragraphs"] for q in p["qas"]]
    found = [q for q in found if ASKED <= words(q) <= SHORT]
    random.Random(1).shuffle(found)
    for question in found:
        chat = {"messages": [{"role": "user", "content": question}]}
        e = pellucid.explain(model, chat, "saliency", "total", max_new_tokens=OWN)
        if math.exp(e.output) >= LIKELY:
            answer = e.text_names.index("continuation")
            yield {**chat, "continuation": [t.id for t in e.tokens if t.segment == answer]}


def likely(model: pellucid.Model, shared: Path) -> Iterator[dict[str, str]]:
    """Short prompts with a continuation that the model finds probable, many of them probes."""
    probes = shared / "cases" / "probes.json"
    more = json.loads(probes.read_text("utf-8")) if probes.exists() else []
    pairs = [*((p.prompt, p.continuation) for p in PROBES), *((p["prompt"], p["continuation"]) for p in more)]
    short = [{"prompt": p, "continuation": c} for p, c in dict.fromkeys([*pairs, *PROMPTS]) if words(p) <= SHORT]
    random.Random(1).shuffle(short)
    return (a for a in short if probability(model, a) >= LIKELY)


def words(text: str) -> int:
    return len(text.split())


def probability(model: pellucid.Model, asked: dict[str, str]) -> float:
    """Of a prompt's continuation as a whole."""
    return math.exp(pellucid.explain(model, asked, target="total", method="saliency").output)


def _planted(folder: Path, train_file: Path, device: str | None = None) -> pellucid.Model:
    if not (folder / "config.json").exists():
        model = train(training_texts(read(train_file)))
        model.model.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
    return pellucid.load(str(folder), device=device)


def answers(entry: Entry, work: Path) -> dict[str, dict[str, Any]]:
    """What each method says of the model's inputs: its scores, seconds and passes of an input, from its file or now."""
    folder = work / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    _check_inputs(folder / INPUTS, list(entry.items))
    model, found = None, {}
    ours = {**OURS, **(FILLERS if entry.causal else {})}
    for name in [*ours, *RIVALS]:
        path = folder / f"{name.replace('/', ' ')}.json"
        if path.exists():
            found[name] = json.loads(path.read_text("utf-8"))
        else:
            if model is None:
                model = entry.load()
                pellucid.explain(model, entry.items[0], target=entry.target)  # not cold, when timed
            start = time.process_time()
            try:
                scores, passes = _ours(model, entry, ours[name]) if name in ours else _rival(model, entry, RIVALS[name])
            except Exception as error:
                found[name] = {"error": f"{type(error).__name__}: {error}"}
            else:
                seconds = (time.process_time() - start) / len(entry.items)
                found[name] = {"scores": scores, "passes": passes, "seconds": seconds}
            found[name]["items"] = len(entry.items)
            path.write_text(json.dumps(found[name]), "utf-8")
        if found[name]["items"] < len(entry.items):
            raise SystemExit(f"{path} is of {found[name]['items']} inputs, not {len(entry.items)}: take another --work")
        if "scores" in found[name]:  # of the first inputs, where there are more
            found[name]["scores"] = found[name]["scores"][: len(entry.items)]
        print(
            entry.name, "|", name, "|", found[name].get("error", f"{found[name].get('seconds', 0):.3f} s"), flush=True
        )
    return found


def _check_inputs(path: Path, inputs: list[Any]) -> None:
    """Keeps what is measured in a file. Stops where it is of other inputs: so are then the answers beside it."""
    before = json.loads(path.read_text("utf-8")) if path.exists() else inputs
    if any(a != b for a, b in zip(before, inputs, strict=False)):
        raise SystemExit(f"{path} has other inputs: take another --work")
    if len(inputs) >= len(before):
        path.write_text(json.dumps(inputs), "utf-8")


def _ours(model: pellucid.Model, entry: Entry, options: dict[str, Any]) -> tuple[list[list[float]], float]:
    each = pellucid.explain(model, list(entry.items), target=entry.target, **options)
    return [e.scores.tolist() for e in each], float(np.mean([e.passes for e in each]))


def _rival(model: pellucid.Model, entry: Entry, rival: Any) -> tuple[list[list[float]], None]:
    return [rival(model, item, entry.target).tolist() for item in entry.items], None


def measured(entry: Entry, work: Path, device: str | None = None) -> dict[str, Any]:
    """The evaluation of all methods of a model on a device, as plain values; kept in its file."""
    said = answers(entry, work)
    there = {name: one for name, one in said.items() if "scores" in one}
    scores = {name: one["scores"] for name, one in there.items()}
    mark = _mark(entry, scores)
    path = work / entry.name / "evaluation" / f"{mark}.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else _evaluated(entry, there, path, device)
    alone = _alone(entry, work / entry.name / "evaluation" / "model alone.json")
    for row in [*found["rows"], found["best_order"]]:
        one = there.get(row["method"], {})
        row["passes"] = one.get("passes")
        row["cost"] = one["seconds"] / alone if one else None
    found["left out"] = {name: one["error"] for name, one in said.items() if "error" in one}
    return found


def _mark(entry: Entry, scores: dict[str, Any]) -> str:
    """What an evaluation is of."""
    told = [scores, list(entry.items), entry.target, entry.rationales, OPERATORS, RANDOM, BEAM]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def _alone(entry: Entry, path: Path) -> float:
    """Seconds of one forward and backward pass of the model on an input; kept in its file."""
    if not path.exists():
        model = entry.load()
        with model.borrowed():
            found = forward_backward_seconds(model, model.encode(list(entry.items)), entry.target)
        path.write_text(json.dumps(found), "utf-8")
    return json.loads(path.read_text("utf-8"))


def _evaluated(entry: Entry, there: dict[str, dict[str, Any]], path: Path, device: str | None) -> dict[str, Any]:
    scores = {name: [np.array(s) for s in one["scores"]] for name, one in there.items()}
    found = pellucid.evaluate(
        entry.load(device=device),
        list(entry.items),
        (),
        scores=scores,
        operators=OPERATORS,
        target=entry.target,
        beam=BEAM,
        random_rankings=RANDOM,
        rationales=entry.rationales,
        progress=lambda line: print(entry.name, "|", line, flush=True),
    ).to_dict()
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, ensure_ascii=False), "utf-8")
    return found


def cells(found: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, dict[str, Any]]]:
    """For each (operator, output, metric) of the leaderboard the cell of each method."""
    every: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for row in [*found["rows"], found["best_order"]]:
        for cell in row["cells"]:
            key = (cell["operator"], cell["output"], cell["metric"])
            if key[1:] in METRICS:
                every.setdefault(key, {})[row["method"]] = cell
    return every


def tied(cell: dict[str, Any]) -> bool:
    return cell["behind"]["low"] <= 0 <= cell["behind"]["high"]


def shares_tied(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    """In which share of the cells of the models that it was measured on each method is tied with the best."""
    ties: dict[str, list[bool]] = {}
    for found in results.values():
        for methods in cells(found).values():
            for name, cell in methods.items():
                if name != "best order":
                    ties.setdefault(name, []).append(tied(cell))
    return {name: float(np.mean(t)) for name, t in ties.items()}


def few_passes(results: dict[str, dict[str, Any]]) -> float:
    """The share of cells in which one of Pellucid's rows of at most FEW passes is tied with the best."""
    hits: list[bool] = []
    for found in results.values():
        cheap = {r["method"] for r in found["rows"] if r["passes"] is not None and r["passes"] <= FEW}
        hits += [any(tied(c) for name, c in methods.items() if name in cheap) for methods in cells(found).values()]
    return float(np.mean(hits))


def page(results: dict[str, dict[str, Any]]) -> str:
    """The tables in Markdown."""
    lines = [
        f"In {few_passes(results):.0%} of the cells (model × operator × metric) a row of Pellucid's of at most {FEW} "
        "passes is tied with the best row, rivals and methods of hundreds of passes included.",
        "",
    ]
    for name, found in results.items():
        agreement = [m for m in found["rows"][0]["plausibility"] if m == "recall"]
        heads = [
            "method",
            "total",
            "95 %",
            *OPERATORS,
            *(f"{o}, {m}" for o, m in METRICS),
            *agreement,
            "passes",
            "cost",
        ]
        lines += [
            f"### {name}: {found['texts']} inputs",
            "",
            f"| {' | '.join(heads)} |",
            "|---|" + "---:|" * (len(heads) - 1),
        ]
        for row in [found["best_order"], *found["rows"]]:
            mark = lambda text, best: f"**{text}**" if best else text
            of = {(c["output"], c["metric"]): [] for c in row["cells"]}
            for c in row["cells"]:
                of[c["output"], c["metric"]].append(c["value"]["mean"])
            rows = [
                row["method"],
                mark(f"{row['total']['mean']:.3f}", row is not found["best_order"] and tied(row)),
                f"{row['total']['low']:.3f} to {row['total']['high']:.3f}",
                *(f"{row['by_operator'][o]['mean']:.3f}" for o in OPERATORS),
                *(f"{np.mean(of[key]):.3f}" if key in of else "" for key in METRICS),
                *(f"{row['plausibility'][m]['mean']:.2f}" if row["plausibility"] else "" for m in agreement),
                "" if row["passes"] is None else f"{row['passes']:.3g}",
                "" if row["cost"] is None else times(row["cost"]),
            ]
            lines.append(f"| {' | '.join(rows)} |")
        left = "; ".join(f"{k} ({v.split(':')[0]})" for k, v in found["left out"].items())
        lines += ["", *([f"Not measured here: {left}.", ""] if left else [])]
    shares = sorted(shares_tied(results).items(), key=lambda item: -item[1])
    counts = Counter(name for found in results.values() for methods in cells(found).values() for name in methods)
    lines += ["### In which share of its cells a method is tied with the best", ""]
    lines += ["A method has twelve cells of each model that it was measured on.", ""]
    lines += ["| method | share | of cells |", "|---|---:|---:|"]
    lines += [f"| {name} | {share:.2f} | {counts[name]} |" for name, share in shares]
    return "\n".join(lines) + "\n"


def _rounded(tree: Any) -> Any:
    """Plain values without the curves and the model's path, with the cells of METRICS alone, to five digits."""
    if isinstance(tree, dict):
        return {k: _rounded(v) for k, v in tree.items() if k not in ("curves", "model")}
    if isinstance(tree, list):
        return [_rounded(v) for v in tree if "metric" not in v or (v["output"], v["metric"]) in METRICS]
    return float(f"{tree:.5g}") if isinstance(tree, float) else tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--language-model", type=Path)
    parser.add_argument("--work", type=Path, default=Path(".leaderboard"))
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--model", action="append", help="only the models of these names")
    parser.add_argument("--device", help="where words are removed, such as cuda; methods are timed on the CPU")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    for entry in entries(given.shared, given.language_model, given.work, given.texts, given.prompts):
        if given.model is None or entry.name in given.model:
            results[entry.name] = measured(entry, given.work, given.device)
    if not results:
        raise SystemExit("No model was found; expected --shared with data/sst2-dev.tsv, or --language-model.")
    text = page(results)
    print(text)
    if given.page is not None:
        head, rest = given.page.read_text("utf-8").split("<!-- leaderboard -->\n", 1)
        tail = rest.split("<!-- end -->", 1)[1]
        given.page.write_text(f"{head}<!-- leaderboard -->\n{text}<!-- end -->{tail}", "utf-8")
    if given.json is not None:
        told = {"few": few_passes(results), "shares tied": shares_tied(results), "models": results}
        given.json.write_text(json.dumps(_rounded(told), ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    main()
