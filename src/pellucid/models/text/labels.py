"""The true label that a row of a data set has, by the name that the model has for it."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def true_label(label: object, labels: tuple[str, ...]) -> str | None:
    """A true label by the model's name for it, where it is an index of one; as it is written, where it is a name.

    A list is of several labels that hold at once, as indices or as zeros and ones. −1 is the sign for no label.

    Examples:
        >>> true_label(1, ("negative", "positive")), true_label("POSITIVE", ("negative", "positive"))
        ('positive', 'positive')
        >>> true_label([1.0, 0.0, 1.0], ("sad", "angry", "kind")), true_label(-1, ("a", "b"))
        ('sad, kind', None)
    """
    label = label.tolist() if isinstance(label, (Tensor, np.ndarray, np.generic)) else label
    if isinstance(label, (list, tuple)):
        hot = len(label) == len(labels) > 1 and all(i in (0, 1) for i in label)
        each = [i for i, on in enumerate(label) if on] if hot else label
        return ", ".join(filter(None, (true_label(i, labels) for i in each))) or None
    if isinstance(label, str):
        same = next((name for name in labels if name.lower() == label.strip().lower()), None)
        return same or (true_label(int(label), labels) if label.strip().isdecimal() and len(labels) > 1 else label)
    if label is None or label == -1 or label != label:
        return None
    if isinstance(label, float):
        whole = label.is_integer() and len(labels) > 1 and label < len(labels)
        return true_label(int(label), labels) if whole else f"{label:g}"
    if isinstance(label, int):
        index = int(label)
        named = labels[index] if 0 <= index < len(labels) > 1 else str(index)
        return named if labels else f"LABEL_{index}"
    return str(label)
