"""Captum's names on a classifier: integrated gradients over its embeddings, SmoothGrad over a loader, and DeepLIFT.

python examples/captum_classifier.py FOLDER     writes its page there
"""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import pellucid
from pellucid.captum import (
    DeepLift,
    LayerIntegratedGradients,
    NoiseTunnel,
    Saliency,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
    visualization,
)
from pellucid.errors import CutGraph

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
TEXTS = ["A wonderful guide to growing tomatoes", "Why my first company was a painful failure"]
bundled = pellucid.load(device="cpu")
net, tokenizer = bundled.model, bundled.tokenizer
embeddings = net.base_model.embeddings

# 1. A function that makes its output anew has no gradient: the error says what to change.
ids = tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
ids0 = ids.clone()
ids0[0, 1:-1] = tokenizer.pad_token_id
try:
    anew = lambda i: torch.tensor([net(i).logits.softmax(-1)[0][1]], requires_grad=True)
    LayerIntegratedGradients(anew, embeddings).attribute(ids, ids0, n_steps=5)
except CutGraph as error:
    print(f"refused: {error}")

# 2. The same function as the model computed it: tokens, scores, and the convergence score that proves them.
scores, delta = LayerIntegratedGradients(net, embeddings).attribute(ids, ids0, target=1, return_convergence_delta=True)
tokens, each = tokenizer.convert_ids_to_tokens(ids[0].tolist()), scores.sum(-1)[0]
p = net(ids).logits.softmax(-1)[0, 1].item()
record = visualization.VisualizationDataRecord(each, p, 1, "unknown", "positive", each.sum().item(), tokens, delta)
page = visualization.visualize_text([record])
(FOLDER / "classifier.html").write_text(page.data, encoding="utf-8")
print(f"integrated gradients: sum {each.sum():.4f}, delta {delta.item():.1e}")

# 3. SmoothGrad over a loader, a batch at a time: gradients of the log-probability, normalised for each text.
embed, batch_of = net.get_input_embeddings(), lambda texts: tokenizer(texts, return_tensors="pt", padding=True)
log_p = lambda x, mask: net(inputs_embeds=x, attention_mask=mask).logits.log_softmax(-1)
torch.manual_seed(0)
for batch in DataLoader(TEXTS, batch_size=2, collate_fn=batch_of):
    x, mask = embed(batch["input_ids"]).detach(), batch["attention_mask"]
    found, label = log_p(x, mask).exp().max(-1)
    how = {"target": label, "additional_forward_args": (mask,), "abs": False}
    g = NoiseTunnel(Saliency(log_p)).attribute(x, nt_samples=20, stdevs=0.02, **how).norm(dim=-1) * mask
    for row, shares in enumerate((g / g.sum(1, keepdim=True)).tolist()):
        print(f"label {label[row]}, probability {found[row]:.4f}, shares {[round(s, 3) for s in shares if s]}")

# 4. DeepLIFT over embeddings computed before, with the embedding layer swapped, and put back.
layer = configure_interpretable_embedding_layer(net, "bert.embeddings")
x, x0 = layer.indices_to_embeddings(ids).detach(), layer.indices_to_embeddings(ids0).detach()
values, left = DeepLift(net).attribute(x, x0, target=1, return_convergence_delta=True)
remove_interpretable_embedding_layer(net, layer)
print(f"deeplift: sum {values.sum():.4f}, delta {left.item():.1e}, restored {net.bert.embeddings is embeddings}")
