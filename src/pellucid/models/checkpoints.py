"""What a path or a hub name holds: a checkpoint of transformers, a GGUF file, or an adapter (LoRA) of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import MissingExtra, ModelNotFound

ADAPTED = {
    "CAUSAL_LM": "text-generation",
    "QUESTION_ANS": "question-answering",
    "SEQ_2_SEQ_LM": "text2text-generation",
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
}
"""Our tasks by what peft calls them in an adapter_config.json."""


@dataclass(frozen=True)
class Checkpoint:
    """Where the parts of a model are.

    weights: the directory or hub name of its configuration and weights. reader: of its tokenizer. how: what
    transformers is told beside these. adapter: the directory of the weights that are added to them, or None. task: what
    it is known to do before its configuration is read, or None.
    """

    weights: str
    reader: str
    how: Mapping[str, Any] = field(default_factory=dict[str, Any])
    adapter: str | None = None
    task: str | None = None


def checkpoint_at(source: str) -> Checkpoint:
    """What there is at a path, or under a name on the hub. Raises ModelNotFound, MissingExtra.

    Examples:
        >>> checkpoint_at("owner/name")
        Checkpoint(weights='owner/name', reader='owner/name', how={}, adapter=None, task=None)
    """
    path = Path(source)
    if path.suffix.lower() == ".gguf" and path.is_file():
        _needs("gguf", f"Loading {source!r}")
        folder = str(path.parent)
        return Checkpoint(folder, folder, {"gguf_file": path.name}, task="text-generation")
    if (path / "adapter_config.json").is_file() and not (path / "config.json").exists():
        return _adapted(path)
    return Checkpoint(source, source)


def _adapted(folder: Path) -> Checkpoint:
    told = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    base = told.get("base_model_name_or_path")
    if not base:
        lacking = "the name of its base model; expected base_model_name_or_path in adapter_config.json."
    elif not (folder / "adapter_model.safetensors").is_file():
        lacking = "adapter_model.safetensors; expected its weights in that file."
    else:
        lacking = ""
    if lacking:
        raise ModelNotFound(f"Found an adapter in {str(folder)!r} without {lacking}")
    _needs("peft", f"Loading the adapter in {str(folder)!r}")
    own = (folder / "tokenizer_config.json").is_file()
    return Checkpoint(
        base, str(folder) if own else base, adapter=str(folder), task=ADAPTED.get(str(told.get("task_type")))
    )


def with_adapter(model: Any, folder: str) -> Any:
    """The model with the adapter's weights added to its own. Raises ModelNotFound for an adapter that has none to add,
    such as a tuned prompt."""
    from peft import PeftModel  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    adapted: Any = PeftModel.from_pretrained(model, folder)
    if adapted.active_peft_config.is_prompt_learning:
        raise ModelNotFound(
            f"The adapter in {folder!r} is a tuned prompt, which is no part of a text; expected one that changes "
            "weights, such as LoRA."
        )
    return adapted.merge_and_unload()


def _needs(package: str, what: str) -> None:
    if find_spec(package) is None:
        raise MissingExtra(f"{what} needs {package}: pip install {package}")
