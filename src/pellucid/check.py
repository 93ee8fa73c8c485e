"""Can a model be explained, and how well? Its operations against the rules, and the residual measured on probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ._explain import explain
from .answers import explanations_of
from .errors import PellucidError, UnsupportedOperation
from .explanation import Explanation
from .models import Model
from .numerics.deeplift.lockstep import LEAF, operations
from .numerics.deeplift.operation_names import ATTENTION
from .numerics.deeplift.recording.recorder import forward_pass, located
from .numerics.deeplift.rules.table import NOTED, RULES
from .plain_data import as_plain

LIMIT = 1e-3
"""The largest residual, relative to the change in the output, that passes; and difference between batched and single,
relative to the largest score."""

TEXTS = (
    "The film was surprisingly good, and I would watch it again.",
    "Not bad, but the plot is thin!",
    "Angela Merkel visited Paris on Tuesday; nobody in Berlin knew why, or so the papers said.",
)

PICTURES = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8) for i in range(3)]
PROBES: Mapping[str, Sequence[Any]] = {
    "question-answering": [{"question": "Who visited Paris?", "context": text} for text in TEXTS],
    "zero-shot-classification": [{"text": text, "labels": ["film", "politics"]} for text in TEXTS],
    "fill-mask": [f"It was {{mask}}. {text}" for text in TEXTS],
    "sentence-similarity": [(a, b) for a, b in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)],
    "multiple-choice": [{"prompt": text, "choices": ["It is good.", "It is a pity."]} for text in TEXTS],
    "image-text-to-text": [
        {"image": picture, "prompt": text, "continuation": " so"} for picture, text in zip(PICTURES, TEXTS, strict=True)
    ],
    "image-classification": PICTURES,
}
"""By task; the texts themselves for any other."""


@dataclass(frozen=True)
class Operation:
    """An autograd operation that the model runs. where: the module it ran in, if it is not covered."""

    name: str
    covered: bool
    where: str = ""


@dataclass(frozen=True)
class Probe:
    """What was measured on one input, for the goal with the largest residual.

    baseline: what the input was compared with. moved: whether any score is other than 0; where none is, input and
    baseline are the same to the model, and the residual says nothing. batched: the largest difference of a score from
    what it is without the others beside it, over the largest score; None where other targets are explained in a batch.
    own: how far the outputs that are explained are from the model's own, run on the input's ids and on the baseline's,
    over the largest number in them.
    """

    text: str
    target: str
    baseline: str
    output: float
    baseline_output: float
    delta: float
    relative_delta: float
    moved: bool
    batched: float | None
    own: float


@dataclass(frozen=True)
class Report:
    """problems: what is wrong, a sentence each; none where the model can be explained."""

    model: str
    architecture: str
    task: str
    labels: tuple[str, ...]
    attention: str | None
    dtype: str
    device: str
    baseline: str
    operations: tuple[Operation, ...]
    probes: tuple[Probe, ...]
    problems: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the operations without a rule."""
        return tuple(o.name for o in self.operations if not o.covered)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values only."""
        return {"schema_version": 1, "passed": not self.problems, **cast("dict[str, Any]", as_plain(self))}

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        if self.problems:
            last = [Text(f"✗ {problem}", style="red") for problem in self.problems]
        else:
            moved = [p.relative_delta for p in self.probes if p.moved]
            words = f"✓ every operation has a rule; the scores of {len(moved)} probes add up, at worst to "
            last = [Text(f"{words}{max(moved):.1g} of the change in the output", style="green")]
        return Group(_facts(self), Text(""), _operations(self), Text(""), _measured(self), Text(""), *last)


def verify(model: Model, inputs: Sequence[Any] | None = None) -> Report:
    """Runs DeepLIFT on a few inputs, each by itself and all together, and says what the model is made of.

    inputs: as `explain` takes them; probes of the model's task when None. A report passes only where something was
    measured: one without inputs, or whose inputs are all the same to the model as their baseline, has a problem.

    Examples:
        >>> import pellucid
        >>> report = verify(pellucid.load())
        >>> report.problems, report.missing, len(report.probes)
        ((), (), 3)
    """
    items = list(inputs) if inputs is not None else _probes(model)
    found: tuple[Operation, ...] = ()
    probes: tuple[Probe, ...] = ()
    problems: list[str] = []
    try:
        with model.borrowed():
            problems += model.random_weights(model.encode(items[:1], True, 3))
        before = len(problems)
        found = _operations_of(model, items)
        problems += [f"{o.name} has no rule{o.where and f': it ran in {o.where}'}." for o in found if not o.covered]
        if len(problems) == before:
            probes = _measure(model, items)
            problems += _problems(probes)
    except PellucidError as error:
        problems.append(f"{type(error).__name__}: {error}")
    config = getattr(model.model, "config", None)
    return Report(
        model.name,
        type(model.model).__name__,
        model.does.name,
        model.labels,
        getattr(config, "_attn_implementation", None),
        ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in model.model.parameters()})) or "none",
        str(model.device),
        ", ".join(dict.fromkeys(p.baseline for p in probes)) or "not measured",
        found,
        probes,
        tuple(problems),
    )


def _problems(probes: Sequence[Probe]) -> list[str]:
    """What is wrong with what was measured, a sentence each."""
    if not probes:
        return ["No input was given, so nothing was measured; expected at least one."]
    if not any(p.moved for p in probes):
        return [
            "Every score is 0, so nothing was measured: to this model each probe is the same as its baseline, "
            f"{probes[0].baseline!r}. Its tokenizer may know none of the words; expected inputs that the model reads."
        ]
    found: list[str] = []
    for i, p in enumerate(probes):
        if not p.own <= LIMIT:
            found.append(f"What is explained of probe {i + 1} is {p.own:.2g} off the model's own answer on its ids.")
        if not p.relative_delta <= LIMIT:
            found.append(f"The residual of probe {i + 1} is {p.relative_delta:.2g} of the change; expected ≤ {LIMIT}.")
        if p.batched is None:
            found.append(f"Probe {i + 1} is explained differently in a batch: other targets are found there.")
        elif not p.batched <= LIMIT:
            found.append(f"Probe {i + 1} is explained differently in a batch, by {p.batched:.2g} of its top score.")
    return found


def _probes(model: Model) -> list[Any]:
    mask = getattr(model.tokenizer, "mask_token", None) or "[MASK]"
    items = PROBES.get(model.does.name, TEXTS)
    return [item.replace("{mask}", mask) if isinstance(item, str) else item for item in items]


def _operations_of(model: Model, items: Sequence[Any]) -> tuple[Operation, ...]:
    """The operations between the embeddings and the goals of any of the inputs, by name; those without a rule first."""
    found: dict[str, Operation] = {}
    with model.borrowed():
        for item in items:
            problem = model.problem(model.encode([item], True, 2), model.baseline("mask"), None)
            leaves = tuple(t.detach().requires_grad_() for t in problem.x)
            with forward_pass(leaves, NOTED):
                outputs = problem.outputs(leaves)
                names = set[str]().union(*(operations(problem.value(outputs, s)) for s in problem.selects(outputs)))
            for name in names - {LEAF} - set(found):
                error = UnsupportedOperation("", name)
                told = "" if name in RULES else str(located(error, lambda p=problem, x=leaves: p.outputs(x)))
                where = told.strip().removeprefix("It ran in ").removesuffix(".")
                found[name] = Operation(name, name in RULES, where)
    return tuple(sorted(found.values(), key=lambda o: (o.covered, o.name)))


def _measure(model: Model, items: Sequence[Any]) -> tuple[Probe, ...]:
    options: dict[str, Any] = {"truncate": True, "max_new_tokens": 3}
    twice = [*items, *items]  # not every model is given texts of different length together
    together = [list(explanations_of(answer)) for answer in explain(model, twice, **options)]
    probes = []
    for item, *batched in zip(items, together[: len(items)], together[len(items) :], strict=True):
        alone = list(explanations_of(explain(model, item, **options)))
        model.ways.clear()  # so that it is measured again whether the embeddings are looked up as it is assumed
        with model.borrowed():
            (encoding,) = model.encode([item], True, 3)
            own = model.distance(encoding, model.baseline("mask"))
        e = max(alone, key=lambda e: e.relative_delta)
        probes.append(
            Probe(
                e.text if isinstance(e.text, str) else " · ".join(e.text),
                e.target.name,
                e.baseline,
                e.output,
                e.baseline_output,
                e.delta,
                e.relative_delta,
                any(a.scores.any() for a in alone),
                _apart(alone, *batched),
                own,
            )
        )
    return tuple(probes)


def _apart(alone: Sequence[Explanation], *others: Sequence[Explanation]) -> float | None:
    """The largest difference of a score in one of the others, over the largest score; None where targets differ."""
    if any([e.target for e in other] != [e.target for e in alone] for other in others):
        return None
    top = max(float(np.abs(a.scores).max()) for a in alone) or 1.0
    pairs = [pair for other in others for pair in zip(alone, other, strict=True)]
    return max(float(np.abs(a.scores - b.scores).max()) for a, b in pairs) / top


# ------------------------------------------------------------------------------------------------------- as it is shown


def _facts(report: Report) -> Any:
    from rich.table import Table

    named = [label for label in report.labels if not label.startswith("LABEL_")]  # which is what no name is called
    labels = ", ".join(named[:8]) + (f", … ({len(named)})" if len(named) > 8 else "")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (
        ("model", f"{report.model} ({report.architecture})"),
        ("task", report.task),
        ("labels", labels or "none named"),
        ("attention", _attention(report)),
        ("numbers", f"{report.dtype} on {report.device}"),
        ("baseline", report.baseline),
    ):
        table.add_row(name, _text(value))
    return table


def _attention(report: Report) -> str:
    """What the configuration says, and whether a fused kernel ran."""
    named = report.attention or "the model's own"
    if not report.operations:
        return f"{named} (not measured)"
    fused = {o.name.split("Backward")[0] for o in report.operations} & set(ATTENTION)
    return f"{named}, {'fused' if fused else 'in its parts'}"


def _operations(report: Report) -> Any:
    """Those without a rule one by one, the others in one line."""
    from rich.table import Table
    from rich.text import Text

    covered = [o.name.split("Backward")[0] for o in report.operations if o.covered]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("operations", no_wrap=True)
    table.add_column("", overflow="fold")
    for o in report.operations:
        if not o.covered:
            table.add_row(Text("✗ no rule", "red"), _text(f"{o.name}{o.where and f' in {o.where}'}"))
    if covered:
        table.add_row(Text(f"✓ {len(covered)} covered", "green"), Text(", ".join(covered), "dim"))
    return table


def _measured(report: Report) -> Any:
    """How far the outputs are from the model's own, the residual over the change in the output, and how far scores
    differ in a batch, over the largest of them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("probe", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("target", no_wrap=True, overflow="ellipsis", max_width=10)
    for name in ("baseline → output", "own", "residual", "batched"):
        table.add_column(name, justify="right", no_wrap=True)
    judged = lambda v: Text(f"{v:.1e}", "green" if v <= LIMIT else "red")
    for p in report.probes:
        change = f"{p.baseline_output:.3f} → {p.output:.3f}"
        residual = judged(p.relative_delta) if p.moved else Text("no change", "red")
        batched = Text("other targets", "red") if p.batched is None else judged(p.batched)
        table.add_row(_text(p.text), _text(p.target), change, judged(p.own), residual, batched)
    return table if report.probes else Text("not measured", "dim")


def _text(value: str) -> Any:
    """What comes from outside, never read as markup, its control characters written out."""
    from rich.text import Text

    from .render.facts import visible

    return Text(visible(value))
