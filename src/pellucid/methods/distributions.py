"""Methods that compare an input with a sample of baselines: GradientSHAP, expected gradients, DeepSHAP and feature
permutation.

    E over x0, α of  (x − x0)·∂f/∂x(x0 + α·(x − x0)),   α uniform in [0, 1]

is the mean of integrated gradients over the baselines, and sums to f(x) − E f(x0) (Erion et al. 2021, 1906.10670). The
rows of a Problem that share an input (`Problem.source`) are the sample of that input. An Attribution has one row for
each input, in which `baseline_output` is the mean. Scores from random draws carry their standard error. Draws depend on
the seed and on the number of baselines, never on the other inputs of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..attribution import Attribution, Attributions, solved
from ..engine.memory import batched
from ..engine.passes import gradient_at, value_at_x, value_at_x0
from ..engine.token_sums import unit_scores, unit_values
from ..errors import InputError
from ..problem import Problem, Tensors
from ..status import Status
from .deeplift import deeplift
from .gradient import noisy
from .perturb import occlusion

Pick = Callable[[int], NDArray[np.int64]]
"""`baselines -> which of them each sample takes`, (samples,)."""


def gradient_shap(problem: Problem, n_samples: int = 100, noise: float = 0.0, seed: int = 0) -> Attributions:
    """The mean of gradient × difference at random baselines and random points (Lundberg & Lee 2017, 1705.07874).

    n_samples: how many pairs of a baseline and a point between it and the input are drawn for each input.
    noise: σ of Gaussian noise on the input, relative to the range of its values; Captum's `stdevs` are absolute.
    """
    if noise < 0:
        raise InputError(f"gradient_shap got noise={noise!r}; expected 0 or more.")
    pick = lambda baselines: np.random.default_rng([seed, 0]).integers(baselines, size=n_samples)
    return _sampled("gradient_shap", problem, n_samples, pick, noise, seed)


def expected_gradients(problem: Problem, n_samples: int = 100, seed: int = 0) -> Attributions:
    """As `gradient_shap`, but the baselines take turns (Erion et al. 2021, 1906.10670).

    n_samples: how many points for each input, shared evenly by its baselines.
    """
    turns = lambda baselines: np.resize(np.random.default_rng([seed, 0]).permutation(baselines), n_samples)
    return _sampled("expected_gradients", problem, n_samples, turns, 0.0, seed)


def deep_shap(problem: Problem) -> Attributions:
    """DeepLIFT averaged over the baselines (Lundberg & Lee 2017, 1705.07874). The scores sum to f(x) − mean f(x0),
    exactly."""
    outputs, selects, y = value_at_x(problem)
    fixed, every, sample = problem.fixed(*selects), torch.arange(problem.rows, device=y[0].device), _Sample.of(problem)
    parts = list(batched(problem, problem.rows, lambda i: deeplift(fixed.taken(every[i]))))
    found = [[answers[k] for answers in parts] for k in range(len(selects))]
    return tuple(
        solved(
            tuple(sample.mean(torch.cat(v)) for v in zip(*(part.values for part in each), strict=True)),
            y[k][sample.firsts],
            sample.mean(torch.cat([part.baseline_output for part in each])),
            passes=2 * int(sample.sizes.max()) + 1,
            status=Status.EXACT,
            outputs=outputs,
        )
        for k, each in enumerate(found)
    )


def feature_permutation(problem: Problem) -> Attributions:
    """What the output loses where a group comes from another input: the mean over the inputs of the sample (Breiman
    2001, doi:10.1023/A:1010933404324).

    The baselines are the sample that values are taken from, such as the data itself: `x0=x`. This is the expectation of
    permuting a feature among the rows, each row's own value included; a draw of one permutation scatters around it.
    """
    outputs, selects, y = value_at_x(problem)
    sample = _Sample.of(problem)

    def over_sample(k: int, each: Attribution) -> Attribution:
        passes = torch.tensor(each.row_passes or [each.passes] * problem.rows, device=sample.source.device)
        shared = sample.sizes.new_full((len(sample.firsts),), 2)  # at the input, here and for all of its rows together
        of_inputs = tuple(shared.index_add_(0, sample.source, passes - 1).tolist())
        answer = solved(
            tuple(map(sample.mean, each.values if isinstance(each.values, tuple) else (each.values,))),
            y[k][sample.firsts],
            sample.mean(each.baseline_output),
            passes=max(of_inputs),
            status=Status.CLOSED_FORM,
            outputs=outputs,
        )
        return replace(answer, row_passes=of_inputs)

    return tuple(over_sample(k, each) for k, each in enumerate(occlusion(problem.fixed(*selects))))


@dataclass(frozen=True)
class _Sample:
    """Which baselines each input has.

    source (rows,): which input a row is about. firsts (inputs,): the first row of each. sizes (inputs,): how many
    baselines. order (rows,): the rows, those of one input next to each other.
    """

    source: Tensor
    firsts: Tensor
    sizes: Tensor
    order: Tensor

    @classmethod
    def of(cls, problem: Problem) -> _Sample:
        every = torch.arange(problem.rows, device=problem.x[0].device)
        source, firsts = (every, every) if problem.source is None else (problem.source, problem.firsts())
        assert firsts is not None
        return cls(source, firsts, source.bincount(), source.argsort(stable=True))

    def mean(self, of_rows: Tensor) -> Tensor:
        """The mean (inputs, …) over the baselines of each input, in the type of `of_rows` (rows, …)."""
        total = of_rows.new_zeros(len(self.firsts), *of_rows.shape[1:], dtype=torch.float64)
        total.index_add_(0, self.source, of_rows.double())
        return (total / self.sizes.view(-1, *[1] * (of_rows.ndim - 1))).to(of_rows.dtype)

    def rows(self, pick: Pick) -> Tensor:
        """The rows (inputs, samples) that `pick` takes."""
        begin = self.sizes.cumsum(0) - self.sizes
        taken = torch.stack([torch.from_numpy(pick(n)) for n in self.sizes.tolist()]).to(begin.device)
        return self.order[begin.unsqueeze(1) + taken]


def _sampled(name: str, problem: Problem, n_samples: int, pick: Pick, noise: float, seed: int) -> Attributions:
    """The mean over draws for each input, and its standard error."""
    sample = _Sample.of(problem)
    if not isinstance(n_samples, int) or n_samples < 2:
        raise InputError(f"{name} got n_samples={n_samples!r}; expected at least 2, which a standard error needs.")
    outputs, selects, y = value_at_x(problem)
    y0 = value_at_x0(problem, selects)
    rows, inputs, device = sample.rows(pick).flatten(), len(sample.firsts), y[0].device
    alpha = torch.from_numpy(np.random.default_rng([seed, 1]).random(n_samples)).to(device).repeat(inputs)
    draws = torch.arange(n_samples, device=device).repeat(inputs)
    silent = replace(problem, watch=None)

    def evaluate(i: slice) -> tuple[slice, Tensor]:
        x = noisy(problem, rows[i], draws[i], noise, seed) if noise else tuple(t[rows[i]] for t in problem.x)
        x0 = tuple(t[rows[i]] for t in problem.x0)
        at = lambda a, b: torch.lerp(b, a, alpha[i].to(a.dtype).view(-1, *[1] * (a.ndim - 1)))
        found = gradient_at(silent, selects, tuple(map(at, x, x0)), rows[i])
        return i, unit_scores(problem, found.gradients, tuple(a - b for a, b in zip(x, x0, strict=True)))

    total = squares = torch.zeros(())
    for i, scores in batched(problem, len(rows), evaluate):
        if not total.ndim:
            total, squares = (scores.new_zeros(len(scores), inputs, scores.shape[-1]) for _ in range(2))
        total.index_add_(1, sample.source[rows[i]], scores)
        squares.index_add_(1, sample.source[rows[i]], scores**2)
    mean = total / n_samples
    error = ((squares / n_samples - mean**2).clamp_min(0) / (n_samples - 1)).sqrt()
    return tuple(
        replace(
            solved(
                unit_values(problem, mean[k]),
                y[k][sample.firsts],
                sample.mean(y0[k]),
                passes=n_samples + 1 + int(sample.sizes.max()),
                status=Status.SAMPLED,
                outputs=outputs,
            ),
            error=_errors(problem, error[k]),
        )
        for k in range(len(selects))
    )


def _errors(problem: Problem, error: Tensor) -> Tensor | Tensors:
    """Those of the positions as they are, (rows, units); those of elements like the values."""
    if problem.mask is not None:
        return error
    first, *rest = unit_values(problem, error)
    return (first, *rest) if rest else first
