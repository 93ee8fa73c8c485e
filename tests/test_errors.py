"""Bad input: one clear error of the tree, saying what was found, what was expected and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

import pellucid
from families import model, tokenizer
from itself import read, said
from pellucid import Model, PellucidError, errors
from pellucid.models.tasks import task_of
from test_no_mutation import state


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
        (errors.UnknownBaseline, "from 99999 to 99999", {"baseline": torch.tensor([99999])}),
        (errors.InputError, "empty in its second text", {"inputs": ("a film", "")}),
        (errors.UnknownMethod, "deeplift", {"method": "magic"}),
        (errors.UnknownMethod, "n_steps=None", {"method": "integrated_gradients", "steps": 3}),
        (errors.UnknownMethod, "segments=1", {"n_steps": 3}),
        (errors.InputError, "at least 1", {"method": "integrated_gradients", "n_steps": 0}),
        (errors.InputError, "gauss_legendre", {"method": "integrated_gradients", "rule": "magic"}),
        (errors.InputError, "tolerance above 0", {"method": "integrated_gradients", "tol": 0}),
        (errors.InputError, "a finite number", {"method": "integrated_gradients", "tol": float("nan")}),
        (errors.InputError, "at least 17 passes", {"method": "integrated_gradients", "max_passes": 5}),
        (errors.InputError, "tolerance above 0", {"method": "integrated_gradients", "tol": -0.01}),
        (errors.InputError, "tol above 0", {"method": "shapley", "tol": 0}),
        (errors.InputError, "tol above 0", {"method": "partition_shap", "tol": -1.0}),
        (errors.InputError, "at least 2, which", {"method": "gradient_shap", "n_samples": 1}),
        (errors.InputError, "a whole number", {"method": "expected_gradients", "n_samples": 0.5}),
        (errors.InputError, "0 or more", {"method": "gradient_shap", "noise": -1}),
        (errors.InputError, "something in the place", {"method": "deep_shap", "baseline": ["mask", "delete"]}),
        (errors.InputError, "does not look inside", {"method": "deep_shap", "detail": ("layers",)}),
        (errors.InputError, "at least 1", {"segments": 0}),
        (errors.InputError, "n_samples=0", {"method": "smoothgrad", "n_samples": 0}),
        (errors.UnknownMethod, "averages a gradient method", {"method": "smoothgrad", "of": "deeplift"}),
        (errors.InputError, "empty list", {"baseline": []}),
        (errors.InputError, "detail", {"detail": ("nothing",)}),
        (errors.InputError, "detail", {"detail": None}),
        (errors.UnknownMethod, "method=None", {"method": None}),
        (errors.UnknownMethod, r"method=\['deeplift'\]", {"method": [["deeplift"]]}),
        (errors.InputError, "truncate='yes'", {"truncate": "yes"}),
        (errors.InputError, "max_new_tokens='x'", {"max_new_tokens": "x"}),
        (errors.InputError, "progress=5", {"progress": 5}),
        (errors.InputError, "at=5", {"at": 5}),
        (errors.InputError, "at=''", {"at": ""}),
        (errors.InputError, r"at=\[\]", {"at": [], "detail": "layers"}),
        (errors.InputError, "without it", {"at": ["bert.encoder.layer.0"]}),
        (errors.InputError, r"Input 1 holds '\\ud83d' at character 2", {"inputs": ["a film", "a \ud83d film"]}),
        (errors.InputError, "Input 0 holds", {"inputs": {"text": "a", "text_pair": "\udcff"}}),
        (errors.InputError, "Baseline 1 holds", {"baseline": ["mask", "\udcff"]}),
    ],
)
def test_bad_arguments(bundled: Model, error: type[PellucidError], match: str, how: dict[str, Any]) -> None:
    with pytest.raises(error, match=match) as caught:
        pellucid.explain(bundled, **{"inputs": "a good film", **how})
    assert type(caught.value) is error and re.search(r"[Ee]xpected|\b[Uu]se |\bpass ", str(caught.value))


def test_a_model_that_is_none() -> None:
    with pytest.raises(errors.InputError, match=r"pellucid\.load"):
        pellucid.explain("bert-base", "a film")  # pyright: ignore
    with pytest.raises(errors.UnsupportedModel, match=r"pellucid\.load"):
        Model("bert-base", tokenizer())  # pyright: ignore
    with pytest.raises(errors.UnsupportedModel, match="tokenizer"):
        Model(model("Bert"), None)


@pytest.mark.parametrize("fast", [False, True])
def test_what_is_no_tokenizer_is_refused_at_once(fast: bool) -> None:
    """A function of a text, and a tokenizer of the `tokenizers` package, which the error says how to take."""
    inner = tokenizer()._tokenizer
    given = inner if fast else lambda text: inner.encode(text).ids
    with pytest.raises(errors.UnsupportedModel, match=r"all_special_ids.*PreTrainedTokenizerFast\(tokenizer_object=…"):
        Model(model("Bert"), given)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    taken = PreTrainedTokenizerFast(tokenizer_object=inner, mask_token="[MASK]", **names)
    assert pellucid.explain(Model(model("Bert"), taken), "a good film").relative_delta < 1e-4


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

    net = transformers.BertForNextSentencePrediction(model("Bert").config)
    net.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(errors.UnsupportedModel, match="task"):
        pellucid.load(tmp_path)
    with pytest.raises(errors.InputError, match="magic"):
        pellucid.load(tmp_path, task="magic")
    with pytest.raises(errors.InputError, match="magic"):
        Model(model("Bert"), tokenizer(), task="magic")


def test_a_class_that_is_loaded_for_a_task_does_it_whatever_its_name() -> None:
    named = {"BertGenerationDecoder": "text-generation", "SeamlessM4TForTextToText": "text2text-generation"}
    named |= {"BertModel": "sentence-similarity", "XLMWithLMHeadModel": "text-generation"}
    assert {name: task.name for name in named if (task := task_of([name]))} == named
    assert task_of(["BertForPreTraining"]) is None


def test_nan_weights() -> None:
    net = model("Bert")
    with torch.no_grad():
        net.classifier.weight[0, 0] = torch.nan
    for method in pellucid.METHODS:
        with pytest.raises(errors.NonFiniteOutput, match="NaN"):
            pellucid.explain(Model(net, tokenizer()), "a good film", method=method)


def test_a_tokenizer_without_a_mask_token_has_a_stand_in_that_is_named() -> None:
    m = Model(model("Bert"), tokenizer(mask=False))
    assert pellucid.explain(m, "a good film").baseline == "[UNK]"
    assert pellucid.explain(m, "a good film", baseline="pad").relative_delta < 1e-4


@pytest.mark.parametrize("method", ["deeplift", "occlusion", "deep_shap"])
def test_a_replacement_that_the_tokenizer_lacks(method: str) -> None:
    bare = tokenizer()
    bare.pad_token = None
    with pytest.raises(errors.UnknownBaseline, match=r"no pad token.*baseline='mask'"):
        pellucid.explain(Model(model("Bert"), bare), "a good film", method=method, baseline=["mask", "pad"])


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
    for named in (None, "tables.1"):  # both tables are found, whichever is named
        e = pellucid.explain(Model(net := Odd(2).eval(), tok, embeddings=named), "a good film", target=0)
        empty = said(net, read(tok, "a good film", by="[MASK]"))[0, 0].item()
        assert e.baseline_output == pytest.approx(empty, abs=1e-6) and e.relative_delta < 1e-5
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


# -------------------------------------------------------------------------------------- memory, NaN, interruptions


class Limited:
    """A layer's forward that finds room for so many rows only."""

    def __init__(self, layer: Any, rows: int, monkeypatch: pytest.MonkeyPatch):
        self.rows, self.refused, forward = rows, 0, layer.forward

        def limited(hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if len(hidden) > self.rows:
                self.refused += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return forward(hidden, *args, **kwargs)

        monkeypatch.setattr(layer, "forward", limited)


@pytest.mark.parametrize("method", pellucid.METHODS)
@pytest.mark.parametrize("baseline", ["mask", ["mask", "pad", "zero"]])
def test_memory_that_runs_out(method: str, baseline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = model("Bert", num_hidden_layers=1, dtype=torch.float64)  # whose passes do not hang on rounding
    m, texts = Model(net, tokenizer()), ["a good film", "a dull film", "bad"]
    how: dict[str, Any] = {"method": method, "baseline": baseline}
    if method == "feature_permutation" and "zero" in baseline:
        with pytest.raises(errors.InputError, match="one of the two"):
            pellucid.explain(m, texts, **how)
        how["baseline"] = ["mask", "pad"]  # a sample of tokens
    if method in ("kernel_shap", "lime", "gradient_shap", "expected_gradients"):
        how["n_samples"] = 12
    before = pellucid.explain(m, texts, **how)
    memory = Limited(m.model.bert.encoder.layer[0], 2, monkeypatch)  # pyright: ignore
    for a, b in zip(pellucid.explain(m, texts, **how), before, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-9 * max(1.0, np.abs(b.scores).max()))
        one_by_one = method == "deeplift" and baseline != "mask"  # then the input runs once for each baseline
        assert a.passes == (2 * len(baseline) if one_by_one else b.passes)
    assert memory.refused  # or nothing was tried
    memory.rows = 0
    with pytest.raises(errors.OutOfMemory, match="expected room for one"):
        pellucid.explain(m, texts, **how)


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "gradient_shap", "smoothgrad"])
def test_a_gradient_that_is_nan(method: str) -> None:
    class Rooted(Odd):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            x = self.tables[0](input_ids)
            return self.head(x).mean(1) + (x - x).mean((1, 2), keepdim=True)[:, 0].sqrt()

    with pytest.raises(errors.NonFiniteOutput, match=r"gradient is NaN or infinite.*another baseline"):
        pellucid.explain(Model(Rooted(), tokenizer()), "a good film", method=method)


@pytest.mark.parametrize("kind", [RuntimeError, NotImplementedError, IndexError, ZeroDivisionError, AttributeError])
@pytest.mark.parametrize("method", ["deeplift", "occlusion"])
def test_an_error_of_the_model_itself_says_what_it_was(
    kind: type[Exception], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = Model(model("Bert"), tokenizer())

    def failing(*args: Any, **kwargs: Any) -> Any:
        raise kind("something else")

    monkeypatch.setattr(m.model.bert.encoder.layer[0], "forward", failing)  # pyright: ignore
    with pytest.raises(errors.UnsupportedModel, match=r"refused input_ids.*something else.*Expected a model") as found:
        pellucid.explain(m, ["a good film", "bad"], method)
    assert isinstance(found.value, RuntimeError) == issubclass(kind, RuntimeError)
    assert isinstance(found.value.__cause__, kind)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("at", ["forward", "backward"])
def test_an_interruption_leaves_the_model_as_it_was(streamed: bool, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = model("Bert").train()
    before = state(net)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    if at == "forward":
        monkeypatch.setattr(net.bert.pooler.activation, "forward", interrupted)
    else:
        monkeypatch.setattr(torch.autograd, "grad", interrupted)
    texts: Any = (t for t in ("good", "bad")) if streamed else ["good", "bad"]
    with pytest.raises(KeyboardInterrupt):
        list(pellucid.explain(Model(net, tokenizer(), autocast="bfloat16"), texts, method="saliency"))
    monkeypatch.undo()
    assert state(net) == before
    assert torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("method", "option", "value", "expected"),
    [
        ("integrated_gradients", "n_steps", "abc", "a whole number or None"),
        ("integrated_gradients", "n_steps", True, "a whole number or None"),
        ("integrated_gradients", "tol", float("inf"), "a finite number"),
        ("integrated_gradients", "rule", [], "a name or None"),
        ("saliency", "signed", "abc", "True or False"),
        ("random", "seed", -1, "0 or more"),
    ],
)
def test_an_option_of_another_kind(bundled: Model, method: str, option: str, value: object, expected: str) -> None:
    with pytest.raises(errors.InputError, match=f"{method} got {option}=.*; expected {expected}"):
        pellucid.explain(bundled, "a good film", method=method, **{option: value})


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "saliency", "occlusion"])
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_context_without_gradients_changes_nothing(bundled: Model, method: str, context: Any) -> None:
    e = pellucid.explain(bundled, "a good film", method=method)
    with context():
        assert np.array_equal(pellucid.explain(bundled, "a good film", method=method).scores, e.scores)


def test_a_quote_that_is_cut_says_so(bundled: Model) -> None:
    long = "an ordinary film " * 10
    with pytest.raises(errors.InputError) as caught:
        pellucid.explain(bundled, "a good film", method="occlusion", groups=long)
    found = re.search(r"groups=('.*?')", str(caught.value))
    assert found is not None and found[1] == repr(long[:57] + "…") and len(found[1]) == 60
    assert errors.quoted("\n" * 60, 20) == repr("\n" * 8 + "…")  # by what is shown: an escaped character takes two
    assert errors.quoted("x" * 58) == repr("x" * 58) and errors.quoted(["x" * 58]) == repr(["x" * 58])[:59] + "…"


def test_no_message_cuts_what_it_quotes_by_a_format() -> None:
    root = Path(pellucid.__file__).parent
    assert [p.name for p in root.rglob("*.py") if re.search(r"(![rs]|\w|\)):\.\d+\}", p.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    "package, what, extra",
    [
        ("pyarrow", "import pellucid.jobs", "pellucid[jobs]"),
        (
            "duckdb",
            "from pellucid.jobs.sql import places_by_sql; places_by_sql(None, None, 'row', 'row < 3')",
            "pellucid[sql]",
        ),
        (
            "matplotlib",
            "from pathlib import Path; from pellucid.render.files import checked; checked(Path('a.png'))",
            "pellucid[plots]",
        ),
    ],
)
def test_a_missing_package_is_said_with_the_line_that_installs_it(package: str, what: str, extra: str) -> None:
    """In a process of its own, where the package cannot be imported."""
    import subprocess
    import sys

    caught = "except pellucid.errors.MissingExtra as e: print(e)"
    code = f"import sys; sys.modules[{package!r}] = None\nimport pellucid.errors\ntry: exec({what!r})\n{caught}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"pip install '{extra}'" in done.stdout, done.stderr
    assert package != "matplotlib" or done.stdout.startswith("Saving .png")


def test_an_argument_that_is_nearly_one_is_named(bundled: Model) -> None:
    with pytest.raises(errors.UnknownMethod, match="did you mean baseline=…"):
        pellucid.explain(bundled, "good", basline="pad")


def test_a_label_that_the_model_does_not_have_is_a_note(bundled: Model) -> None:
    row = {"sentence": "a good film", "label": "happy"}
    assert "'happy' is none of the model's" in " ".join(pellucid.explain(bundled, row).notes)
    assert not pellucid.explain(bundled, {**row, "label": "Positive"}).notes
