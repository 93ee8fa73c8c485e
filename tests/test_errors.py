"""Bad input: one clear error of the tree, saying what was found, what was expected and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pellucid
from families import model, tokenizer
from pellucid import Model, PellucidError, errors


@pytest.mark.parametrize(
    ("error", "match", "how"),
    [
        (errors.InputError, "empty", {"inputs": ""}),
        (errors.InputError, "empty", {"inputs": "  \n"}),
        (errors.InputError, "empty", {"inputs": ["a film", ""]}),
        (errors.InputError, "expected a text", {"inputs": 5}),
        (errors.InputError, "expected a text", {"inputs": {"a": "b"}}),
        (errors.InputError, "expected a text", {"inputs": ["a film", None]}),
        (errors.TextTooLong, "truncate", {"inputs": "good " * 600}),
        (errors.UnknownTarget, "'negative', 'positive'", {"target": "happy"}),
        (errors.UnknownTarget, "from 0 to 1", {"target": 2}),
        (errors.UnknownTarget, "contrast", {"target": "positive - happy"}),
        (errors.UnknownTarget, "one scalar per row", {"target": lambda logits: logits}),
        (errors.UnknownBaseline, "mask, pad, zero, mean", {"baseline": "no such thing as this"}),
        (errors.UnknownBaseline, "expected 'mask'", {"baseline": 3}),
        (errors.UnknownBaseline, "embeddings", {"baseline": torch.zeros(3, 7)}),
        (errors.UnknownMethod, "deeplift", {"method": "magic"}),
        (errors.UnknownMethod, "n_steps=None", {"method": "integrated_gradients", "steps": 3}),
        (errors.UnknownMethod, "segments=1", {"n_steps": 3}),
        (errors.InputError, "at least 1", {"method": "integrated_gradients", "n_steps": 0}),
        (errors.InputError, "gauss_legendre", {"method": "integrated_gradients", "rule": "magic"}),
        (errors.InputError, "tolerance above 0", {"method": "integrated_gradients", "tol": 0}),
        (errors.InputError, "tolerance above 0", {"method": "integrated_gradients", "tol": float("nan")}),
        (errors.InputError, "at least 17 passes", {"method": "integrated_gradients", "max_passes": 5}),
        (errors.InputError, "at least 1", {"segments": 0}),
        (errors.InputError, "n_samples=0", {"method": "smoothgrad", "n_samples": 0}),
        (errors.UnknownMethod, "averages a gradient method", {"method": "smoothgrad", "of": "deeplift"}),
        (errors.InputError, "empty list", {"baseline": []}),
        (errors.InputError, "detail", {"detail": ("nothing",)}),
    ],
)
def test_bad_arguments(bundled: Model, error: type[PellucidError], match: str, how: dict[str, Any]) -> None:
    with pytest.raises(error, match=match) as caught:
        pellucid.explain(bundled, **{"inputs": "a good film", **how})
    assert isinstance(caught.value, PellucidError)
    assert str(caught.value).count("xpected") or "Use" in str(caught.value) or "pass" in str(caught.value)


def test_a_model_that_is_none() -> None:
    with pytest.raises(errors.InputError, match=r"pellucid\.load"):
        pellucid.explain("bert-base", "a film")  # pyright: ignore
    with pytest.raises(errors.UnsupportedModel, match=r"pellucid\.load"):
        Model("bert-base", tokenizer())  # pyright: ignore
    with pytest.raises(errors.UnsupportedModel, match="tokenizer"):
        Model(model("Bert"), None)


@pytest.mark.parametrize("name", ["/no/such/model", "./nothing", "no-such-model-anywhere", "nobody/nothing"])
def test_a_checkpoint_that_is_not_there(name: str) -> None:
    with pytest.raises(errors.ModelNotFound, match=name):
        pellucid.load(name)


def test_a_directory_that_holds_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFound, match=r"config\.json"):
        pellucid.load(tmp_path)


def test_weights_that_are_not_safetensors_are_not_read(tmp_path: Path) -> None:
    net = model("Bert")
    net.config.architectures = ["BertForSequenceClassification"]
    net.config.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(errors.ModelNotFound, match="safetensors"):
        pellucid.load(tmp_path)


def test_a_checkpoint_of_another_task(tmp_path: Path) -> None:
    import transformers

    net = transformers.BertModel(model("Bert").config)
    net.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(errors.UnsupportedModel, match="task"):
        pellucid.load(tmp_path)
    with pytest.raises(errors.UnsupportedModel, match="magic"):
        pellucid.load(tmp_path, task="magic")
    with pytest.raises(errors.UnsupportedModel, match="magic"):
        Model(model("Bert"), tokenizer(), task="magic")


def test_nan_weights() -> None:
    net = model("Bert")
    with torch.no_grad():
        net.classifier.weight[0, 0] = torch.nan
    for method in pellucid.METHODS:
        with pytest.raises(errors.NonFiniteOutput, match="NaN"):
            pellucid.explain(Model(net, tokenizer()), "a good film", method=method)


def test_a_tokenizer_without_a_mask_token() -> None:
    m = Model(model("Bert"), tokenizer(mask=False))
    with pytest.raises(errors.UnknownBaseline, match=r"no mask token.*'pad'"):
        pellucid.explain(m, "a good film")
    assert pellucid.explain(m, "a good film", baseline="pad").relative_delta < 1e-4


class Odd(nn.Module):
    def __init__(self, embeddings: int = 1, answer: str = "class"):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(200, 8) for _ in range(embeddings))
        self.head = nn.Linear(8, 2)
        self.answer = answer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        x = sum(table(input_ids) for table in self.tables)
        logits = self.head(x)  # pyright: ignore
        return logits.mean(1) if self.answer == "class" else logits if self.answer == "all" else "text"


class NoIds(Odd):
    def forward(self, ids: torch.Tensor) -> Any:  # pyright: ignore
        return ids


def test_modules_that_cannot_be_explained() -> None:
    tok = tokenizer()
    assert pellucid.explain(Model(Odd(), tok), "a good film").relative_delta < 1e-5
    with pytest.raises(errors.UnsupportedModel, match=r"tables\.0.*tables\.1"):
        Model(Odd(2), tok)
    assert pellucid.explain(Model(Odd(2), tok, embeddings="tables.1"), "a good film").relative_delta < 1e-5
    with pytest.raises(errors.UnsupportedModel, match="nowhere"):
        Model(Odd(), tok, embeddings="nowhere")
    with pytest.raises(errors.UnsupportedModel, match="no part"):
        Model(Odd(), tok, embeddings=nn.Embedding(3, 3))
    for answer in ("all", "text"):
        with pytest.raises(errors.UnsupportedModel, match="classes"):
            pellucid.explain(Model(Odd(answer=answer), tok), "a good film")
    with pytest.raises(errors.UnsupportedModel, match="input_ids"):
        pellucid.explain(Model(NoIds(), tok), "a good film")
    with pytest.raises(errors.UnsupportedModel, match="never called"):
        net = Odd()
        net.unused = nn.Embedding(200, 8)
        pellucid.explain(Model(net, tok, embeddings="unused"), "a film")


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn = [line.split("──")[-1].split()[0] for line in (errors.__doc__ or "").splitlines() if "──" in line]
    defined = {n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, PellucidError)}
    assert set(drawn) | {"PellucidError"} == defined
