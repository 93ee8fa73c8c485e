"""All there is to ask about an answer, layer by layer:  python examples/question_answering.py [CHECKPOINT [untimed]]"""

import sys
from timeit import timeit

import numpy as np
import torch
from captum.attr import LayerConductance

import pellucid
from pellucid.models.inside.layers import stack

model = pellucid.load(sys.argv[1] if len(sys.argv) > 1 else None)  # without a checkpoint, the bundled classifier
text = ("What is important to us?", "It is important to us to include, empower and support humans of all kinds.")
ask = lambda **how: pellucid.explain(model, text, target=[None], baseline="pad", **how)

for e in ask(detail=("layers", "heads", "attentions", "norms")):  # the start and the end of the answer: one walk each
    names = [t.text for t in e.tokens]
    print(f"\n{e.target.name} of {e.prediction!r}: {e.baseline_output:.3f} -> {e.output:.3f}, delta {e.delta:.1e}")
    print("  words  ", ", ".join(f"{w.text} {w.score:+.2f}" for w in e.top(5)))
    token = np.abs(e.scores).argmax()  # how one token's contribution is spread over the layers
    share = np.abs(e.layers[:, token]) / np.abs(e.layers[:, token]).sum() + 1e-30
    print(f"  layers  {e.layers.shape}, largest delta {np.abs(e.layer_deltas).max():.1e}")
    print(f"  layers  {names[token]!r}: {share.round(2)}, entropy {-(share * np.log(share)).sum():.2f}")
    at = np.unravel_index(np.abs(e.heads).argmax(), e.heads.shape)  # layer, head, query, key
    print(f"  heads   {e.heads.shape}, most at {[int(i) for i in at]}, {names[at[2]]!r} to {names[at[3]]!r}:", end=" ")
    print(f"{e.heads[at]:+.3f} from an attention of {e.attentions[at]:.2f}")
    print("  norms  ", {name: norm.shape for name, norm in e.measures.items()})  # of Kobayashi et al. 2020
for e in ask(detail="parts"):  # a second answer: word, token type and position embeddings
    for name, part in e.parts.items():
        best = np.abs(part).argsort()[:-6:-1]
        print(f"{e.target.name}, {name}:", ", ".join(f"{names[i]} ({i}) {part[i]:+.3f}" for i in best))

model.model.set_attn_implementation("eager")  # Captum sees no attention otherwise
modules = [m for layer in stack(model) for m in (layer, layer.attention.self)]


def cost(passage, at_once):  # beside Captum's, module by module, at as many points
    p, rows = model.problem(model.encode([passage]), "pad", None), lambda x: torch.zeros(len(x), dtype=torch.long)
    fs = [lambda x, s=s: s(p.outputs((x,), rows(x)), rows(x)) for s in p.selects(p.outputs(p.x))]
    ask = lambda m, **n: pellucid.explain(model, passage, m, [None], "pad", detail=("layers", "heads"), **n)
    each = lambda f, m: LayerConductance(f, m).attribute(*p.x, *p.x0, n_steps=50, internal_batch_size=at_once)
    a = timeit(lambda: [each(f, m) for f in fs for m in modules], number=1)
    b, c = timeit(lambda: ask("integrated_gradients", n_steps=50), number=1), timeit(lambda: ask("deeplift"), number=9)
    print(f"\n{p.x[0].shape[1]} tokens: Captum's loop {a:.2f} s; one sweep {b:.2f} s, {a / b:.1f} x; ", end="")
    print(f"one walk {c / 9:.3f} s, {9 * a / c:.0f} x")


for passage, at_once in [] if "untimed" in sys.argv else [(text, 50), ((text[0], " ".join([text[1]] * 8)), 10)]:
    cost(passage, at_once)
