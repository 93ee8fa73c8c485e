"""Pellucid explains what a transformer decided, with attributions that add up.

>>> import pellucid
>>> model = pellucid.load()
>>> e = pellucid.explain(model, "It's great!", target="positive")
>>> logit = lambda text: model.model(**model.tokenizer(text, return_tensors="pt")).logits[0, 1].item()
>>> change = logit("It's great!") - logit("[MASK] [MASK] [MASK] [MASK] [MASK]")  # by the model alone
>>> bool(abs(e.scores.sum() - change) < 1e-5)
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import captum, extend
    from ._attribute import attribute
    from ._explain import explain
    from ._forecast import forecast
    from ._gradio import gradio
    from .attribution import Attribution
    from .citations import Citations, cite
    from .edits import Flip, Reduction, flip, reduce
    from .errors import PellucidError
    from .evaluation import Evaluation, evaluate
    from .explanation import Explanation
    from .explanations import Explanations
    from .hops import Hops, trace_hops
    from .jobs import mapper, open, run
    from .methods import METHODS
    from .models import Model, load
    from .outcome import Failure
    from .problem import Problem
    from .request import Request
    from .tokens import Target, Token, Word

_HOME = {
    "Attribution": "attribution",
    "Citations": "citations",
    "Evaluation": "evaluation",
    "Explanation": "explanation",
    "Explanations": "explanations",
    "Failure": "outcome",
    "Flip": "edits",
    "Hops": "hops",
    "METHODS": "methods",
    "Model": "models",
    "PellucidError": "errors",
    "Problem": "problem",
    "Reduction": "edits",
    "Request": "request",
    "Target": "tokens",
    "Token": "tokens",
    "Word": "tokens",
    "attribute": "_attribute",
    "captum": "",
    "cite": "citations",
    "evaluate": "evaluation",
    "explain": "_explain",
    "extend": "",
    "flip": "edits",
    "forecast": "_forecast",
    "gradio": "_gradio",
    "load": "models",
    "mapper": "jobs",
    "open": "jobs",
    "reduce": "edits",
    "run": "jobs",
    "trace_hops": "hops",
}
"""The module of each public name; "" for a name that is a module itself."""

__all__ = [
    "METHODS",
    "Attribution",
    "Citations",
    "Evaluation",
    "Explanation",
    "Explanations",
    "Failure",
    "Flip",
    "Hops",
    "Model",
    "PellucidError",
    "Problem",
    "Reduction",
    "Request",
    "Target",
    "Token",
    "Word",
    "attribute",
    "captum",
    "cite",
    "evaluate",
    "explain",
    "extend",
    "flip",
    "forecast",
    "gradio",
    "load",
    "mapper",
    "open",
    "reduce",
    "run",
    "trace_hops",
]


def __getattr__(name: str) -> Any:
    """Loads a public name on first use, so that `import pellucid` waits for neither torch nor transformers."""
    if name not in _HOME:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    module = import_module(f".{_HOME[name] or name}", __name__)
    value = getattr(module, name) if _HOME[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
