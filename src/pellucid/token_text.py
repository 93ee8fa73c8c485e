"""Tokens as a person reads them, from what the tokenizer writes: ` the` for `Ġthe` and `▁the`, a line feed for `Ċ`.

A byte-level tokenizer (GPT-2) writes each byte as a character, a space as Ġ; a SentencePiece one writes a space as ▁,
and a byte that it has no piece for as <0x0A>.
"""

from __future__ import annotations

import re
from functools import cache

SIGNS = {"\n": "⏎", "\t": "⇥", " ": "␣"}
"""What is shown for white space that is all there is."""
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def readable(piece: str, stands_for: str = "") -> str:
    """The text of a token. stands_for: the characters of the text that it stands for, where that is known.

    Bytes that are only a part of a character are shown as that character, or written out.

    Examples:
        >>> [readable(piece) for piece in ("Ġthe", "▁the", "Ċ", "Ã©", "<0x0A>", "##ing", "[CLS]")]
        [' the', ' the', '\\n', 'é', '\\n', '##ing', '[CLS]']
        >>> print(readable("ðŁĳ", "👍"), readable("ðŁĳ"))
        👍 \\xf0\\x9f\\x91
    """
    if piece == stands_for:
        return piece
    found = _bytes_of(piece, bool(stands_for.strip()))
    if found is None:
        return piece.replace("▁", " ").removesuffix("</w>")
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError:
        return stands_for or found.decode("utf-8", "backslashreplace")


def shown(piece: str, stands_for: str = "") -> str:
    """The text of a token in a list or a heading: `readable` without the space before a word; a token that is only
    white space is shown as signs."""
    text = readable(piece, stands_for)
    return text.strip() or "".join(SIGNS.get(c, c) for c in text) or piece


def _bytes_of(piece: str, elsewhere: bool) -> bytes | None:
    """The bytes that a byte-level tokenizer's piece stands for; None for a piece that is already the text itself.

    A word of Latin letters, such as "café", is made of the characters that bytes are written with, but is no UTF-8 as
    bytes: it is taken as it is, unless the text has other characters in its place (elsewhere).
    """
    if byte := _BYTE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    table = _table()
    if piece.isascii() or not all(c in table for c in piece):
        return None
    found = bytes(table[c] for c in piece)
    if elsewhere or max(piece) > "\xff" or not (len(piece) == 1 or any(c.isascii() for c in piece)):
        return found
    try:
        found.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return found


@cache
def _table() -> dict[str, int]:
    """The byte that each character stands for: itself where it is printed as one sign, one from U+0100 on where not."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in printed]
    return {chr(b): b for b in printed} | {chr(256 + i): b for i, b in enumerate(others)}
