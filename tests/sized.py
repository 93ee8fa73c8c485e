"""Explanations of the size that people work at, made of random numbers: only what is drawn of them is tested."""

from __future__ import annotations

import numpy as np

from pellucid import Explanation, Explanations, Target, Token


def long_answer(prompt: int, answer: int, sentence: int, documents: int = 20, target: int = 0) -> Explanations:
    """The sentences of an answer, each explained by all tokens of several documents and by those before it.

    prompt, answer: how many tokens; sentence: how many tokens are one. target: of how many tokens one is;
    0: a sentence.
    """
    rng = np.random.default_rng(0)
    tokens: list[Token] = []
    texts: list[str] = []
    for segment in range(documents + 1):
        text = ""
        for i in range(answer if segment == documents else prompt // documents):
            word = f"w{rng.integers(9999)}" + "." * (i % sentence == sentence - 1)
            at = (len(text), len(text) + len(word))
            tokens.append(Token(word, int(rng.integers(49_000)), at, False, i, segment))
            text += word + " "
        texts.append(text.strip())
    names = (*(f"document {i + 1}" for i in range(documents)), "continuation")
    each: list[Explanation] = []
    size = target or sentence
    for at in range(len(tokens) - answer, len(tokens), size):
        own = tokens[at : at + size]
        scores = rng.normal(size=len(tokens))
        scores[at + size - 1 :] = 0
        aim = Target(" ".join(t.text for t in own), tuple(t.id for t in own) if size > 1 else own[0].id, at)
        total = float(scores.sum())
        told = {"text_names": names, "meta": {"task": "text-generation"}}
        each.append(
            Explanation(tuple(texts), tuple(tokens), scores, aim, "deeplift", "filler", total, 0.0, 0.0, **told)
        )
    return Explanations(tuple(each))
