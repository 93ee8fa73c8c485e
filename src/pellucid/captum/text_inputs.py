"""Texts as inputs with features of their own: the tokens of a text, or the values of a template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError


class InterpretableInput:
    """An input with features that can be present or absent.

    values: the text of each feature. n_itp_features: how many there are.
    """

    values: list[str]
    n_itp_features: int

    def to_tensor(self) -> Tensor:
        """A one for each feature, (1, features)."""
        raise NotImplementedError

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        """What the model takes, with the features that are 0 in `perturbed_tensor` (1, features) at their baseline."""
        raise NotImplementedError

    def format_attr(self, itp_attr: Tensor) -> Tensor:
        """The attributions of the features as attributions of the values."""
        return itp_attr


class TextTemplateInput(InterpretableInput):
    """A template, a string or a function, whose values are the features.

    baselines: what stands in a value's place, "" without; a function makes it anew each time. mask: equal numbers are
    one feature.

    Examples:
        >>> text = TextTemplateInput("{} lives in {}.", ["Ada", "London"], baselines=["Someone", "a city"])
        >>> text.to_model_input(torch.tensor([[1, 0]]))
        'Ada lives in a city.'
    """

    def __init__(
        self,
        template: str | Callable[..., str],
        values: list[str] | dict[str, str],
        baselines: Any = None,
        mask: list[int] | dict[str, int] | None = None,
    ) -> None:
        self.dict_keys = list(values) if isinstance(values, dict) else []
        self.values = self._listed(values, "values")
        self.baselines = [""] * len(self.values) if baselines is None else baselines
        if not callable(self.baselines):
            self.baselines = self._listed(self.baselines, "baselines") if baselines is not None else self.baselines
        self.mask = None if mask is None else self._listed(mask, "mask")
        numbers = {m: i for i, m in enumerate(dict.fromkeys(sorted(set(self.mask or []))))}
        self.formatted_mask = (
            [numbers[m] for m in self.mask] if self.mask is not None else list(range(len(self.values)))
        )
        self.n_features, self.n_itp_features = len(self.values), len(set(self.formatted_mask))
        self.template = template
        if not isinstance(template, str) and not callable(template):
            raise ArgumentError(f"Found a {type(template).__name__} as the template; expected a string or a function.")
        self.format_fn = template.format if isinstance(template, str) else template

    def _listed(self, given: Any, what: str) -> list[Any]:
        wanted = dict if self.dict_keys else list
        if not isinstance(given, wanted):
            raise ArgumentError(f"The {what} are a {type(given).__name__}; expected a {wanted.__name__}.")
        if what != "values" and (len(given) != len(self.values) or not {*self.dict_keys} <= {*given}):
            raise ArgumentError(f"The {what} are {given!r}; expected one for each of the values {self.values!r}.")
        return [given[k] for k in self.dict_keys] if isinstance(given, dict) else list(given)

    def to_tensor(self) -> Tensor:
        return torch.ones(1, self.n_itp_features)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> str:
        values = self.values
        if perturbed_tensor is not None:
            made = self.baselines
            base = self._listed(made(), "baselines") if callable(made) else made
            there = [bool(perturbed_tensor[0][i]) for i in self.formatted_mask]
            values = [v if t else b for v, b, t in zip(values, base, there, strict=True)]
        if self.dict_keys:
            return self.format_fn(**dict(zip(self.dict_keys, values, strict=True)))
        return self.format_fn(*values)

    def format_attr(self, itp_attr: Tensor) -> Tensor:
        return itp_attr if self.mask is None else itp_attr[..., self.formatted_mask]


class TextTokenInput(InterpretableInput):
    """A text whose tokens are the features.

    baselines: the token, or its id, that stands in a token's place. skip_tokens: tokens, or their ids, that are no
    features and always stay.
    """

    def __init__(
        self, text: str, tokenizer: Any, baselines: int | str = 0, skip_tokens: list[int] | list[str] | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.inp_tensor: Tensor = tokenizer.encode(text, return_tensors="pt")
        skipped: Any = skip_tokens or []
        if skipped and isinstance(skipped[0], str):
            skipped = tokenizer.convert_tokens_to_ids(skipped)
        self.skip_tokens = skipped or None
        self.itp_mask = ~torch.isin(self.inp_tensor, torch.tensor(skipped)) if skipped else None
        self.itp_tensor = self.inp_tensor if self.itp_mask is None else self.inp_tensor[self.itp_mask].unsqueeze(0)
        self.values = tokenizer.convert_ids_to_tokens(self.itp_tensor[0].tolist())
        self.n_itp_features = len(self.values)
        self.baselines = baselines if isinstance(baselines, int) else tokenizer.convert_tokens_to_ids([baselines])[0]

    def to_tensor(self) -> Tensor:
        return torch.ones_like(self.itp_tensor)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Tensor:
        if perturbed_tensor is None:
            return self.inp_tensor
        device, rows = perturbed_tensor.device, perturbed_tensor.shape[0]
        tokens = self.itp_tensor.to(device).expand(rows, -1)
        kept = torch.where(perturbed_tensor == 1, tokens, torch.full_like(tokens, int(self.baselines)))
        if self.itp_mask is None:
            return kept
        whole = self.inp_tensor.to(device).repeat(rows, 1)
        whole[self.itp_mask.to(device).expand(rows, -1)] = kept.reshape(-1)
        return whole
