"""What users of Captum write, beside Captum itself in the same process: other types, hooks, functions and forms."""

from __future__ import annotations

import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

import pellucid
from pellucid import captum as ours
from pellucid.errors import ArgumentError

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def peer() -> Any:
    return pytest.importorskip("captum.attr")


def net(dtype: torch.dtype = torch.float32, shared: bool = False) -> nn.Sequential:
    """Three linear layers, whose ReLUs are one module where `shared`."""
    torch.manual_seed(0)
    relu = nn.ReLU()
    parts = [nn.Linear(4, 6), relu, nn.Linear(6, 6), relu if shared else nn.ReLU(), nn.Linear(6, 3)]
    return nn.Sequential(*parts).eval().to(dtype)


X = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.2, 0.1, -1.0, 2.0]])


def record(score: Any, values: Any = (0.1, -0.5)) -> Any:
    return ours.visualization.VisualizationDataRecord(values, 0.9, 1, 1, 1, 0.5, ["a", "b"], score)


def test_a_table_of_texts_is_shown_once_wherever_in_a_cell_it_stands() -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    capture = pytest.importorskip("IPython.utils.capture").capture_output
    shell = shells.InteractiveShell.instance()
    shell.history_manager.enabled = False
    try:
        shell.user_ns.update(show=ours.visualization.visualize_text, one=[record(0.1)])
        for cell, count in {
            "_ = show(one)": 1,
            "show(one); print(); show(one)": 2,
            "for _ in 'ab': show(one)": 2,
        }.items():
            with capture() as seen:
                shell.run_cell(cell, store_history=True)
            assert [list(o.data) for o in seen.outputs] == [["text/html", "text/plain"]] * count, cell
        with capture() as seen:
            shell.run_cell("kept = show(one)", store_history=True)
            shell.run_cell("kept", store_history=True)
        assert len(seen.outputs) == 2, "a later cell shows it again"
    finally:
        shells.InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("score", "shown"),
    [(None, ""), ("", ""), ("n/a", "n/a"), (torch.tensor([0.1, 0.25]), "0.1, 0.25"), ([0.5], "0.5"), (0.125, "0.125")],
)
def test_a_convergence_score_may_be_anything(score: Any, shown: str) -> None:
    lines = str(ours.visualization.visualize_text([record(score), record(score, None)])).splitlines()
    assert lines[1] == f"1 | 1 (0.90) | 1 | 0.50 | {shown} | a (+0.10) b (-0.50)"
    assert lines[2] == f"1 | 1 (0.90) | 1 | 0.50 | {shown} | "


_GRADIENTS = {
    "Saliency": {},
    "InputXGradient": {},
    "IntegratedGradients": {"n_steps": 5},
    "GuidedBackprop": {},
    "Deconvolution": {},
    "GradientShap": {"baselines": torch.zeros(3, 4)},
}


@pytest.mark.parametrize("name", _GRADIENTS)
def test_a_gradient_function_of_ones_own_is_asked(peer: Any, name: str) -> None:
    def doubled(forward_fn: Any, inputs: Any, target_ind: Any = None, additional_forward_args: Any = None) -> Any:
        with torch.enable_grad():
            out = (
                forward_fn(*inputs)
                if additional_forward_args is None
                else forward_fn(*inputs, *additional_forward_args)
            )
            return tuple(2 * g for g in torch.autograd.grad(out[:, target_ind].sum(), inputs))

    found = []
    for of in (ours, peer):
        method = getattr(of, name)(net())
        assert callable(method.gradient_func)
        method.gradient_func = doubled
        torch.manual_seed(0)
        found.append(method.attribute(X.clone(), target=1, **_GRADIENTS[name]))
    if name != "GradientShap":  # which draws other places
        torch.testing.assert_close(*found, check_dtype=False)
    plain = getattr(ours, name)(net()).attribute(X, target=1, **_GRADIENTS[name])
    assert name == "GradientShap" or torch.allclose(found[0], 2 * plain, atol=1e-6)


def test_a_class_that_cannot_ask_a_gradient_function_says_so() -> None:
    for made in (ours.DeepLift(net()), ours.LRP(net()), ours.LayerIntegratedGradients(net(), net()[1])):
        with pytest.raises(ArgumentError, match="expected one for Saliency"):
            made.gradient_func = lambda *args: args
        made.gradient_func = made.gradient_func


_ROUNDED: dict[str, Any] = {
    "IntegratedGradients": lambda of, m: of.IntegratedGradients(m).attribute(X.to(m[0].weight), target=1),
    "LayerIntegratedGradients": lambda of, m: of.LayerIntegratedGradients(m, m[1]).attribute(
        X.to(m[0].weight), target=1
    ),
    "LayerConductance": lambda of, m: of.LayerConductance(m, m[1]).attribute(X.to(m[0].weight), target=1),
    "InternalInfluence": lambda of, m: of.InternalInfluence(m, m[1]).attribute(X.to(m[0].weight), target=1),
    "NeuronConductance": lambda of, m: of.NeuronConductance(m, m[1]).attribute(X.to(m[0].weight), 1, target=1),
    "NeuronIntegratedGradients": lambda of, m: of.NeuronIntegratedGradients(m, m[1]).attribute(X.to(m[0].weight), 1),
    "DeepLift": lambda of, m: of.DeepLift(m).attribute(X.to(m[0].weight), target=1),
    "Saliency": lambda of, m: of.Saliency(m).attribute(X.to(m[0].weight), target=1),
    "Occlusion": lambda of, m: of.Occlusion(m).attribute(X.to(m[0].weight), (2,), target=1),
    "FeatureAblation": lambda of, m: of.FeatureAblation(m).attribute(X.to(m[0].weight), target=1),
}


@pytest.mark.parametrize("name", _ROUNDED)
def test_attributions_have_the_types_that_captum_gives_them(peer: Any, name: str) -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        found, wanted = (_ROUNDED[name](of, net(dtype)) for of in (ours, peer))
        assert found.dtype == wanted.dtype, dtype


@pytest.mark.parametrize("name", ["IntegratedGradients", "DeepLift", "DeepLiftShap", "GradientShap"])
def test_inputs_of_half_precision_with_wider_baselines(peer: Any, name: str) -> None:
    """Captum gives the model the wider type; a model of half precision has its own."""
    base, found = torch.ones(2, 4), []
    for of, model in ((ours, net()), (peer, net()), (ours, net(torch.bfloat16))):
        torch.manual_seed(0)
        kind = torch.float16 if model[0].weight.dtype == torch.float32 else torch.bfloat16
        found.append(getattr(of, name)(model).attribute(X.to(kind), baselines=base, target=1))
    assert found[0].dtype == found[1].dtype == torch.float32
    if name != "GradientShap":  # which draws other places
        alone = getattr(ours, name)(net()).attribute(X.half().float(), baselines=base, target=1)
        torch.testing.assert_close(found[0], alone)
        torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(found[2].float(), found[1], rtol=0.1, atol=0.02)


@pytest.mark.parametrize("takes", [1, 2, 3])
def test_a_custom_attribution_function_takes_as_many_arguments_as_it_has(peer: Any, takes: int) -> None:
    def custom(m: Any, x: Any = None, x0: Any = None) -> Any:
        return tuple(
            g * (2 if x is None else a if x0 is None else a - b) for g, a, b in zip(m, x or m, x0 or m, strict=True)
        )

    own = [lambda m: custom(m), lambda m, x: custom(m, x), custom][takes - 1]
    found, wanted = (
        of.DeepLift(net()).attribute(X.clone(), target=1, custom_attribution_func=own) for of in (ours, peer)
    )
    torch.testing.assert_close(found, wanted)
    with pytest.raises(ArgumentError, match="expected a function of the multipliers"):
        ours.DeepLift(net()).attribute(X, target=1, custom_attribution_func=lambda a, b, c, d: a)


def test_relevance_passes_an_activation_that_is_used_twice(peer: Any) -> None:
    found, wanted, apart = (
        of.LRP(m).attribute(X.clone(), target=1)
        for of, m in ((ours, net(shared=True)), (peer, net(shared=True)), (ours, net()))
    )
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert torch.equal(found, apart)
    model = net(shared=True)
    with pytest.raises(RuntimeError, match="more than once"):
        ours.LayerLRP(model, model[1]).attribute(X, target=1)


def test_rules_of_captums_own_are_taken(peer: Any) -> None:
    theirs = pytest.importorskip("captum.attr._utils.lrp_rules")
    for rule in (
        theirs.EpsilonRule(0.1),
        theirs.GammaRule(0.5),
        theirs.GammaRule(0.3, True),
        theirs.Alpha1_Beta0_Rule(),
    ):
        found = []
        for of in (ours, peer):
            model = net()
            model[2].rule = rule
            found.append(of.LRP(model).attribute(X.clone(), target=1))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
    model = net()
    model[2].rule = type("Mine", (theirs.PropagationRule,), {"_manipulate_weights": None, "__abstractmethods__": ()})()
    with pytest.raises(TypeError, match=r"expected one of EpsilonRule.*from pellucid.captum"):
        ours.LRP(model)


_HOOKS: dict[str, Any] = {
    "full": lambda m: m[0].register_full_backward_hook(lambda *args: None),
    "before": lambda m: m[2].register_full_backward_pre_hook(lambda *args: None),
    "tensor": lambda m: m[1].register_forward_hook(lambda m, x, y: y.register_hook(lambda g: None) and None),
}


@pytest.mark.parametrize("kind", _HOOKS)
def test_deeplift_runs_through_hooks_of_the_models_own_and_leaves_them(peer: Any, kind: str) -> None:
    calls: dict[str, Any] = {
        "DeepLift": lambda of, m: of.DeepLift(m).attribute(X.clone(), target=1),
        "LayerDeepLift": lambda of, m: of.LayerDeepLift(m, m[0]).attribute(X.clone(), target=1),
        "LayerDeepLift at the hook": lambda of, m: of.LayerDeepLift(m, m[1]).attribute(X.clone(), target=1),
    }
    for name, call in calls.items():
        found = []
        for of in (ours, peer):
            model = net()
            handle = _HOOKS[kind](model)
            found.append(call(of, model))
            assert handle.id in handle.hooks_dict_ref(), name
        torch.testing.assert_close(*found, msg=name, rtol=1e-4, atol=1e-6)
    ids = torch.tensor([[1, 2, 3], [3, 4, 5]])
    found = []
    for of in (ours, peer):
        torch.manual_seed(0)
        text = nn.Sequential(
            nn.Embedding(9, 4), nn.Identity(), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3)
        )
        _HOOKS[kind](text)
        found.append(of.LayerDeepLift(text.eval(), text[1]).attribute(ids, ids * 0, target=1))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
    plain = ours.DeepLift(net()).attribute(X, target=1)
    hooked = net()
    hooked[1].register_full_backward_hook(lambda m, g, _: (5 * g[0],))  # of which Captum leaves out its own rule
    torch.testing.assert_close(ours.DeepLift(hooked).attribute(X, target=1), plain)


@pytest.mark.parametrize("name", ["KernelShap", "Lime", "FeatureAblation", "ShapleyValueSampling", "Occlusion"])
def test_a_function_may_return_an_array(peer: Any, name: str) -> None:
    model = net()
    given: dict[str, Any] = {"target": 1, **({"sliding_window_shapes": (2,)} if name == "Occlusion" else {})}
    asked = lambda of, f: (torch.manual_seed(0), getattr(of, name)(f).attribute(X[:1], **given))[1]
    array = lambda x: model(x).detach().numpy()
    torch.testing.assert_close(asked(ours, array), asked(ours, model))
    if name in ("KernelShap", "Lime"):  # the others of Captum take none
        torch.testing.assert_close(asked(ours, array), asked(peer, array), rtol=1e-3, atol=1e-3)


def test_methods_are_pickled(peer: Any) -> None:
    model = net()
    for name in ("KernelShap", "Lime", "IntegratedGradients", "DeepLift", "FeatureAblation", "LRP"):
        method = pickle.loads(pickle.dumps(getattr(ours, name)(model)))
        torch.manual_seed(0)
        found = method.attribute(X[:1], target=1)
        torch.manual_seed(0)
        torch.testing.assert_close(found, getattr(ours, name)(model).attribute(X[:1], target=1))


def test_classes_are_of_the_kinds_that_captum_has_them_of(peer: Any) -> None:
    kinds = ("Attribution", "GradientAttribution", "PerturbationAttribution", "LayerAttribution", "NeuronAttribution")
    for name in ours.__all__:
        own, theirs = getattr(ours, name), getattr(peer, name, None)
        if isinstance(own, type) and isinstance(theirs, type):
            for kind in kinds:
                same = issubclass(own, getattr(ours, kind)) == issubclass(theirs, getattr(peer, kind))
                assert same, (name, kind)


def test_names_and_attributes_that_users_read_are_there(peer: Any) -> None:
    for name in ("ImageVisualizationMethod", "TimeseriesVisualizationMethod", "VisualizeSign"):
        own, theirs = (getattr(of.visualization, name) for of in (ours, peer))
        assert [(m.name, m.value) for m in own] == [(m.name, m.value) for m in theirs]
    names = lambda of: [t.__name__ for t in (*of.SUPPORTED_METHODS, *of.SUPPORTED_INPUTS)]
    assert set(names(ours.LLMAttribution)) == set(names(peer.LLMAttribution)) - {"ImageMaskInput"}
    assert set(names(ours.LLMGradientAttribution)) == set(names(peer.LLMGradientAttribution))
    model = net()
    inner = ours.LayerIntegratedGradients(model, model[1]).ig
    torch.testing.assert_close(inner.attribute(X, target=1), ours.IntegratedGradients(model).attribute(X, target=1))
    overlapping = [of.FeatureAblation(model) for of in (ours, peer)]
    for method in overlapping:
        assert not method.use_weights
        method.use_weights = True
    torch.testing.assert_close(*(method.attribute(X, target=1) for method in overlapping))


def test_no_steps_and_no_samples_are_one_clear_error() -> None:
    model = net()
    for name in ("IntegratedGradients", "LayerConductance", "InternalInfluence"):
        made = getattr(ours, name)(model, *([model[1]] if name != "IntegratedGradients" else []))
        with pytest.raises(ArgumentError, match=r"n_steps=0; expected at least 1"):
            made.attribute(X, target=1, n_steps=0)
    for name in ("KernelShap", "Lime", "ShapleyValueSampling"):
        with pytest.raises(ArgumentError, match=r"n_samples=0; expected at least 1"):
            getattr(ours, name)(model).attribute(X[:1], target=1, n_samples=0)
    with pytest.raises(ArgumentError, match="Found 0 samples"):
        ours.NoiseTunnel(ours.Saliency(model)).attribute(X, target=1, nt_samples=0)


def test_a_batch_that_is_too_small_is_said(peer: Any) -> None:
    model, said = net(), []
    for of in (ours, peer):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            of.IntegratedGradients(model).attribute(X, target=1, n_steps=3, internal_batch_size=1)
            of.LayerConductance(model, model[1]).attribute(X, target=1, n_steps=3, internal_batch_size=3)
        said.append([w.category for w in seen if "atch" in str(w.message)])
    assert said[0] == said[1] == [UserWarning] * 2


def test_a_function_that_changes_its_input_in_place() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    for x in (torch.randn(2, 6), torch.randn(40, 6)):
        for name, layer in (("DeepLift", ()), ("LayerDeepLift", (net[1],)), ("NeuronDeepLift", (net[3],))):
            more = {"neuron_selector": 1} if name == "NeuronDeepLift" else {"target": 1}
            found = getattr(ours, name)(net, *layer).attribute(x.clone(), **more)
            before = x.clone()
            plain = nn.Sequential(nn.ReLU(), *net[1:])
            torch.testing.assert_close(found, getattr(ours, name)(plain, *layer).attribute(x, **more))
            assert torch.equal(x, before)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x).relu()
        return self.c(self.b(h).tanh() * h)


def test_what_torch_compiled_is_explained_uncompiled() -> None:
    """PyTorch would compile what listens to its functions too, and run one function in another's place."""
    torch.manual_seed(0)
    net = Gated().double().eval()
    compiled = torch.compile(net, backend="eager")
    x, x0 = torch.randn(2, 1, 4, dtype=torch.float64).unbind()
    change = (net(x) - net(x0))[0, 1].item()
    for method in ("deeplift", "integrated_gradients"):
        found = pellucid.attribute(compiled, x, x0, method, target=1)
        assert found.output.item() == pytest.approx(net(x)[0, 1].item(), abs=1e-12)
        assert found.values.sum().item() == pytest.approx(change, abs=1e-6)
    assert ours.DeepLift(compiled).attribute(x, x0, target=1).sum().item() == pytest.approx(change, abs=1e-9)


def test_threads_share_a_model() -> None:
    torch.manual_seed(0)
    net = Gated().double().eval()
    points = torch.randn(4, 2, 3, 4, dtype=torch.float64)
    jobs: list[Any] = [
        lambda x, x0: ours.LayerDeepLift(net, net.b).attribute(x, x0, target=1),
        lambda x, x0: ours.NeuronDeepLift(net, net.b).attribute(x, 2, x0),
        lambda x, x0: ours.DeepLift(net).attribute(x, x0, target=1),
        lambda x, x0: pellucid.attribute(net, x, x0, target=1).values,
    ]
    alone = [job(*p) for job, p in zip(jobs, points, strict=True)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            answers = [[pool.submit(job, *p) for _ in range(20)] for job, p in zip(jobs, points, strict=True)]
    finally:
        sys.setswitchinterval(before)
    for right, of in zip(alone, answers, strict=True):
        assert all(torch.allclose(answer.result(), right, atol=1e-12, rtol=0) for answer in of)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize(("queries", "keys"), [(3, 5), (5, 3), (1, 4), (4, 1)])
def test_causal_attention_of_more_keys_than_queries(queries: int, keys: int) -> None:
    generator = torch.Generator().manual_seed(0)
    draw = lambda n: torch.randn(2, 1, 2, n, 4, dtype=torch.float64, generator=generator).unbind()
    (q, q0), (k, k0), (v, v0) = draw(queries), draw(keys), draw(keys)
    f = lambda q, k, v: nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).flatten(1).sum(1)
    found = pellucid.attribute(f, (q, k, v), (q0, k0, v0))
    change = (f(q, k, v) - f(q0, k0, v0)).item()
    assert found.status == "exact" and sum(t.sum().item() for t in found.values) == pytest.approx(change, abs=1e-9)
