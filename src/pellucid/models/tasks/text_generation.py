"""Text generation: each token of a continuation, given or generated, from the prompt and the tokens before it.

The model runs once on the prompt and its continuation, so that every token of the continuation has its logits one place
before its own. What comes after those has no part in them: the scores of later tokens are exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ...errors import InputError, TextTooLong, UnsupportedModel
from ...explanation import Token
from ..text import key_value_cache
from ..text.decoding import spelled, written_as
from ..text.encoding import Encoding, encode, left_out, tokens_of
from ..text.inputs import TEXT, Form, Ids
from . import deletion
from .continuation import PLACES, at_columns, continuation_goals, packed, read_from
from .generation import end_tokens, generated
from .task import Inputs, Task, checked, field

if TYPE_CHECKING:
    from ..model import Model

# ------------------------------------------------------------------------------------------------------ the model's run


def logits_at(model: Model, inputs: Inputs, x: Tensor | None, columns: Tensor, **more: Any) -> Tensor:
    """The logits (rows, K, vocabulary) at columns (rows, K) or (K,), and no others where the model can be told so."""
    given = {name: value for name, value in inputs.items() if name != PLACES}
    if model.takes("use_cache"):
        more.setdefault("use_cache", False)
    wanted = columns.unique()
    if told := model.takes("logits_to_keep"):
        more["logits_to_keep"] = wanted
    logits = field(model.forward(given, x, **more), "logits")
    rows = len(inputs["input_ids"])
    if not isinstance(logits, Tensor) or logits.ndim != 3 or len(logits) != rows:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UnsupportedModel(
            f"The model returned {found} for {rows} texts; expected logits of shape ({rows}, tokens, vocabulary), as a "
            "tensor, the first of a tuple, or the field 'logits'."
        )
    at = torch.searchsorted(wanted, columns) if told else columns
    return at_columns(logits, at.expand(rows, -1))


def continued(model: Model, x: Tensor | None, inputs: Inputs, *others: Inputs) -> tuple[Tensor, ...]:
    """The logits (rows, K, vocabulary) that each continuation's tokens are read from.

    others: the tokens of the continuation that a row's own is compared with. Both follow the same prompt.
    """
    each = x if x is None else x.split([s["input_ids"].shape[1] for s in (inputs, *others)], 1)
    found = [logits_at(model, inputs, None if each is None else each[0], read_from(inputs[PLACES]))]
    for i, other in enumerate(others, 1):
        both = {name: torch.cat([inputs[name], other[name]], 1) for name in inputs}
        keep = torch.cat([inputs[PLACES] == 1, other[PLACES] > 0], 1)
        given, point = packed(both, None if each is None else torch.cat([each[0], each[i]], 1), keep)
        found.append(logits_at(model, given, point, read_from(given[PLACES])))
    return tuple(found)


def without_tokens(model: Model, special: Tensor) -> Callable[[tuple[Inputs, ...], Tensor], tuple[Tensor, ...]]:
    """As `deleting.without_tokens`."""
    return deletion.without_tokens(model, logits_at)


def resumed(model: Model, x: Tensor, sequences: Sequence[Inputs], owns: Sequence[Tensor]) -> Any:
    """As `prefix.resumed`, where a row is one sequence."""
    if len(sequences) > 1:
        return None
    inputs = sequences[0]
    read = lambda given, point, columns, **more: logits_at(model, given, point, columns, **more)
    run = key_value_cache.resumed(model, x, inputs, owns[0], read_from(inputs[PLACES]), read)
    return None if run is None else lambda points, rows, first, whole: (run(points, rows, first, whole[0]),)


# ---------------------------------------------------------------------------------------------- what the user asked for

_FORM = (
    "a prompt, a pair (prompt, continuation), or a mapping such as {'prompt': …, 'continuation': …, 'versus': …} or "
    "{'messages': [{'role': 'user', 'content': …}]}"
)
_AFTER = {"continuation": ("continuation", "completion", "response", "chosen"), "versus": ("versus", "rejected")}
CONTINUED = Form(
    (
        {"prompt": ("prompt", *(name for name in TEXT if name not in ("context", "premise")), "instruction"), **_AFTER},
        {"messages": ("messages", "conversation"), **_AFTER},
    ),
    _FORM,
    optional=frozenset(_AFTER),
    listed=frozenset({"messages"}),
)


@dataclass(frozen=True)
class Prompt:
    """What comes before a continuation. texts: as the user wrote them. written: as the model reads them. inputs: one
    list of ints per name. added: whether the tokenizer adds its special tokens."""

    texts: tuple[str, ...]
    written: str
    inputs: Mapping[str, list[int]]
    tokens: tuple[Token, ...]
    added: bool

    @property
    def ids(self) -> list[int]:
        return self.inputs["input_ids"]


def prompts(model: Model, items: Sequence[Any], truncate: bool = False, max_new_tokens: int = 20) -> list[Encoding]:
    """A prompt, which the model continues; a pair (prompt, continuation); {"messages": [{"role", "content"}, …]},
    written out by the tokenizer's chat template, with or without a "continuation". With "versus": another continuation
    to compare with. A continuation follows the prompt as it is written: it begins with a space where one belongs.

    Raises InputError, TextTooLong, UnsupportedModel.
    """
    _check_causal(model)
    return [_encoded(model, *_read(item), truncate, max_new_tokens) for item in items]


def _read(item: Any) -> tuple[Any, str | None, str | None]:
    """The prompt or the messages, the continuation and the other one, from what the user passed."""
    if isinstance(item, (str, Ids)):
        return item, None, None
    if isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return item[0], item[1], None
    if isinstance(item, Mapping):
        start = "messages" if "messages" in item else "prompt"
        text, versus = item.get("continuation"), item.get("versus")
        known = start in item and set(item) <= {start, "continuation", "versus"}
        texts = all(t is None or isinstance(t, str) for t in (text, versus)) and (text is not None or versus is None)
        if known and texts and (start == "messages" or isinstance(item[start], str)):
            return item[start], text, versus
    raise InputError(f"Found {item!r:.80} as an input; expected {_FORM}.")


def _encoded(
    model: Model, start: Any, text: str | None, versus: str | None, truncate: bool, max_new_tokens: int
) -> Encoding:
    prompt = _prompt(model, start) if isinstance(start, (str, Ids)) else _chat(model, start)
    room = None if model.limit is None else model.limit - len(prompt.ids)
    if room is not None and room < 1:
        raise TextTooLong(
            f"The prompt has {len(prompt.ids)} tokens; this model takes {model.limit}; expected room "
            "for a continuation. Shorten it."
        )
    if text is None:
        most = max_new_tokens if room is None else min(max_new_tokens, room)
        text, tokens = _generated(model, prompt, most)
    else:
        tokens = _continuation(model, prompt, text)
    others = () if versus is None else _continuation(model, prompt, versus, 1)
    for each in (tokens, others):
        if room is not None and len(each) > room and not truncate:
            raise TextTooLong(
                f"The prompt and its continuation have {len(prompt.ids) + len(each)} tokens; expected at most "
                f"{model.limit}, which this model takes. Shorten them, or pass truncate=True (--truncate) to explain "
                "the beginning only."
            )
    kept = [t[:room] for t in (tokens, others)]
    unread = (*left_out(tokens, kept[0]), *left_out(others, kept[1]))
    cut = len(tokens) + len(others) - sum(map(len, kept))
    tokens, others = kept
    first = len(prompt.tokens)
    n = len(prompt.texts)
    sequences = [_sequence(prompt, tokens)]
    found = [(first, len(tokens), n)]
    if versus is not None:
        if not isinstance(model.embedding, nn.Embedding):
            raise UnsupportedModel(
                f"Found 'versus' with {type(model.embedding).__name__} as the embeddings; expected an nn.Embedding, "
                "which embeds a token alike wherever it stands. Explain both continuations, one at a time."
            )
        sequences.append({name: values[first:] for name, values in _sequence(prompt, others).items()})
        found.append((first + len(tokens), len(others), n + 1))
    return Encoding(
        (*prompt.texts, text, *([] if versus is None else [versus])),
        tuple(sequences),
        (*prompt.tokens, *tokens, *others),
        {"continuations": found},
        kind=len(sequences),
        unread=unread,
        cut=cut,
    )


def _sequence(prompt: Prompt, tokens: Sequence[Token]) -> dict[str, list[int]]:
    """A prompt's inputs with a continuation's tokens; what else a tokenizer says of each token goes on as it ended."""
    inputs = {name: [*values, *[values[-1]] * len(tokens)] for name, values in prompt.inputs.items()}
    n = len(prompt.ids)
    inputs["input_ids"] = [*prompt.ids, *(t.id for t in tokens)]
    return {**inputs, "attention_mask": [1] * (n + len(tokens)), PLACES: [1] * n + list(range(2, len(tokens) + 2))}


def _prompt(model: Model, given: str | Ids) -> Prompt:
    (found,) = encode(model.tokenizer, [given], None)
    text = found.text if isinstance(found.text, str) else " ".join(found.text)
    return Prompt((text,), text, found.sequences[0], found.tokens, True)


def _continuation(model: Model, prompt: Prompt, text: str, later: int = 0) -> tuple[Token, ...]:
    """The continuation's tokens: those that the tokenizer makes of it where it stands, unless one would reach back into
    the prompt; then those it makes of it alone."""
    tokenizer, segment = model.tokenizer, len(prompt.texts) + later
    batch = tokenizer([prompt.written + text], add_special_tokens=prompt.added, verbose=False)
    whole = _bare(tokens_of(tokenizer, batch, 0, list(batch["input_ids"][0]), prompt.written + text))
    before = _bare(prompt.tokens) if prompt.added else prompt.tokens
    offset = len(prompt.written)
    if [t.id for t in whole[: len(before)]] == [t.id for t in before] and len(whole) > len(before):
        tokens = whole[len(before) :]
    else:
        batch = tokenizer([text], add_special_tokens=False, verbose=False)
        tokens, offset = tokens_of(tokenizer, batch, 0, list(batch["input_ids"][0]), text), 0
    if not tokens:
        raise InputError(f"Found {text!r:.40} as a continuation; expected a text with at least one token.")
    return tuple(
        replace(t, segment=segment, span=None if t.span is None else (max(0, t.span[0] - offset), t.span[1] - offset))
        for t in tokens
    )


def _bare(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """Without the special tokens that end a text."""
    return tokens[: max((i + 1 for i, t in enumerate(tokens) if not t.special), default=0)]


def _generated(model: Model, prompt: Prompt, max_new_tokens: int) -> tuple[str, tuple[Token, ...]]:
    given = {name: values for name, values in prompt.inputs.items() if model.takes(name)}
    ids = generated(model, {"attention_mask": [1] * len(prompt.ids), **given}, max_new_tokens)[len(prompt.ids) :]
    return continuing(model, prompt.ids, ids, len(prompt.texts), lambda text: _continuation(model, prompt, text))


def continuing(
    model: Model, before: Sequence[int], ids: list[int], segment: int, again: Any
) -> tuple[str, tuple[Token, ...]]:
    """Generated ids as a text and its tokens. again: `text -> tokens`, as if the user had written it."""
    if not ids:
        raise InputError("The model generated nothing after this prompt; expected a token. Give a continuation.")
    tokenizer = model.tokenizer
    last = len(ids) - (ids[-1] in end_tokens(model))
    decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=True)
    start, whole = decode(before), decode([*before, *ids])
    text = whole[len(start) :] if whole.startswith(start) else decode(ids)
    tokens = list(again(text)) if text.strip() else []
    if [t.id for t in tokens] != ids[:last]:
        tokens = spelled(tokenizer, before, ids[:last], text, segment)
    for i in ids[last:]:
        tokens.append(Token(written_as(tokenizer, i), i, None, True, None, segment))
    return text, tuple(tokens)


# ----------------------------------------------------------------------------------------------------------------- chat


def _chat(model: Model, messages: Any) -> Prompt:
    """Messages as the tokenizer's template writes them. Tokens of their contents have spans in them; those of the
    template alone are special."""
    listed = list(messages) if isinstance(messages, (list, tuple)) else []
    contents = tuple(m["content"] for m in listed if isinstance(m, Mapping) and isinstance(m.get("content"), str))
    if not listed or len(contents) < len(listed):
        raise InputError(
            f"Found {messages!r:.80} as messages; expected a list of {{'role': 'user', 'content': 'a text'}}."
        )
    tokenizer = model.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "Found messages, and this tokenizer has no chat template to write them with; expected a model made for "
            "conversations. Give the text as a prompt, or set tokenizer.chat_template."
        )
    written = tokenizer.apply_chat_template(listed, add_generation_prompt=True, tokenize=False)
    places, at = [], 0
    for i, content in enumerate(contents):
        kept = content.strip()
        start = written.find(kept, at)
        if start < 0 or not kept:
            raise InputError(
                f"The chat template does not write message {i} ({content!r:.40}) as it is, so that its tokens could "
                "not be told from the template's; expected its text, unchanged. Give the whole text as a prompt."
            )
        at = start + len(kept)
        places.append((start, at, start - content.find(kept)))
    batch = tokenizer([written], add_special_tokens=False, verbose=False)
    inputs = {name: list(batch[name][0]) for name in batch}
    tokens = tokens_of(tokenizer, batch, 0, inputs["input_ids"], written)
    return Prompt(contents, written, inputs, tuple(_in_message(t, places) for t in tokens), False)


def _in_message(token: Token, places: Sequence[tuple[int, int, int]]) -> Token:
    """A token of the written conversation as one of the message that it is in, or as one of the template's."""
    a, b = token.span or (0, 0)
    for i, (start, end, origin) in enumerate(places):
        if not token.special and a < end and b > start:
            return replace(token, segment=i, span=(max(a, start) - origin, min(b, end) - origin))
    near = sum(a >= end for _, end, _ in places)
    return replace(token, span=None, special=True, word=None, segment=min(near, len(places) - 1))


# ----------------------------------------------------------------------------------------------------------------------


_CAUSAL: WeakSet[nn.Module] = WeakSet()
"""The models that were found to read from left to right: asked once each."""


def _check_causal(model: Model) -> None:
    """Raises UnsupportedModel where a token's logits depend on the tokens after it: a BERT that is no decoder."""
    if model.model in _CAUSAL:
        return
    ids = torch.tensor([[1, 2, 3], [1, 2, 4]], device=model.device) % max(5, len(model.tokenizer))
    with torch.no_grad():
        a, b = checked(logits_at(model, {"input_ids": ids}, None, torch.tensor([1], device=ids.device)))
    if not torch.allclose(a, b, rtol=0, atol=1e-4 * float(a.abs().max())):
        raise UnsupportedModel(
            f"{type(model.model).__name__} reads a token's logits from the tokens after it too, so it does not "
            "generate text from left to right; expected a causal model. For BERT and its kin: config.is_decoder=True."
        )
    _CAUSAL.add(model.model)


TEXT_GENERATION = Task(
    "text-generation",
    ("ForCausalLM", "LMHeadModel"),
    "AutoModelForCausalLM",
    continued,
    continuation_goals,
    prompts,
    CONTINUED,
    output="log-probability",
    without=without_tokens,
    notes=deletion.notes,
    places=PLACES,
    resumed=resumed,
)
