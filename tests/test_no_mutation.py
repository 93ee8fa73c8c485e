"""Borrow, never own: after any call, and after any error, the user's model is as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import pellucid
from families import model, tokenizer
from pellucid import Model


def state(net: torch.nn.Module) -> dict[str, Any]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
    return {
        "training": {n: m.training for n, m in net.named_modules()},
        "hooks": {(n, h): list(getattr(m, h)) for n, m in net.named_modules() for h in hooks},
        "attributes": {n: sorted(vars(m)) for n, m in net.named_modules()},
        "requires_grad": {n: p.requires_grad for n, p in net.named_parameters()},
        "grad": {n: p.grad for n, p in net.named_parameters()},
        "identity": {n: (id(p), p._version) for n, p in net.named_parameters()},
        "config": copy.deepcopy(net.config.to_dict()),  # pyright: ignore
        "attention": net.config._attn_implementation,  # pyright: ignore
    }


@pytest.fixture(params=["eager", "sdpa"])
def net(request: pytest.FixtureRequest) -> Any:
    net = model("Bert", request.param)
    net.train()
    net.bert.encoder.layer[0].eval()
    net.classifier.weight.requires_grad_(False)
    return net


@pytest.mark.parametrize("method", pellucid.METHODS)
def test_after_an_explanation(net: Any, method: str) -> None:
    before, values = state(net), [p.detach().clone() for p in net.parameters()]
    tok = tokenizer()
    padding = (tok.padding_side, tok.model_max_length, len(tok))
    pellucid.explain(Model(net, tok), ["a good film", "the movie was not so bad"], method=method)
    assert state(net) == before
    assert all(torch.equal(a, b) for a, b in zip(values, net.parameters(), strict=True))
    assert (tok.padding_side, tok.model_max_length, len(tok)) == padding
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", pellucid.METHODS)
def test_after_an_error_in_the_middle(net: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    forward = net.bert.encoder.layer[1].forward

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > (method != "deeplift"):  # which takes a single pass
            raise KeyboardInterrupt
        return forward(*args, **kwargs)

    monkeypatch.setattr(net.bert.encoder.layer[1], "forward", failing)
    before = state(net)
    with pytest.raises(KeyboardInterrupt):
        pellucid.explain(Model(net, tokenizer()), "a good film", method=method)
    assert state(net) == before


def test_a_gradient_the_user_had_stays(net: Any) -> None:
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    pellucid.explain(Model(net, tokenizer()), "a good film")
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in net.parameters())


def test_the_users_own_hooks_still_run(net: Any) -> None:
    seen: list[int] = []
    handle = net.get_input_embeddings().register_forward_hook(lambda *_: seen.append(1))
    pellucid.explain(Model(net, tokenizer()), "a good film")
    assert seen
    handle.remove()


DEPTH = [
    {"detail": ("layers", "heads")},
    {"detail": ("parts",)},
    {"detail": ("attentions", "norms", "rollout", "attention_x_gradient")},
    {"at": "bert.encoder.layer.0"},
    {"detail": ("layers",), "at": ["bert.encoder.layer.1"]},
]


@pytest.mark.parametrize("asked", DEPTH, ids=str)
@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients"])
def test_after_a_look_inside(net: Any, method: str, asked: dict[str, Any]) -> None:
    before = state(net)
    pellucid.explain(Model(net, tokenizer()), ["a good film", "so bad"], method, **asked)
    assert state(net) == before


@pytest.mark.parametrize("asked", DEPTH, ids=str)
@pytest.mark.parametrize("fails_in", [1, 2, 3])
def test_after_an_error_while_looking_inside(
    net: Any, asked: dict[str, Any], fails_in: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    last = net.bert.encoder.layer[1]
    forward = last.attention.forward

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == fails_in:
            raise KeyboardInterrupt
        return forward(*args, **kwargs)

    monkeypatch.setattr(last.attention, "forward", failing)
    before = state(net)
    raised = False
    try:
        pellucid.explain(Model(net, tokenizer()), "a good film", **asked)
    except KeyboardInterrupt:
        raised = True
    assert raised == (calls >= fails_in) and (raised or fails_in > 1)
    assert state(net) == before
    assert torch.is_grad_enabled()


def test_a_model_that_changes_itself_is_put_back() -> None:
    net = model("BigBirdSparse")
    before, attention = state(net), net.bert.encoder.layer[0].attention.self
    pellucid.explain(Model(net, tokenizer()), "a film")  # too short for its blocks: transformers exchanges them
    assert net.bert.encoder.layer[0].attention.self is attention and net.bert.attention_type == "block_sparse"
    assert state(net) == before
