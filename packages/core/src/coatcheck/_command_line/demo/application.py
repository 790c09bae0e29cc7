"""Define the demo's routes. They show what an application can do with its sessions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from ... import session_of
from ...asgi import SessionMiddleware
from ...options import SessionOptions
from ...session import AsyncSession
from ...sessions import Sessions
from ...store import AsyncStore, Store
from . import pages
from .pages import CATALOGUE, HOOKS, Browser, Line, Visit

IDLE_TIMEOUT: Final = timedelta(hours=1)
REMEMBER_ME: Final = timedelta(days=30)

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def make_application(store: Store | AsyncStore, secret: str) -> SessionMiddleware:
    """Return the demo.

    :param store: keeps the sessions. Without the capability ``owners`` the page that lists a
        user's sessions does not exist.
    :param secret: signs the cookies.
    :raises ConfigurationError: the secret is too short.
    """
    options = SessionOptions(secret=secret, store=store, owner="user", idle_timeout=IDLE_TIMEOUT)
    shop = Shop(Sessions(store, options), lists_sessions=store.capabilities.owners)
    return SessionMiddleware(
        Starlette(routes=shop.routes(), exception_handlers={HTTPException: _failed}), options
    )


class Shop:
    """Handle the requests of the demo.

    :param sessions: the sessions outside the current request.
    :param lists_sessions: whether to offer the list of a user's sessions.
    """

    def __init__(self, sessions: Sessions, *, lists_sessions: bool) -> None:
        self._sessions = sessions
        self._lists_sessions = lists_sessions

    def routes(self) -> list[Route]:
        """Return the routes."""
        routes = [
            Route("/", self.home),
            Route("/about", self.about),
            Route("/bye", self.bye),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/cart/add", self.add_to_cart, methods=["POST"]),
            Route("/cart/quantity", self.change_quantity, methods=["POST"]),
            Route("/hooks", self.use_hook, methods=["POST"]),
        ]
        if self._lists_sessions:
            routes += [
                Route("/sessions", self.my_sessions),
                Route("/sessions/end-others", self.end_other_sessions, methods=["POST"]),
            ]
        return routes

    async def home(self, request: Request) -> Response:
        """Count the view and show everything."""
        session = session_of(request)
        session["views"] = session.get("views", 0) + 1
        visit = Visit(
            token=_token(session),
            views=session["views"],
            user=session.get("user"),
            cart=session.get("cart", []),
            hooks={number for number in range(HOOKS) if f"hook:{number}" in session},
            ref=self._sessions.ref_of(session),
            created_at=session.created_at,
            expires_in=session.expires_in,
            lists_sessions=self._lists_sessions,
        )
        return _page(pages.home(visit))

    async def about(self, _: Request) -> Response:
        """Show a page that does not use the session, without a cookie or a call of the store."""
        return _page(pages.about())

    async def login(self, request: Request) -> Response:
        """Log a user in under a new session id, so that an attacker cannot have chosen it."""
        form = await _checked_form(request)
        name = form.get("name", "").strip()
        if not (0 < len(name) <= 40 and name.isprintable()):
            raise HTTPException(400, "Please give a name of 1 to 40 characters.")
        session = session_of(request)
        # The visitor's own cart is kept. The data of another user are not.
        session.regenerate(keep_data="user" not in session)
        session.pop("csrf", None)
        session["user"] = name
        session["browser"] = request.headers.get("user-agent", "")[:100]
        if "remember" in form:
            session.cookie.max_age = REMEMBER_ME
        return _see("/")

    async def logout(self, request: Request) -> Response:
        """End the session: remove its record, and let its cookie expire."""
        await _checked_form(request)
        session_of(request).destroy()
        return _see("/bye")

    async def bye(self, _: Request) -> Response:
        """Show that there is no session left."""
        return _page(pages.bye())

    async def add_to_cart(self, request: Request) -> Response:
        """Change a list in the session in place."""
        item = _item(await _checked_form(request))
        cart: list[Line] = session_of(request).setdefault("cart", [])
        for line in cart:
            if line["item"] == item:
                line["quantity"] += 1
                break
        else:
            cart.append({"item": item, "quantity": 1})
        return _see("/")

    async def change_quantity(self, request: Request) -> Response:
        """Change a dictionary in a list in the session in place."""
        form = await _checked_form(request)
        item, quantity = _item(form), _number(form, "quantity", 100)
        cart: list[Line] = session_of(request).get("cart", [])
        for line in cart:
            if line["item"] == item:
                line["quantity"] = quantity
        cart[:] = [line for line in cart if line["quantity"]]
        return _see("/")

    async def use_hook(self, request: Request) -> Response:
        """Hang a coat on a hook, or take it off.

        Each hook is a key of its own, so parallel requests that use different ones are merged.
        """
        key = f"hook:{_number(await _checked_form(request), 'hook', HOOKS)}"
        session = session_of(request)
        if key in session:
            del session[key]
        else:
            session[key] = True
        return _see("/")

    async def my_sessions(self, request: Request) -> Response:
        """List where the user is logged in."""
        session = session_of(request)
        user: str | None = session.get("user")
        if user is None:
            return _see("/")
        this = self._sessions.ref_of(session)
        browsers = [
            Browser(
                ref=entry.ref,
                name=entry.data.get("browser", ""),
                created_at=entry.created_at,
                expires_at=entry.expires_at,
                is_this=entry.ref == this,
            )
            for entry in await self._sessions.alist(user)
        ]
        return _page(pages.my_sessions(_token(session), user, browsers))

    async def end_other_sessions(self, request: Request) -> Response:
        """Log the user out everywhere else."""
        await _checked_form(request)
        session = session_of(request)
        user: str | None = session.get("user")
        if user is None:
            return _see("/")
        await self._sessions.arevoke_all(user, keep=session)
        return _see("/sessions")


async def _checked_form(request: Request) -> Mapping[str, str]:
    """Return the fields of a form, and check that a page of this visitor sent it.

    Every POST handler begins with this.
    """
    try:
        fields = dict(parse_qsl((await request.body()).decode("ascii"), max_num_fields=20))
    except ValueError:
        raise HTTPException(400, "This is not a form.") from None
    expected: str = session_of(request).get("csrf", "")
    given = fields.get("token", "")
    if not (expected and secrets.compare_digest(given.encode(), expected.encode())):
        raise HTTPException(403, "This form is too old. Go back to the shop and try again.")
    return fields


def _token(session: AsyncSession) -> str:
    """Return the token of this session's forms. Other sites cannot know it."""
    token: str = session.setdefault("csrf", secrets.token_urlsafe(24))
    return token


def _item(form: Mapping[str, str]) -> str:
    item = form.get("item", "")
    if item not in CATALOGUE:
        raise HTTPException(400, "The shop does not have this.")
    return item


def _number(form: Mapping[str, str], name: str, limit: int) -> int:
    text = form.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < limit):
        raise HTTPException(400, f"Please give a number from 0 to {limit - 1}.")
    return int(text)


def _page(html: str, status: int = 200) -> Response:
    return HTMLResponse(html, status, _HEADERS)


def _see(path: str) -> Response:
    return RedirectResponse(path, status_code=303)


async def _failed(_: Request, error: Any) -> Response:
    return _page(pages.failed(error.status_code, error.detail), error.status_code)
