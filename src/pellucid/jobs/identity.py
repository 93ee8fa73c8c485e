"""What a model is, as a run's manifest says it: its name, its files, and a digest of its weights and its tokenizer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from ..models import Model
from ..models.placement import values_of
from ..public_names import model_name


def identity(model: Model) -> dict[str, Any]:
    """The model as plain values; `digest` differs where an answer could.

    The digest is a SHA-256 of the weights in memory, of the configuration, of the tokenizer's own files as it would
    save them, and of the precision, so that a model that was changed after it was loaded is another model.
    """
    net = model.model
    config = getattr(net, "config", None)
    told = {
        "class": type(net).__name__,
        "task": model.does.name,
        "labels": list(model.labels),
        "autocast": str(model.precision) if model.precision else None,
        "config": _config(config),
        "tokenizer": _tokenizer(model.tokenizer),
        "weights": _weights(net),
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    folder = Path(model.name)
    return {
        "name": model_name({"model": model.name}),
        "path": str(folder.resolve()) if folder.is_dir() else model.name,
        "revision": getattr(config, "_commit_hash", None),
        "task": model.does.name,
        "labels": list(model.labels),
        "dtype": str(next((p.dtype for p in net.parameters()), "")).removeprefix("torch."),
        "device": str(model.device),
        "digest": digest,
        "files": _files(folder) if folder.is_dir() else {},
    }


def _config(config: Any) -> Any:
    """The configuration without the place that it was loaded from, which is not what the model is."""
    if not hasattr(config, "to_dict"):
        return None
    return {k: v for k, v in config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}


def _tokenizer(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        told = json.loads(backend.to_str())
        for set_by_each_call in ("padding", "truncation"):
            told.pop(set_by_each_call, None)
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    vocabulary = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else repr(tokenizer)
    return hashlib.sha256(json.dumps(vocabulary, sort_keys=True, default=str).encode()).hexdigest()


def _weights(net: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in values_of(net):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        flat = value.detach().contiguous().cpu().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()


def _files(folder: Path) -> dict[str, str]:
    """Each file of a checkpoint's folder by its SHA-256."""
    found: dict[str, str] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
