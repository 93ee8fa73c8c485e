"""A few explanations by every method, of a function, of texts and of a model's layers, with shapes checked.

`test_shapes.py` runs this file in a process of its own: the check has to be there before the package is imported.
"""

from __future__ import annotations

from jaxtyping import install_import_hook

CHECKED = ["pellucid.numerics", "pellucid.engine", "pellucid.methods", "pellucid.problem"]


def check_shapes() -> None:
    """Lets every call of a function in these modules check the shapes in its signature."""
    install_import_hook(CHECKED, "beartype.beartype")


def explain_a_little() -> None:
    import torch
    from torch import nn

    import pellucid

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2), nn.Softmax(-1)).eval()
    kinked = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    x, pool = torch.randn(3, 6), torch.randn(4, 6)
    for method, row in pellucid.METHODS.items():
        for f in (net, kinked):
            pellucid.attribute(f, x, pool if row.distribution else x * 0, method=method, target=1)
    table, ids = nn.Embedding(5, 3), torch.tensor([[1, 2], [4, 1]])
    pellucid.attribute(lambda e: table(e).prod(1).sum(1), ids, method="integrated_gradients", n_steps=4)

    model = pellucid.load()
    texts, detail = ["A fine film.", "It is not good, it is great."], ("layers", "heads")
    for method in pellucid.METHODS:
        pellucid.explain(model, texts, method)
    pellucid.explain(model, texts, target=["positive", "negative"], detail=detail, baseline=["pad", "mask"])
    pellucid.explain(model, texts, "integrated_gradients", detail=detail)


if __name__ == "__main__":
    check_shapes()
    explain_a_little()
    print("all shapes hold")
