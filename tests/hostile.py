"""Explanations whose texts, labels, models and notes are hostile to whatever draws them."""

from __future__ import annotations

import random

import numpy as np

from pellucid import Explanation, Target, Token

PIECES = [
    "<script>parent.hurt=window.hurt=1</script>", "</script>", "</style>", "</iframe>", "-->", "<!--", "]]>",
    '"><img src=x onerror="parent.hurt=window.hurt=1">', "<svg onload=window.hurt=1>", "' onfocus=window.hurt=1 '",
    "javascript:window.hurt=1", "{{7*7}}", "${7*7}", "&amp;", "&lt;b&gt;", "\\u003c", "\u202e", "\u202c", "\u2066",
    "\u2028", "\u2029", "\u0000", "\u0007", "\u001b[31m", "\ufeff", "\u200b", "\ud83d\ude00", "e\u0301", "a" * 200,
    "مرحبا", "안녕하세요", "👨‍👩‍👧", "good", "film", " ", "\n", "\t", "url(//x.example)", "__proto__", "constructor",
]  # fmt: skip


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of a few pieces each, all different; every other one begins with a lone half of a character."""
    draw = random.Random(seed)
    return [f"{'' if i % 2 else chr(0xD800)}{i} " + "".join(draw.choices(PIECES, k=3)) for i in range(count)]


def explanations(count: int) -> list[Explanation]:
    """Explanations that hold so many of these texts, eight in each."""
    found, each = [], iter(texts(count))
    for text, name, label, target, model, note, baseline, told in zip(*[each] * 8, strict=True):
        middle = len(text) // 2
        tokens = (Token(text[:middle], 1, (0, middle), word=0), Token(text[middle:], 2, (middle, len(text)), word=1))
        found.append(
            Explanation(
                text, tokens, np.array([1.0, -0.5]), Target(target, 0), "deeplift", baseline, 0.75, 0.25, 0.0, name,
                probability=0.9, label=label, notes=(note,), probabilities={name: 0.9, target: 0.1},
                meta={"model": model, "task": "text-classification", told: told},
            )
        )  # fmt: skip
    return found
