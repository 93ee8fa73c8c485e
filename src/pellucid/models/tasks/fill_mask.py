"""Fill-mask: the token that a masked language model puts in the place of a mask (Devlin et al. 2018, 1810.04805).

Each mask of a text is one goal.

A candidate is put in the place of its mask and the text read again by the tokenizer: it must change that one token. So
a word is found however the vocabulary writes it there: good, ##good, Ġgood, ▁good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import InputError, UnknownTarget, UnsupportedModel, quoted, shortened
from ...problem import Select
from ...token_text import shown
from ...tokens import Target
from ..net import Net
from ..text.collating import Padded
from ..text.decoding import written_as
from ..text.encoding import Encoding
from ..text.filler import token_id
from ..text.reader import Reader
from ..text.tokenizer import Tokenizer, special_id
from ..text.tokenizing import Item
from .target_names import contrasts, only_keys
from .task import (
    PROBABILITIES,
    Asked,
    Goal,
    Task,
    are_probabilities,
    at,
    at_positions,
    by_function,
    check_output,
    finite_logits,
)

MASK = 1
"""The role (`Encoding.roles`) of a mask that is to be filled, 0 that of any other token: a baseline may have more masks
than the text."""

_WAYS = (
    "expected None (the predicted fill), a word that is one token of the vocabulary, its index, a contrast such as "
    "'good - bad', or a mapping with one of these as 'fill' and with 'mask', the number of a mask from 0"
)


def fills(net: Net, x: Tensor | None, sequence: Padded) -> Tensor:
    """The logits at the masks only, (rows, masks, vocabulary); a row with fewer masks repeats other positions."""
    assert sequence.roles is not None
    masked = sequence.roles == MASK
    logits = at_positions(net.forward(sequence.inputs, x), sequence.inputs, "vocabulary")
    order = torch.argsort(masked.int(), dim=1, descending=True, stable=True)[:, : int(masked.sum(1).max())]
    return logits.gather(1, order.unsqueeze(2).expand(-1, -1, logits.shape[2]))


def with_masks(reader: Reader, items: Sequence[Item], truncate: bool) -> list[Encoding]:
    """Texts with masks, which stay as they are in every baseline. Raises InputError where a text has none."""
    mask = special_id(reader.tokenizer, "mask")
    if mask is None:
        raise UnsupportedModel(
            "This tokenizer has no mask token, which the task 'fill-mask' needs; expected a tokenizer with mask_token."
        )
    found = []
    for i, encoding in enumerate(reader.encode(items, truncate)):
        if mask not in encoding.ids:
            cut = " (or none is left of it after truncation)" if truncate else ""
            sign = written_as(reader.tokenizer, mask)
            raise InputError(
                f"Input {i} ({quoted(encoding.text)}) has no mask{cut}; expected {sign!r} where a word is to be found, "
                "as this tokenizer writes it."
            )
        roles = [MASK if i == mask else 0 for i in encoding.ids]
        tokens = tuple(replace(t, special=True, word=None) if t.id == mask else t for t in encoding.tokens)
        if all(t.special for t in tokens):
            raise InputError(
                f"Input {i} ({quoted(encoding.text)}) has nothing beside its mask; expected a text around it."
            )
        found.append(replace(encoding, tokens=tokens, roles=(roles,)))
    return found


def fill_goals(asked: Asked, logits: Tensor) -> list[Goal]:
    """For each mask its predicted fill, a candidate, or a contrast of two. logits (rows, masks, vocabulary)."""
    finite_logits(logits)
    check_output(asked.output, asked.target)
    if callable(asked.target):
        select, name = by_function(asked.target)
        return [Goal(select, [Target(name)] * asked.rows, [(None, None)] * asked.rows)]
    mask = special_id(asked.tokenizer, "mask")
    places = [[i for i, t in enumerate(e.tokens) if t.id == mask] for e in asked.encodings]
    fill, only = _fill_and_mask(asked.target, min(map(len, places)))
    numbers = range(max(map(len, places))) if only is None else [only]
    return [_goal(asked, logits, k, [p[k] if k < len(p) else None for p in places], fill) for k in numbers]


def _fill_and_mask(target: object, masks: int) -> tuple[object, int | None]:
    """The fill that is meant, and the mask, None for all of them. Raises UnknownTarget."""
    if not isinstance(target, Mapping):
        return target, None
    spec = only_keys(target, ("fill", "mask"))
    only = spec.get("mask")
    if only is not None and (not isinstance(only, int) or isinstance(only, bool) or not 0 <= only < masks):
        raise UnknownTarget(f"Found mask={only!r}; expected the number of a mask, from 0 to {masks - 1}.")
    return spec.get("fill"), only


def _goal(asked: Asked, logits: Tensor, k: int, places: Sequence[int | None], fill: object) -> Goal:
    """The goal of the k-th mask, which stands at one of each row's tokens, or at none."""
    tokenizer, most = asked.tokenizer, logits.shape[2]
    probable = are_probabilities(asked, logits)
    chances = logits[:, k].detach().double()
    chances = (chances if probable else chances.softmax(1)).max(1)
    plus, minus, targets, predictions = [], [], [], []
    for row, place in enumerate(places):
        best, p = int(chances.indices[row]), chances.values[row].item()
        predictions.append((name_of(tokenizer, best), p))
        found = (
            (best, None) if fill is None or place is None else _pair(tokenizer, asked.encodings[row], place, fill, most)
        )
        plus.append(found[0])
        minus.append(found[0] if found[1] is None else found[1])
        targets.append(None if place is None else _target(tokenizer, found, place))
    contrast = any(isinstance(t, Target) and isinstance(t.index, tuple) for t in targets)
    number = lambda values: torch.tensor(values, device=logits.device)
    softened = asked.output == "probability" and not probable
    select = _select_at_mask(k, at(number(plus), number(minus) if contrast else None), softened)
    return Goal(select, targets, predictions, (PROBABILITIES,) if probable else ())


def _select_at_mask(k: int, pick: Select, probability: bool) -> Select:
    """What `pick` takes from the logits, or the probabilities, at each row's k-th mask."""

    def select(out: Tensor, which: Tensor) -> Tensor:
        own = out[:, min(k, out.shape[1] - 1)]  # where no row that is asked has so many, the number is not looked at
        return pick(own.softmax(1) if probability else own, which)

    return select


def _target(tokenizer: Tokenizer, found: tuple[int, int | None], place: int) -> Target:
    """A candidate, or a contrast of two, by name."""
    plus, minus = found
    if minus is None:
        return Target(name_of(tokenizer, plus), plus, place)
    return Target(f"{name_of(tokenizer, plus)} - {name_of(tokenizer, minus)}", (plus, minus), place)


def name_of(tokenizer: Tokenizer, index: int) -> str:
    """A token as a person reads it."""
    text = tokenizer.decode([index]).strip()
    return text if text and "\ufffd" not in text else shown(written_as(tokenizer, index))


# ---------------------------------------------------------------------------------------------- words to vocabulary


def _pair(tokenizer: Tokenizer, encoding: Encoding, place: int, fill: object, most: int) -> tuple[int, int | None]:
    """The index of a candidate, or the two of a contrast. most: how many indices there are. Raises UnknownTarget."""
    if isinstance(fill, int) and not isinstance(fill, bool) and 0 <= fill < most:
        return fill, None
    if not isinstance(fill, str) or not fill.strip():
        raise UnknownTarget(f"Found target={quoted(fill)}; {_WAYS}.")
    if (one := _candidate(tokenizer, encoding, place, fill)) is not None:
        return one, None
    for first, second in contrasts(fill):
        a, b = (_candidate(tokenizer, encoding, place, word) for word in (first, second))
        if a is not None and b is not None:
            return a, b
    pieces = {w: tokenizer.tokenize(w.strip()) for w in (fill, *(w for both in contrasts(fill) for w in both))}
    shown = "; ".join(f"{quoted(word, 40)} is {', '.join(map(repr, p)) or 'nothing'}" for word, p in pieces.items())
    raise UnknownTarget(
        f"Found target={quoted(fill)}, which is not one token of this vocabulary at the mask "
        f"({shortened(shown, 300)}); {_WAYS}."
    )


def _candidate(tokenizer: Tokenizer, encoding: Encoding, place: int, word: str) -> int | None:
    """The index that a word has in the place of the mask, or as the vocabulary writes it, or by itself, if any."""
    unknown = special_id(tokenizer, "unk")
    token = encoding.tokens[place]
    parts = [encoding.text] if isinstance(encoding.text, str) else list(encoding.text)
    if token.span is not None:
        start, end = token.span
        parts[token.segment] = parts[token.segment][:start] + word.strip() + parts[token.segment][end:]
        ids = list(tokenizer(*parts, verbose=False)["input_ids"])
        rest = max(i for i, t in enumerate(encoding.tokens) if not t.special or i == place) + 1
        alike = ids[:place] == encoding.ids[:place] and ids[place + 1 : rest] == encoding.ids[place + 1 : rest]
        if alike and len(ids) >= rest and ids[place] not in (unknown, *tokenizer.all_special_ids):
            return ids[place]
    return token_id(word.strip(), tokenizer)


FILL_MASK = Task(
    "fill-mask",
    ("ForMaskedLM",),
    "AutoModelForMaskedLM",
    fills,
    fill_goals,
    encode=with_masks,
    any_side=True,
)
