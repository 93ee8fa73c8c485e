"""The inside of an answer: start and end, parts of the embedding, layers, their distribution and entropy, attention.

python examples/answer_inside.py FOLDER               on the bundled classifier, with a question and a context
python examples/answer_inside.py FOLDER CHECKPOINT    on a model with a question-answering head: start and end
"""

import sys
from pathlib import Path

import pellucid

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
QUESTION, CONTEXT = "Where did she grow up?", "Ann was born in Oslo, but she grew up in a village near Turin."
model = pellucid.load(*sys.argv[2:3])

# 1. Everything from one walk: a question-answering model has two targets, the start and the end of its answer.
detail = ("layers", "heads", "attentions", "parts", "norms")
found = pellucid.explain(model, (QUESTION, CONTEXT), target=[None], baseline="pad", detail=detail)
found.show()

# 2. The tokens that count most in each part of the embedding, as a table.
for part, scores in found[0].parts.items():
    best = abs(scores).argsort()[::-1][:3]
    print(f"{part}: " + ", ".join(f"{found[0].tokens[i].text} {scores[i]:+.3f}" for i in best))

# 3. Layers × tokens as a heat map; the scores at each layer as boxes, with their entropy.
for kind in ("layers", "distribution"):
    found[0].plot(kind).savefig(FOLDER / f"{kind}.png")

# 4. Attention of each head, what each head contributed, and the norms of what attention moves.
for kind in ("attention", "heads", "norms"):
    found[0].plot(kind).savefig(FOLDER / f"{kind}.png")
