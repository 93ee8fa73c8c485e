"""Hides paths of the user's disk: the name of a model that may be shown to others."""

from __future__ import annotations

import re
from collections.abc import Mapping


def model_name(meta: Mapping[str, object]) -> str:
    """The model as it may be shown to others: a name on the hub as it is, of a path on a disk only the last part.

    Examples:
        >>> model_name({"model": "org/bert"}), model_name({"model": "/home/me/models/bert/"})
        ('org/bert', 'bert')
        >>> model_name({"model": "/cache/hub/models--org--bert/snapshots/0a1b"})
        'org/bert'
    """
    name = str(meta.get("model") or "")
    cached = re.search(r"models--([^/\\]+?)(?:[/\\]|$)", name)
    if cached:
        return cached[1].replace("--", "/")
    is_path = re.match(r"[/\\~.]|[A-Za-z]:[/\\]", name) or len(re.findall(r"[/\\]", name)) > 1 or "\\" in name
    return (re.split(r"[/\\]", name.rstrip("/\\"))[-1] or name) if is_path else name
