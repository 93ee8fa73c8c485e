"""Which tokens made a language model write each token that it wrote: a matrix of scores, complete row by row.

python examples/generation.py               on a tiny random GPT-2, made on the spot (what it writes means nothing)
python examples/generation.py CHECKPOINT    on a causal model of yours
"""

import sys

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import pellucid

PROMPT = "my cat sat on a"


def tiny_gpt2():
    """A GPT-2 of two layers with random weights, and a tokenizer with a token for each of a few words."""
    words = "<end> the a my cat dog sat lay on under mat sofa and .".split()
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(7)
    sizes = {"vocab_size": len(words), "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}
    config = GPT2Config(**sizes, initializer_range=0.3, bos_token_id=0, eos_token_id=0)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<end>")
    return pellucid.Model(GPT2LMHeadModel(config).eval(), wrapped)


model = pellucid.load(sys.argv[1]) if len(sys.argv) > 1 else tiny_gpt2()

# One Explanation for each generated token. What is explained is its log-probability, and what the text is compared
# with is the same text with an ordinary short token, the filler, in every place.
# With a list of targets the answer is a sequence even where only one token is generated. None: what the model writes.
es = pellucid.explain(model, PROMPT, target=[None], max_new_tokens=4)
print(f"baseline: {es[0].baseline}")
for e in es:
    print(f"\n{e.target.name!r}: log-probability {e.baseline_output:.4f} -> {e.output:.4f}, delta {e.delta:.0e}")
    # A generated token is read from the prompt and from the generated tokens before it. Those after it score 0.
    print("  " + ", ".join(f"{token.text} {score:+.4f}" for token, score in zip(e.tokens, e.scores, strict=True)))
print(f"\nmatrix: {es.matrix().shape[0]} generated tokens × {es.matrix().shape[1]} tokens of the text")

# A contrast: why the first token, and not the most probable other token at its place?
e = pellucid.explain(model, PROMPT, target={"runner-up": 0}, max_new_tokens=4)
print(f"\n{e.target.name}: {e.baseline_output:+.4f} -> {e.output:+.4f}, mostly because of {e.top(1)[0].text!r}")
