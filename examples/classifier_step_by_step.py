"""A classifier's decision, step by step: coloured text, a table, layers, and a page with predicted and true labels.

python examples/classifier_step_by_step.py FOLDER     writes its pictures and pages there
"""

import sys
from pathlib import Path

import pellucid

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
REVIEWS = ["The cast is charming and the music lovely.", "Two hours of boredom; nothing works.", "Not bad at all."]
model = pellucid.load()

# 1. Integrated gradients, the text coloured in the terminal, with the sum below it.
e = pellucid.explain(model, REVIEWS[0], method="integrated_gradients", baseline="pad")
e.show()

# 2. The scores of words as a table.
for word in e.top(5):
    print(f"{word.text:10} {word.score:+.3f}")

# 3. Several reviews with their true labels, as one page: predicted and true beside each other.
rows = [{"text": t, "label": true} for t, true in zip(REVIEWS, ["positive", "negative", "positive"], strict=True)]
answers = pellucid.explain(model, rows, method="integrated_gradients", baseline="pad")
answers.save(FOLDER / "reviews.html")

# 4. What each token contributed at the output of each layer, as a heat map.
inside = pellucid.explain(model, REVIEWS[0], detail="layers")
inside.plot("layers").savefig(FOLDER / "layers.png")
