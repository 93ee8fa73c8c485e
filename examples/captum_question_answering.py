"""Captum's names on question answering: start and end, the three embeddings, and the conductance of every layer.

python examples/captum_question_answering.py [MODEL]     without one, the bundled encoder with a head that is untrained
"""

import sys

import torch
from transformers import BertForQuestionAnswering

import pellucid
from pellucid.captum import LayerConductance, LayerIntegratedGradients, visualization

QUESTION, CONTEXT = "Who founded the museum?", "The museum was founded by Anna Keller, and opened in 1932."
torch.manual_seed(0)
if len(sys.argv) > 1:
    model = pellucid.load(sys.argv[1], task="question-answering", device="cpu", dtype=torch.float32)
    net, tokenizer = model.model, model.tokenizer
else:
    bundled = pellucid.load(device="cpu")
    net, tokenizer = BertForQuestionAnswering(bundled.model.config).eval(), bundled.tokenizer
    net.bert.load_state_dict(bundled.model.bert.state_dict(), strict=False)

batch = tokenizer(QUESTION, CONTEXT, return_tensors="pt")
ids, types, mask = batch["input_ids"], batch["token_type_ids"], batch["attention_mask"]
special = torch.tensor([[part is None for part in batch.sequence_ids(0)]])
places = torch.arange(ids.shape[1])[None]
references = torch.where(special, ids, tokenizer.pad_token_id), torch.zeros_like(types), torch.zeros_like(places)
tokens = tokenizer.convert_ids_to_tokens(ids[0].tolist())


def highest(ids, types, places, mask, side):
    """The largest logit of the start (side 0) or of the end (side 1)."""
    return net(ids, token_type_ids=types, position_ids=places, attention_mask=mask)[side].max(1).values


# 1. Start and end over all embeddings, as one table: labels, attribution score, convergence score, words.
records = []
for side, logits in enumerate((net(**batch).start_logits, net(**batch).end_logits)):
    scores, delta = LayerIntegratedGradients(highest, net.bert.embeddings).attribute(
        ids, references[0], additional_forward_args=(types, places, mask, side), return_convergence_delta=True
    )
    each, best = scores.sum(-1)[0], int(logits.argmax())
    p = logits.softmax(-1).max().item()
    label = tokens[best]
    records.append(visualization.VisualizationDataRecord(each, p, best, "?", label, each.sum().item(), tokens, delta))
    print(f"{('start', 'end')[side]} at {best}: sum {each.sum():.4f}, delta {delta.item():.1e}")
print(visualization.visualize_text(records))

# 2. Word, token type and position embeddings, each its own layer, with a reference of its own.
parts = [getattr(net.bert.embeddings, f"{name}_embeddings") for name in ("word", "token_type", "position")]
found = LayerIntegratedGradients(highest, parts).attribute(
    (ids, types, places), references, additional_forward_args=(mask, 0), n_steps=20
)
for name, values in zip(("word", "token type", "position"), found, strict=True):
    print(f"{name} embeddings: {values.sum():.4f}")

# 3. The conductance of every layer, in one call.
embed = net.bert.embeddings.word_embeddings
start = lambda x, mask: net(inputs_embeds=x, attention_mask=mask).start_logits.max(1).values
x, x0 = embed(ids).detach(), embed(references[0]).detach()
layers = LayerConductance(start, list(net.bert.encoder.layer)).attribute(
    x, x0, additional_forward_args=(mask,), n_steps=20
)
for k, values in enumerate(layers):
    values = values[0] if isinstance(values, tuple) else values
    print(f"layer {k}: conductance {values.sum():.4f}")
