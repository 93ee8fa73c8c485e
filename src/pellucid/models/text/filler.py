"""The filler: an ordinary word such as " the", the baseline of tokenizers that have no mask token.

A language model reads a text of unknown or end-of-text tokens as something rare, and what it computes there is far from
what it computes on a text. A text of one frequent short word is closer (docs/idea.md has the measurements).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...token_text import readable
from .tokenizer import Tokenizer, special_id

WORDS = (
    *("the", "les", "des", "que", "der", "die", "und", "los", "del", "che", "per", "een", "het", "van", "och", "att"),
    *("det", "dan", "yang", "bir", "nie", "że", "și", "és", "az", "de", "la", "ja", "на", "что", "та"),
    *("και", "το", "của", "và", "में", "के", "এর", "的", "の", "は", "에", "이", "은", "ที่", "في", "من", "של", "את", "که"),
)
"""Frequent short words of many languages. That of English is taken where there is one: it is what was measured."""
_LOOKED_AT = 20_000
"""So many tokens of a vocabulary are looked at. Most vocabularies begin with their most frequent ones."""
_LONGEST = 4


ANSWER_KEPT = ", answer kept"
"""What the name of a filler ends with that keeps the answer."""


@dataclass(frozen=True)
class Filler:
    """The token that a baseline puts in the place of every other.

    text: what the token stands for, its space included. id: in the vocabulary. segments: into how many parts DeepLIFT
    cuts the path from this baseline to the input where the user does not say. keeps_answer: whether the tokens of a
    continuation stay as they are, so that only the prompt changes.
    """

    text: str
    id: int
    segments: int = 1
    keeps_answer: bool = False

    def __str__(self) -> str:
        return f"filler {self.text!r}" + (ANSWER_KEPT if self.keeps_answer else "")


def filler_of(tokenizer: Tokenizer) -> Filler | None:
    """The filler of a tokenizer; None where its vocabulary has no ordinary token.

    " the", or else the most frequent of WORDS that are one token, as they stand after a space or by themselves: that
    with the smallest id, because most vocabularies begin with what is most frequent; one of two Latin letters, which
    may be the beginning of a word in another language, comes last. Without any, a token of small letters: a whole word
    of two to four before a piece of one, a piece before a single letter, and of equals that with the smallest id.
    """
    special: set[int] = set(getattr(tokenizer, "all_special_ids", ()))
    for words in (WORDS[:1], WORDS[1:]):
        found = [f for word in words if (f := _of_word(tokenizer, word)) is not None and f.id not in special]
        if found:
            return min(found, key=lambda f: (f.text.isascii() and len(f.text.strip()) < 3, f.id))
    ranked = sorted(_ordinary(tokenizer, special), key=lambda one: one[0])
    return ranked[0][1] if ranked else None


def _of_word(tokenizer: Tokenizer, word: str) -> Filler | None:
    """The token of a word, as it stands after a space or else by itself."""
    for text in (f" {word}", word):
        found = token_id(text, tokenizer)
        if found is not None and (name := _text(tokenizer, found)).strip() == word:
            return Filler(name, found)
    return None


def _ordinary(tokenizer: Tokenizer, special: set[int]) -> Iterator[tuple[tuple[bool | int, ...], Filler]]:
    """The tokens that are short and of letters, or at least can be seen, each with what it is ranked by."""
    spaced = any(_text(tokenizer, i).startswith(" ") for i in range(min(_size(tokenizer), 1000)))
    for i in range(min(_size(tokenizer), _LOOKED_AT)):
        text = _text(tokenizer, i)
        word = text.strip()
        if i in special or not word or len(word) > _LONGEST or "\ufffd" in word or "\\x" in word:
            continue
        if not word.isprintable() or text.startswith("##") or (text.startswith("<") and text.endswith(">")):
            continue
        begins = text.startswith(" ") or not spaced
        yield (
            (not word.isalpha(), not word.isalnum(), word != word.lower(), not begins, len(word) == 1, i),
            Filler(text, i),
        )


def token_id(spec: str, tokenizer: Tokenizer) -> int | None:
    """The id of a token of the vocabulary, written as the tokenizer writes it or as a word that is one token."""
    try:
        found = tokenizer.convert_tokens_to_ids(spec)
    except (TypeError, ValueError):  # a tokenizer of characters, given several
        found = None
    if isinstance(found, int) and found < _size(tokenizer) and tokenizer.convert_ids_to_tokens(found) == spec:
        return found
    ids = tokenizer(spec, add_special_tokens=False)["input_ids"]
    return ids[0] if len(ids) == 1 and ids[0] != special_id(tokenizer, "unk") else None


def _size(tokenizer: Tokenizer) -> int:
    """How many tokens the vocabulary has."""
    try:
        return len(tokenizer)
    except TypeError:
        return int(getattr(tokenizer, "vocab_size", 0))


def _text(tokenizer: Tokenizer, i: int) -> str:
    """The text of a token; empty where there is none of that id."""
    found = tokenizer.convert_ids_to_tokens(i)
    return "" if found is None else readable(str(found))
