"""What users of other libraries write today for the same question, one text at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from captum.attr import FeatureAblation, IntegratedGradients, LayerConductance, LayerIntegratedGradients
from torch import Tensor, nn

import pellucid
from pellucid.models.inside.layers import stack

STEPS = 50
"""Captum's default number of points."""


class Captum:
    """The predicted class's logit of one text, against `baseline` ("pad" or "mask") at the word embeddings."""

    def __init__(self, model: pellucid.Model, baseline: str):
        self.net, self.tok, self.embed, self.layers = model.model, model.tokenizer, model.embedding, stack(model)
        self.blank = getattr(self.tok, f"{baseline}_token_id")

    def prepare(self, text: str) -> tuple[Tensor, Tensor, Tensor, int]:
        batch = self.tok(text, return_tensors="pt")
        ids = batch["input_ids"]
        special = self.tok.get_special_tokens_mask(ids[0].tolist(), already_has_special_tokens=True)
        ids0 = torch.where(torch.tensor([special]).bool(), ids, self.blank)
        with torch.no_grad():
            target = int(self.net(**batch).logits.argmax())
        return ids, ids0, batch["attention_mask"], target

    def ig(self, text: str, n_steps: int = STEPS, **how: Any) -> Tensor:
        ids, ids0, mask, target = self.prepare(text)
        f = lambda x, m: self.net(inputs_embeds=x, attention_mask=m).logits
        return IntegratedGradients(f).attribute(
            self.embed(ids), self.embed(ids0), target, (mask,), n_steps=n_steps, **how
        )

    def layer_ig(self, text: str) -> Tensor:
        ids, ids0, mask, target = self.prepare(text)
        lig = LayerIntegratedGradients(lambda i, m: self.net(i, attention_mask=m).logits, self.embed)
        return lig.attribute(ids, ids0, target, (mask,), n_steps=STEPS)

    def conductance(self, text: str, **how: Any) -> list[Tensor]:
        """All layers, one after the other."""
        ids, ids0, mask, target = self.prepare(text)
        f = lambda x, m: self.net(inputs_embeds=x, attention_mask=m).logits
        x, x0 = self.embed(ids), self.embed(ids0)
        return [LayerConductance(f, m).attribute(x, x0, target, (mask,), n_steps=STEPS, **how) for m in self.layers]

    def ablation(self, text: str) -> Tensor:
        ids, ids0, mask, target = self.prepare(text)
        f = lambda i, m: self.net(i, attention_mask=m).logits
        return FeatureAblation(f).attribute(ids, ids0, target, (mask,))


def conductance_of_answer(
    model: pellucid.Model, text: tuple[str, str], modules: Sequence[nn.Module], at_once: int
) -> list[Any]:
    """Of the start and the end of an answer, module by module; an attention module's with its probabilities."""
    p = model.problem(model.encode([text]), "pad", None)
    rows = lambda x: torch.zeros(len(x), dtype=torch.long)
    fs = [lambda x, s=s: s(p.outputs((x,), rows(x)), rows(x)) for s in p.selects(p.outputs(p.x))]
    how = {"n_steps": STEPS, "internal_batch_size": at_once}
    return [LayerConductance(f, m).attribute(*p.x, *p.x0, **how) for f in fs for m in modules]


def shap_values(model: pellucid.Model, text: str, evaluations: int) -> Any:
    """SHAP's text explainer (Owen values over a hierarchy of tokens), with the mask token in the place of others."""
    import shap

    def f(texts: Any) -> Any:
        batch = model.tokenizer(list(texts), return_tensors="pt", padding=True)
        with torch.no_grad():
            return model.model(**batch).logits.numpy()

    return shap.Explainer(f, shap.maskers.Text(model.tokenizer), silent=True)([text], max_evals=evaluations)


def interpreto_ig(model: pellucid.Model, text: str, n_steps: int = STEPS) -> Any:
    """interpreto's integrated gradients of one text."""
    from interpreto import IntegratedGradients

    return IntegratedGradients(model.model, model.tokenizer, batch_size=16, n_perturbations=n_steps)(text)
