"""coatcheck.fastapi in FastAPI applications."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import fastapi
import fastapi.testclient
import pytest
from webclient import SECRET, Client, Clock, FragileStore

from coatcheck import AsyncSession, MemoryStore, session_of
from coatcheck.asgi import SessionMiddleware
from coatcheck.errors import ConfigurationError, SessionUnavailable
from coatcheck.fastapi import SessionDep, SessionSecurity, require_fresh
from coatcheck.logins import LOGIN_KEY, login_age, record_login
from coatcheck.testing import login

pytestmark = pytest.mark.anyio

FreshSession = Annotated[AsyncSession, fastapi.Depends(require_fresh(timedelta(minutes=10)))]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(clock: Clock) -> fastapi.FastAPI:
    """A shop with a login, and a page that needs a recent one."""
    app = fastapi.FastAPI()

    @app.post("/login")
    async def login(session: SessionDep, user: int = 42) -> None:
        record_login(session)
        session["user_id"] = user

    @app.post("/regenerate")
    async def regenerate(session: SessionDep, keep: bool = True) -> None:
        session.regenerate(keep_data=keep)

    @app.get("/cart")
    def cart(session: SessionDep, more: str = "") -> Any:
        session.setdefault("cart", []).extend(more.split())
        return {"cart": session["cart"], "age": login_age(session)}

    @app.post("/password")
    async def password(session: FreshSession) -> int:
        return int(session["user_id"])

    @app.delete("/account", dependencies=[fastapi.Depends(require_fresh(60))])
    def account() -> str:
        return "deleted"

    app.add_middleware(SessionMiddleware, secret=SECRET, store=MemoryStore(clock=clock),
                       clock=clock)  # fmt: skip
    return app


async def test_a_parameter_is_the_session(app: fastapi.FastAPI) -> None:
    """In async and in plain endpoints, and no query parameter takes its place."""
    visitor = Client(app)
    assert (await visitor.get("/cart?more=hat&session=1&name=x")).json()["cart"] == ["hat"]
    assert (await visitor.get("/cart?more=coat")).json()["cart"] == ["hat", "coat"]


def test_a_websocket_has_the_session() -> None:
    """A dependency gets it before the socket is accepted."""
    app = fastapi.FastAPI()

    @app.get("/")
    def page(session: SessionDep) -> None:
        session["seen"] = 1

    @app.websocket("/")
    async def socket(socket: fastapi.WebSocket, session: SessionDep) -> None:
        session["seen"] += 1
        await socket.accept()
        await socket.send_json(session)
        await socket.close()

    app.add_middleware(SessionMiddleware, secret=SECRET, store=MemoryStore())
    client = fastapi.testclient.TestClient(app)
    client.get("/")
    for seen in (2, 3):
        with client.websocket_connect("/") as connection:
            assert connection.receive_json() == {"seen": seen}


async def test_a_dependency_and_the_request_have_one_session() -> None:
    """`request.session`, `SessionDep`, `session_of` and a dependency with a name."""
    app = fastapi.FastAPI()

    @app.get("/")
    def page(
        request: fastapi.Request,
        session: SessionDep,
        depends: Annotated[AsyncSession, fastapi.Depends(session_of)],
        secured: Annotated[AsyncSession, fastapi.Security(SessionSecurity("shop_sid"))],
    ) -> bool:
        return session is depends is secured is request.session

    app.add_middleware(SessionMiddleware, secret=SECRET, store=MemoryStore(), name="shop_sid")
    assert (await Client(app).get("/")).json() is True


async def test_a_recent_login_is_needed(app: fastapi.FastAPI, clock: Clock) -> None:
    """Nobody else gets in: 401, with what to do."""
    visitor = Client(app)
    await visitor.get("/cart?more=hat")
    response = await visitor.post("/password")
    assert (response.status_code, response.json()["detail"]) == (401, "not logged in")
    assert response.headers["www-authenticate"] == "Cookie"
    before = visitor.id
    await visitor.post("/login")
    assert visitor.id != before
    assert (await visitor.get("/cart")).json() == {"cart": ["hat"], "age": 0}
    clock.advance(600)
    assert (await visitor.post("/password")).json() == 42
    clock.advance(1)
    response = await visitor.post("/password")
    assert (response.status_code, response.json()["detail"]) == (401, "log in again")
    assert (await visitor.get("/cart")).json()["age"] == 601
    await visitor.post("/login")
    assert (await visitor.post("/password")).json() == 42


async def test_a_lazy_session_is_loaded(clock: Clock) -> None:
    """By the dependency, so its route need not do that."""
    app = fastapi.FastAPI()

    @app.post("/login")
    async def login(session: SessionDep) -> None:
        await session.load()
        record_login(session)

    @app.post("/password", dependencies=[fastapi.Depends(require_fresh(60))])
    async def password() -> str:
        return "changed"

    app.add_middleware(SessionMiddleware, secret=SECRET, store="memory:", load="lazy", clock=clock)
    visitor = Client(app)
    assert (await visitor.post("/password")).status_code == 401
    await visitor.post("/login")
    assert (await visitor.post("/password")).json() == "changed"
    clock.advance(61)
    assert (await visitor.post("/password")).json()["detail"] == "log in again"


async def test_a_login_while_the_store_fails_is_not_stored(clock: Clock) -> None:
    """The page can see it, and the visitor is not taken for somebody else afterwards."""
    app, store = fastapi.FastAPI(), FragileStore(clock=clock)

    @app.post("/login")
    async def login(session: SessionDep) -> bool:
        record_login(session)
        session["user_id"] = 42
        return session.degraded

    app.add_middleware(SessionMiddleware, secret=SECRET, store=store, clock=clock,
                       on_store_error="anonymous")  # fmt: skip
    visitor = Client(app)
    assert (await visitor.post("/login")).json() is False
    store.fail("get")
    assert (await visitor.post("/login")).json() is True
    assert not visitor.cookies


async def test_a_new_id_alone_is_no_login(app: fastapi.FastAPI, clock: Clock) -> None:
    """`regenerate()` leaves the moment as it is, and without its data the session has none."""
    visitor = Client(app)
    await visitor.post("/login")
    clock.advance(59)
    await visitor.post("/regenerate")
    assert (await visitor.delete("/account")).json() == "deleted"
    clock.advance(2)
    await visitor.post("/regenerate")
    assert (await visitor.delete("/account")).status_code == 401
    await visitor.post("/login")
    await visitor.post("/regenerate?keep=false")
    assert (await visitor.delete("/account")).json()["detail"] == "not logged in"


def test_a_test_can_say_when_the_login_was(app: fastapi.FastAPI, clock: Clock) -> None:
    """As docs/testing.md shows it."""
    client = fastapi.testclient.TestClient(app)
    login(client, {"user_id": 42, LOGIN_KEY: clock() - 60})
    assert client.delete("/account").status_code == 200
    clock.advance(1)
    assert client.delete("/account").status_code == 401


@pytest.mark.parametrize(
    "moment",
    [True, "1700000000", None, [1_700_000_000.0], 4_102_444_800_000, 1e308, 10**400],
    ids=["bool", "text", "none", "list", "milliseconds", "far", "farther"],
)
async def test_a_moment_that_cannot_be_is_no_login(moment: Any, clock: Clock) -> None:
    """Another program may have written it."""
    ages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = session_of(scope)
        session[LOGIN_KEY] = moment
        ages.append(login_age(session))
        session[LOGIN_KEY] = int(clock()) + 5  # a machine whose clock is ahead
        ages.append(login_age(session))
        record_login(session, keep_data=False)
        ages.append(dict(session))
        await fastapi.Response()(scope, receive, send)

    await Client(SessionMiddleware(app, secret=SECRET, clock=clock, store="memory:")).get("/")
    assert ages == [None, 0, {LOGIN_KEY: clock()}]


@pytest.mark.parametrize("max_age", [0, -1, float("nan"), timedelta(0)])
def test_an_age_that_nobody_can_have_is_refused(max_age: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be above zero seconds, not "):
        require_fresh(max_age)


async def test_the_schema_shows_which_routes_need_the_cookie(app: fastapi.FastAPI) -> None:
    """As a security scheme, and no parameter or body shows up."""
    schema = (await Client(app).get("/openapi.json")).json()
    assert schema["components"]["securitySchemes"] == {
        "session": {"type": "apiKey", "in": "cookie", "name": "sid"}
    }
    secured = {
        path for path, methods in schema["paths"].items()
        for operation in methods.values() if "security" in operation
    }  # fmt: skip
    assert secured == {"/password", "/account"}
    assert "parameters" not in schema["paths"]["/password"]["post"]
    assert "requestBody" not in schema["paths"]["/password"]["post"]


async def test_a_scheme_with_another_name() -> None:
    """The dependency says so if no middleware has this name."""
    app = fastapi.FastAPI()
    security = SessionSecurity("admin_sid", scheme_name="admin", description="of the staff")

    @app.get("/", dependencies=[fastapi.Depends(require_fresh(60, security))])
    def page() -> None: ...

    app.add_middleware(SessionMiddleware, secret=SECRET, store=MemoryStore())
    visitor = Client(app)
    with pytest.raises(SessionUnavailable, match=r"'admin_sid' serves .* of the name 'sid'"):
        await visitor.get("/")
    schema = (await visitor.get("/openapi.json")).json()
    assert schema["components"]["securitySchemes"] == {
        "admin": {"type": "apiKey", "in": "cookie", "name": "admin_sid",
                  "description": "of the staff"}
    }  # fmt: skip


def blocks_of_the_page(store: str) -> list[str]:
    """Return the code of the page for users, with another store."""
    page = (Path(__file__).parents[3] / "docs" / "fastapi.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [block.replace('"file:sessions"', repr(store)) for block in blocks]


@pytest.mark.parametrize(
    ("store", "secret", "error"),
    [
        ("redsi://localhost", SECRET, "PluginError: .*redsi"),
        ("memory:?size=1", SECRET, "ConfigurationError: .*max_sessions"),
        ("memory:", "", "ConfigurationError: .*secret"),
        ("redis://127.0.0.1:1/0", SECRET, "StoreUnavailable: .*127.0.0.1:1"),
    ],
    ids=["unknown store", "unknown option", "no secret", "store is down"],
)
def test_a_server_does_not_start_without_its_sessions(
    store: str, secret: str, error: str, tmp_path: Path
) -> None:
    """One error says why, and the server ends: with the blocks of the page, and uvicorn."""
    (tmp_path / "shop.py").write_text("".join(blocks_of_the_page(store)[:2]), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "shop:checked_app", "--port", "0"],
        cwd=tmp_path, env={**os.environ, "SESSION_SECRET": secret},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert re.search(error, done.stderr), done.stderr
    assert "Uvicorn running" not in done.stderr


async def test_the_page_for_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks are one application, which does what the page says."""
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    names: dict[str, Any] = {"__name__": "shop"}
    for block in blocks_of_the_page(f"file://{tmp_path}"):
        exec(compile(block, "fastapi.md", "exec", dont_inherit=True), names)
    page = (Path(__file__).parents[3] / "docs" / "fastapi.md").read_text("utf-8")
    assert [names[app] for app in re.findall(r"^python -m uvicorn shop:(\w+)$", page, re.MULTILINE)]
    visitor = Client(names["app"], "https://shop.test")
    await visitor.post("/cart/hat")
    assert (await visitor.post("/password")).status_code == 401
    assert (await visitor.post("/login")).json() == "welcome"
    assert (await visitor.post("/cart/coat")).json() == ["hat", "coat"]
    assert (await visitor.post("/password")).json() == "changed for 42"
    assert (await visitor.get("/orders")).json() == []
    await visitor.post("/logout")
    assert not visitor.cookies
    paths = (await visitor.get("/openapi.json")).json()["paths"]
    secured = [path for path, methods in paths.items() if "security" in str(methods)]
    assert secured == ["/password", "/orders"]
