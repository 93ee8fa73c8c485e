"""Who may ask: the token, the Host and the Origin of a request, and how large its body may be.

A page of another site can make a browser send requests to this server, and a name of its own can be made to point to
127.0.0.1 (DNS rebinding). Neither knows the token, neither has this server's Host, and a foreign Origin gives itself
away. There are no cookies, so that a browser adds nothing by itself.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from ..errors import InputError, PellucidError

LIMIT = 10_000_000
"""So many bytes a body may have."""
DRAINED = 4 * LIMIT
"""So many bytes of a body that is too large are read and thrown away, so that its sender reads the answer."""


class Refused(PellucidError):
    """A request that is not answered. `code` is its HTTP status."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Guard:
    """token: what each request must know. hosts: the names, with port, by which this server is called; none: any."""

    token: str
    hosts: frozenset[str]

    def check_place(self, headers: Mapping[str, str]) -> None:
        """Raises Refused for a Host that is none of this server's names, and for a foreign Origin."""
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if self.hosts and host not in self.hosts:
            raise Refused(421, "Found a Host that is not this server's; expected its address as it was printed.")
        if origin is not None and origin.lower() != f"http://{host}":
            raise Refused(403, "Found the Origin of another site; expected a request of this server's own page.")

    def check_token(self, given: str) -> None:
        """Raises Refused unless this is the token."""
        if not secrets.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
            raise Refused(403, "Found no token, or a wrong one; expected that of the address that was printed.")


def bearer(headers: Mapping[str, str]) -> str:
    """The token of the header `Authorization: Bearer …`."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


async def body_of(request: Request) -> Mapping[str, Any]:
    """The JSON object of a body. Raises Refused where it is too large, InputError where it is no JSON object."""
    content, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= LIMIT:
            content += chunk
        elif size > DRAINED:
            break
    if size > LIMIT:
        raise Refused(413, f"Found a body of more than {LIMIT // 1_000_000} MB; expected less. Shorten the text.")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The body is not JSON: {error}. Expected an object.") from error
    if not isinstance(body, dict):
        raise InputError(f"Found a {type(body).__name__} as the body; expected a JSON object.")
    return body
