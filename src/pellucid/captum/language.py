"""Language models in Captum's form: what each token of a generation, and all together, are attributed to.

The log-probabilities of all tokens of a generation come from one forward pass, where the model is causal: that its
first tokens do not depend on later ones is looked at, once for each call. Another model reads the text once for each
token.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArgumentError
from .base import Attribution
from .gradient import LayerGradientXActivation
from .lime import KernelShap, Lime
from .noise import LayerGradientShap
from .path import LayerIntegratedGradients
from .plots import bars, heat_map
from .removal import FeatureAblation
from .shapley import ShapleyValues, ShapleyValueSampling
from .text_inputs import InterpretableInput, TextTemplateInput, TextTokenInput

DEFAULT_GEN_ARGS: dict[str, Any] = {"max_new_tokens": 25, "do_sample": False, "temperature": None, "top_p": None}


@dataclass
class LLMAttributionResult:
    """The attributions of a generation.

    seq_attr: (values,) of the log-probability of the whole output. token_attr: (output tokens, values), of each
    token's; None for methods that give no more than the whole. input_tokens, output_tokens: their texts.
    """

    input_tokens: list[str]
    output_tokens: list[str]
    seq_attr: Tensor
    token_attr: Tensor | None = None
    output_probs: Tensor | None = None
    inp: InterpretableInput | None = None

    @property
    def seq_attr_dict(self) -> dict[str, float]:
        """The attribution of each value, by its text. The last stands where a text occurs several times."""
        return dict(zip(self.input_tokens, self.seq_attr.cpu().tolist(), strict=True))

    def plot_token_attr(self, show: bool = False) -> Any:
        """A map of what each output token is attributed to, as `(figure, axes)`; shown, where `show`, and None then."""
        if self.token_attr is None:
            raise ArgumentError("There are no attributions of single tokens; expected a call of plot_seq_attr.")
        return heat_map(self.token_attr, self.output_tokens, self.input_tokens, "Token attribution", show)

    def plot_seq_attr(self, show: bool = False) -> Any:
        """Bars of what the whole output is attributed to, as `plot_token_attr`."""
        return bars(self.seq_attr, self.input_tokens, "Sequence attribution", show)


def pretty_tokens(tokenizer: Any, ids: Tensor) -> list[str]:
    """What each token adds to the text, as text. A token that is a further part of a character has that character and
    " [OVERLAP]"."""
    written = [tokenizer.decode(ids[:k]) for k in range(1, len(ids) + 1)]
    whole = [k for k, text in enumerate(written) if not text.endswith("\ufffd")] or [len(ids) - 1]
    found, done, start = [], "", 0
    for k in (*whole, len(ids) - 1):
        if k < start:
            continue
        text = written[k][len(done) :].strip(" ").replace("\n", "\\n")
        found += [text] + [f"{text} [OVERLAP]"] * (k - start)
        done, start = written[k], k + 1
    return found


class _LanguageModel(Attribution):
    """What both classes share: the model, its tokenizer, and the tokens that are explained."""

    SUPPORTED_METHODS: tuple[type[Any], ...] = ()
    SUPPORTED_INPUTS: tuple[type[InterpretableInput], ...] = ()

    def __init__(self, attr_method: Any, tokenizer: Any) -> None:
        if not isinstance(attr_method, self.SUPPORTED_METHODS):
            names = ", ".join(m.__name__ for m in self.SUPPORTED_METHODS)
            raise ArgumentError(f"Found {type(attr_method).__name__} as the method; expected one of {names}.")
        super().__init__(attr_method.forward_func)
        self.model: nn.Module = attr_method.forward_func
        self.tokenizer = tokenizer
        own = getattr(self.model, "device", None)
        self.device = own if own is not None else next(self.model.parameters()).device
        self.attr_method = copy(attr_method)

    def _model_input(self, given: Any) -> dict[str, Tensor]:
        if isinstance(given, str):
            given = self.tokenizer.encode(given, return_tensors="pt")
        if isinstance(given, Mapping):
            return dict(given)
        return {"input_ids": given.to(self.device)}

    def attribute_future(self, *args: object, **kwargs: object) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no attribute_future; expected a call of attribute.")

    def _targets(
        self, inp: InterpretableInput, target: Any, gen_args: dict[str, Any] | None, skip_tokens: Any = None
    ) -> Tensor:
        """The ids of the tokens that are explained, without those of `skip_tokens` (ids or tokens)."""
        if skip_tokens and isinstance(skip_tokens[0], str):
            skip_tokens = self.tokenizer.convert_tokens_to_ids(skip_tokens)
        found = self._all_targets(inp, target, gen_args)
        return found[~torch.isin(found, torch.tensor(skip_tokens, device=found.device))] if skip_tokens else found

    def _all_targets(self, inp: InterpretableInput, target: Any, gen_args: dict[str, Any] | None) -> Tensor:
        if not isinstance(inp, self.SUPPORTED_INPUTS):
            names = ", ".join(t.__name__ for t in self.SUPPORTED_INPUTS)
            raise ArgumentError(f"Found a {type(inp).__name__} as the input; expected one of {names}.")
        if target is None:
            generate: Any = getattr(self.model, "generate", None)
            if not callable(generate):
                raise ArgumentError("The model has no generate method; expected one, or a target.")
            given = self._model_input(inp.to_model_input())
            found: Any = generate(**given, **(gen_args or DEFAULT_GEN_ARGS))
            return found[0][given["input_ids"].shape[1] :]
        if gen_args is not None:
            raise ArgumentError("Found gen_args with a target; expected one of the two.")
        if isinstance(target, str):
            return torch.tensor(self.tokenizer.encode(target, add_special_tokens=False))
        if not isinstance(target, Tensor):
            raise TypeError(f"The target is a {type(target).__name__}; expected a text or a tensor of token ids.")
        return target

    def _log_probs(self, ids: Tensor, targets: Tensor, more: Mapping[str, Tensor]) -> Tensor:
        """log p(target token | text and the targets before it), (rows, targets), by one forward pass."""
        targets = targets.to(ids.device)
        whole = torch.cat([ids, targets[:-1].expand(len(ids), -1)], 1)
        given = {k: v for k, v in more.items() if k not in ("input_ids", "attention_mask")}
        logits = self.model(input_ids=whole, attention_mask=torch.ones_like(whole), **given).logits
        logits = logits[:, 0] if logits.ndim == 4 else logits
        at = logits[:, ids.shape[1] - 1 :].log_softmax(-1)
        return at.gather(2, targets.view(1, -1, 1).expand(len(ids), -1, 1)).squeeze(2)


class LLMAttribution(_LanguageModel):
    """A method that removes features, over the log-probabilities of a generation's tokens."""

    SUPPORTED_PER_TOKEN_ATTR_METHODS = (FeatureAblation, ShapleyValueSampling, ShapleyValues)
    SUPPORTED_METHODS = (*SUPPORTED_PER_TOKEN_ATTR_METHODS, Lime, KernelShap)
    SUPPORTED_INPUTS = (TextTemplateInput, TextTokenInput)

    def __init__(self, attr_method: Any, tokenizer: Any, attr_target: str = "log_prob") -> None:
        super().__init__(attr_method, tokenizer)
        if attr_target not in ("log_prob", "prob"):
            raise ArgumentError(f"Found attr_target={attr_target!r}; expected 'log_prob' or 'prob'.")
        self.attr_target = attr_target
        self.include_per_token_attr = isinstance(attr_method, self.SUPPORTED_PER_TOKEN_ATTR_METHODS)
        self.attr_method.forward_func = self._values

    def _values(
        self, present: Tensor, inp: InterpretableInput, targets: Tensor, at_once: bool, inspect: Any = None
    ) -> Tensor:
        """The value of the whole and of each token, (rows, 1 + targets), or of the whole alone.

        at_once: whether one forward pass gives the log-probabilities of all tokens.
        """
        every = []
        for row in present.split(1):  # texts of a template differ in length
            each = self._scored(inp, row, targets, at_once)
            whole = each.sum(1, keepdim=True)
            every.append(torch.cat([whole, each], 1) if self.include_per_token_attr else whole[0])
            if inspect:
                given = self._text(inp.to_model_input(row))
                inspect(given, self.tokenizer.decode(targets), every[-1].exp().flatten().tolist())
        found = torch.cat(every)
        return found if self.attr_target == "log_prob" else found.exp()

    def _text(self, given: Any) -> str:
        return given if isinstance(given, str) else self.tokenizer.decode(self._model_input(given)["input_ids"][0])

    def _scored(self, inp: InterpretableInput, row: Tensor | None, targets: Tensor, at_once: bool) -> Tensor:
        """The log-probability of each token, (1, targets)."""
        given = self._model_input(inp.to_model_input(row))
        ids = given["input_ids"]
        if at_once:
            return self._log_probs(ids, targets, given).detach()
        return torch.cat(
            [self._log_probs(ids, targets[:k], given)[:, -1:].detach() for k in range(1, 1 + len(targets))], 1
        )

    def _is_causal(self, inp: InterpretableInput, targets: Tensor) -> bool:
        """Whether the tokens that come first have the same log-probabilities whatever comes after them."""
        with torch.no_grad():
            whole = self._scored(inp, None, targets, True)
            parts = [self._scored(inp, None, targets[:k], True) for k in {1, (1 + len(targets)) // 2}]
        rounding = min(512 * torch.finfo(whole.dtype).eps, 0.1)
        return all(bool(((part - whole[:, : part.shape[1]]).abs() <= rounding).all()) for part in parts)

    def attribute(
        self,
        inp: InterpretableInput,
        target: Any = None,
        num_trials: int = 1,
        gen_args: dict[str, Any] | None = None,
        use_cached_outputs: bool = True,
        _inspect_forward: Any = None,
        forward_in_tokens: bool = True,
        skip_tokens: Any = None,
        **kwargs: Any,
    ) -> LLMAttributionResult:
        targets = self._targets(inp, target, gen_args, skip_tokens)
        at_once = len(targets) < 2 or not forward_in_tokens or self._is_causal(inp, targets)
        outputs = 1 + len(targets) if self.include_per_token_attr else 1
        found = torch.zeros(outputs, inp.n_itp_features, device=self.device)
        for _ in range(num_trials):
            one = inp.to_tensor().to(self.device)
            args = (inp, targets, at_once, _inspect_forward)
            found += self.attr_method.attribute(one, additional_forward_args=args, **kwargs).reshape(found.shape)
        values = inp.format_attr(found / num_trials)
        return LLMAttributionResult(
            input_tokens=inp.values,
            output_tokens=pretty_tokens(self.tokenizer, targets),
            seq_attr=values[0],
            token_attr=values[1:] if self.include_per_token_attr else None,
            inp=inp,
        )


class LLMGradientAttribution(_LanguageModel):
    """A gradient method over the embeddings, for the log-probability of each token of a generation."""

    SUPPORTED_METHODS = (LayerGradientShap, LayerGradientXActivation, LayerIntegratedGradients)
    SUPPORTED_INPUTS = (TextTokenInput,)

    def attribute(
        self,
        inp: TextTokenInput,
        target: Any = None,
        gen_args: dict[str, Any] | None = None,
        skip_tokens: Any = None,
        **kwargs: Any,
    ) -> LLMAttributionResult:
        targets = self._targets(inp, target, gen_args, skip_tokens)
        found = []
        for k in range(len(targets)):

            def value(present: Tensor, k: int = k) -> Tensor:
                ids = inp.to_model_input(present).to(self.device)
                before = targets[:k].to(ids.device).expand(len(ids), -1)
                logits = self.model(torch.cat([ids, before], 1)).logits[:, -1]
                return logits.log_softmax(-1)[:, targets[k]]

            self.attr_method.forward_func = value
            each = self.attr_method.attribute(inp.to_tensor().to(self.device), **kwargs).detach()
            each = each[:, : each.shape[1] - k].sum(-1)
            found.append(each if inp.itp_mask is None else each[inp.itp_mask.to(each.device)].view(1, -1))
        per_token = torch.cat(found)
        return LLMAttributionResult(inp.values, pretty_tokens(self.tokenizer, targets), per_token.sum(0), per_token)
