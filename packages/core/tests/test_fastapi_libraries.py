"""Libraries that work with the session of Starlette and FastAPI, and coatcheck around them."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import fastapi
import httpx2
import pytest
import starlette_admin.auth
import starlette_admin.contrib.sqla
from authlib.integrations.base_client import FrameworkIntegration, MismatchingStateError
from authlib.integrations.starlette_client import OAuth, StarletteIntegration
from sqlalchemy import create_engine
from webclient import SECRET, Client, YieldingStore, sessions_in

from coatcheck import AsyncStore, MemoryStore
from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep
from coatcheck.logins import record_login

pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


# Authlib


class Provider:
    """An OAuth 2.0 provider that everybody is logged in to.

    :ivar app: its endpoints.
    :ivar redeemed: the codes that were exchanged for tokens.
    """

    def __init__(self) -> None:
        self.app = fastapi.FastAPI()
        self.redeemed: list[str] = []

        @self.app.post("/token")
        async def token(request: fastapi.Request) -> Any:
            [code] = parse_qs((await request.body()).decode())["code"]
            self.redeemed.append(code)
            return {"access_token": f"token for {code}", "token_type": "bearer"}

    @staticmethod
    def answer(authorization_url: str, code: str) -> str:
        """Return the URL that the visitor is sent back to."""
        query = parse_qs(urlsplit(authorization_url).query)
        return f"{query['redirect_uri'][0]}?code={code}&state={query['state'][0]}"


@pytest.fixture
def provider() -> Provider:
    return Provider()


class EachTab(StarletteIntegration):
    """Keep the states of all tabs, not that of the last one: docs/how-to/oauth.md has this."""

    async def set_state_data(self, session: Any, state: str, data: Any) -> None:
        FrameworkIntegration.set_state_data(self, session, state, data)


def shop(provider: Provider, store: MemoryStore | AsyncStore, oauth: OAuth) -> fastapi.FastAPI:
    """Return a shop where people log in with the provider."""
    oauth.register(
        "idp",
        client_id="shop",
        client_secret="not so secret",
        authorize_url="https://idp.test/authorize",
        access_token_url="https://idp.test/token",
        client_kwargs={"transport": httpx2.ASGITransport(provider.app)},
    )
    app = fastapi.FastAPI()

    @app.get("/login")
    async def login(request: fastapi.Request) -> Any:
        return await oauth.idp.authorize_redirect(request, request.url_for("callback"))

    @app.get("/callback")
    async def callback(request: fastapi.Request, session: SessionDep) -> Any:
        token = await oauth.idp.authorize_access_token(request)
        record_login(session)
        session["token"] = token["access_token"]
        return sorted(session)

    @app.get("/")
    async def token(session: SessionDep) -> Any:
        return session.setdefault("token", "none")

    app.add_middleware(SessionMiddleware, secret=SECRET, store=store)
    return app


async def test_authlib_with_two_tabs(provider: Provider, store: MemoryStore) -> None:
    """Each tab is at the provider with a state of its own, and both come back."""
    oauth = OAuth()
    oauth.framework_integration_cls = EachTab
    visitor = Client(shop(provider, store, oauth))
    first = (await visitor.get("/login")).headers["location"]
    second = (await visitor.get("/login")).headers["location"]
    assert len(sessions_in(store)) == 1
    assert (await visitor.get(provider.answer(second, "b"))).status_code == 200
    assert (await visitor.get("/")).json() == "token for b"
    assert (await visitor.get(provider.answer(first, "a"))).json() == ["logged_in_at", "token"]
    assert (await visitor.get("/")).json() == "token for a"
    assert provider.redeemed == ["b", "a"]
    assert len(sessions_in(store)) == 1


async def test_authlib_with_two_tabs_at_the_same_moment(
    provider: Provider, store: MemoryStore
) -> None:
    """Neither request sees the state of the other one, and both states are kept."""
    visitor = Client(shop(provider, YieldingStore(store), OAuth()))
    await visitor.get("/")
    responses = await asyncio.gather(*(visitor.tab().get("/login") for _ in "ab"))
    for response, code in zip(responses, "ab", strict=True):
        url = provider.answer(response.headers["location"], code)
        assert (await visitor.get(url)).status_code == 200
    assert provider.redeemed == ["a", "b"]


async def test_authlib_refuses_the_state_of_somebody_else(
    provider: Provider, store: MemoryStore
) -> None:
    """The state is in the session of the visitor who began, and good for once."""
    visitor = Client(shop(provider, store, OAuth()))
    url = provider.answer((await visitor.get("/login")).headers["location"], "a")
    with pytest.raises(MismatchingStateError):
        await visitor.stranger().get(url)
    await visitor.get(url)
    with pytest.raises(MismatchingStateError):
        await visitor.get(url)
    assert provider.redeemed == ["a"]


# starlette-admin


class AdminLogin(starlette_admin.auth.AuthProvider):
    """Log in with one password, and keep that in the session."""

    async def login(self, username: str, password: str, remember_me: bool, request: Any) -> None:
        if password != "open sesame":
            raise starlette_admin.auth.LoginFailed("wrong password")
        request.session.regenerate(keep_data=True)
        request.session["admin"] = username

    async def logout(self, request: Any) -> None:
        request.session.destroy()

    async def authenticate(self, request: Any) -> starlette_admin.auth.AdminUser | None:
        name = request.session.get("admin")
        return None if name is None else starlette_admin.auth.AdminUser(name)


async def test_starlette_admin_logs_in_with_our_session(store: MemoryStore) -> None:
    """It has no session of its own: pages of the shop see the login, and a logout ends it."""
    app = fastapi.FastAPI()

    @app.get("/")
    async def who(session: SessionDep) -> Any:
        return dict(session)

    engine = create_engine("sqlite://")
    admin = starlette_admin.contrib.sqla.Admin(
        engine, auth_provider=AdminLogin(), secret_key="s" * 32
    )
    admin.mount_to(app)
    app.add_middleware(SessionMiddleware, secret=SECRET, store=store)
    visitor = Client(app)
    assert "/admin/login" in (await visitor.get("/admin/")).headers["location"]
    page = await visitor.get("/admin/login")
    fields = dict(re.findall(r'name="(_?csrf[^"]*)"[^>]*value="([^"]*)"', page.text))
    wrong = await visitor.post("/admin/login", data={**fields, "username": "ann", "password": "x"})
    assert wrong.status_code == 400
    assert (await visitor.get("/")).json() == {}
    login = {**fields, "username": "ann", "password": "open sesame"}
    assert (await visitor.post("/admin/login", data=login)).status_code == 303
    assert (await visitor.get("/admin/")).status_code == 200
    assert (await visitor.get("/")).json() == {"admin": "ann"}
    assert (await visitor.post("/admin/logout", data=fields)).status_code == 303
    assert (await visitor.get("/")).json() == {}
    assert not sessions_in(store)


# NiceGUI


def test_nicegui_inside(tmp_path: Path) -> None:
    """Its pages have our session and its own storage, each with its own cookie.

    NiceGUI has one application for each process, and writes files: so it runs in a process of its
    own.
    """
    program = Path(__file__).with_name("nicegui_shop.py")
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "the session of the shop and the storage of NiceGUI"
