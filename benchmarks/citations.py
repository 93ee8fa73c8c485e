"""Which source an answer came from: questions over passages of XQuAD, with passages of other articles as distractors.

    python benchmarks/citations.py --model DIR --questions 60 --out rows.jsonl --ablated 20 --most 4

Each passage is two sentences; one of the right passage's holds the answer. The prompt is plain: an example of how to
answer, the passages, the question. A question counts where the model answers rightly: the first line that it writes
holds the right answer. That line is explained.
Told of each way: is the right passage first (the sum of its sentences); by how much does the answer's log-probability
fall without the k strongest sentences (top-k drop); and how well do the scores of the sentences that are left rank what
the model says of random ablations that no way has seen (linear datamodeling score, LDS). The ways:

- DeepLIFT against the filler in the place of every word of the prompt and of the answer; with the words of the answer
  kept; with those of the answer and of the question kept.
- Leave-one-out: the drop without each sentence.
- ContextCite (Cohen-Wang et al. 2024, 2409.00729): a lasso (alpha 0.01, sentences standardised, log-odds of the answer
  over its tokens) on 32 or 256 random ablations, each of which leaves every sentence with probability 1/2.

The ablations are made here, by calling the model on the ids that are left. A row is written for every question, so that
a run that is cut off goes on where it ended; the table is printed last, as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso
from sklearn.preprocessing import StandardScaler
from transformers import DynamicCache

import pellucid
from pellucid.metrics.bootstrap import draws, interval
from pellucid.sentences import sentence_ends

Subset = tuple[int, ...]
"""The sentences that are left, by number."""
EXAMPLE = (
    "Text: The old mill was built in 1820 by John Ames. It stands beside the river Lea.\n\nQuestion: Who built the old "
    "mill?\nAnswer: John Ames\n\nQuestion: Where does the mill stand?\nAnswer: beside the river Lea\n\nText:"
)
"""How to answer: a part of every prompt, and none of the sources."""


def questions(path: Path, distractors: int, seed: int) -> list[tuple[dict[str, Any], int, str]]:
    """All questions in random order: the input, the number of the right passage, the right answer."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    draw = random.Random(seed)
    every = [(a, p["context"], q) for a in articles for p in a["paragraphs"] for q in p["qas"]]
    found = []
    for article, context, question in draw.sample(every, len(every)):
        gold = question["answers"][0]
        others = [p["context"] for a in articles if a is not article for p in a["paragraphs"]]
        texts = [two_sentences(text, 0) for text in draw.sample(others, distractors)]
        right = draw.randrange(distractors + 1)
        texts.insert(right, two_sentences(context, gold["answer_start"]))
        passages = [(f"passage {i}", text) for i, text in enumerate(texts)]
        asked = ("question", f"Question: {question['question']}\nAnswer:")
        found.append(({"parts": [("example", EXAMPLE), *passages, asked]}, right, gold["text"]))
    return found


def two_sentences(text: str, at: int) -> str:
    """The sentence around a character of a text, and the next; or the one before where there is no next."""
    ends = [0, *(e for e in sentence_ends(text) if e < len(text)), len(text)]
    k = max(0, min(max(j for j in range(len(ends) - 1) if ends[j] <= at), len(ends) - 3))
    return text[ends[k] : ends[min(k + 2, len(ends) - 1)]].strip()


def answered(model: pellucid.Model, item: dict[str, Any]) -> str:
    """The first line that the model writes."""
    return model.encode([item], max_new_tokens=12)[0].text[-1].split("\n")[0].rstrip()


def log_probability(model: pellucid.Model, e: pellucid.Explanation, units: Sequence[Sequence[int]]) -> Any:
    """`sentences that are left -> log-probability of the answer`, by calling the model on the ids that are left. A pass
    goes on where its ids leave those of the pass before, so sorted subsets are the cheapest."""
    answer = len(e.text) - 1
    rest = sum(t.segment == answer and not t.special for t in e.tokens)
    ids, known = np.array([t.id for t in e.tokens]), dict[Subset, float]()
    cache, read = DynamicCache(), [ids[:0]]

    def run(left: Subset) -> float:
        if left not in known:
            gone = [i for k, unit in enumerate(units) if k not in left for i in unit]
            own, last = np.delete(ids, gone), read[-1]
            most = min(len(own) - rest - 1, len(last))  # the logits before the answer are read
            same = int(np.append(own[:most] == last[:most], False).argmin())
            cache.crop(same - cache.get_seq_length())
            row = torch.tensor(own, device=model.device)[None]
            with torch.no_grad():
                found = model.model(row[:, same:], past_key_values=cache, logits_to_keep=rest + 1)  # pyright: ignore
            known[left] = float(found.logits[0, :-1].log_softmax(-1).gather(1, row[0, -rest:, None]).sum())
            read[-1] = own
        return known[left]

    return run, rest


def log_odds(log_p: np.ndarray) -> np.ndarray:
    """ln p − ln(1 − p)."""
    return log_p - np.log1p(-np.exp(np.minimum(log_p, -1e-12)))


def lasso(subsets: Sequence[Subset], run: Callable[[Subset], float], n: int, tokens: int) -> np.ndarray:
    """ContextCite's weights of n sentences."""
    left = np.array([[k in s for k in range(n)] for s in subsets], dtype=float)
    of = {s: run(s) for s in sorted(set(subsets))}
    odds = log_odds(np.array([of[s] for s in subsets])) / tokens
    scale = StandardScaler().fit(left)
    return Lasso(alpha=0.01, random_state=0).fit(scale.transform(left), odds).coef_ / scale.scale_ * tokens


def told(
    scores: np.ndarray, of_passage: np.ndarray, right: int, run: Callable[[Subset], float], held: Sequence[Subset]
) -> dict[str, Any]:
    """Whether the right passage is first, the top-k drops, and the LDS (where there are held ablations)."""
    n = len(scores)
    sums = [float(scores[of_passage == p].sum()) for p in range(of_passage.max() + 1)]
    order = np.argsort(-scores)
    found: dict[str, Any] = {"first": int(np.argmax(sums)) == right}
    for k in (1, 3):
        found[f"top-{k} drop"] = run(tuple(range(n))) - run(tuple(sorted(order[k:].tolist())))
    if held:
        model_says = log_odds(np.array([run(s) for s in held]))
        found["lds"] = float(spearmanr([scores[list(s)].sum() for s in held], model_says).statistic)
        found["lds"] = 0.0 if np.isnan(found["lds"]) else found["lds"]  # all scores equal rank nothing
    return found


def baselines(model: pellucid.Model, e: pellucid.Explanation) -> dict[str, torch.Tensor]:
    """The ids of each baseline by name."""
    answer, filler = len(e.text) - 1, pellucid_filler(model)
    kept = {"all words": (), "answer kept": (answer,), "answer and question kept": (answer, answer - 1)}
    of = lambda own: torch.tensor([t.id if t.special or t.segment in own else filler for t in e.tokens])
    return {name: of(own) for name, own in kept.items()}


def pellucid_filler(model: pellucid.Model) -> int:
    """The filler's id."""
    return model.tokenizer(" the", add_special_tokens=False)["input_ids"][0]


def one(
    model: pellucid.Model, item: dict[str, Any], right: int, ablations: int, held: int, seed: int
) -> dict[str, Any]:
    """What each way says of one question. ablations: so many, and `held` that no way sees; 0 for the first two ways
    alone."""
    draw, rows = random.Random(seed), {}
    first = None
    for name in ("all words", "answer kept", "answer and question kept")[: 3 if ablations else 2]:
        start = time.perf_counter()
        more = {} if first is None else {"baseline": baselines(model, first)[name], "segments": 2}
        (e,) = pellucid.explain(model, item, target="total", method=["deeplift"], **more)  # pyright: ignore
        first, seconds = first or e, time.perf_counter() - start
        sentences = [w for w in e.sentences() if not w.special and 0 < w.segment < len(item["parts"]) - 1]
        scores = np.array([w.score for w in sentences])
        share, cancel = scores.sum() / e.change, np.abs(e.scores).sum() / abs(e.change)
        rows[name] = {"scores": scores, "share": share, "cancel": cancel, "seconds": seconds}
        rows[name] |= {"residual": e.relative_delta, "output": e.output, "passes": e.passes}
    assert first is not None
    units, of_passage = [w.tokens for w in sentences], np.array([w.segment - 1 for w in sentences])
    run, tokens = log_probability(model, first, units)
    n = len(units)
    assert abs(run(tuple(range(n))) - first.output) < 1e-3 * (1 + abs(first.output))
    if ablations:
        start, whole = time.perf_counter(), run(tuple(range(n)))
        alone = [whole - run(tuple(j for j in range(n) if j != k)) for k in range(n)]
        rows["leave-one-out"] = {"scores": np.array(alone), "seconds": time.perf_counter() - start, "passes": n + 1}
    subset = lambda: tuple(k for k in range(n) if draw.random() < 0.5)
    unseen = sorted(subset() for _ in range(held))
    drawn = [s for _ in range(4 * ablations + 1) if (s := subset()) not in unseen][:ablations]
    for count in [c for c in (32, 256) if c <= ablations]:
        start = time.perf_counter()
        scores = lasso(drawn[:count], run, n, tokens)
        rows[f"ContextCite {count}"] = {"scores": scores, "seconds": time.perf_counter() - start, "passes": count}
    for way in rows.values():
        way |= told(way.pop("scores"), of_passage, right, run, unseen)
    return {"tokens": len(first.tokens), "answer tokens": tokens, "sentences": n, "ways": rows}


MEASURED = ("first", "top-1 drop", "top-3 drop", "lds")
"""What is told with the interval of its mean."""
OURS = "answer kept"
"""The way that `pellucid.cite` goes, which the others are compared with on the same questions."""


def table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The means over the questions where a way was measured; those with ablations apart, as the same for all ways.

    What is measured is told as [mean, low, high], with the 95 % interval of a bootstrap over the questions, and once
    more as the difference from the way `OURS`, question by question; the rest by its median.
    """
    found: dict[str, Any] = {"questions": len(rows)}
    for title, needed in (("all", OURS), ("with 32 ablations", "ContextCite 32"), ("with 256", "ContextCite 256")):
        some = [r["ways"] for r in rows if needed in r["ways"]]
        names = sorted(set.intersection(*(set(ways) for ways in some))) if some else []
        found[title] = {"questions": len(some)} | {
            name: summary([ways[name] for ways in some], [ways[OURS] for ways in some]) for name in names
        }
    return found


def summary(way: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What one way reached on some questions, beside ours."""
    drawn, told = draws(len(way)), dict[str, Any]()
    for what in [name for name in way[0] if all(name in w for w in way)]:
        values = np.array([w[what] for w in way], dtype=float)
        if what not in MEASURED:
            told[what] = round(float(np.nanmedian(values)), 3)
            continue
        less = values - np.array([w[what] for w in ours], dtype=float)
        for name, each in ((what, values), (f"{what}, less ours", less)):
            found = interval(each, drawn)
            told[name] = [round(v, 3) for v in (found.mean, found.low, found.high)]
    return told


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--model", required=True)
    asked.add_argument("--data", default="../shared/data/xquad.en.json", type=Path)
    asked.add_argument(
        "--out", required=True, type=Path, help="a row for each question; a file that exists is added to"
    )
    asked.add_argument("--questions", type=int, default=60, help="so many that the model answers rightly")
    asked.add_argument("--distractors", type=int, default=4)
    asked.add_argument("--ablated", type=int, default=20, help="so many of them with 32 ablations")
    asked.add_argument("--most", type=int, default=4, help="so many of these with 256 ablations")
    asked.add_argument("--held", type=int, default=24, help="so many ablations that no way sees, for the LDS")
    asked.add_argument("--device", help='as `pellucid.load` takes it: "cuda"')
    asked.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked.add_argument("--seed", type=int, default=0)
    how = asked.parse_args()
    torch.set_num_threads(how.threads)
    model = pellucid.load(how.model, task="text-generation", device=how.device)
    model.tokenizer.chat_template = None
    asked_of = questions(how.data, how.distractors, how.seed)
    rows = [json.loads(line) for line in how.out.read_text().splitlines()] if how.out.exists() else []
    done = {r["number"]: r for r in rows if "ways" in r}
    with how.out.open("a", encoding="utf-8") as written:

        def tell(row: dict[str, Any]) -> None:
            written.write(json.dumps(row, default=float) + "\n")
            written.flush()

        for number in range(1 + max((r["number"] for r in rows), default=-1), len(asked_of)):
            if len(done) >= how.questions:
                break
            item, right, gold = asked_of[number]
            answer = answered(model, item)
            row: dict[str, Any] = {"number": number, "right": right, "gold": gold, "answer": answer}
            if gold.lower() in answer.lower():
                row |= one(model, {**item, "continuation": answer}, right, 0, 0, number)
                done[number] = row
            tell(row)
        for count, most in ((32, how.ablated), (256, how.most)):
            for number, row in list(done.items())[:most]:
                if f"ContextCite {count}" not in row["ways"]:
                    item, right, _ = asked_of[number]
                    more = one(model, {**item, "continuation": row["answer"]}, right, count, how.held, number)
                    done[number] = row | more
                    tell(done[number])
    done = list(done.values())
    print(json.dumps({"tried": 1 + max(r["number"] for r in done), **table(done)}, indent=1))


if __name__ == "__main__":
    main()
