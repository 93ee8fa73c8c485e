"""Sentence similarity: the cosine of two texts' embeddings, attributed to the tokens of both.

cos(u, v) = u·v / (|u|·|v|), where u and v pool the last hidden states of a text's own tokens: their mean, or the first
(Reimers and Gurevych 2019, 1908.10084). Which one, the checkpoint's sentence-transformers files say (modules.json and
the pooling's config.json, beside the weights, in the directory or under the hub name that the model's configuration
keeps); a checkpoint without them is pooled by the mean. Normalising modules change no cosine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from warnings import warn

import torch
from torch import Tensor

from ...errors import InputError, UnknownTarget, UnsupportedModel, quoted, shortened
from ...tokens import Target
from ..net import Net
from ..text.collating import Inputs, Padded
from ..text.encoding import Encoding, joined
from ..text.inputs import PAIRS, Form
from ..text.reader import Reader
from ..text.tokenizing import Item, text_and_pair
from .task import Asked, Goal, Task, field, finite_logits

Pool = Callable[[Tensor, Tensor], Tensor]
"""`(hidden states (rows, tokens, hidden), mask (rows, tokens)) -> (rows, hidden)`."""


def mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean of the states of a row's own tokens."""
    own = mask.unsqueeze(-1).to(states.dtype)
    return (states * own).sum(1) / own.sum(1)


def first(states: Tensor, mask: Tensor) -> Tensor:
    """The state of a row's first own token, [CLS]."""
    return states[torch.arange(len(states), device=states.device), mask.long().argmax(1)]


def last(states: Tensor, mask: Tensor) -> Tensor:
    """The state of a row's last own token."""
    return first(states.flip(1), mask.flip(1))


POOLINGS: dict[str, Pool] = {"mean": mean, "mean_sqrt_len": mean, "cls": first, "lasttoken": last}
"""By the names of sentence-transformers. Dividing a sum by √length instead changes its length only, so no cosine."""

_FIELDS = {"cls_token": "cls", "mean_tokens": "mean", "mean_sqrt_len_tokens": "mean_sqrt_len"}


def pooling(name: str, revision: str | None = None) -> str:
    """How a checkpoint, a directory or a hub name, pools: a name in POOLINGS. Raises UnsupportedModel."""
    modules = _json(name, "modules.json", revision)
    if modules is None:
        return "mean"
    found = "mean"
    for module in modules[1:]:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind == "Pooling":
            found = _pooling(_json(name, f"{module.get('path', '')}/config.json", revision) or {}, name)
        elif kind != "Normalize":
            raise UnsupportedModel(
                f"The embeddings of {name!r} go through a {kind!r} module; expected pooling and normalising only. "
                "Explain the model in front of it: put a copy without modules.json into a directory and load that."
            )
    return found


def _pooling(config: dict[str, Any], name: str) -> str:
    """The pooling that a configuration of sentence-transformers names. name: the checkpoint's, for an error."""
    flags = {k.removeprefix("pooling_mode_"): on for k, on in config.items() if k.startswith("pooling_mode_")}
    modes = [_FIELDS.get(flag, flag) for flag, on in flags.items() if on]
    modes = modes or [m for m in [config.get("pooling_mode", "mean")] if m]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise UnsupportedModel(
            f"The embeddings of {name!r} are pooled by {modes!r}; expected one of {', '.join(POOLINGS)}."
        )
    return modes[0]


@cache
def _json(name: str, path: str, revision: str | None) -> Any:
    """A JSON file of a checkpoint; None where it has none, or, with a warning, where nobody can tell."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    file: Path | None = Path(name) / path
    if not Path(name).is_dir():
        try:
            file = Path(hf_hub_download(name, path, revision=revision))
        except (OSError, ValueError) as error:
            file = None
            if not isinstance(error, EntryNotFoundError) or isinstance(error, LocalEntryNotFoundError):
                reason = shortened(f"{type(error).__name__}: {error}".splitlines()[0], 200)
                what = f"Could not look for {path} of {name!r}, which says how it pools, so the mean is taken: {reason}"
                warn(what, stacklevel=2)
    return json.loads(file.read_text("utf-8")) if file is not None and file.is_file() else None


def cosine(net: Net, x: Tensor | None, *sequences: Padded) -> Tensor:
    """cos(u, v) (rows, 1) of the texts in two sequences."""
    widths = [s.ids.shape[1] for s in sequences]
    xs = [None] * len(sequences) if x is None else x.split(widths, 1)
    config = getattr(net.model, "config", None)
    checkpoint = getattr(config, "_name_or_path", "")
    pool = POOLINGS[pooling(checkpoint, getattr(config, "_commit_hash", None)) if checkpoint else "mean"]
    u, v = (pool(_states(net, s.inputs, part), _mask(s.inputs)) for s, part in zip(sequences, xs, strict=True))
    return ((u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1))).unsqueeze(1)


def _mask(inputs: Inputs) -> Tensor:
    """(rows, tokens), 1 where a token is a row's own and 0 where it is padding."""
    mask = inputs.get("attention_mask")
    return torch.ones_like(inputs["input_ids"]) if mask is None else mask


def _states(net: Net, inputs: Inputs, x: Tensor | None) -> Tensor:
    """The last hidden states (rows, tokens, hidden) of the texts in one sequence. Raises UnsupportedModel."""
    rows, tokens = inputs["input_ids"].shape
    found = field(net.forward(inputs, x), "last_hidden_state")
    if not isinstance(found, Tensor) or found.ndim != 3 or found.shape[:2] != (rows, tokens):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UnsupportedModel(
            f"The model returned {shape} for {rows} texts of {tokens} tokens; expected hidden states ({rows}, "
            f"{tokens}, hidden), as the field 'last_hidden_state' or the first of a tuple. Give the encoder without "
            "its head."
        )
    return found


def read_pairs(reader: Reader, items: Sequence[Item], truncate: bool = False) -> list[Encoding]:
    """Two texts as two sequences, each the model's own. Raises InputError where there is one."""
    texts: list[str] = []
    for i, item in enumerate(items):
        a, b = text_and_pair(item, i)
        if b is None:
            raise InputError(
                "This model has no head for a task, such as a classifier: all it can tell of texts is how similar two "
                f"of them are. Input {i} is one text ({quoted(a, 40)}); expected two to compare: ('a', 'b'). To "
                "explain one text, load a checkpoint with a head that was trained for its task."
            )
        texts += [a, b]
    each = reader.encode(texts, truncate)
    return [joined((texts[i], texts[i + 1]), each[i : i + 2], [(0,), (1,)]) for i in range(0, len(each), 2)]


def cosine_goal(asked: Asked, outputs: Tensor) -> list[Goal]:
    """One goal: the cosine."""
    if asked.target not in (None, "cosine"):
        raise UnknownTarget(
            f"Found target={quoted(asked.target)}; sentence similarity has one number to explain, the cosine of the "
            "two embeddings: leave the target out."
        )
    if asked.output != "logit":
        raise InputError(f"Found output={asked.output!r}; a cosine has no probability. Leave output out.")
    rows = len(finite_logits(outputs))
    return [Goal(lambda out, which: out[:, 0], [Target("cosine")] * rows, [(None, None)] * rows)]


def embeds(architecture: str) -> bool:
    """Whether transformers has an encoder without a head of this name."""
    if not architecture.endswith("Model"):
        return False
    from transformers.models.auto import modeling_auto as auto

    return architecture in {*auto.MODEL_MAPPING_NAMES.values(), *auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.values()}


COMPARED = Form(
    tuple({"text": (a,), "text_pair": (b,)} for a, b in PAIRS),
    "two to compare: ('a', 'b'), {'text': …, 'text_pair': …} or {'sentence1': …, 'sentence2': …}",
    made=lambda parts: (parts["text"], parts["text_pair"]),
    ids=False,
)

SENTENCE_SIMILARITY = Task("sentence-similarity", (), "AutoModel", cosine, cosine_goal, COMPARED, read_pairs)
