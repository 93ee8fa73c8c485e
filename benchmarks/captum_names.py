"""Each of Captum's names in both libraries, on the same work in the same process: the ratio of the least times.

    python benchmarks/captum_names.py                   all names, on toy models and on a text classifier
    python benchmarks/captum_names.py --only DeepLift   names that contain "DeepLift"
    python benchmarks/captum_names.py --rounds 40       more rounds of each

The two take turns, so that both meet the same load of the machine, and each has the least CPU time of its rounds, on
one thread: what else runs only adds to it. How many ratios are above 1.1, each of which is marked, is the exit code.
"""

from __future__ import annotations

import argparse
import gc
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import captum.attr
import captum.metrics
import captum.testing.helpers.basic_models as toys
import torch
from torch import nn

import pellucid
from pellucid import captum as ours

MOST = 1.1
"""How many times Captum's time a name may take."""


class Peer:
    """Captum's names, of its attributions and its metrics."""

    def __getattr__(self, name: str) -> Any:
        return getattr(captum.attr, name, None) or getattr(captum.metrics, name)


Work = Callable[[Any], object]
"""`library → answer`, where a library is Captum or the package with its names."""


@dataclass(frozen=True)
class Case:
    """One name on one model."""

    name: str
    on: str
    work: Work


def toy() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10), nn.Softmax(-1)
    ).eval()


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 8), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(8, 4)).eval()


class Classifier(nn.Module):
    """A network of images as people write it, which asks how many rows there are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c1, self.b1 = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.c2, self.b2 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.r1, self.r2, self.p1, self.p2 = nn.ReLU(), nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2)
        self.fc = nn.Linear(32 * 8 * 8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.p1(self.r1(self.b1(self.c1(x))))
        x = self.p2(self.r2(self.b2(self.c2(x))))
        return self.fc(x.view(x.size(0), -1))


def by_deeplift() -> Iterator[Case]:
    """DeepLIFT on Captum's own toys, and on images."""
    for on, net, x in (
        ("ReLULin", toys.ReLULinearModel(), (torch.randn(1, 3), torch.randn(1, 3))),
        ("ConvNet", toys.BasicModel_ConvNet().eval(), (torch.randn(2, 1, 10, 10),)),
        ("ConvNet1d", toys.BasicModel_ConvNet_MaxPool1d().eval(), (torch.randn(4, 1, 10),)),
        ("images", Classifier().eval(), (torch.randn(4, 3, 32, 32),)),
    ):
        grad = lambda x=x: tuple(t.clone().requires_grad_() for t in x)
        last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
        convolution = next((m for m in net.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d))), last)
        yield Case("DeepLift", on, lambda lib, net=net, grad=grad: lib.DeepLift(net).attribute(grad(), target=0))
        for layer in (convolution, last):
            lifted = lambda lib, net=net, grad=grad, layer=layer: lib.LayerDeepLift(net, layer)
            yield Case("LayerDeepLift", on, lambda lib, f=lifted, grad=grad: f(lib).attribute(grad(), target=0))
        of = lambda lib, net=net, last=last, grad=grad: lib.NeuronDeepLift(net, last).attribute(grad(), (0,))
        yield Case("NeuronDeepLift", on, of)


def on_vectors(net: nn.Sequential) -> Iterator[Case]:
    x, x0, base = torch.randn(8, 20), torch.zeros(8, 20), torch.randn(4, 20)
    grad = lambda: x.clone().requires_grad_()
    of = lambda name, *more, **how: Case(
        name, "toy", lambda lib: getattr(lib, name)(net, *more).attribute(grad(), **how)
    )
    yield of("Saliency", target=1)
    yield of("InputXGradient", target=1)
    yield of("GuidedBackprop", target=1)
    yield of("Deconvolution", target=1)
    yield of("IntegratedGradients", baselines=x0, target=1, return_convergence_delta=True)
    yield of("DeepLift", baselines=x0, target=1, return_convergence_delta=True)
    yield of("DeepLiftShap", baselines=base, target=1)
    yield of("GradientShap", baselines=base, target=1)
    yield of("FeatureAblation", target=1)
    yield of("FeaturePermutation", target=1)
    yield of("Occlusion", sliding_window_shapes=(3,), target=1)
    yield of("ShapleyValueSampling", target=1, n_samples=5)
    few = torch.arange(20) // 5
    yield of("ShapleyValues", target=1, feature_mask=few)
    yield Case("Lime", "toy", lambda lib: lib.Lime(net).attribute(x[:1], target=1, n_samples=50))
    yield Case("KernelShap", "toy", lambda lib: lib.KernelShap(net).attribute(x[:1], target=1, n_samples=50))
    plain = net[:5]  # Captum's LRP knows no softmax
    yield Case("LRP", "toy", lambda lib: lib.LRP(plain).attribute(grad(), target=1))
    inner = net[2]
    yield of("LayerActivation", inner)
    yield of("LayerGradientXActivation", inner, target=1)
    yield of("LayerConductance", inner, baselines=x0, target=1)
    yield of("LayerIntegratedGradients", inner, baselines=x0, target=1)
    yield of("LayerDeepLift", inner, baselines=x0, target=1)
    yield of("LayerGradientShap", inner, baselines=base, target=1)
    yield of("LayerFeatureAblation", inner, target=1)
    yield of("InternalInfluence", inner, baselines=x0, target=1)
    yield of("NeuronGradient", inner, neuron_selector=3)
    yield of("NeuronIntegratedGradients", inner, neuron_selector=3)
    yield of("NeuronConductance", inner, neuron_selector=3, target=1)
    yield of("NeuronDeepLift", inner, neuron_selector=3)
    noisy = lambda lib: lib.NoiseTunnel(lib.Saliency(net)).attribute(grad(), nt_samples=10, target=1)
    yield Case("NoiseTunnel", "toy", noisy)
    shake = lambda t: (torch.full_like(t, 0.1), t - 0.1)
    yield Case("infidelity", "toy", lambda lib: lib.infidelity(net, shake, x, x, target=1, n_perturb_samples=10))
    sense = lambda lib: lib.sensitivity_max(lib.Saliency(net).attribute, grad(), target=1)
    yield Case("sensitivity_max", "toy", sense)


def on_images(net: nn.Sequential) -> Iterator[Case]:
    x = torch.randn(4, 1, 8, 8)
    for name in ("DeepLift", "IntegratedGradients"):
        yield Case(
            name, "image", lambda lib, n=name: getattr(lib, n)(net).attribute(x.clone().requires_grad_(), target=1)
        )
    windows = lambda lib: lib.Occlusion(net).attribute(x, (1, 3, 3), strides=2, target=1)
    yield Case("Occlusion", "image", windows)


def on_text(model: pellucid.Model) -> Iterator[Case]:
    net, tok, embed = model.model, model.tokenizer, model.embedding
    batch = tok("It is a gentle , funny film about getting old , and it never once lies .", return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    ids0 = torch.where(ids > 0, tok.pad_token_id or 0, ids)
    x, x0 = embed(ids).detach(), embed(ids0).detach()
    by_ids = lambda i, m: net(input_ids=i, attention_mask=m.expand(len(i), -1)).logits
    by_embeddings = lambda e, m: net(inputs_embeds=e, attention_mask=m.expand(len(e), -1)).logits
    more: dict[str, Any] = {"target": 1, "additional_forward_args": (mask,)}
    layer = net.base_model.encoder.layer[1]
    grad = lambda: x.clone().requires_grad_()
    of = lambda name, work: Case(name, "text", work)
    few = {"n_steps": 20, **more}
    yield of(
        "LayerIntegratedGradients", lambda lib: lib.LayerIntegratedGradients(by_ids, embed).attribute(ids, ids0, **few)
    )
    yield of("IntegratedGradients", lambda lib: lib.IntegratedGradients(by_embeddings).attribute(grad(), x0, **few))
    yield of("Saliency", lambda lib: lib.Saliency(by_embeddings).attribute(grad(), **more))
    yield of("InputXGradient", lambda lib: lib.InputXGradient(by_embeddings).attribute(grad(), **more))
    yield of("LayerConductance", lambda lib: lib.LayerConductance(by_embeddings, layer).attribute(grad(), x0, **few))
    yield of("LayerGradientXActivation", lambda lib: lib.LayerGradientXActivation(by_ids, embed).attribute(ids, **more))
    yield of("LayerActivation", lambda lib: lib.LayerActivation(by_ids, embed).attribute(ids, (mask,)))
    yield of("FeatureAblation", lambda lib: lib.FeatureAblation(by_ids).attribute(ids, ids0, **more))
    yield of(
        "ShapleyValueSampling", lambda lib: lib.ShapleyValueSampling(by_ids).attribute(ids, ids0, n_samples=3, **more)
    )
    lime = lambda lib: lib.KernelShap(by_ids).attribute(ids, ids0, n_samples=40, **more)
    yield of("KernelShap", lime)
    shap = lambda lib: lib.GradientShap(by_embeddings).attribute(grad(), x0, n_samples=5, **more)
    yield of("GradientShap", shap)
    tunnel = lambda lib: lib.NoiseTunnel(lib.Saliency(by_embeddings)).attribute(
        grad(), nt_samples=5, stdevs=0.1, **more
    )
    yield of("NoiseTunnel", tunnel)


def seconds(work: Work, library: Any) -> float:
    begin = time.process_time()
    work(library)
    return time.process_time() - begin


def ratio(case: Case, rounds: int) -> tuple[float, float, float]:
    """The least times of both, in seconds of CPU time, and the ratio of ours to Captum's."""
    peer, mine = list[float](), list[float]()
    for k in range(rounds + 2):
        turns = [(ours, mine), (Peer(), peer)]
        for library, times in turns if k % 2 else turns[::-1]:
            took = seconds(case.work, library)
            if k >= 2:  # the first two of each warm up
                times.append(took)
    a, b = min(mine), min(peer)
    return a, b, a / b


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--model", default=None, help="a text classifier; the bundled one without")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model = pellucid.load(given.model, device="cpu") if given.model else pellucid.load(device="cpu")
    slow = 0
    print(f"{'name':28}{'on':10}{'ours, ms':>10}{'Captum, ms':>12}{'ratio':>8}")
    for case in (*on_vectors(toy()), *by_deeplift(), *on_images(convolutions()), *on_text(model)):
        if given.only and given.only not in case.name:
            continue
        gc.collect()
        a, b, times = ratio(case, given.rounds)
        slow += times > MOST
        mark = "  above 1.1" if times > MOST else ""
        print(f"{case.name:28}{case.on:10}{1e3 * a:10.2f}{1e3 * b:12.2f}{times:8.2f}{mark}", flush=True)
    return min(slow, 100)


if __name__ == "__main__":
    raise SystemExit(main())
