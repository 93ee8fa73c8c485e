"""Text to text: each token of a target, given or generated, from the source and from the target's tokens before it.

A row is two sequences: the source, which the encoder reads, and what the decoder reads, its start token and the target.
Each target token has its logits one place before its own, so the scores of later ones are exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ...engine import hooks
from ...errors import InputError, TextTooLong, UnknownBaseline, UnsupportedModel
from ...explanation import Token
from ..text.decoding import written_as
from ..text.encoding import Encoding, encode, left_out, tokens_of
from ..text.inputs import TEXT, Form, Ids
from .continuation import PLACES, at_columns, columns_left, continuation_goals, packed, read_from
from .generation import generated
from .task import Inputs, Task, field
from .text_generation import continuing

if TYPE_CHECKING:
    from ..model import Model


def translated(
    model: Model, x: Tensor | None, source: Inputs, target: Inputs, columns: Tensor | None = None
) -> tuple[Tensor]:
    """The logits (rows, K, vocabulary) that the target's tokens are read from; columns: others than their own.

    Both sequences are padded on the right, whatever the tokenizer does: learned positions count from the left.
    """
    parts = (None, None) if x is None else x.split([s["input_ids"].shape[1] for s in (source, target)], 1)
    (inputs, x_in), (given, x_out) = (packed(s, p, s[PLACES] > 0) for s, p in zip((source, target), parts, strict=True))
    ids = given["input_ids"]
    more: dict[str, Any] = {"decoder_input_ids": ids, "decoder_attention_mask": (given[PLACES] > 0).long()}
    if model.takes("use_cache"):
        more["use_cache"] = False
    inputs = {name: value for name, value in inputs.items() if name != PLACES}
    reads = decoder_embedding(model)
    if x_out is None:
        outputs = model.forward(inputs, None, **more)
    else:
        with hooks.replaced(reads, x_out, ids, call=2 if reads is model.embedding else 1):
            outputs = model.forward(inputs, x_in, **more)
    logits = field(outputs, "logits")
    if not isinstance(logits, Tensor) or logits.shape[:2] != ids.shape:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UnsupportedModel(
            f"The model returned {found} for targets {tuple(ids.shape)}; expected logits of shape (rows, tokens, "
            "vocabulary) in the field 'logits'."
        )
    return (at_columns(logits, read_from(given[PLACES]) if columns is None else columns),)


def without_tokens(model: Model, special: Tensor) -> Callable[[tuple[Inputs, ...], Tensor], tuple[Tensor]]:
    """`(sequences, keep) -> outputs`, as `translated` on what `keep` leaves of the source and of the target, closed up.

    special: (rows, tokens), those that stay. Raises UnknownBaseline where nothing may be left of a source.
    """

    def without(sequences: tuple[Inputs, ...], keep: Tensor) -> tuple[Tensor]:
        left = keep.split([s["input_ids"].shape[1] for s in sequences], 1)
        if not bool(left[0].any(1).all()):
            raise UnknownBaseline(
                "Found baseline='delete' for a tokenizer that adds no special tokens to a source, so that nothing "
                "would be left of it; expected at least one token that stays. Use 'mask', 'pad', 'zero' or 'mean'."
            )
        columns = columns_left(sequences[1][PLACES], left[1])
        source, target = ({**s, PLACES: s[PLACES] * k} for s, k in zip(sequences, left, strict=True))
        return translated(model, None, source, target, columns)

    return without


def decoder_embedding(model: Model) -> nn.Module:
    """The module that embeds what the decoder reads: the encoder's own, or another.

    Raises UnsupportedModel where there is none, or where its embeddings do not stand beside the encoder's.
    """
    net: Any = model.model
    decoder = net.get_decoder() if model.takes("decoder_input_ids") and hasattr(net, "get_decoder") else None
    asked = getattr(decoder, "get_input_embeddings", lambda: getattr(decoder, "embed_tokens", None))
    found = None if decoder is None else asked()
    if not isinstance(found, nn.Module):
        raise UnsupportedModel(
            f"{type(net).__name__} has no decoder with an embedding of its own (get_decoder()); expected an encoder "
            "and a decoder, such as T5 or BART."
        )
    mine, other = (getattr(m, "embedding_dim", None) for m in (model.embedding, found))
    if found is not model.embedding and (mine is None or mine != other):
        raise UnsupportedModel(
            f"The encoder of {type(net).__name__} embeds a token as {mine or 'an unknown number of'} numbers "
            f"({type(model.embedding).__name__}), its decoder as {other or 'an unknown number'} "
            f"({type(found).__name__}); expected as many, from an nn.Embedding each."
        )
    return found


def _embeds(model: Model, k: int) -> nn.Module:
    return decoder_embedding(model) if k else model.embedding


def pairs(model: Model, items: Sequence[Any], truncate: bool = False, max_new_tokens: int = 20) -> list[Encoding]:
    """A source, for which the model generates a target; or a pair (source, target), {"source": …, "target": …}.

    Raises InputError, TextTooLong, UnsupportedModel.
    """
    decoder_embedding(model)
    read = [_read(item) for item in items]
    sources = encode(model.tokenizer, [source for source, _ in read], model.limit, truncate)
    return [
        _encoded(model, source, target, truncate, max_new_tokens)
        for source, (_, target) in zip(sources, read, strict=True)
    ]


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


def _read(item: Any) -> tuple[str | Ids, str | None]:
    found: Any = (item, None) if isinstance(item, (str, Ids)) else item
    if isinstance(item, Mapping) and set(item) <= {"source", "target"}:
        found = item.get("source"), item.get("target")
    if isinstance(found, (tuple, list)) and len(found) == 2 and isinstance(found[0], (str, Ids)):
        source, target = found
        if target is None or (isinstance(target, str) and target.strip()):
            return source, target
    raise InputError(f"Found {item!r:.80} as an input; expected {_FORM}.")


def _encoded(model: Model, source: Encoding, target: str | None, truncate: bool, most: int) -> Encoding:
    if target is None:
        context, text, tokens = _generated(model, source, most)
    else:
        context, text, tokens = [_start(model)], target, _target(model, target)
    lead = next(
        (i for i, t in enumerate(tokens) if not t.special), 0
    )  # a language's code, the token that begins a text
    context, tokens = [*context, *(t.id for t in tokens[:lead])], tokens[lead:]
    room = None if model.limit is None else model.limit - len(context)
    if room is not None and len(tokens) > room and not truncate:
        raise TextTooLong(
            f"The target has {len(context) + len(tokens)} tokens; expected at most {model.limit}. Shorten it, or pass "
            "truncate=True (--truncate) to explain its beginning only."
        )
    unread = (*source.unread, *left_out(tokens, tokens[:room]))
    cut = source.cut + len(tokens) - len(tokens[:room])
    tokens = tokens[:room]
    before = tuple(Token(written_as(model.tokenizer, i), i, None, True, None, 1) for i in context)
    (inputs,) = source.sequences
    n = len(source.tokens)
    decoder = [*context, *(t.id for t in tokens)]
    places = [1] * len(context) + list(range(2, len(tokens) + 2))
    return Encoding(
        (str(source.text), text),
        ({**inputs, PLACES: [1] * n}, {"input_ids": decoder, PLACES: places}),
        (*source.tokens, *before, *tokens),
        {"continuations": [(n + len(context), len(tokens), 1)]},
        unread=unread,
        cut=cut,
    )


def _start(model: Model) -> int:
    """The token that the decoder starts with."""
    for config in (getattr(model.model, "generation_config", None), getattr(model.model, "config", None)):
        if (found := getattr(config, "decoder_start_token_id", None)) is not None:
            return found
    raise UnsupportedModel(
        f"{type(model.model).__name__} names no decoder_start_token_id; expected the token that its decoder starts "
        "with. Set model.generation_config.decoder_start_token_id."
    )


def _target(model: Model, text: str) -> tuple[Token, ...]:
    """The target's tokens as the tokenizer writes targets, without the special ones that end it."""
    batch = model.tokenizer(text_target=[text], verbose=False)
    tokens = tokens_of(model.tokenizer, batch, 0, list(batch["input_ids"][0]), text)
    own = [i for i, t in enumerate(tokens) if not t.special]
    if not own:
        raise InputError(f"Found {text!r:.40} as a target; expected a text with at least one token.")
    return tuple(replace(t, segment=1) for t in tokens[: own[-1] + 1])


def _generated(model: Model, source: Encoding, most: int) -> tuple[list[int], str, tuple[Token, ...]]:
    (inputs,) = source.sequences
    room = most if model.limit is None else min(most, model.limit - 1)
    given = {name: values for name, values in inputs.items() if model.takes(name)}
    ids = generated(model, {"attention_mask": [1] * len(source), **given}, room)
    special = set(model.tokenizer.all_special_ids)
    lead = next((i for i, token in enumerate(ids) if i and token not in special), 1)
    again = lambda text: [t for t in _target(model, text) if not t.special]
    text, tokens = continuing(model, ids[:lead], ids[lead:], 1, again)
    return ids[:lead], text, tokens


TEXT2TEXT_GENERATION = Task(
    "text2text-generation",
    ("ForConditionalGeneration", "MTModel", "EncoderDecoderModel"),
    "AutoModelForSeq2SeqLM",
    translated,
    continuation_goals,
    pairs,
    TRANSLATED,
    decodes=True,
    without=without_tokens,
    places=PLACES,
    embeds=_embeds,
)
