"""The goals of a continuation: its tokens, its spans, the whole of it, or tokens that could have stood there.

A model of language gives each token t of a continuation a logit z, and with the tokens before it the probability

    p(t | before) = softmax(z)ₜ,    log p(continuation) = Σₜ log p(t | before)
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError, UnknownTarget, quoted
from ...sentences import sentence_ends
from ...token_text import shown
from ...tokens import Target
from ..text.decoding import written_as
from ..text.filler import token_id
from ..text.tokenizer import Tokenizer
from .continuation import Continuation, continuation
from .task import Asked, Goal, finite_logits

RIVALS = 5
"""How many of the most probable tokens at the place of a generated one are told."""


def _precise(logits: Tensor) -> Tensor:
    """Logits in float32 at least: a sum of log-probabilities of some thousand has steps of 8 in bfloat16, which are
    larger than what is explained."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


READ: dict[str, Callable[[Tensor], Tensor]] = {
    "logit": lambda logits: logits,
    "probability": lambda logits: _precise(logits).softmax(-1),
    "log-probability": lambda logits: _precise(logits).log_softmax(-1),
}


def continuation_goals(asked: Asked, outputs: Sequence[Tensor]) -> list[Goal]:
    """Target None: each token of the continuation. A token's text or index: that one. "total", or {"span": (a, b)} of
    the continuation's characters: the sum of their tokens' log-probabilities. "sentences": that of each sentence.
    {"token": "a - b", "position": k}, or "a - b" for k = 0: a candidate, or a contrast of two, for the place of the
    k-th token. "runner-up", or {"runner-up": k}: each token, or the k-th, in contrast to the one that the model holds
    most probable beside it.

    outputs: for each continuation of a row the logits (rows, K, vocabulary) that its tokens are read from. A target's
    `position` is that of the token which is explained; a token later than it has no part in it.
    """
    logits = [finite_logits(o) for o in outputs]
    if asked.output not in READ:
        raise InputError(f"Found output={asked.output!r}; expected one of {', '.join(map(repr, READ))}.")
    rows = [continuation(e) for e in asked.encodings]
    if len(logits) > 1:
        return [_versus(asked, rows)]
    spec = asked.target
    if spec is None:
        return _tokens(asked, logits[0], [list(range(len(c.tokens))) for c in rows])
    if spec == "total":
        return [_sum(asked, logits[0], [list(range(len(c.tokens))) for c in rows], [c.text for c in rows])]
    if spec == "sentences":
        return _sentences(asked, logits[0])
    if spec == "runner-up":
        return _tokens(asked, logits[0], [list(range(len(c.tokens))) for c in rows], contrast=True)
    if isinstance(spec, int) and not isinstance(spec, bool):
        return _tokens(asked, logits[0], [_index(spec, c) for c in rows])
    if isinstance(spec, Mapping) and set(spec) == {"runner-up"} and type(spec["runner-up"]) is int:
        return _tokens(asked, logits[0], [_index(spec["runner-up"], c) for c in rows], contrast=True)
    if isinstance(spec, Mapping) and set(spec) == {"span"}:
        return [_span(asked, logits[0], spec["span"])]
    if isinstance(spec, Mapping) and "token" in spec and set(spec) <= {"token", "position"}:
        return _candidates(asked, logits[0], spec["token"], spec.get("position", 0))
    if isinstance(spec, str) and spec:
        same = [[k for k, t in enumerate(c.tokens) if spec in c.names(k)] for c in rows]
        if any(same):
            return _tokens(asked, logits[0], same)
        if " - " in spec:
            return _candidates(asked, logits[0], spec, 0)
    raise _unknown(spec, rows)


def _unknown(spec: object, rows: Sequence[Continuation]) -> UnknownTarget:
    """The error for a target that names nothing in a continuation."""
    names = ", ".join(repr(rows[0].name(k)) for k in range(min(len(rows[0].tokens), 8)))
    return UnknownTarget(
        f"Found target={quoted(spec, 80)}; expected a token of the continuation ({names}), its index from 0 to "
        f"{len(rows[0].tokens) - 1}, 'total', 'sentences', 'runner-up', {{'runner-up': 0}}, {{'span': (start, end)}} "
        "in its characters, or {'token': 'a - b', 'position': 0} for tokens that could stand there."
    )


def _index(spec: int, row: Continuation) -> list[int]:
    """The number of a token of the continuation, counted from its end where negative; none where there is no such."""
    n = len(row.tokens)
    return [spec % n] if -n <= spec < n else []


def _tokens(asked: Asked, logits: Tensor, chosen: list[list[int]], contrast: bool = False) -> list[Goal]:
    """A goal for the first of each row's chosen tokens, one for the second, and so on; in contrast to its runner-up."""
    rows = [continuation(e) for e in asked.encodings]
    if not any(chosen):
        raise _unknown(asked.target, rows)
    goals = []
    for j in range(max(map(len, chosen))):
        slots = [of_row[j] if j < len(of_row) else None for of_row in chosen]
        ids = [c.tokens[k or 0].id for c, k in zip(rows, slots, strict=True)]
        rivals = _runners_up(logits, slots, ids) if contrast else None
        names: list[Target | None] = []
        for i, (c, k) in enumerate(zip(rows, slots, strict=True)):
            if k is None:
                names.append(None)
            elif rivals is None:
                names.append(Target(c.name(k), ids[i], c.first + k))
            else:
                name = f"{c.name(k).strip()} - {_word(rivals[i], asked.tokenizer)}"
                names.append(Target(name, (ids[i], rivals[i]), c.first + k))
        goals.append(_goal_at(asked, logits, slots, ids, rivals, names))
    return goals


def _runners_up(logits: Tensor, slots: Sequence[int | None], ids: Sequence[int]) -> list[int]:
    """The id that is most probable at each row's place, its own (ids) left out."""
    rows = torch.arange(len(slots), device=logits.device)
    found = logits.detach()[rows, torch.tensor([k or 0 for k in slots], device=logits.device)].clone()
    found[rows, torch.tensor(ids, device=logits.device)] = -torch.inf
    return found.argmax(-1).tolist()


def _candidates(asked: Asked, logits: Tensor, spec: object, position: object) -> list[Goal]:
    """The goal of a candidate, or of a contrast of two, for the place of one token. Raises UnknownTarget."""
    rows = [continuation(e) for e in asked.encodings]
    plus, minus = _candidate_ids(spec, asked.tokenizer)
    if not isinstance(position, int) or not any(_index(position, c) for c in rows):
        raise UnknownTarget(
            f"Found position {position!r} for {spec!r}; expected that of a token in the continuation, from 0 to "
            f"{max(len(c.tokens) for c in rows) - 1}."
        )
    slots = [next(iter(_index(position, c)), None) for c in rows]
    index = plus if minus is None else (plus, minus)
    name = " - ".join(_word(i, asked.tokenizer) for i in (plus, minus) if i is not None)
    names = [None if k is None else Target(name, index, c.first + k) for c, k in zip(rows, slots, strict=True)]
    n = len(rows)
    return [_goal_at(asked, logits, slots, [plus] * n, None if minus is None else [minus] * n, names)]


def _candidate_ids(spec: object, tokenizer: Tokenizer) -> tuple[int, int | None]:
    """A token, or the two of a contrast. A word is looked for as it stands in running text: after a space, if so."""
    if isinstance(spec, int) and not isinstance(spec, bool) and 0 <= spec < len(tokenizer):
        return spec, None
    if isinstance(spec, str) and spec:
        find = lambda text: next(
            (i for form in (f" {text}", text) if (i := token_id(form, tokenizer)) is not None), None
        )
        if (one := find(spec)) is not None:
            return one, None
        parts = spec.split(" - ")
        for cut in range(1, len(parts)):
            a, b = find(" - ".join(parts[:cut])), find(" - ".join(parts[cut:]))
            if a is not None and b is not None:
                return a, b
    raise UnknownTarget(
        f"Found the candidate {quoted(spec)}; expected one token of the vocabulary, its id, or a contrast of two, "
        "'a - b'. A word of several tokens has no logit of its own: give it as a continuation."
    )


def _goal_at(
    asked: Asked,
    logits: Tensor,
    slots: Sequence[int | None],
    plus: Sequence[int],
    minus: Sequence[int] | None,
    names: Sequence[Target | None],
) -> Goal:
    """The number of one token, or of a contrast, at one place of each row."""
    table = lambda values: torch.tensor(values, device=logits.device)
    at, a = table([k or 0 for k in slots]), table(plus)
    b = None if minus is None else table(minus)
    read = READ[asked.output]

    def select(outputs: tuple[Tensor, ...], rows: Tensor) -> Tensor:
        n, most, _ = outputs[0].shape
        value = read(outputs[0][torch.arange(n, device=rows.device), at[rows].clamp(max=most - 1)])
        found = value.gather(1, a[rows].unsqueeze(1)).squeeze(1)
        return found if b is None else found - value.gather(1, b[rows].unsqueeze(1)).squeeze(1)

    every = torch.arange(len(at), device=logits.device)
    chances = logits.detach()[every, at.clamp(max=logits.shape[1] - 1)].float().softmax(-1)
    steps = [_step(row, i, asked.tokenizer) for row, i in zip(chances, plus, strict=True)]
    said = [(str(step["strongest"][0][0]), step["strongest"][0][1]) for step in steps]
    return Goal(select, names, said, steps=steps)


def _step(chances: Float[Tensor, " vocabulary"], token: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """A token's probability and rank at its place, and the tokens that are the most probable there."""
    best = chances.topk(min(RIVALS, len(chances)))
    strongest = [[_word(i, tokenizer), p] for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
    own = chances[token]
    return {"probability": own.item(), "rank": 1 + int((chances > own).sum()), "strongest": strongest}


def _word(i: int, tokenizer: Tokenizer) -> str:
    """A token of the vocabulary as a person reads it."""
    text = tokenizer.decode([i]).strip()
    return text if text and "\ufffd" not in text else shown(written_as(tokenizer, i))


WHOLE_TOKENS = (
    "The span {span} cuts a token: a token belongs to the span that has most of its characters, and the name of the "
    "target is the text of the whole tokens that are explained."
)


def _span(asked: Asked, logits: Tensor, span: object) -> Goal:
    """The goal of the tokens of a span. Raises UnknownTarget."""
    if not (isinstance(span, (tuple, list)) and len(span) == 2 and all(isinstance(i, int) for i in span)):
        raise UnknownTarget(f"Found the span {quoted(span)}; expected (start, end) in the continuation's characters.")
    rows = [continuation(e) for e in asked.encodings]
    chosen = [c.inside(*span) if 0 <= span[0] < span[1] <= len(c.text) else [] for c in rows]
    if not any(chosen):
        raise UnknownTarget(
            f"Found the span {tuple(span)}, which no token is in; expected (start, end), two numbers of characters of "
            f"{quoted(rows[0].text)}, with 0 <= start < end <= {len(rows[0].text)}."
        )
    texts = [c.text_of(group) for c, group in zip(rows, chosen, strict=True)]
    whole = all(t == c.text[slice(*span)].strip() for t, c, group in zip(texts, rows, chosen, strict=True) if group)
    return _sum(asked, logits, chosen, texts, () if whole else (WHOLE_TOKENS.format(span=tuple(span)),))


def _sentences(asked: Asked, logits: Tensor) -> list[Goal]:
    """A goal for the first sentence of each row's continuation, one for the second, and so on. Tokens that stand for no
    text belong to the sentence before them."""
    rows = [continuation(e) for e in asked.encodings]
    of_row: list[list[list[int]]] = []
    for c in rows:
        ends, groups, number = sentence_ends(c.text), dict[int, list[int]](), 0
        for k, token in enumerate(c.tokens):
            number = number if token.span is None else bisect_right(ends, token.span[0])
            groups.setdefault(number, []).append(k)
        of_row.append(list(groups.values()))
    goals = []
    for j in range(max(map(len, of_row))):
        chosen = [groups[j] if j < len(groups) else [] for groups in of_row]
        texts = [c.text_of(group).strip() for c, group in zip(rows, chosen, strict=True)]
        goals.append(_sum(asked, logits, chosen, texts))
    return goals


def _sum(
    asked: Asked, logits: Tensor, chosen: list[list[int]], texts: Sequence[str], notes: tuple[str, ...] = ()
) -> Goal:
    """The sum of the chosen tokens' log-probabilities; their product for output="probability"."""
    rows = [continuation(e) for e in asked.encodings]
    total = _total(asked, rows, chosen)
    names = [
        Target(text, tuple(c.tokens[k].id for k in of_row), c.first + of_row[0]) if of_row else None
        for c, of_row, text in zip(rows, chosen, texts, strict=True)
    ]
    if asked.output == "probability":
        _check_probable(total(logits.detach(), torch.arange(len(rows), device=logits.device)), logits.dtype, texts)
        return Goal(lambda outputs, which: total(outputs[0], which).exp(), names, [(None, None)] * len(rows), notes)
    select = lambda outputs, which: total(outputs[0], which)
    return Goal(select, names, [(None, None)] * len(rows), notes, output="log-probability")


def _check_probable(found: Tensor, dtype: torch.dtype, texts: Sequence[str]) -> None:
    """Raises InputError where a probability, and so the gradient of it, is too small for the logits' type of number:
    all scores would be 0. found: the log-probabilities (rows,)."""
    least = math.log(torch.finfo(dtype).tiny / torch.finfo(dtype).eps)
    for text, value in zip(texts, found.tolist(), strict=True):
        if value < least:
            raise InputError(
                f"Found output='probability' for {quoted(text, 40)}, whose log-probability is {value:.1f}: the "
                f"probability is too small for {str(dtype).removeprefix('torch.')}, and its scores would be 0; "
                f"expected a log-probability above {least:.0f}. Ask for output='log-probability', or for a part of the "
                "text: target='sentences' or {'span': (start, end)}."
            )


def _versus(asked: Asked, rows: Sequence[Continuation]) -> Goal:
    """log p of a row's continuation less that of the one it is compared with."""
    if asked.target not in (None, "total"):
        raise UnknownTarget(
            f"Found target={quoted(asked.target)} for an input with 'versus'; expected None: the total log-probability "
            "of the continuation less that of the other."
        )
    if asked.output == "probability":
        raise InputError(
            "Found output='probability' for an input with 'versus'; expected 'logit' or 'log-probability'."
        )
    others = [continuation(e, 1) for e in asked.encodings]
    a, b = (_total(asked, c, [list(range(len(r.tokens))) for r in c]) for c in (rows, others))
    names = [Target(f"{p.text.strip()} - {q.text.strip()}") for p, q in zip(rows, others, strict=True)]
    select = lambda out, which: a(out[0], which) - b(out[1], which)
    return Goal(select, names, [(None, None)] * len(rows), output="log-probability")


def _total(asked: Asked, rows: Sequence[Continuation], chosen: list[list[int]]) -> Callable[[Tensor, Tensor], Tensor]:
    """`(logits, rows) -> Σ log p` (rows,) of each row's chosen tokens. Logits of places before and behind them are not
    read: an answer of many sentences would hold their logarithms once for each sentence."""
    places = [k for of_row in chosen for k in of_row]
    least, most = min(places), 1 + max(places)
    ids, weight = torch.zeros(len(rows), most, dtype=torch.long), torch.zeros(len(rows), most)
    for i, (c, of_row) in enumerate(zip(rows, chosen, strict=True)):
        ids[i, of_row] = torch.tensor([c.tokens[k].id for k in of_row], dtype=torch.long)
        weight[i, of_row] = 1.0

    def total(logits: Tensor, which: Tensor) -> Tensor:
        k = min(most, logits.shape[1])
        token = ids.to(which.device)[which][:, least:k].unsqueeze(2)
        each = READ["log-probability"](logits[:, least:k]).gather(2, token).squeeze(2)
        return (each * weight.to(each)[which][:, least:k]).sum(1)

    return total
