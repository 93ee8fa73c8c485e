"""Where the tokens of any tokenizer are in the text."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

import pellucid
from families import model
from pellucid import Model

MARKS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


class Letters(PreTrainedTokenizer):
    """A tokenizer in Python, as those of sentencepiece are: what it does not know, it cuts all the same."""

    def __init__(self) -> None:
        known = [*MARKS.values(), "film", *"abcdefghijklmnopqrstuvwxyz"]
        self.known = {piece: i for i, piece in enumerate(known)}
        super().__init__(**MARKS)

    @property
    def vocab_size(self) -> int:
        return len(self.known)

    def get_vocab(self) -> dict[str, int]:
        return dict(self.known)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return [piece for word in text.split() for piece in ([word] if word in self.known else word)]

    def _convert_token_to_id(self, token: str) -> int:
        return self.known.get(token, self.known["<unk>"])

    def _convert_id_to_token(self, index: int) -> str:
        return list(self.known)[index]


def metaspace() -> Any:
    """As those of sentencepiece: a text begins with a mark, where no white space is."""
    pieces = ["<unk>", "<pad>", "▁", "▁film", "é", "t", "a", "😀", "영"]
    made = Tokenizer(models.Unigram([(p, -1.0) for p in pieces], unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", pad_token="<pad>")


@pytest.mark.parametrize("text", ["a film", "été café, naïve", "日本 film", "안녕 하세요", "😀👍 a"])
def test_an_unknown_piece_of_a_tokenizer_in_python_is_where_it_was_cut(text: str) -> None:
    e = pellucid.explain(Model(model("Bert"), Letters()), text, baseline="zero")
    own = [t for t in e.tokens if not t.special and t.span is not None]
    assert [text[slice(*(t.span or ()))] for t in own] == Letters().tokenize(text)


def test_a_mark_of_a_beginning_stands_for_no_character() -> None:
    text = "été film 😀a 영"
    e = pellucid.explain(Model(model("Bert"), metaspace()), text, baseline="zero")
    shown = [(t.text, text[slice(*t.span)]) for t in e.tokens if t.span]
    assert [s for name, s in shown if name == "▁"] == [""] * 3
    assert [s for name, s in shown if name != "▁"] == ["é", "t", "é", "film", "😀", "a", "영"]
