"""What an explanation by DeepLIFT will take, said before it is made: tokens, time and memory.

Time: a forward pass on n tokens has 2·W·n + 4·L·h·n² operations, with W weights in L layers of width h: products with
the weights, and of queries with keys and of probabilities with values. A short probe times one forward pass, and

    seconds = units · (probe's seconds) · operations(n) / operations(probe)

where the forward passes at the points of the path are 1 unit each, 2 where each layer is run again, and a walk through
a segment for one target is `WALK` units (docs/language-models.md).

Memory: that of the graphs as a whole, or layer by layer of what goes from layer to layer and of one layer's graphs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ._explain import request_of
from ._outcomes import for_each_method
from .engine.memory import between_layers, free_on, graph_size
from .errors import InputError, quoted
from .methods.deeplift import walks_by_layer
from .methods.stretches import is_large
from .models import Model
from .models.baselines import Spec
from .models.batch import Batch, batch_of, part_of_batch
from .models.net import Outputs
from .models.problems import problem_of
from .models.tasks.continuation import FIRST
from .models.text.encoding import Encoding
from .number_text import spoken
from .problem import Problem
from .request import Request
from .types import Baseline, Target

WALK = 1.5
"""What a walk costs in forward passes on the same tokens: its products are one, and what the rules do between them took
about half as much again (docs/language-models.md)."""


@dataclass(frozen=True)
class Forecast:
    """What an explanation will take.

    tokens: of the input. targets: numbers to be explained, which share the forward passes. passes: forward passes.
    seconds, memory: about how long it takes, and how many bytes beside the model's weights. free: bytes that are free
    on the device. by_layer: whether the graphs are made and walked layer by layer, since they do not fit as a whole.
    """

    tokens: int
    targets: int
    passes: int
    seconds: float
    memory: int
    free: int
    by_layer: bool

    @property
    def fits(self) -> bool:
        """Whether the memory that is free is enough."""
        return self.memory <= self.free

    def __str__(self) -> str:
        targets = "1 target" if self.targets == 1 else f"{self.targets:,} targets"
        how = " layer by layer" if self.by_layer else ""
        remedy = (
            ""
            if self.fits
            else ": ask for spans of the answer (target=), fewer sources, a shorter text, or a smaller dtype"
        )
        return (
            f"{self.tokens:,} tokens, {targets}: about {spoken(self.seconds)}, {self.memory / 1e9:.1f} GB{how} of "
            f"{self.free / 1e9:.1f} GB that are free{remedy}"
        )


def forecast(
    model: Model,
    given: object,
    target: Target | Sequence[Target] = None,
    baseline: Baseline | list[Baseline] = "mask",
    *,
    max_new_tokens: int = 20,
    **options: object,
) -> Forecast:
    """How long `explain(model, given, …)` will take, and how much memory, from one forward pass on some of its tokens.

    model, given, target, baseline, max_new_tokens, options: as `explain`, for one input and the method "deeplift",
    without windows and what is inside the model. An answer that is not given is generated. Raises what `explain` raises
    for the same input and targets, and InputError for what is not forecast.

    Examples:
        >>> f = pellucid.forecast(model, "It's great!")
        >>> f.tokens, f.targets, f.passes, f.fits
        (7, 1, 2, True)
    """
    if isinstance(given, list):
        raise InputError("Found a list of inputs; expected one. `pellucid run --dry-run` says what a data set takes.")
    for name, usual, why in _NOT_FORECAST:
        if (found := options.pop(name, usual)) not in (usual, None, [usual], (), []):
            raise InputError(f"Found {name}={quoted(found)} for a forecast; expected none: {why}.")
    how = {"groups": None, "output": None, "truncate": False}
    how |= {name: options.pop(name, value) for name, value in how.items()} | dict(detail=(), at=None)
    how |= {"window": None, "stride": None, "options": options, "max_new_tokens": max_new_tokens}
    asked = request_of("deeplift", target, baseline, **how)  # type: ignore[arg-type]
    (request,) = for_each_method(model, asked)
    with model.borrowed(), torch.no_grad():
        (encoding,) = model.encode([given], asked.truncate, max_new_tokens)
        problem = model.problem([encoding], request.baselines[0], None)
        batch = batch_of(model.pipeline, [encoding], request.baselines[0], None)
        part = _part(model, batch)
        seconds, probed, outputs = _probe(model, part)
        targets = _targets(model, encoding, request, outputs if part is batch else _of_length(outputs, encoding))
        large = is_large(problem) and _walks(model, part, request.baselines[0])
    points, n, baselines = int(str(request.options.get("segments", 1))) + 1, len(encoding), len(request.baselines)
    passes = baselines * points if large or points > 2 else baselines + 1  # one pass has the input for all baselines
    units = passes * (1 + large) + WALK * baselines * (points - 1) * targets
    ratio = _operations(problem, n) / _operations(problem, probed)
    memory = _by_layer(problem, points) if large else graph_size(problem)
    return Forecast(n, targets, passes, units * seconds * ratio, memory, free_on(model.device), large)


_NOT_FORECAST = (
    ("method", "deeplift", "it is counted from DeepLIFT's passes and walks, and others take other ones"),
    ("window", None, "how many windows there are is not counted; forecast a text of the length of one"),
    ("stride", None, "it goes with window="),
    ("detail", (), "what is inside the model is read from whole graphs, which are not counted"),
    ("at", None, "walks to the embeddings are counted"),
)
"""What `explain` takes and a forecast does not: its name, its usual value, and why."""


def _targets(model: Model, encoding: Encoding, request: Request, outputs: Outputs) -> int:
    """How many numbers the targets of a request are, from outputs of the right shape. Raises UnknownTarget."""
    output = None if request.output == "probability" else request.output
    goals = (goal for target in request.targets for goal in model.goals([encoding], target, output, outputs))
    return sum(goal.targets[0] is not None for goal in goals)


def _of_length(outputs: Outputs, encoding: Encoding) -> Outputs:
    """Outputs for each continuation (1, K, vocabulary), from those of a part of the input: nothing but their shape."""
    counts = [sum(role >= FIRST for role in of_sequence) for of_sequence in encoding.roles]
    return tuple(o[:, :1].expand(-1, n, -1) for o, n in zip(outputs, counts, strict=True))


def _part(model: Model, batch: Batch) -> Batch:
    """An input, or the part of a long one that stands for all of it."""
    part, roles = model.does.part, batch.sequences[0].roles
    if part is None or roles is None or len(batch.sequences) > 1:
        return batch
    return part_of_batch(batch, part(roles[:1]))


def _walks(model: Model, part: Batch, baseline: Spec) -> bool:
    """Whether the layers can be walked one by one, tried on a part of an input: for the first number of the outputs.
    Of a task whose inputs have no part it is assumed."""
    if model.does.part is None or len(part.sequences) > 1:
        return True
    goals = lambda outputs: (lambda found, rows: found[0][:, 0, 0],)
    with torch.enable_grad():
        spec = baseline if part.ids0 is None else part.ids0
        return walks_by_layer(problem_of(model.pipeline, part, spec, goals, False, frozenset()))


def _probe(model: Model, part: Batch) -> tuple[float, int, Outputs]:
    """The seconds of one forward pass on a part of an input, its tokens, and what the pass gives."""
    times, outputs = list[float](), None
    for _ in range(2):
        start = time.perf_counter()
        outputs = model.alone(*part.sequences)
        if model.device.type == "cuda":  # which works beside Python
            torch.cuda.synchronize(model.device)
        times.append(time.perf_counter() - start)
    return min(times), part.own.shape[1], outputs


def _operations(problem: Problem, n: int) -> float:
    """Of a forward pass on n tokens; n alone where the layers are not known."""
    weights = sum(p.numel() for layer in problem.layers for p in layer.parameters() if p.ndim > 1)
    return 2.0 * weights * n + 4.0 * len(problem.layers) * problem.x[0].shape[-1] * n * n if weights else float(n)


def _by_layer(problem: Problem, points: int) -> int:
    """Bytes of what goes from layer to layer at each point, and of one layer's graphs."""
    return between_layers(problem, points) + graph_size(problem) // len(problem.layers)
