"""Every family in every task that transformers has a head for: the scores add up, or a clear error says why not."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pad

import pellucid
from families import FAMILIES, attentions, built, tokenizer
from pellucid import Model
from pellucid.errors import UnsupportedModel, UnsupportedOperation
from pellucid.models import tasks
from pellucid.models.batching import groups
from tabled import MOVES, TASKS, TEXTS, explained, head, measured, pieces

REFUSED = {
    ("XLNet", "text-generation"): "the tokens after it too",
    ("BigBirdSparse", "text-generation"): "the tokens after it too.*attention_type='original_full'",
    ("Pegasus", "sentence-similarity"): r"refused .*decoder_input_ids.*model.get_encoder\(\)",
    ("ViT", "sentence-similarity"): "expected an argument 'input_ids' for sentence-similarity",
}
CELLS = [(family, task) for family in FAMILIES for task in TASKS if head(family, task) is not None]
ROWS = [(f, attention, t) for f, t in CELLS if (f, t) not in REFUSED for attention in attentions(f)]


@pytest.mark.parametrize(("family", "attention", "task"), ROWS)
def test_in_float64(family: str, attention: str, task: str) -> None:
    found = measured(family, attention, torch.float64, task)
    assert found.residual <= 1e-9
    assert found.batched is not None
    assert found.batched <= 1e-9
    assert found.change > 1e-3


@pytest.mark.parametrize(("family", "task"), [cell for cell in CELLS if cell not in REFUSED])
def test_in_float32(family: str, task: str) -> None:
    found = measured(family, attentions(family)[-1], torch.float32, task)
    assert found.residual <= 1e-4 and found.moved >= MOVES
    assert (found.batched or 0.0) <= 1e-5


@pytest.mark.parametrize(("family", "task"), REFUSED)
def test_what_has_no_number_has_a_clear_error(family: str, task: str) -> None:
    with pytest.raises(UnsupportedModel, match=REFUSED[family, task]):
        measured(family, attentions(family)[0], torch.float32, task)


def test_the_table_has_a_column_for_every_task() -> None:
    """Zero-shot classification asks the text classifier of another question; the families that read images beside texts
    are others, which tests/test_task_pictured.py holds."""
    assert set(TASKS) == set(tasks.TASKS) - {"zero-shot-classification", "image-text-to-text"}


@pytest.mark.parametrize("task", TASKS)
def test_both_inputs_go_through_in_one_batch_and_one_of_them_is_padded(task: str) -> None:
    family = next(f for f in FAMILIES if (f, task) in CELLS)
    m = explained(family, "eager", torch.float32, task)
    encodings = m.encode(TASKS[task].inputs)
    assert len(groups([len(e) for e in encodings], kinds=[e.kind for e in encodings])) == 1
    assert len({len(e) for e in encodings}) == (1 if task == "image-classification" else 2)


@pytest.mark.parametrize("family", [f for f in FAMILIES if FAMILIES[f].mixes])
def test_a_model_that_mixes_padding_gives_other_answers_itself(family: str) -> None:
    """By the model alone: what its row says of batches is no fault of the explanation."""
    ids = tokenizer()(TEXTS[1], return_tensors="pt")["input_ids"]
    for task in ("token-classification", "text-classification"):
        net = built(family, head(family, task), dtype=torch.float64)
        with torch.no_grad():
            alone = net(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            batched = net(input_ids=pad(ids, (0, 4)), attention_mask=pad(torch.ones_like(ids), (0, 4))).logits
        batched = batched[:, : ids.shape[1]] if batched.ndim == 3 else batched
        assert torch.allclose(alone, batched, rtol=0, atol=1e-9) == (task not in FAMILIES[family].mixes)


@pytest.mark.parametrize("family", ["ConvBert", "FNet", "Bert"])
@pytest.mark.parametrize("method", ["deeplift", "occlusion"])
def test_the_output_of_a_list_is_what_the_model_says_of_each_text_alone(family: str, method: str) -> None:
    m = explained(family, "eager", torch.float64, "text-classification")
    found = pellucid.explain(m, TEXTS, method=method, target=0)
    with torch.no_grad():
        alone = [m.model(**tokenizer()(text, return_tensors="pt")).logits[0, 0].item() for text in TEXTS]
    assert [e.output for e in found] == pytest.approx(alone, abs=1e-9)
    assert (m.ways.get("padding") == "mixes") == (family == "ConvBert")  # an FNet takes no mask, and is never padded


# ------------------------------------------------------------------------------------------------- errors and remedies


@pytest.mark.parametrize("task", ["question-answering", "multiple-choice"])
def test_a_longformer_needs_three_separators(task: str) -> None:
    m = Model(built("Longformer", head("Longformer", task)), tokenizer(separators=1))
    with pytest.raises(UnsupportedModel, match=f"exactly three separator tokens.*For {task} give the .* tokenizer"):
        pellucid.explain(m, TASKS[task].inputs[0])


def test_the_encoder_of_a_pegasus_compares_sentences() -> None:
    whole = built("Pegasus", "PegasusModel", dtype=torch.float64)
    m = Model(whole.get_encoder(), pieces(FAMILIES["Pegasus"]), task="sentence-similarity")
    assert pellucid.explain(m, tuple(TEXTS)).relative_delta < 1e-9


@pytest.mark.parametrize("family", ["T5", "MT5"])
@pytest.mark.parametrize("head", ["ForTokenClassification", "EncoderModel"])
def test_an_encoder_without_a_decoder_embeds_by_itself(family: str, head: str) -> None:
    """Its configuration says that there is no decoder; the shared embedding beside its own is never called."""
    net = built(family, f"{family}{head}")
    assert Model(net, pieces(FAMILIES[family])).embedding is net.get_encoder().embed_tokens


def test_errors_of_pellucid_inside_the_forward_pass_stay_as_they_are() -> None:
    net = built("T5", "T5ForTokenClassification")
    net.classifier.forward = lambda h: torch.nn.functional.dropout(h, 0.5, True)
    with pytest.raises(UnsupportedOperation, match="dropout"):
        pellucid.explain(Model(net, pieces(FAMILIES["T5"])), TEXTS[0])
