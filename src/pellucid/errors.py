"""Every error that Pellucid raises on purpose. Each message says what was found, what was expected and what to do.

PellucidError
├── InputError                a text, target, baseline or option that cannot be used
│   ├── TextTooLong           a text with more tokens than the model takes
│   ├── UnknownTarget         a label, index or contrast that is no output of the model
│   ├── ArgumentError         an argument in Captum's form that does not fit the function or its inputs
│   ├── UnknownBaseline       a baseline that does not exist, or that the tokenizer lacks
│   └── UnknownMethod         a method or an option of one that does not exist
├── ModelError                a model that cannot be loaded or run
│   ├── ModelNotFound         no checkpoint at that path or name
│   ├── UnsupportedModel      a model without a known task, embeddings or logits
│   │   └── FailedForward     a forward pass that raises a RuntimeError of its own
│   ├── NonFiniteOutput       an output or a gradient that is NaN or infinite
│   └── OutOfMemory           not even one row fits into memory
├── GraphError                a forward pass whose autograd graph a method cannot use
│   ├── CutGraph              the output does not depend on the input through autograd
│   ├── GraphMismatch         the passes on input and baseline differ in operations, masks or indices
│   └── UnsupportedOperation  an operation that DeepLIFT has no rule for
├── RunError                  a run over a data set that cannot go on in its folder
│   └── RunNotFound           no run in that folder
└── MissingExtra              an optional dependency is not installed
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

WITHOUT_GRADIENT = "a method that needs no gradient, such as method='shapley' or method='partition_shap'"
"""The advice of errors about masks, indices or experts that differ between the passes on input and baseline."""
OF_A_FUNCTION = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError, ValueError, RuntimeError),
)
"""What a function of the user's raises that does not fit its input."""


def quoted(value: object, limit: int = 60) -> str:
    """A value as a message quotes it: its repr, of which an ellipsis stands for what is beyond `limit` characters.

    Examples:
        >>> print(quoted("a long text", 10), quoted("short"), quoted([1, 2, 3, 4], 8))
        'a long …' 'short' [1, 2, …
    """
    written = repr(value)
    if len(written) <= limit or not isinstance(value, str):
        return shortened(written, limit)
    kept = value[: limit - 3]
    while len(written := repr(f"{kept}…")) > limit and kept:  # an escaped character takes several
        kept = kept[:-1]
    return written


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of the known names that a name is most like, whatever its letters' case, spaces, hyphens and underscores;
    None where none is near. What differs by a number alone is another name, no misspelling.

    Examples:
        >>> nearest("b per", ["O", "B-PER", "I-PER"]), nearest("postive", ["negative", "positive"])
        ('B-PER', 'positive')
        >>> nearest("LABEL_7", ["LABEL_0", "LABEL_1"]), nearest("happy", ["negative", "positive"])
        (None, None)
    """
    written, names = _plain(name), {_plain(other): other for other in known}
    differ = [n for n in names if n == written or re.sub(r"\d+", "0", n) != re.sub(r"\d+", "0", written)]
    near = difflib.get_close_matches(written, differ, 1, 0.7)
    return names[near[0]] if near else None


def _plain(name: str) -> str:
    """A name without what people leave out or change when they write it from memory."""
    return re.sub(r"[\s_-]+", "", name.lower())


def expected(meant: str | None) -> str:
    """How an error goes on before what was expected. meant: what was probably meant, if known."""
    return f"did you mean {meant!r}? Expected" if meant else "expected"


def shortened(text: str, limit: int) -> str:
    """A text as a message repeats it, such as another library's error: an ellipsis stands for what is beyond `limit`
    characters.

    Examples:
        >>> shortened("a long text", 7), shortened("short", 7)
        ('a long…', 'short')
    """
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class PellucidError(Exception):
    """The root of the tree: catch this to catch every error that Pellucid raises on purpose."""


class InputError(PellucidError, ValueError):
    """A text, target, baseline or option cannot be used; the message says why, and what to give instead."""


class TextTooLong(InputError):
    """The text has more tokens than the model takes. `truncate=True` and `window=` are two ways to explain it."""


class UnknownTarget(InputError):
    """The target (a label, an index, a contrast) is no output of this model."""


class ArgumentError(InputError, AssertionError):
    """An argument in Captum's form does not fit. It is an AssertionError too, which Captum raises in its place."""


class UnknownBaseline(InputError):
    """The baseline does not exist: it is no known name, and no token or text of this tokenizer."""


class UnknownMethod(InputError):
    """There is no method of that name, or the method has no such option."""


class ModelError(PellucidError):
    """A model cannot be loaded or run."""


class ModelNotFound(ModelError, FileNotFoundError):
    """No checkpoint was found at that path or under that name."""


class UnsupportedModel(ModelError):
    """The model's task, embeddings or logits could not be found. `Model(task=…, embeddings=…)` names them."""


class FailedForward(UnsupportedModel, RuntimeError):
    """The model's own forward pass raised a RuntimeError. It is a RuntimeError too, as what the model raised."""


class NonFiniteOutput(ModelError, ArithmeticError):
    """The model returned NaN or infinity, or its gradient is NaN or infinite."""


class OutOfMemory(ModelError, MemoryError):
    """Memory runs out even for a batch of one row."""


class GraphError(PellucidError):
    """A method cannot use the autograd graph of a forward pass."""


class CutGraph(GraphError, RuntimeError):
    """Autograd finds no way from the output back to the input, for example after `.detach()` or `.item()`."""


class GraphMismatch(GraphError):
    """The forward passes on the input and on the baseline differ in their operations, masks or indices."""


class UnsupportedOperation(GraphError, NotImplementedError):
    """DeepLIFT has no rule for an operation of the forward pass. `operation` is the operation's name in autograd."""

    def __init__(self, message: str, operation: str = ""):
        super().__init__(message)
        self.operation = operation


class RunError(PellucidError):
    """A run over a data set cannot go on: its folder is held, full, or of another request or model."""


class RunNotFound(RunError, FileNotFoundError):
    """No run was found in that folder."""


class MissingExtra(PellucidError, ImportError):
    """A package that this feature needs is not installed; the message says how to install it."""
