"""SmoothGrad over a batch of texts: a table of predictions, coloured text, and the weight of special tokens.

python examples/smoothgrad_batch.py FOLDER     writes its page there
"""

import sys
from pathlib import Path

import pellucid

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
TITLES = ["A wonderful guide to growing tomatoes", "Why my first company was a painful failure"]
model = pellucid.load()

# 1. All texts at once: a table with predicted label, probability and the strongest words of each.
answers = pellucid.explain(model, TITLES, method="smoothgrad", n_samples=10, seed=0)
print(answers)

# 2. Which token weighs most, special tokens among them, as shares of the whole.
for e in answers:
    i = int(abs(e.scores).argmax())
    print(f"{e.prediction}: {e.tokens[i].text} has {abs(e.scores[i]) / abs(e.scores).sum():.0%}")

# 3. The coloured texts as one page.
answers.save(FOLDER / "smoothgrad.html")
