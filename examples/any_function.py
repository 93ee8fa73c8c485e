"""Any PyTorch function: here a network that reads three numbers and a category, explained against a usual case.

python examples/any_function.py
"""

import torch
from torch import nn

import pellucid

NUMBERS = ["age", "income", "children"]
CITIES = ["elsewhere", "Leipzig", "Lyon", "Turin"]


class Risk(nn.Module):
    """Two logits for a customer: pays late, does not pay. The city is an id that an embedding table looks up."""

    def __init__(self):
        super().__init__()
        self.cities = nn.Embedding(len(CITIES), 4)
        self.layers = nn.Sequential(nn.Linear(3 + 4, 16), nn.GELU(), nn.Linear(16, 2))

    def forward(self, numbers, city):
        return self.layers(torch.cat([numbers, self.cities(city)], dim=1))  # rows × 2 logits


torch.manual_seed(0)
net = Risk().eval()

# The input: two customers, the rows of a batch. A function of several inputs takes a tuple of tensors, rows first.
numbers = torch.tensor([[0.3, 1.2, 0.0], [-0.5, 0.4, 2.0]])
city = torch.tensor([2, 3])
# The baseline, what each customer is compared with: numbers of 0, and the category "elsewhere". Name the category of
# the baseline yourself: left out it would be category 0, whatever that stands for.
usual = torch.tensor([CITIES.index("elsewhere")])

a = pellucid.attribute(net, (numbers, city), (0.0, usual), method="deeplift", target=0)  # the first logit

of_numbers, of_city = a.values  # shaped like the inputs: a score for each number, and one for the category
for i in range(len(numbers)):
    print(f"customer {i}: logit {a.baseline_output[i]:.4f} -> {a.output[i]:.4f}")
    for name, score in zip(NUMBERS, of_numbers[i], strict=True):
        print(f"  {name:10} {score:+.4f}")
    print(f"  {CITIES[city[i]]:10} {of_city[i]:+.4f}")
    print(f"  left over  {a.delta[i]:+.0e} (status {a.status})")
