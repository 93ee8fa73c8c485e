"""Can a model be explained, and how well? Its operations against the rules, and the residual measured on probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from .errors import PellucidError, UnsupportedOperation
from .explaining import explain
from .explanation import Explanation, Explanations
from .models import Model
from .numerics.lockstep import LEAF, operations
from .numerics.recording import forward_pass, located
from .numerics.rules import NOTED, RULES

LIMIT = 1e-3
"""The largest residual, relative to the change in the output, that passes; and difference between batched and single,
relative to the largest score."""

TEXTS = (
    "The film was surprisingly good, and I would watch it again.",
    "Not bad, but the plot is thin!",
    "Angela Merkel visited Paris on Tuesday; nobody in Berlin knew why, or so the papers said.",
)

PROBES: Mapping[str, Sequence[Any]] = {
    "question-answering": [{"question": "Who visited Paris?", "context": text} for text in TEXTS],
    "zero-shot-classification": [{"text": text, "labels": ["film", "politics"]} for text in TEXTS],
    "fill-mask": [f"It was {{mask}}. {text}" for text in TEXTS],
    "sentence-similarity": [(a, b) for a, b in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)],
    "multiple-choice": [{"prompt": text, "choices": ["It is good.", "It is a pity."]} for text in TEXTS],
    "image-classification": [np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8) for i in range(3)],
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

    batched: the largest difference of a score from what it is without the others beside it, over the largest score.
    """

    text: str
    target: str
    output: float
    baseline_output: float
    delta: float
    relative_delta: float
    batched: float


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
        return {"schema_version": 1, "passed": not self.problems, **_plain(self)}

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        if self.problems:
            last = [Text(f"✗ {problem}", style="red") for problem in self.problems]
        else:
            worst = max((p.relative_delta for p in self.probes), default=0.0)
            words = f"✓ every operation has a rule; scores add up, at worst to {worst:.1g} of the change in the output"
            last = [Text(words, style="green")]
        return Group(_facts(self), Text(""), _operations(self), Text(""), _measured(self), Text(""), *last)


def verify(model: Model, inputs: Sequence[Any] | None = None) -> Report:
    """Runs DeepLIFT on a few inputs, each by itself and all together, and says what the model is made of.

    inputs: as `explain` takes them; probes of the model's task when None.

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
        found = _operations_of(model, items[:1])
        problems += [f"{o.name} has no rule{o.where and f': it ran in {o.where}'}." for o in found if not o.covered]
        if not problems:
            probes = _measure(model, items)
    except PellucidError as error:
        problems.append(f"{type(error).__name__}: {error}")
    for i, p in enumerate(probes):
        if p.relative_delta > LIMIT:
            problems.append(
                f"The residual of probe {i + 1} is {p.relative_delta:.2g} of the change; expected ≤ {LIMIT}."
            )
        if p.batched > LIMIT:
            problems.append(f"Probe {i + 1} is explained differently in a batch, by {p.batched:.2g} of its top score.")
    config = getattr(model.model, "config", None)
    return Report(
        model.name,
        type(model.model).__name__,
        model.row.name,
        model.labels,
        getattr(config, "_attn_implementation", None),
        str(next((p.dtype for p in model.model.parameters()), "none")).removeprefix("torch."),
        str(model.device),
        str(model.baseline("mask")),
        found,
        probes,
        tuple(problems),
    )


def _probes(model: Model) -> list[Any]:
    mask = getattr(model.tokenizer, "mask_token", None) or "[MASK]"
    items = PROBES.get(model.row.name, TEXTS)
    return [item.replace("{mask}", mask) if isinstance(item, str) else item for item in items]


def _operations_of(model: Model, items: Sequence[Any]) -> tuple[Operation, ...]:
    """The operations between the embeddings and the goals, by name; those without a rule first."""
    with model.borrowed():
        problem = model.problem(model.encode(items, True, 2), model.baseline("mask"), None)
        leaves = tuple(t.detach().requires_grad_() for t in problem.x)
        with forward_pass(leaves, NOTED):
            outputs = problem.outputs(leaves)
            names = set[str]().union(*(operations(problem.value(outputs, s)) for s in problem.selects(outputs)))
        found = []
        for name in sorted(names - {LEAF}):
            told = (
                "" if name in RULES else str(located(UnsupportedOperation("", name), lambda: problem.outputs(leaves)))
            )
            found.append(Operation(name, name in RULES, told.strip().removeprefix("It ran in ").removesuffix(".")))
    return tuple(sorted(found, key=lambda o: o.covered))


def _measure(model: Model, items: Sequence[Any]) -> tuple[Probe, ...]:
    options: dict[str, Any] = {"truncate": True, "max_new_tokens": 3}
    twice = [*items, *items]  # not every model is given texts of different length together
    together = [_all(answer) for answer in explain(model, twice, **options)][: len(items)]
    probes = []
    for item, batched in zip(items, together, strict=True):
        alone = _all(explain(model, item, **options))
        pairs = list(zip(alone, batched, strict=False))
        if not pairs:
            continue
        top = max(float(np.abs(a.scores).max()) for a, _ in pairs) or 1.0
        apart = max(float(np.abs(a.scores - b.scores).max()) for a, b in pairs) / top
        e = max(alone, key=lambda e: e.relative_delta)
        text = e.text if isinstance(e.text, str) else " · ".join(e.text)
        probes.append(Probe(text, e.target.name, e.output, e.baseline_output, e.delta, e.relative_delta, apart))
    return tuple(probes)


def _all(answer: Explanation | Explanations) -> list[Explanation]:
    return list(answer) if isinstance(answer, Explanations) else [answer]


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


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
        ("attention", report.attention or "the model's own"),
        ("numbers", f"{report.dtype} on {report.device}"),
        ("baseline", report.baseline),
    ):
        table.add_row(name, _text(value))
    return table


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
    """The residual over the change in the output, and how far scores differ in a batch, over the largest of them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("probe", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("target", no_wrap=True, overflow="ellipsis", max_width=10)
    for name in ("baseline → output", "residual", "in a batch"):
        table.add_column(name, justify="right", no_wrap=True)
    for p in report.probes:
        relative, batched = (Text(f"{v:.1e}", "green" if v <= LIMIT else "red") for v in (p.relative_delta, p.batched))
        change = f"{p.baseline_output:.3f} → {p.output:.3f}"
        table.add_row(_text(p.text), _text(p.target), change, relative, batched)
    return table if report.probes else Text("not measured", "dim")


def _text(value: str) -> Any:
    """What comes from outside, never read as markup, its control characters written out."""
    from rich.text import Text

    from .render.facts import visible

    return Text(visible(value))
