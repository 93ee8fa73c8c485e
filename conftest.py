"""What the examples of the docstrings may name: the package, the bundled model, and an explanation `e` by it."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def _example() -> dict[str, Any]:
    import pellucid

    model = pellucid.load()
    return {"pellucid": pellucid, "model": model, "e": pellucid.explain(model, "It's great!")}


@pytest.fixture(autouse=True)
def _names(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    """Adds the names where a docstring is run, and only there."""
    if isinstance(request.node, pytest.DoctestItem):
        doctest_namespace.update(request.getfixturevalue("_example"))
