"""Which method to use for a model: the choice that an evaluation made, kept in a file until another one is made.

A choice is kept under the model's fingerprint, so that it is used for that model alone, wherever its files are. The
files are in `PELLUCID_CHOICES`, or else in `pellucid/choices` of the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch

from .errors import UnsupportedModel

FOLDER = "PELLUCID_CHOICES"
"""The environment variable that names the folder."""
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The type of whole numbers of so many bytes."""


@dataclass(frozen=True)
class Choice:
    """What an evaluation recommends. method: in METHODS. baselines: names; the scores of several are averaged.
    sentence: why, for people."""

    method: str
    baselines: tuple[Any, ...]
    sentence: str


def fingerprint(net: torch.nn.Module) -> str:
    """A SHA-256 of the network's modules, as they print, and of the names, types and shapes of its weights, with the
    sum of the bits of each row of them, which no order of adding changes.

    Raises UnsupportedModel where weights are offloaded."""
    found = hashlib.sha256(repr(net).encode())
    for name, p in net.named_parameters():
        if p.is_meta:
            raise UnsupportedModel(
                f"Found offloaded weights ({name}), by which a model is not known again; expected a model that is in "
                "memory. Name the method instead of 'auto', and do not keep a choice."
            )
        plain = torch.view_as_real(p) if p.is_complex() else p
        bits = plain.detach().contiguous().view(_BITS[plain.element_size()]).reshape(len(p) if p.ndim else 1, -1)
        found.update(f"{name} {p.dtype} {tuple(p.shape)}".encode())
        found.update(bits.sum(1, dtype=torch.int64).cpu().numpy().tobytes())
    return found.hexdigest()


def keep(net: torch.nn.Module, choice: Choice) -> Path:
    """Writes the choice for a model, in the place of an earlier one; where it was written."""
    path = _file(net)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(asdict(choice), ensure_ascii=False), "utf-8")
    beside.replace(path)
    return path


def kept(net: torch.nn.Module) -> Choice | None:
    """The choice that was made for a model; None where none was, or where its file cannot be read."""
    try:
        data = cast("dict[str, Any]", json.loads(_file(net).read_text("utf-8")))
        method, baselines, sentence = data["method"], data["baselines"], data["sentence"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    right = isinstance(method, str) and isinstance(baselines, list) and all(isinstance(b, str) for b in baselines)
    return Choice(method, tuple(baselines), str(sentence)) if right and baselines else None


def _file(net: torch.nn.Module) -> Path:
    given = os.environ.get(FOLDER)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(given) if given else cache / "pellucid" / "choices") / f"{fingerprint(net)}.json"
