"""Every error that Pellucid raises on purpose. Each message says what was found, what was expected and what to do.

PellucidError
├── InputError                a text, target, baseline or option that cannot be used as given
│   ├── TextTooLong           more tokens than the model takes
│   ├── UnknownTarget         a label, index or contrast that the model does not have
│   ├── UnknownBaseline       a baseline that names nothing, or that this tokenizer lacks
│   └── UnknownMethod         a method or an option of one that does not exist
├── ModelError                a model that cannot be loaded or asked
│   ├── ModelNotFound         no checkpoint at that path or name
│   ├── UnsupportedModel      no task, no embeddings or no logits could be found
│   ├── NonFiniteOutput       the model answered NaN or infinity
│   └── OutOfMemory           not even one row fits
├── GraphError                a forward pass that cannot be walked
│   ├── CutGraph              the output does not depend on the input through autograd
│   ├── GraphMismatch         input and baseline took different operations, masks or indices
│   └── UnsupportedOperation  an operation without a rule
└── MissingExtra              an optional dependency is not installed
"""

WITHOUT_GRADIENT = "a method that needs no gradient, such as method='shapley' or method='partition_shap'"
"""What works where a forward pass goes by other masks, indices or routes for the input than for the baseline."""


class PellucidError(Exception):
    """The root of the tree: catch this to catch every error that Pellucid raises on purpose."""


class InputError(PellucidError, ValueError):
    """A text, a target, a baseline or an option that cannot be used as given."""


class TextTooLong(InputError):
    """The text has more tokens than the model takes, and `truncate` was not asked for."""


class UnknownTarget(InputError):
    """The target names no output of this model."""


class UnknownBaseline(InputError):
    """The baseline names nothing this model or its tokenizer has."""


class UnknownMethod(InputError):
    """The method, or one of its options, does not exist."""


class ModelError(PellucidError):
    """A model that cannot be loaded or asked."""


class ModelNotFound(ModelError, FileNotFoundError):
    """No checkpoint was found at that path or under that name."""


class UnsupportedModel(ModelError):
    """The model's task, embeddings or logits could not be found."""


class NonFiniteOutput(ModelError, ArithmeticError):
    """The model answered NaN or infinity."""


class OutOfMemory(ModelError, MemoryError):
    """Not even one row fits into memory."""


class GraphError(PellucidError):
    """A forward pass that cannot be walked."""


class CutGraph(GraphError):
    """The output does not depend on the input through autograd."""


class GraphMismatch(GraphError):
    """Input and baseline took different operations, masks or indices."""


class UnsupportedOperation(GraphError, NotImplementedError):
    """An operation that DeepLIFT has no rule for. `operation` is its autograd name."""

    def __init__(self, message: str, operation: str = ""):
        super().__init__(message)
        self.operation = operation


class MissingExtra(PellucidError, ImportError):
    """An optional dependency is not installed."""
