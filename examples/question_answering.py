"""Everything that can be asked about one answer: words, layers, attention heads, and the parts of the embedding.

python examples/question_answering.py                       on the bundled classifier, which needs no network
python examples/question_answering.py CHECKPOINT            on a BERT model with a question-answering head
python examples/question_answering.py CHECKPOINT untimed    the same, without the comparison with Captum
"""

import sys
import time
from timeit import timeit

import numpy as np
import torch
from captum.attr import LayerConductance

import pellucid

QUESTION = "What is important to us?"
CONTEXT = "It is important to us to include, empower and support humans of all kinds."


def show_inside(model):
    """The contributions of words, layers and attention heads. Two forward passes and one walk give all of them.

    A question-answering model has two targets, the start and the end of its answer; a classifier has one, its class.
    """
    detail = ("layers", "heads", "attentions", "norms")
    for e in pellucid.explain(model, (QUESTION, CONTEXT), target=[None], baseline="pad", detail=detail):
        names = [token.text for token in e.tokens]
        print(f"\n{e.target.name} of {e.prediction!r}: {e.baseline_output:.3f} -> {e.output:.3f}, delta {e.delta:.1e}")
        print("  words   " + ", ".join(f"{word.text} {word.score:+.2f}" for word in e.top(5)))

        # e.layers (layers × tokens): what each token contributed at the output of each layer. Each row adds up.
        print(f"  layers  {e.layers.shape}, largest delta {np.abs(e.layer_deltas).max():.1e}")

        # How the contribution of one token, the most important, is spread over the layers.
        token = int(np.abs(e.scores).argmax())
        share = np.abs(e.layers[:, token]) / np.abs(e.layers[:, token]).sum()
        entropy = -sum(s * np.log(s) for s in share if s > 0)
        print(f"  layers  {names[token]!r}: {share.round(2)}, entropy {entropy:.2f}")

        # e.heads (layers × heads × queries × keys): what each attention probability contributed. Here the largest.
        layer, head, query, key = at = np.unravel_index(np.abs(e.heads).argmax(), e.heads.shape)
        print(f"  heads   {e.heads.shape}, most in layer {layer}, head {head}, from {query} to {key}", end=" ")
        print(f"({names[query]!r} to {names[key]!r}): {e.heads[at]:+.3f} by an attention of {e.attentions[at]:.2f}")

        # How large the vectors are that attention moves (Kobayashi et al. 2020). A measure, not an attribution.
        print("  norms   " + ", ".join(f"{name} {norm.shape}" for name, norm in e.measures.items()))


def show_parts(model):
    """A second answer: the contributions of the word, token type and position embeddings, which add up together."""
    print()
    for e in pellucid.explain(model, (QUESTION, CONTEXT), target=[None], baseline="pad", detail="parts"):
        for name, part in e.parts.items():
            largest = np.abs(part).argsort()[::-1][:5]
            words = ", ".join(f"{e.tokens[i].text} ({i}) {part[i]:+.3f}" for i in largest)
            print(f"{e.target.name}, {name}: {words}")


def compare_with_captum(model):
    """Captum's conductance, one layer after the other, beside all layers at once: the same numbers, and the time."""
    net, tokenizer = model.model, model.tokenizer
    net.set_attn_implementation("eager")  # with another implementation, Captum finds no attention probabilities
    inputs = tokenizer(QUESTION, CONTEXT, return_tensors="pt")
    special = torch.tensor(tokenizer.get_special_tokens_mask(inputs.input_ids[0].tolist(), None, True)).bool()
    ids0 = torch.where(special, inputs.input_ids, tokenizer.pad_token_id)  # the baseline keeps its special tokens
    x, x0 = net.get_input_embeddings()(inputs.input_ids), net.get_input_embeddings()(ids0)
    others = {name: value for name, value in inputs.items() if name != "input_ids"}

    def output(embeddings, target):
        """The logit that `target` describes, one for each row of a batch."""
        rows = {name: value.expand(len(embeddings), -1) for name, value in others.items()}
        out = net(inputs_embeds=embeddings, **rows)
        if "start_logits" in out:
            return out[f"{target.name}_logits"][:, target.position]
        return out.logits[:, target.index]

    ask = {"target": [None], "baseline": "pad", "detail": ("layers", "heads")}
    sweep, walk = {"method": "integrated_gradients", "n_steps": 50}, {"method": "deeplift"}
    found = pellucid.explain(model, (QUESTION, CONTEXT), **sweep, **ask)
    layers = net.base_model.encoder.layer
    modules = [module for layer in layers for module in (layer, layer.attention.self)]

    def captum_loop():
        """For each target and module the scores (tokens,). A module of several outputs counts by its first."""
        scores = {}
        for e in found:
            for module in modules:
                conductance = LayerConductance(lambda h, target=e.target: output(h, target), module)
                values = conductance.attribute(x, x0, n_steps=50, internal_batch_size=50)
                values = values[0] if isinstance(values, tuple) else values
                scores[e.target, module] = values.sum(-1)[0].detach().numpy()
        return scores

    began = time.perf_counter()
    theirs = captum_loop()
    looped = time.perf_counter() - began
    swept = timeit(lambda: pellucid.explain(model, (QUESTION, CONTEXT), **sweep, **ask), number=1)
    walked = timeit(lambda: pellucid.explain(model, (QUESTION, CONTEXT), **walk, **ask), number=9) / 9
    differences = [theirs[e.target, layer] - ours for e in found for layer, ours in zip(layers, e.layers, strict=True)]
    furthest = max(np.abs(d).max() for d in differences) / max(np.abs(e.layers).max() for e in found)

    print(f"\n{x.shape[1]} tokens: Captum's loop {looped:.2f} s")
    print(f"one sweep {swept:.2f} s, {looped / swept:.1f} x; its conductances differ by at most {furthest:.0e}")
    print(f"one walk {walked:.3f} s, {looped / walked:.0f} x")


model = pellucid.load(sys.argv[1] if len(sys.argv) > 1 else None)
show_inside(model)
show_parts(model)
if "untimed" not in sys.argv:
    compare_with_captum(model)
