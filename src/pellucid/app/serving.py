"""Serves the app on this machine until it is interrupted."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

import uvicorn

from ..errors import InputError
from ..models import Model
from .server import make_app

if TYPE_CHECKING:
    from ..jobs.stored import Run

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    models: Iterable[Model],
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    ready: Callable[[str], None] = print,
    runs: Iterable[Run] = (),
) -> None:
    """Serves models and runs until interrupted.

    host: the address that is listened on; one that is not the loopback is open to the network, to whoever has the
    token. port: 0 for a free one. ready: called with the page's address, token included, once it can be opened.
    Raises InputError where the address cannot be listened on.
    """
    bound = _bound(host, port)
    port = bound.getsockname()[1]
    names = ("127.0.0.1", "localhost", "[::1]") if host in LOOPBACK else ()
    app = make_app(models, token, [f"{name}:{port}" for name in names], runs)
    shown = f"[{host}]" if ":" in host else host
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1))
    ready(f"http://{shown}:{port}/?token={quote(app.state.token)}")
    try:
        server.run(sockets=[bound])
    finally:
        app.state.queue.close()
        bound.close()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(256)
    except (OSError, OverflowError) as error:
        raise InputError(f"Could not listen on {host}:{port}: {error}. Give another --port, or none.") from error
    return bound
