"""Your own module and your own data loader: the scores, label and probability of each text, by two methods.

python examples/own_module.py
"""

import torch
from torch import nn
from torch.utils.data import DataLoader

import pellucid

ROWS = [
    {"text": "The plot was dull and far too long.", "label": 0},
    {"text": "A wonderful cast, and a superb ending.", "label": 1},
    {"text": "Not bad at all!", "label": 1},
]


class MeanPooled(nn.Module):
    """A sentence classifier: any encoder, the mean of its token vectors, and a linear head."""

    def __init__(self, encoder: nn.Module, classes: int):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, classes)

    def forward(self, input_ids, attention_mask):
        hidden = self.encoder(input_ids, attention_mask).last_hidden_state  # rows × tokens × hidden
        own = attention_mask.unsqueeze(-1)  # 1 for a token of the text, 0 for padding
        return self.head((hidden * own).sum(1) / own.sum(1))  # logits: rows × classes


# The encoder and tokenizer come from the bundled model, so that nothing is downloaded; the head is new and untrained.
bundled = pellucid.load()
torch.manual_seed(0)
net = MeanPooled(bundled.model.base_model, classes=2)
model = pellucid.Model(net, bundled.tokenizer)  # nothing in `net` is changed; the embedding module is found

# The loader yields batches: {"text": ["…", "…"], "label": tensor([0, 1])}. Texts are explained as they are asked for.
loader = DataLoader(ROWS, batch_size=2)

# SmoothGrad averages the size of the gradient over noisy copies of the text: it ranks tokens, and its scores are not
# meant to add up. Integrated gradients add up: their delta is what the tolerance of 1 % leaves over.
for method, options in (("smoothgrad", {"n_samples": 20}), ("integrated_gradients", {"tol": 0.01})):
    print(f"\n{method}")
    for e in pellucid.explain(model, loader, method=method, baseline="pad", **options):
        # `e.scores` is never normalised, because then it would no longer add up. This line does it for a picture.
        normalised = e.scores / abs(e.scores).max()
        print(f"label {e.label}, prediction {e.prediction}, probability {e.probability:.4f}, delta {e.delta:.4f}")
        print("  " + " ".join(f"{token.text}:{score:+.2f}" for token, score in zip(e.tokens, normalised, strict=True)))
