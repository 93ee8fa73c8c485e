"""Tokens taken together as words, sentences, spans of characters or texts: each has the sum of its tokens' scores.

Every token is in exactly one word, one sentence, one group and one source, so the scores of each list add up exactly as
the tokens' do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from functools import partial
from itertools import groupby, pairwise

from .errors import InputError, quoted
from .grouping import groups_of, stretches
from .passages import GENERATE, roles
from .sentences import sentence_of_each
from .token_text import shown
from .tokens import Explained, Source, Word


def unit(e: Explained, group: tuple[int, ...]) -> Word:
    """The tokens of these indices as one: their text, and the sum of their scores."""
    score = float(e.scores[list(group)].sum())
    first = e.tokens[group[0]]
    if len(parts := stretches(group)) > 1:
        return Word(" … ".join(unit(e, part).text for part in parts), score, None, False, first.segment, group)
    spans = [span for i in group if (span := e.tokens[i].span) is not None]
    span = (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None
    text = e.segment_text(first.segment)[slice(*span)] if span else first.text
    if span is None and len(group) > 1 and _is_whole(e, group):  # an image
        text = e.segment_text(first.segment)
    return Word(text or shown(first.text), score, span, first.special, first.segment, group)


def _is_whole(e: Explained, group: Sequence[int]) -> bool:
    """Whether a group has all tokens of one of the texts, or images, and no others."""
    segment = e.tokens[group[0]].segment
    return list(group) == [i for i, t in enumerate(e.tokens) if t.segment == segment and not t.special]


def words(e: Explained) -> list[Word]:
    """As `Explanation.words`."""
    return _neighbours(e, [None if t.word is None else (t.segment, t.word) for t in e.tokens])


def sentences(e: Explained) -> list[Word]:
    """As `Explanation.sentences`."""
    return _neighbours(e, sentence_of_each(e.tokens, e.text))


def groups(e: Explained) -> list[Word]:
    """As `Explanation.groups`."""
    asked = e.meta.get("groups")
    if asked in (None, "token", "word"):
        return words(e)
    return [unit(e, group) for group in groups_of(asked, e.tokens, e.text)]


def cut_at_targets(rows: Sequence[Word], explanations: Sequence[Explained]) -> list[Word]:
    """The rows of explanations of one input, with the first one's scores; one that is there only in part when a token
    is generated is cut before that token."""
    first, targets = explanations[0], [e.target.position for e in explanations if e.meta.get("task") in GENERATE]
    places = sorted({place for place in targets if place is not None})
    found: list[Word] = []
    for row in rows:
        inside = places[bisect_right(places, row.tokens[0]) : bisect_right(places, row.tokens[-1])]
        parts = groupby(row.tokens, key=partial(bisect_right, inside))
        found += [unit(first, tuple(part)) for _, part in parts] if inside else [row]
    return found


def read_until(e: Explained, at: int) -> int:
    """The index of the first token that had no part in a target at this place of a continuation: the token that is
    explained, or the last one of a span."""
    ids = e.target.index if isinstance(e.target.index, tuple) else ()
    spans = tuple(t.id for t in e.tokens[at : at + len(ids)]) == ids
    return at + max(0, len(ids) - 1) if spans else at


def spans(e: Explained, wanted: Sequence[Sequence[int]]) -> list[Word]:
    """As `Explanation.spans`."""
    texts = _texts(e)
    each = [_checked(span, texts) for span in wanted]
    for (s, a, b), (t, c, d) in pairwise(sorted(each)):
        if s == t and c < b:
            raise InputError(f"Found spans that overlap, ({a}, {b}) and ({c}, {d}); expected disjoint spans.")
    tokens: list[list[int]] = [[] for _ in each]
    for i, token in enumerate(e.tokens):
        if token.special or token.span is None:
            continue
        start, end = token.span
        segment = token.segment if len(texts) > 1 else 0
        shared = [min(b, end) - max(a, start) if s == segment else 0 for s, a, b in each]
        if max(shared, default=0) > 0:
            tokens[shared.index(max(shared))].append(i)
    return [
        Word(texts[s][a:b], float(e.scores[own].sum()), (a, b), False, s, tuple(own))
        for (s, a, b), own in zip(each, tokens, strict=True)
    ]


def sources(e: Explained) -> list[Source]:
    """As `Explanation.sources`."""
    texts = _texts(e)
    owned: dict[int, list[int]] = {segment: [] for segment in range(len(texts))}
    for i, t in enumerate(e.tokens):
        owned.setdefault(-1 if t.special else t.segment if len(texts) > 1 else 0, []).append(i)
    told = dict(enumerate(zip(roles(e), texts, strict=True))) | {-1: ("template", "")}
    return [Source(*told[s], float(e.scores[own].sum()), s, tuple(own)) for s, own in owned.items()]


def _texts(e: Explained) -> tuple[str, ...]:
    return (e.text,) if isinstance(e.text, str) else e.text


def _neighbours(e: Explained, keys: Sequence[Hashable]) -> list[Word]:
    """Neighbouring tokens of one key as one; a token whose key is None stays alone."""
    found: list[list[int]] = []
    for i, key in enumerate(keys):
        if found and key is not None and keys[found[-1][-1]] == key:
            found[-1].append(i)
        else:
            found.append([i])
    return [unit(e, tuple(group)) for group in found]


def _checked(span: Sequence[int], texts: Sequence[str]) -> tuple[int, int, int]:
    """(segment, start, end). Raises InputError."""
    alone = len(span) == 2 and len(texts) == 1
    segment, start, end = span if len(span) == 3 else (0, *span) if alone else (-1, -1, -1)
    if not 0 <= segment < len(texts) or not 0 <= start < end <= len(texts[segment]):
        sizes = " and ".join(str(len(text)) for text in texts)
        raise InputError(
            f"Found the span {quoted(tuple(span))}; expected (start, end) or (segment, start, end), with start "
            f"before end, in characters of a text ({sizes} long)."
        )
    return segment, start, end
