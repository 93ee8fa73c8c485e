"""Text generation: each token of a continuation, given or generated, from the prompt and the tokens before it.

The model runs once on the prompt and its continuation, so that every token of the continuation has its logits one place
before its own. What comes after those has no part in them: the scores of later tokens are exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ...errors import InputError, TextTooLong, UnsupportedModel, quoted
from ...tokens import Token
from .. import key_value_cache
from ..baselines import Spec
from ..net import CHANGES, Net
from ..text.collating import Inputs, Owns, Padded, Sequences
from ..text.encoding import Encoding, left_out
from ..text.inputs import TEXT, Form, Ids, are_ids, ints
from ..text.reader import Reader
from ..text.tokenizing import Item, check_ids
from . import deletion
from .continuation import (
    CONTEXT,
    FIRST,
    Continuations,
    Part,
    at_columns,
    continuing_roles,
    packed,
    part_of_text,
    read_from,
    roles_of,
)
from .continuation_goals import continuation_goals
from .generation import continued_text, generated
from .prompts import Prompt, chat_prompt, continuation_tokens, documents_prompt, parts_prompt, text_prompt
from .task import HasTokenizer, Preparation, Resumed, Task, Without, field, finite_logits

# ------------------------------------------------------------------------------------------------------ the model's run


def logits_at(net: Net, inputs: Inputs, x: Tensor | None, columns: Tensor, **more: object) -> Tensor:
    """The logits (rows, K, vocabulary) at columns (rows, K) or (K,), and no others where the model can be told so. A
    model that is told so and gives all of them is one whose forward takes anything."""
    if net.takes("use_cache"):
        more.setdefault("use_cache", False)
    wanted = columns.unique()
    if net.takes("logits_to_keep"):
        more.setdefault("logits_to_keep", wanted)
    logits = field(net.forward(inputs, x, **more), "logits")
    rows, tokens = inputs["input_ids"].shape
    if not isinstance(logits, Tensor) or logits.ndim != 3 or len(logits) != rows:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UnsupportedModel(
            f"The model returned {found} for {rows} texts; expected logits of shape ({rows}, tokens, vocabulary), as a "
            "tensor, the first of a tuple, or the field 'logits'."
        )
    places = logits.shape[1]
    if places not in ({tokens, len(wanted)} if more.get("logits_to_keep") is wanted else {tokens}):
        raise UnsupportedModel(
            f"The model returned logits at {places} places for {tokens} tokens; expected one for each. A prompt that "
            "was tuned (PEFT) puts vectors of its own before the text; explain such a model as a function: "
            "pellucid.attribute(lambda x: model(inputs_embeds=x).logits[:, -1], x, x0, target=token)."
        )
    at = columns if places == tokens else torch.searchsorted(wanted, columns)
    return at_columns(logits, at.expand(rows, -1))


def continued(net: Net, x: Tensor | None, sequence: Padded, *others: Padded, **more: object) -> tuple[Tensor, ...]:
    """The logits (rows, K, vocabulary) that each continuation's tokens are read from.

    others: the tokens of the continuation that a row's own is compared with. Both follow the same prompt. more: what
    the model's forward gets beside the tokens.
    """
    each = x if x is None else x.split([s.ids.shape[1] for s in (sequence, *others)], 1)
    inputs, roles = sequence.inputs, roles_of(sequence)
    found = [logits_at(net, inputs, None if each is None else each[0], read_from(roles), **more)]
    for i, other in enumerate(others, 1):
        both = {name: torch.cat([inputs[name], other.inputs[name]], 1) for name in inputs}
        both_roles = torch.cat([roles, roles_of(other)], 1)
        keep = torch.cat([roles == CONTEXT, roles_of(other) >= FIRST], 1)
        point = None if each is None else torch.cat([each[0], each[i]], 1)
        given, given_roles, point = packed(both, both_roles, point, keep)
        found.append(logits_at(net, given, point, read_from(given_roles), **more))
    return tuple(found)


def without_tokens(net: Net, reader: Reader, special: Tensor) -> Without:
    """As `deletion.without_tokens`."""
    return deletion.without_tokens(net, reader.tokenizer, logits_at)


def resumed(net: Net, x: Tensor, sequences: Sequences, owns: Owns) -> Resumed | None:
    """As `key_value_cache.resumed`, where a row is one sequence."""
    if len(sequences) != 1:
        return None
    (sequence,) = sequences
    read = lambda given, point, columns, **more: logits_at(net, given, point, columns, **more)
    columns = read_from(roles_of(sequence))
    run = key_value_cache.resumed(net, x, sequence.inputs, owns[0], columns, read)
    return None if run is None else lambda points, rows, first, whole: (run(points, rows, first, whole[0]),)


# ---------------------------------------------------------------------------------------------- what the user asked for

_FORM = (
    "a prompt, a pair (prompt, continuation), or a mapping such as {'prompt': …, 'continuation': …, 'versus': …}, "
    "{'messages': [{'role': 'user', 'content': …}]}, {'documents': […], 'question': …} or {'parts': {'name': 'text'}}"
)
_DOCUMENTS = ("documents", "sources", "contexts")
AFTER = {"continuation": ("continuation", "completion", "response", "chosen"), "versus": ("versus", "rejected")}
CONTINUED = Form(
    (
        {"prompt": ("prompt", *(name for name in TEXT if name not in ("context", "premise")), "instruction"), **AFTER},
        {"messages": ("messages", "conversation"), "tools": ("tools",), **AFTER},
        {"documents": _DOCUMENTS, "question": ("question", "query"), **AFTER},
        {"messages": ("messages", "conversation"), "documents": _DOCUMENTS, "tools": ("tools",), **AFTER},
        {"parts": ("parts",), **AFTER},
    ),
    _FORM,
    optional=frozenset({*AFTER, "tools"}),
    listed=frozenset({"messages", "documents", "parts", "tools"}),
)


Continuation: TypeAlias = str | Sequence[int]
"""A continuation as the user gives it: a text, or the ids of its tokens, as a model generated them."""


def continuations(item: Mapping[str, Any]) -> tuple[Continuation | None, Continuation | None] | None:
    """The continuation of an input and the one to compare with; None where there is one to compare with alone. Raises
    InputError for what is neither a text nor token ids."""
    found: list[Continuation | None] = []
    for name in AFTER:
        after = item.get(name)
        after = list(after) if isinstance(after, tuple) else after
        if not (after is None or isinstance(after, str) or are_ids(after)):
            raise InputError(
                f"Found {quoted(after, 80)} as a {name}; expected a text, or the ids of its tokens: a list of whole "
                "numbers, or a tensor of one row."
            )
        found.append(after if after is None or isinstance(after, str) else ints(after))
    given, versus = found
    return None if given is None and versus is not None else (given, versus)


@dataclass(frozen=True)
class Unfinished:
    """A prompt whose continuation the model is still to generate, or whose continuations are still to be put behind it.
    given: the continuation that the user gave; None where the model generates it. versus: the one to compare with."""

    prompt: Prompt
    given: Continuation | None
    versus: Continuation | None


def read_prompts(reader: Reader, items: Sequence[Item], truncate: bool = False) -> list[Encoding]:
    """A prompt, which the model continues; a pair (prompt, continuation); {"messages": [{"role", "content"}, …]},
    written out by the tokenizer's chat template, perhaps with the "tools" that the model may call; {"documents",
    "question"}; {"parts"}; each mapping with or without a "continuation". With "versus": another continuation to
    compare with. A continuation follows the prompt as it is written: it begins with a space where one belongs.

    The encodings are of the prompts alone, for `continue_prompts`. Raises InputError, TextTooLong.
    """
    found = []
    for item in items:
        prompt, given, versus = _prompt_and_continuations(reader, item)
        if reader.limit is not None and len(prompt.ids) >= reader.limit:
            raise TextTooLong(
                f"The prompt has {len(prompt.ids)} tokens; this model takes {reader.limit}; expected room "
                "for a continuation. Shorten it."
            )
        extra = Unfinished(prompt, given, versus)
        found.append(Encoding(prompt.texts, (prompt.inputs,), prompt.tokens, extra=extra, names=prompt.names))
    return found


def continue_prompts(net: Net, reader: Reader, encodings: list[Encoding], how: Preparation) -> list[Encoding]:
    """Each prompt with its continuation, which the model generates where the user gave none.

    Raises InputError, TextTooLong, UnsupportedModel.
    """
    check_causal(net, reader, _SHORT)
    found = [with_continuation(net, reader, e.extra, how) for e in encodings if isinstance(e.extra, Unfinished)]
    if CHANGES in net.findings:  # what it is for a few tokens, it may not be for more
        for length in {width for e in found for width in e.widths if width > 1}:
            check_causal(net, reader, length)
    return found


_PROMPTS: dict[frozenset[str], Callable[[Reader, Mapping[str, object]], Prompt]] = {
    frozenset({"prompt"}): lambda reader, item: text_prompt(reader, _text(item["prompt"])),
    **{
        frozenset({"messages", *more}): lambda reader, item: chat_prompt(
            reader.tokenizer, item["messages"], item.get("documents"), item.get("tools")
        )
        for more in ((), ("documents",), ("tools",), ("documents", "tools"))
    },
    frozenset({"documents", "question"}): lambda reader, item: documents_prompt(
        reader, item["documents"], _text(item["question"])
    ),
    frozenset({"parts"}): lambda reader, item: parts_prompt(reader, item["parts"]),
}
"""How a prompt is made of the parts of a mapping that are no continuation."""


def _prompt_and_continuations(reader: Reader, item: Item) -> tuple[Prompt, Continuation | None, Continuation | None]:
    """The prompt, the continuation and the other one, from what the user passed."""
    if isinstance(item, (str, Ids)):
        return text_prompt(reader, item), None, None
    if isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return text_prompt(reader, item[0]), item[1], None
    if isinstance(item, Mapping):
        made, after = _PROMPTS.get(frozenset(item) - set(AFTER)), continuations(item)
        if made is not None and after is not None:
            return made(reader, item), *after
    raise InputError(f"Found {quoted(item, 80)} as an input; expected {_FORM}.")


def _text(given: object) -> str:
    """Raises InputError for what is no text."""
    if isinstance(given, str):
        return given
    raise InputError(f"Found {quoted(given, 80)} in an input; expected {_FORM}.")


def with_continuation(net: Net, reader: Reader, given: Unfinished, how: Preparation) -> Encoding:
    """A prompt with its continuation, and the tokens of the one to compare with as a sequence of their own."""
    prompt, n = given.prompt, len(given.prompt.texts)
    room = None if reader.limit is None else reader.limit - len(prompt.ids)
    most = how.max_new_tokens if room is None else min(how.max_new_tokens, room)
    for told in (given.given, given.versus):
        if not (told is None or isinstance(told, str)):  # a model may have more tokens than its tokenizer, and say them
            check_ids(told, getattr(net.embedding, "num_embeddings", len(reader.tokenizer)), "model")
    after = _generated(net, reader, prompt, most) if given.given is None else given.given
    text, tokens = _read(net, reader, prompt, after, n)
    versus, others = (None, ()) if given.versus is None else _read(net, reader, prompt, given.versus, n + 1)
    for each in (tokens, others):
        if room is not None and len(each) > room and not how.truncate:
            raise TextTooLong(
                f"The prompt and its continuation have {len(prompt.ids) + len(each)} tokens; expected at most "
                f"{reader.limit}, which this model takes. Shorten them, or pass truncate=True (--truncate) to explain "
                "the beginning only."
            )
    kept = [t[:room] for t in (tokens, others)]
    unread = (*left_out(tokens, kept[0]), *left_out(others, kept[1]))
    cut = len(tokens) + len(others) - sum(map(len, kept))
    tokens, others = kept
    first = len(prompt.tokens)
    sequences, roles = [_sequence(prompt, tokens)], [continuing_roles(len(prompt.ids), len(tokens))]
    parts = [Part(first, len(tokens), n)]
    if versus is not None:
        if not isinstance(net.embedding, nn.Embedding):
            raise UnsupportedModel(
                f"Found 'versus' with {type(net.embedding).__name__} as the embeddings; expected an nn.Embedding, "
                "which embeds a token alike wherever it stands. Explain both continuations, one at a time."
            )
        sequences.append({name: values[first:] for name, values in _sequence(prompt, others).items()})
        roles.append(continuing_roles(0, len(others)))
        parts.append(Part(first + len(tokens), len(others), n + 1))
    return Encoding(
        (*prompt.texts, text, *([] if versus is None else [versus])),
        tuple(sequences),
        (*prompt.tokens, *tokens, *others),
        roles=tuple(roles),
        extra=Continuations(tuple(parts), _spelling(net, reader, given)),
        kind=len(sequences),
        unread=unread,
        cut=cut,
        names=(*prompt.names, "continuation", "other continuation")[: n + len(parts)] if prompt.names else (),
    )


FAR = 100
"""How many times as probable a continuation must be with a space before it for a note to say so."""


def _spelling(net: Net, reader: Reader, given: Unfinished) -> tuple[str, ...]:
    """A note for each continuation that the user wrote without a space, where the prompt ends without one, and whose
    first token would be far more probable with one: " Paris" is one token, "Paris" another."""
    prompt = given.prompt
    texts = [t for t in (given.given, given.versus) if isinstance(t, str) and t and not t[0].isspace()]
    if not texts or not prompt.ids or prompt.written[-1:].isspace():
        return ()
    pairs = [[continuation_tokens(reader.tokenizer, prompt, t, 0)[0] for t in (text, f" {text}")] for text in texts]
    if all(a.id == b.id for a, b in pairs):
        return ()
    inputs = {n: torch.tensor([v], device=net.device) for n, v in prompt.inputs.items() if net.takes(n)}
    with torch.no_grad():
        at = torch.tensor([len(prompt.ids) - 1], device=net.device)
        logits = logits_at(net, inputs, None, at, **prompt.beside)
    chances = logits[0, 0].double().log_softmax(-1)
    found = []
    for text, (bare, spaced) in zip(texts, pairs, strict=True):
        less, more = chances[bare.id].item(), chances[spaced.id].item()
        if more - less > math.log(FAR):
            found.append(
                f"{quoted(text, 30)} was read without a space before it, and begins with a log-probability of "
                f"{less:.2f}; with one, {quoted(f' {text}', 30)}, it would be {more:.2f}."
            )
    return tuple(found)


def continuation_notes(reader: HasTokenizer, encoding: Encoding, baseline: Spec) -> tuple[str, ...]:
    """What a reader must know of how the continuation is written, and of a baseline that deletes."""
    assert isinstance(encoding.extra, Continuations)
    return (*encoding.extra.notes, *deletion.notes(reader, encoding, baseline))


def _sequence(prompt: Prompt, tokens: Sequence[Token]) -> dict[str, list[int]]:
    """A prompt's inputs with a continuation's tokens; what else a tokenizer says of each token goes on as it ended."""
    inputs = {name: [*values, *[values[-1]] * len(tokens)] for name, values in prompt.inputs.items()}
    inputs["input_ids"] = [*prompt.ids, *(t.id for t in tokens)]
    return {**inputs, "attention_mask": [1] * (len(prompt.ids) + len(tokens))}


def _generated(net: Net, reader: Reader, prompt: Prompt, most: int) -> list[int]:
    """The ids that the model continues a prompt with. most: how many it may generate."""
    given = {name: values for name, values in prompt.inputs.items() if net.takes(name)}
    given = {"attention_mask": [1] * len(prompt.ids), **given}
    return generated(net, reader.tokenizer, given, most, prompt.beside)[len(prompt.ids) :]


def _read(net: Net, reader: Reader, prompt: Prompt, after: Continuation, n: int) -> tuple[str, tuple[Token, ...]]:
    """A continuation's text and its tokens. n: the number that the text gets."""
    again: Callable[[str], tuple[Token, ...]] = lambda text: continuation_tokens(reader.tokenizer, prompt, text, n)
    if isinstance(after, str):
        return after, again(after)
    return continued_text(net, reader.tokenizer, prompt.ids, list(after), n, again)


_SHORT = 3
"""A text of so many tokens is asked for all its logits: told which to keep, a network that puts vectors of its own
before the text would keep others."""


def check_places(net: Net, reader: Reader) -> None:
    """Raises UnsupportedModel where a model has not one place for each token, once for a network."""
    if "a place for each token" not in net.findings:
        ids = torch.arange(1, 1 + _SHORT, device=net.device).unsqueeze(0) % max(5, len(reader.tokenizer))
        with torch.no_grad():
            logits_at(net, {"input_ids": ids}, None, torch.arange(_SHORT, device=net.device), **_all_places(net))
        net.findings["a place for each token"] = "yes"


def _all_places(net: Net) -> dict[str, object]:
    return {"logits_to_keep": 0} if net.takes("logits_to_keep") else {}


def check_causal(net: Net, reader: Reader, length: int) -> None:
    """Raises UnsupportedModel where a token's logits depend on the tokens after it: a BERT that is no decoder, or a
    BigBird that attends in blocks; and where a model has not one place for each token. Found on a text of so many
    tokens, whose last is changed; once for a network."""
    asked = ("a token's logits depend on the tokens before it alone", length)
    if asked in net.findings:
        return
    ids = (1 + torch.arange(length, device=net.device)).expand(2, -1).clone()
    ids[1, -1] += 1
    columns = torch.tensor(sorted({0, length // 2 - 1, length - 2}), device=net.device)
    with torch.no_grad():
        every = _all_places(net) if length == _SHORT else {}
        logits = logits_at(net, {"input_ids": ids % max(5, len(reader.tokenizer))}, None, columns, **every)
        a, b = finite_logits(logits)
    if not torch.allclose(a, b, rtol=0, atol=1e-4 * float(a.abs().max())):
        raise UnsupportedModel(
            f"{type(net.model).__name__} reads a token's logits from the tokens after it too, so it does not "
            "generate text from left to right; expected a causal model. For BERT and its kin: config.is_decoder=True "
            "(and for a BigBird attention_type='original_full'). For a model that fills masks: task='fill-mask'."
        )
    net.findings[asked] = "yes"


TEXT_GENERATION = Task(
    "text-generation",
    ("ForCausalLM", "LMHeadModel"),
    "AutoModelForCausalLM",
    continued,
    continuation_goals,
    CONTINUED,
    read_prompts,
    continue_prompts,
    output="log-probability",
    without=without_tokens,
    resumed=resumed,
    notes=continuation_notes,
    continues=True,
    any_side=True,
    part=part_of_text,
)
