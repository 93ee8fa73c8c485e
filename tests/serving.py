"""The app served from a thread of the tests' own process, for models that are no checkpoints."""

from __future__ import annotations

import threading
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest


def scores_of(view: dict[str, Any]) -> list[list[float]]:
    """The scores of each explanation of a packed View."""
    first = view["explanations"][0]
    each = [b64decode(e.get("scores", first["scores"])) for e in view["explanations"]]
    return [np.frombuffer(content, "<f8").tolist() for content in each]


@contextmanager
def served(models: Sequence[Any], runs: Sequence[Any] = ()) -> Iterator[str]:
    """The address of the app's page, with its token."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs uvicorn, of the extra [app]")
    from pellucid.app.server import make_app

    app = make_app(models, runs=runs)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/?token={app.state.token}"
    finally:
        server.should_exit = True
        thread.join(10)
        app.state.queue.close()
