"""What the tests share. Nothing is downloaded; tests on real checkpoints skip where those are missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

import pellucid
from browser import Tab, browser

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def bundled() -> pellucid.Model:
    return pellucid.load()


@pytest.fixture(scope="session")
def sst2() -> pellucid.Model:
    path = SHARED / "models" / "minilm-sst2"
    if not path.is_dir():
        pytest.skip("the fine-tuned MiniLM checkpoint is not on this machine")
    return pellucid.load(path)


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    """A browser."""
    with browser() as found:
        yield found


@pytest.fixture
def tab(running: Any) -> Iterator[Tab]:
    """A tab in which nothing may go wrong unseen."""
    found = Tab(running, viewport={"width": 1100, "height": 900})
    yield found
    found.context.close()
    assert found.faults == []


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    torch.manual_seed(0)
