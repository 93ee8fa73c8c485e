"""What the tests share. Nothing is downloaded; tests on real checkpoints skip where those are missing."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

import pellucid

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


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    torch.manual_seed(0)
