"""The groups of tokens that a request asked for: which tokens are one row of what a person is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence

from .sentences import sentence_of_each
from .tokens import Token

UNITS = {"token": "word", "word": "word", "sentence": "sentence", "source": "source"}
"""What a row is called, by what `groups=` said; a "group" where it said none of these."""


def groups_of(asked: object, tokens: Sequence[Token], text: str | tuple[str, ...]) -> list[tuple[int, ...]]:
    """The tokens of each group, in the order of the first of each; a token in no group is one of its own.

    asked: "sentence", "source", or lists of token indices.
    """
    keys: list[Hashable]
    if asked == "sentence":
        keys = list(sentence_of_each(tokens, text))
    elif asked == "source":
        keys = [None if t.special else t.segment for t in tokens]
    else:
        of = {i: k for k, group in enumerate(asked) for i in group} if isinstance(asked, (list, tuple)) else {}
        keys = [of.get(i) for i in range(len(tokens))]
    found: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault((i,) if key is None else ("group", key), []).append(i)
    return [tuple(group) for group in found.values()]


def told_apart(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """The same names, with a number behind each that stands more than once, or is taken.

    Examples:
        >>> told_apart(["user", "system", "user"]), told_apart(["user", "user 1", "template"], {"template"})
        (['user 1', 'system', 'user 2'], ['user', 'user 1', 'template 1'])
    """
    counts, used = Counter(names), {*names, *taken}
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        new = name
        while new in used and (counts[name] > 1 or name in taken):
            seen[name] += 1
            new = f"{name} {seen[name]}"
        used.add(new)
        told.append(new)
    return told


def stretches(tokens: Sequence[int]) -> list[tuple[int, ...]]:
    """Indices cut where they do not follow one another.

    Examples:
        >>> stretches([1, 2, 5])
        [(1, 2), (5,)]
    """
    found: list[tuple[int, ...]] = []
    for i in tokens:
        if found and found[-1][-1] == i - 1:
            found[-1] = (*found[-1], i)
        else:
            found.append((i,))
    return found
