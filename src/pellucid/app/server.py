"""The routes of the app, as one Starlette application."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import viewer
from ..errors import InputError, PellucidError
from ..models import Model
from . import asking
from .guarding import Guard, Refused, bearer, body_of
from .work import Busy, Outdated, Queue

if TYPE_CHECKING:
    from ..jobs.stored import Run

ANSWERS: dict[str, Callable[[asking.Known, asking.Body], dict[str, Any]]] = {
    "explain": asking.explained,
    "attention": asking.attention,
    "reduce": asking.reduced,
    "flip": asking.flipped,
    "export": asking.exported,
    "rows": asking.rows,
    "summary": asking.summarized,
}
"""What is asked by POST /api/NAME, and what answers."""
_SCRIPTS = ("app.js", "calling.js", "editing.js", "filling.js", "keeping.js", "runs.js", "viewer.js")
_ASSETS = {"app.css": "text/css", **dict.fromkeys(_SCRIPTS, "text/javascript")}


def make_app(
    models: Iterable[Model], token: str | None = None, hosts: Iterable[str] = (), runs: Iterable[Run] = ()
) -> Starlette:
    """The application, to be served by any ASGI server.

    models, runs: those that can be chosen, at least one of either. token: what each request must know, as `?token=` of
    the page and as `Authorization: Bearer` of /api; drawn at random where None, and kept as `app.state.token`. hosts:
    the names with port by which the server is called, such as "127.0.0.1:8000"; none: any.

    Examples:
        >>> import pellucid
        >>> app = make_app([pellucid.load()])
        >>> [route.path for route in app.routes][:3]
        ['/', '/{asset}', '/api/models']
    """
    known = asking.known_of(list(models), list(runs))
    guard = Guard(token or secrets.token_urlsafe(24), frozenset(h.lower() for h in hosts))
    queue, told = Queue(), asking.told(known)

    async def page(request: Request) -> Response:
        guard.check_token(request.query_params.get("token", ""))
        return _text(_file("page.html"), "text/html")

    async def asset(request: Request) -> Response:
        name = request.path_params["asset"]
        if name not in _ASSETS:
            raise Refused(404, "Found no such page; expected the address that was printed.")
        return _text(viewer.source() if name == "viewer.js" else _file(name), _ASSETS[name])

    async def models_route(request: Request) -> Response:
        guard.check_token(bearer(request.headers))
        return _json(told)

    async def status(request: Request) -> Response:
        guard.check_token(bearer(request.headers))
        return _json(queue.told(request.headers.get("x-client", "")))

    async def cancel(request: Request) -> Response:
        guard.check_token(bearer(request.headers))
        return _json({"cancelled": queue.cancel(request.headers.get("x-client", ""))})

    async def answer(request: Request) -> Response:
        guard.check_token(bearer(request.headers))
        name = request.path_params["name"]
        if name not in ANSWERS:
            raise Refused(404, f"Found /api/{name[:40]!r}; expected one of {', '.join(ANSWERS)}.")
        body = await body_of(request)
        run = lambda: json.dumps(ANSWERS[name](known, body), ensure_ascii=True).encode()
        content = await queue.answer(request.headers.get("x-client", ""), run, request.is_disconnected)
        return Response(content, media_type="application/json")

    guarded = [
        Route("/", _checked(guard, page)),
        Route("/{asset}", _checked(guard, asset)),
        Route("/api/models", _checked(guard, models_route)),
        Route("/api/status", _checked(guard, status)),
        Route("/api/cancel", _checked(guard, cancel), methods=["POST"]),
        Route("/api/{name}", _checked(guard, answer), methods=["POST"]),
    ]
    app = Starlette(routes=guarded)
    app.state.token, app.state.queue = guard.token, queue
    return app


def _checked(guard: Guard, route: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """The route, for requests from this server's own page; an error is a sentence, as on the command line."""

    async def checked(request: Request) -> Response:
        try:
            guard.check_place(request.headers)
            response = await route(request)
        except Exception as error:
            response = _failure(error)
        response.headers.update(_headers())
        return response

    return checked


def _failure(error: Exception) -> Response:
    """An error as JSON: its type and its message."""
    kind, message = type(error).__name__, str(error)
    code = 500
    if isinstance(error, Refused):
        code = error.code
    elif isinstance(error, (Outdated, Busy)):
        code = 409 if isinstance(error, Outdated) else 503
    elif isinstance(error, PellucidError):
        code = 400 if isinstance(error, InputError) else 422
    else:
        logging.getLogger("pellucid").exception("a request failed")
        message = f"{kind}: {message}"
    return _json({"error": {"type": kind, "message": message}}, code)


def _headers() -> dict[str, str]:
    """Nothing runs, loads or frames but this server's own files."""
    style = base64.b64encode(hashlib.sha256(viewer.style().encode()).digest()).decode()
    policy = (
        "default-src 'none'; script-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors 'none'; style-src 'self' 'sha256-{style}'"
    )
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }


def _file(name: str) -> str:
    return (files("pellucid.app") / name).read_text("utf-8")


def _text(content: str, kind: str) -> Response:
    return Response(content.encode("utf-8"), media_type=f"{kind}; charset=utf-8")


def _json(data: object, code: int = 200) -> Response:
    return Response(json.dumps(data, ensure_ascii=True).encode(), code, media_type="application/json")
