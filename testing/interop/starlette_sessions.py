"""A pytest plugin that runs Starlette's own session tests on coatcheck's middleware.

It translates the names of the constructor's arguments. It also spells the cookie's attributes as
Starlette does, which makes no difference to browsers.
"""

from __future__ import annotations

from typing import Any, Literal

import starlette.middleware.sessions

from coatcheck import CookieOptions, MemoryStore
from coatcheck.asgi import SessionMiddleware

_SPELLING = {"Path=": "path=", "Domain=": "domain=", "Partitioned": "partitioned"}


class Adapter(SessionMiddleware):
    """Adapt coatcheck's middleware to the arguments of Starlette's."""

    def __init__(
        self,
        app: Any,
        secret_key: str,
        session_cookie: str = "session",
        max_age: int | None = 14 * 24 * 60 * 60,
        path: str = "/",
        same_site: Literal["lax", "strict", "none"] = "lax",
        https_only: bool = False,
        domain: str | None = None,
        partitioned: bool = False,
    ) -> None:
        cookie = CookieOptions(path=path, domain=domain, max_age=max_age, same_site=same_site,
                               secure=https_only or "auto", partitioned=partitioned)  # fmt: skip
        super().__init__(
            app, secret=secret_key * 5, name=session_cookie, cookie=cookie, store=MemoryStore()
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""

        async def respell(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [(name, _respelt(value)) if name == b"set-cookie" else (name, value)
                           for name, value in message["headers"]]  # fmt: skip
                message = {**message, "headers": headers}
            await send(message)

        await super().__call__(scope, receive, respell)


def _respelt(value: bytes) -> bytes:
    text = value.decode()
    for ours, theirs in _SPELLING.items():
        text = text.replace(f"; {ours}", f"; {theirs}")
    return text.encode()


starlette.middleware.sessions.SessionMiddleware = Adapter  # type: ignore[misc, assignment]
