"""Text to text: each token of a target, given or generated, from the source and from the target's tokens before it.

A row is two sequences: the source, which the encoder reads, and what the decoder reads, its start token and the target.
Each target token has its logits one place before its own, so the scores of later ones are exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from ...engine import hooks
from ...errors import InputError, TextTooLong, UnknownBaseline, UnsupportedModel, quoted
from ...tokens import Token
from ..net import Net
from ..text.collating import Padded, Sequences
from ..text.decoding import written_as
from ..text.encoding import Encoding, left_out
from ..text.inputs import TEXT, Form, Ids, Value
from ..text.reader import Reader
from ..text.token_spans import tokens_of
from ..text.tokenizer import Tokenizer
from ..text.tokenizing import Item
from .continuation import (
    PADDING,
    Continuations,
    Part,
    at_columns,
    columns_left,
    continuing_roles,
    packed,
    read_from,
    roles_of,
)
from .continuation_goals import continuation_goals
from .generation import continued_text, generated
from .task import Preparation, Task, Without, field


def translated(net: Net, x: Tensor | None, source: Padded, target: Padded) -> tuple[Tensor]:
    """The logits (rows, K, vocabulary) that the target's tokens are read from."""
    return _translated(net, x, source, target, None)


def _translated(net: Net, x: Tensor | None, source: Padded, target: Padded, columns: Tensor | None) -> tuple[Tensor]:
    """As `translated`. columns: (rows, K), where the logits are read instead of at their own columns.

    Both sequences are padded on the right, whatever the tokenizer does: learned positions count from the left.
    """
    parts = (None, None) if x is None else x.split([s.ids.shape[1] for s in (source, target)], 1)
    (inputs, _, x_in), (given, roles, x_out) = (
        packed(s.inputs, roles_of(s), p, roles_of(s) != PADDING) for s, p in zip((source, target), parts, strict=True)
    )
    ids = given["input_ids"]
    more: dict[str, object] = {"decoder_input_ids": ids, "decoder_attention_mask": (roles != PADDING).long()}
    if net.takes("use_cache"):
        more["use_cache"] = False
    reads = decoder_embedding(net)
    if x_out is None:
        outputs = net.forward(inputs, None, **more)
    else:
        with hooks.replaced(reads, x_out, ids, call=2 if reads is net.embedding else 1):
            outputs = net.forward(inputs, x_in, **more)
    logits = field(outputs, "logits")
    if not isinstance(logits, Tensor) or logits.shape[:2] != ids.shape:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UnsupportedModel(
            f"The model returned {found} for targets {tuple(ids.shape)}; expected logits of shape (rows, tokens, "
            "vocabulary) in the field 'logits'."
        )
    return (at_columns(logits, read_from(roles) if columns is None else columns),)


def without_tokens(net: Net, reader: Reader, special: Tensor) -> Without:
    """What the target's logits are once only some tokens are left of the source and of the target, closed up.

    special: (rows, tokens), those that stay. Raises UnknownBaseline where nothing may be left of a source.
    """

    def without(sequences: Sequences, keep: Tensor) -> tuple[Tensor]:
        left = keep.split([s.ids.shape[1] for s in sequences], 1)
        if not bool(left[0].any(1).all()):
            raise UnknownBaseline(
                "Found baseline='delete' for a tokenizer that adds no special tokens to a source, so that nothing "
                "would be left of it; expected at least one token that stays. Use 'mask', 'pad', 'zero' or 'mean'."
            )
        columns = columns_left(roles_of(sequences[1]), left[1])
        source, target = (s._replace(roles=roles_of(s) * k) for s, k in zip(sequences, left, strict=True))
        return _translated(net, None, source, target, columns)

    return without


def decoder_embedding(net: Net) -> nn.Module:
    """The module that embeds what the decoder reads: the encoder's own, or another.

    Raises UnsupportedModel where there is none, or where its embeddings do not stand beside the encoder's.
    """
    model: Any = net.model
    decoder = model.get_decoder() if net.takes("decoder_input_ids") and hasattr(model, "get_decoder") else None
    asked = getattr(decoder, "get_input_embeddings", lambda: getattr(decoder, "embed_tokens", None))
    found = None if decoder is None else asked()
    if not isinstance(found, nn.Module):
        raise UnsupportedModel(
            f"{type(model).__name__} has no decoder with an embedding of its own (get_decoder()); expected an encoder "
            "and a decoder, such as T5 or BART."
        )
    mine, other = (getattr(m, "embedding_dim", None) for m in (net.embedding, found))
    if found is not net.embedding and (mine is None or mine != other):
        raise UnsupportedModel(
            f"The encoder of {type(model).__name__} embeds a token as {mine or 'an unknown number of'} numbers "
            f"({type(net.embedding).__name__}), its decoder as {other or 'an unknown number'} "
            f"({type(found).__name__}); expected as many, from an nn.Embedding each."
        )
    return found


def _embeds(net: Net, k: int) -> nn.Module:
    """The module that embeds the source (k = 0) or the target (k = 1)."""
    return decoder_embedding(net) if k else net.embedding


@dataclass(frozen=True)
class Untranslated:
    """The source of an input whose target is still to be put beside it. target: the one that the user gave; None where
    the model generates it."""

    target: str | None


def read_sources(reader: Reader, items: Sequence[Item], truncate: bool = False) -> list[Encoding]:
    """A source, for which the model generates a target; or a pair (source, target), {"source": …, "target": …}.

    The encodings are of the sources alone, for `translate_sources`. Raises InputError, TextTooLong.
    """
    read = [_source_and_target(item) for item in items]
    sources = reader.encode([source for source, _ in read], truncate)
    return [replace(s, extra=Untranslated(target)) for s, (_, target) in zip(sources, read, strict=True)]


def translate_sources(net: Net, reader: Reader, encodings: list[Encoding], how: Preparation) -> list[Encoding]:
    """Each source with its target, which the model generates where the user gave none.

    Raises InputError, TextTooLong, UnsupportedModel.
    """
    decoder_embedding(net)
    return [_with_target(net, reader, e, e.extra.target, how) for e in encodings if isinstance(e.extra, Untranslated)]


_FORM = "a source, a pair (source, target), or {'source': 'a text', 'target': 'another'}"
TRANSLATED = Form(
    (
        {
            "source": ("source", "source_text", "dialogue", "input", *TEXT),
            "target": ("target", "target_text", "summary", "highlights", "output", "answer"),
        },
    ),
    _FORM,
    optional=frozenset({"target"}),
    labels=("label",),
)


def _source_and_target(item: Item) -> tuple[str | Ids, str | None]:
    """The source, and the target if the user gave one. Raises InputError."""
    found: Value = (item, None) if isinstance(item, (str, Ids)) else item
    if isinstance(item, Mapping) and set(item) <= {"source", "target"}:
        found = item.get("source"), item.get("target")
    if isinstance(found, (tuple, list)) and len(found) == 2 and isinstance(found[0], (str, Ids)):
        source, target = found
        if target is None or (isinstance(target, str) and target.strip()):
            return source, target
    raise InputError(f"Found {quoted(item, 80)} as an input; expected {_FORM}.")


def _with_target(net: Net, reader: Reader, source: Encoding, target: str | None, how: Preparation) -> Encoding:
    """A source with its target as a second sequence, which begins with the token that the decoder starts with."""
    if target is None:
        context, text, tokens = _generated(net, reader, source, how.max_new_tokens)
    else:
        context, text, tokens = [_start(net.model)], target, _target(reader.tokenizer, target)
    # special tokens in front, such as a language's code, are no part of what is explained
    lead = next((i for i, t in enumerate(tokens) if not t.special), 0)
    context, tokens = [*context, *(t.id for t in tokens[:lead])], tokens[lead:]
    room = None if reader.limit is None else reader.limit - len(context)
    if room is not None and len(tokens) > room and not how.truncate:
        raise TextTooLong(
            f"The target has {len(context) + len(tokens)} tokens; expected at most {reader.limit}. Shorten it, or pass "
            "truncate=True (--truncate) to explain its beginning only."
        )
    unread = (*source.unread, *left_out(tokens, tokens[:room]))
    cut = source.cut + len(tokens) - len(tokens[:room])
    tokens = tokens[:room]
    before = tuple(Token(written_as(reader.tokenizer, i), i, None, True, None, 1) for i in context)
    (inputs,) = source.sequences
    n = len(source.tokens)
    decoder = [*context, *(t.id for t in tokens)]
    return Encoding(
        (str(source.text), text),
        (inputs, {"input_ids": decoder}),
        (*source.tokens, *before, *tokens),
        roles=(continuing_roles(n, 0), continuing_roles(len(context), len(tokens))),
        extra=Continuations((Part(n + len(context), len(tokens), 1),)),
        unread=unread,
        cut=cut,
    )


def _start(model: nn.Module) -> int:
    """The token that the decoder starts with."""
    for config in (getattr(model, "generation_config", None), getattr(model, "config", None)):
        if (found := getattr(config, "decoder_start_token_id", None)) is not None:
            return found
    raise UnsupportedModel(
        f"{type(model).__name__} names no decoder_start_token_id; expected the token that its decoder starts "
        "with. Set model.generation_config.decoder_start_token_id."
    )


def _target(tokenizer: Tokenizer, text: str) -> tuple[Token, ...]:
    """The target's tokens as the tokenizer writes targets, without the special ones that end it."""
    batch = tokenizer(text_target=[text], verbose=False)
    tokens = tokens_of(tokenizer, batch, 0, list(batch["input_ids"][0]), text)
    own = [i for i, t in enumerate(tokens) if not t.special]
    if not own:
        raise InputError(f"Found {quoted(text, 40)} as a target; expected a text with at least one token.")
    return tuple(replace(t, segment=1) for t in tokens[: own[-1] + 1])


def _generated(net: Net, reader: Reader, source: Encoding, most: int) -> tuple[list[int], str, tuple[Token, ...]]:
    """The special ids that a generated target begins with, its text, and its tokens. most: of how many tokens it is."""
    (inputs,) = source.sequences
    room = most if reader.limit is None else min(most, reader.limit - 1)
    given = {name: values for name, values in inputs.items() if net.takes(name)}
    ids = generated(net, reader.tokenizer, {"attention_mask": [1] * len(source), **given}, room)
    special = set(reader.tokenizer.all_special_ids)
    lead = next((i for i, token in enumerate(ids) if i and token not in special), 1)
    again: Callable[[str], list[Token]] = lambda text: [t for t in _target(reader.tokenizer, text) if not t.special]
    text, tokens = continued_text(net, reader.tokenizer, ids[:lead], ids[lead:], 1, again)
    return ids[:lead], text, tokens


TEXT2TEXT_GENERATION = Task(
    "text2text-generation",
    ("ForConditionalGeneration", "MTModel", "EncoderDecoderModel"),
    "AutoModelForSeq2SeqLM",
    translated,
    continuation_goals,
    TRANSLATED,
    read_sources,
    translate_sources,
    embeds=_embeds,
    without=without_tokens,
    decodes=True,
    any_side=True,
)
