"""Sentences of a text, and which sentence each token is in.

A sentence ends after . ! ? or … before white space, after 。！？, and at the end of a line.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from .tokens import Token

_SENTENCE_END = re.compile(r"""(?:[.!?…]+["'”’»)\]]*\s+)|(?:[。！？]+[」』”’）]*)|\n+""")


def sentence_ends(text: str) -> list[int]:
    """Where each sentence but the last ends, with the white space behind it, in characters. White space alone is no
    sentence: it belongs to the one before it, and at the beginning to the one behind it.

    Examples:
        >>> sentence_ends("It's great! Go. Now")
        [12, 16]
        >>> sentence_ends("\\n\\nA.\\n\\nB.\\n")
        [6]
    """
    ends = [end.end() for end in _SENTENCE_END.finditer(text)]
    starts = [0, *ends]
    return [end for start, end in zip(starts, ends, strict=False) if text[start:end].strip() and text[end:].strip()]


def is_finished(text: str) -> bool:
    """Whether a text ends where a sentence does.

    Examples:
        >>> is_finished("It's great!"), is_finished("It's gr")
        (True, False)
    """
    ends = [end.end() for end in _SENTENCE_END.finditer(f"{text.rstrip()} ")]
    return bool(ends) and ends[-1] >= len(text.rstrip())


def sentence_of_each(tokens: Sequence[Token], text: str | tuple[str, ...]) -> list[tuple[int, int] | None]:
    """The sentence of each token as (segment, number from 0); None for a token that is special or stands for no text.

    A token belongs to the sentence that its first character is in.
    """
    ends = [sentence_ends(part) for part in ((text,) if isinstance(text, str) else text)]
    return [
        None
        if t.special or t.span is None
        else (t.segment, bisect_right(ends[t.segment if len(ends) > 1 else 0], t.span[0]))
        for t in tokens
    ]
