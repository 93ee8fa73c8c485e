"""Loading: a Model from a checkpoint in a directory, on the hub, or in the package itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from ..engine.memory import out_of_memory
from ..errors import MissingExtra, ModelNotFound, PellucidError, UnsupportedModel, shortened
from .checkpoints import checkpoint_at, with_adapter
from .devices import device_named
from .model import Model
from .tasks import TASKS, Task, task_named, task_of


def load(
    name: str | os.PathLike[str] | None = None,
    task: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
    revision: str | None = None,
    *,
    trust_remote_code: bool = False,
    autocast: torch.dtype | str | None = None,
    compile: bool | str = False,
) -> Model:
    """A checkpoint, ready to be explained; without a name the bundled sentiment classifier, which needs no network.

    name: a directory, a name on the hub, a .gguf file (its weights are dequantised), or the directory of an adapter
        such as LoRA (its weights are added to those of the model that it names). Weights are read from safetensors and
        GGUF only.
    task: a name in TASKS; found from the checkpoint's architecture when None.
    dtype: float32 when None, whatever the checkpoint is stored in, so that scores add up to float32 precision;
        "auto" keeps the checkpoint's own.
    device: where it runs, such as "cuda" or "mps"; the CPU when None.
    trust_remote_code: run code that comes with the checkpoint. Off unless you ask.
    autocast, compile: as `Model`.

    Raises ModelNotFound, UnsupportedModel, InputError.

    Examples:
        >>> import pellucid
        >>> pellucid.load().labels
        ('negative', 'positive')
    """
    import transformers

    place = None if device is None else device_named(device)
    source = str(files("pellucid") / "assets" / "sentiment") if name is None else os.path.expanduser(os.fspath(name))
    at = checkpoint_at(source)
    asked = task or at.task
    named = None if asked is None else task_named(asked)
    if not Path(at.reader).is_dir() and _is_path(at.reader):
        raise ModelNotFound(f"There is no directory {source!r}; expected one with config.json and model.safetensors.")
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    with _quiet(), _explained(source):
        config = transformers.AutoConfig.from_pretrained(at.weights, **at.how, **common)
        found = named or task_of(getattr(config, "architectures", None))
        if found is None:
            raise UnsupportedModel(
                f"{source!r} holds {', '.join(config.architectures or ['no named architecture'])}; "
                f"the tasks known here are {', '.join(TASKS)}. Name the one its head was trained for: task='…'."
            )
        how = {"dtype": dtype or torch.float32, "use_safetensors": True, **at.how, **common}
        told = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # what does not fit is an error of ours
        model, report = getattr(transformers, found.auto).from_pretrained(at.weights, **how, **told)
        _check_fits(source, model, report["mismatched_keys"], found)
        if at.adapter is not None:
            model = with_adapter(model, at.adapter)
        tokenizer = getattr(transformers, found.modality.reader).from_pretrained(at.reader, **at.how, **common)
    model.config._name_or_path = "pellucid-sentiment (bundled)" if name is None else source
    net = model if place is None else model.to(place)
    lacking = tuple(report["missing_keys"])
    return Model(net, tokenizer, found.name, autocast=autocast, compile=compile, untrained=lacking)


def _check_fits(source: str, model: Any, mismatched: Iterable[tuple[str, Any, Any]], task: Task) -> None:
    """Raises UnsupportedModel where weights of a checkpoint have other shapes than those of the task's model.

    mismatched: a parameter's name, its shape in the checkpoint, and that in the model.
    """
    shapes = [f"{name} is {tuple(theirs)}, not {tuple(ours)}" for name, theirs, ours in sorted(mismatched)]
    if not shapes:
        return
    named = getattr(model.config, "architectures", None) or ["no named architecture"]
    own, needed = task_of(named), type(model).__name__
    remedy = (
        "Its config.json does not go with its model.safetensors: correct it (num_labels, vocab_size)."
        if needed in named
        else f"Expected a checkpoint trained for {task.name}"
        + (f"; for this one leave task out, or say task={own.name!r}." if own else ".")
    )
    raise UnsupportedModel(
        f"{source!r} holds the head of {', '.join(named)}, whose weights do not fit {needed}, the model for "
        f"{task.name}: {'; '.join(shapes)[:300]}. {remedy}"
    )


def _is_path(source: str) -> bool:
    """Whether this can only be meant as a path: a hub name is `name` or `owner/name`."""
    return source.startswith((".", "/")) or source.count("/") > 1 or os.path.exists(source)


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Raises ModelNotFound, or MissingExtra, for whatever transformers raises where it cannot load a checkpoint."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(
            f"Loading {source!r} needs a package that is not installed: {shortened(str(error).strip(), 300)} An "
            "image processor needs Pillow: pip install 'pellucid[images]'."
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, PellucidError) or (isinstance(error, RuntimeError) and out_of_memory(error)):
            raise
        reason = shortened(str(error).strip().splitlines()[0], 300) if str(error).strip() else type(error).__name__
        raise ModelNotFound(
            f"Could not load a model from {source!r}: {reason} Expected a directory, or a hub name, with config.json, "
            "model.safetensors and a tokenizer; weights in other formats are not read."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides transformers' progress bar while weights load, and puts its setting back afterwards."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
