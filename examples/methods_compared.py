"""DeepLIFT beside integrated gradients: one table with the residual of each, and one picture on one scale.

python examples/methods_compared.py FOLDER     writes its picture there
"""

import sys
from pathlib import Path

import pellucid

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
TEXT = "A tender story, spoiled by its ending."
model = pellucid.load()

# 1. Both methods of one text as one table: words, sums, residuals, passes.
both = pellucid.explain(model, TEXT, method=["deeplift", "integrated_gradients"])
both.show()

# 2. The residual: what each method leaves unexplained of the change in the output.
for e in both:
    print(f"{e.method}: delta {e.delta:.1e}, relative {e.relative_delta:.1e}, {e.status}")

# 3. Softmax at the end of the network is no trouble: the probability is explained as exactly as the logit.
p = pellucid.explain(model, TEXT, output="probability")
print(f"probability {p.output:.4f}, delta {p.delta:.1e}")

# 4. Both on one scale, as a picture.
both.plot("compare").savefig(FOLDER / "compare.png")
