"""The examples of the how-to pages, each in a real server."""

from __future__ import annotations

import ast
import hashlib
import hmac
import re
import runpy
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
import trustme
from serving import uvicorn_server
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from webclient import Client, set_cookies
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from coatcheck import SessionOptions, Sessions, open_store
from testing.servers.caches import Nginx, NginxSite

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples" / "how-to"

#: Makes a browser of an example that is served.
Browsers: TypeAlias = Callable[[], httpx.Client]
Serve: TypeAlias = Callable[..., Browsers]

#: What the examples read from the environment.
ENVIRONMENT = {
    "SESSION_SECRET": "a-secret-of-thirty-two-bytes-without-a-comma",
    "PAYMENT_KEY": "the key of the provider",
    "COOKIE_DOMAIN": "shop.example",
    "SITE_ORIGINS": "https://shop.example",
    "OAUTH_CLIENT_ID": "shop",
    "OAUTH_CLIENT_SECRET": "not so secret",
}


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Give a function that runs an example and returns its application."""
    names = {
        **ENVIRONMENT,
        "SESSION_STORE": f"file://{tmp_path}/sessions",
        "ADMIN_STORE": f"file://{tmp_path}/admin",
    }

    def run(example: str, **environment: str) -> Any:
        for name, value in {**names, **environment}.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(FOLDER / f"{example}.py"))["app"]

    return run


@pytest.fixture
def serve(application: Callable[..., Any]) -> Iterator[Serve]:
    """Give a function that serves an example, and returns what makes a browser."""
    with ExitStack() as stack:

        def started(example: str, **environment: str) -> Browsers:
            url = stack.enter_context(uvicorn_server(application(example, **environment)))
            return lambda: stack.enter_context(httpx.Client(base_url=url, timeout=60))

        yield started


def test_each_example_is_on_a_page_and_each_page_in_the_table() -> None:
    """Each example is on a page, and no page of the folder is missing in the table."""
    pages = {path: path.read_text("utf-8") for path in (ROOT / "docs/how-to").glob("*.md")}
    index = pages[ROOT / "docs/how-to/index.md"]
    for path in pages:
        assert path.stem == "index" or f"]({path.name})" in index, path.name
    tests = Path(__file__).read_text("utf-8")
    for example in (*FOLDER.glob("*.py"), *FOLDER.glob("*.conf")):
        mark = f"<!-- include: examples/how-to/{example.name} -->"
        assert any(mark in text for text in pages.values()), example.name
        assert f'"{example.stem}' in tests, example.name


def test_log_in(serve: Serve) -> None:
    """A login keeps the cart under a new id; a logout ends all copies of the cookie."""
    new_browser = serve("log_in")
    browser, thief = new_browser(), new_browser()
    browser.post("/cart/umbrella")
    before = browser.cookies["sid"]
    wrong = browser.post("/login", data={"name": "ann", "password": "sesame"})
    assert wrong.status_code == 401
    assert browser.get("/").json() == {"user_id": None, "cart": ["umbrella"]}
    right = {"name": "ann", "password": "open sesame"}
    assert browser.post("/login", data=right).headers["location"] == "/"
    assert browser.get("/").json() == {"user_id": 42, "cart": ["umbrella"]}
    stolen = {"cookie": f"sid={browser.cookies['sid']}"}
    assert thief.get("/", headers={"cookie": f"sid={before}"}).json()["user_id"] is None
    assert thief.get("/", headers=stolen).json()["user_id"] == 42
    browser.post("/logout")
    assert "sid" not in browser.cookies
    assert thief.get("/", headers=stolen).json() == {"user_id": None, "cart": []}


def test_remember_me(serve: Serve) -> None:
    """The cookie outlives the browser only where the box was ticked."""
    browser = serve("remember_me")()
    for ticked, user_id in ((True, 42), (False, None), (True, 42)):
        browser.post("/login", data={"remember": "on"} if ticked else {})
        browser.cookies.jar.clear_session_cookies()  # the browser is closed, and opened again
        assert browser.get("/").json() == {"user_id": user_id}
    [cookie] = browser.cookies.jar
    assert cookie.expires is not None


def test_devices(serve: Serve) -> None:
    """A user sees and ends the own sessions alone."""
    new_browser = serve("devices")
    laptop, phone, stranger = new_browser(), new_browser(), new_browser()
    for browser, user, device in ((laptop, 42, "laptop"), (phone, 42, "phone"), (stranger, 7, "")):
        browser.headers["user-agent"] = device
        browser.post(f"/login/{user}").raise_for_status()
    listed = laptop.get("/devices").json()
    assert [(each["device"], each["is_this_one"]) for each in listed] == [
        ("laptop", True),
        ("phone", False),
    ]
    [other] = stranger.get("/devices").json()
    assert laptop.post(f"/devices/{other['ref']}/end").status_code == 404
    assert laptop.post("/devices/nonsense/end").status_code == 404
    assert laptop.post(f"/devices/{listed[1]['ref']}/end").status_code == 200
    statuses = [browser.get("/devices").status_code for browser in (laptop, phone, stranger)]
    assert statuses == [200, 401, 200]


def test_log_out_everywhere(serve: Serve) -> None:
    """A new password ends the other sessions; the last route ends all, and nobody else's."""
    new_browser = serve("log_out_everywhere")
    ann, tablet, phone, bob = (new_browser() for _ in range(4))
    for browser, user in ((ann, 42), (tablet, 42), (phone, 42), (bob, 7)):
        browser.post(f"/login/{user}")
    before = ann.cookies["sid"]
    assert ann.post("/password").json() == {"ended": 2}
    assert ann.cookies["sid"] != before
    shown = [browser.get("/").json()["user_id"] for browser in (ann, tablet, phone, bob)]
    assert shown == [42, None, None, 7]
    phone.post("/login/42")
    ann.post("/logout-everywhere")
    assert "sid" not in ann.cookies
    assert [browser.get("/").json()["user_id"] for browser in (ann, phone, bob)] == [None, None, 7]


def test_flash_messages(serve: Serve) -> None:
    """The next page shows each message once."""
    browser = serve("flash_messages")()
    browser.post("/cart/hat")
    browser.post("/cart/umbrella")
    messages = ["The hat is in your cart.", "The umbrella is in your cart."]
    assert [browser.get("/").json()["messages"] for _ in range(2)] == [messages, []]


def provider() -> Starlette:
    """Return an OAuth 2.0 provider: who asks is logged in as ann."""

    async def authorize(request: Any) -> RedirectResponse:
        query = {"code": "a code", "state": request.query_params["state"]}
        return RedirectResponse(f"{request.query_params['redirect_uri']}?{urlencode(query)}")

    async def token(request: Any) -> JSONResponse:
        form = dict(parse_qsl((await request.body()).decode()))
        assert (form["code"], form["grant_type"]) == ("a code", "authorization_code")
        return JSONResponse({"access_token": "a token", "token_type": "bearer"})

    async def userinfo(request: Any) -> JSONResponse:
        assert request.headers["authorization"] == "Bearer a token"
        return JSONResponse({"sub": "ann"})

    return Starlette(
        routes=[
            Route("/authorize", authorize),
            Route("/token", token, methods=["POST"]),
            Route("/userinfo", userinfo),
        ]
    )


def test_oauth(serve: Serve) -> None:
    """Two tabs log in; the answer of the provider to one visitor is worth nothing to another."""
    with uvicorn_server(provider()) as url:
        new_browser = serve("oauth", OAUTH_URL=url)
        browser, thief = new_browser(), new_browser()
        at_provider = [browser.get("/login").headers["location"] for _ in range(2)]
        before = browser.cookies["sid"]
        back = [browser.get(each).headers["location"] for each in at_provider]
        assert thief.get(back[0]).status_code == 401
        for answer in back:
            assert browser.get(answer).headers["location"] == "/"
        assert browser.get(back[0]).status_code == 401  # an answer is good for once
        assert browser.cookies["sid"] != before
        assert [each.get("/").json()["user"] for each in (browser, thief)] == ["ann", None]


def test_csrf(serve: Serve) -> None:
    """A form needs the token of its visitor's session, and a login makes it void."""
    new_browser = serve("csrf")
    browser, attacker = new_browser(), new_browser()

    def token_of(visitor: httpx.Client) -> str:
        found = re.search(r'name="csrf" value="([\w-]+)"', visitor.get("/email").text)
        assert found is not None
        return found[1]

    def status(csrf: str | None, path: str = "/email") -> int:
        data = {"address": "ann@shop.example", **({} if csrf is None else {"csrf": csrf})}
        return browser.post(path, data=data).status_code

    assert status("") == status(None) == 403  # there is no session yet
    own, foreign = token_of(browser), token_of(attacker)
    assert own == token_of(browser) != foreign
    assert [status(each) for each in (None, "", foreign, "ä", own)] == [403, 403, 403, 403, 200]
    assert status(own, "/login") == 200
    assert status(own) == 403
    assert status(token_of(browser)) == 200


def open_socket(browser: httpx.Client, path: str, origin: str) -> ClientConnection:
    url = str(browser.base_url.join(path)).replace("http:", "ws:")
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {"Cookie": cookies, "Origin": origin}
    return connect(url, additional_headers=headers, open_timeout=60)


def test_websocket(serve: Serve) -> None:
    """A socket has its visitor's session, and acts for nobody after the logout."""
    browser = serve("websocket")()
    site = "https://shop.example"
    with pytest.raises(InvalidStatus, match="403"):
        open_socket(browser, "/chat", site)
    browser.post("/login")
    with pytest.raises(InvalidStatus, match="403"):
        open_socket(browser, "/chat", "https://evil.example")
    with open_socket(browser, "/chat", site) as socket:
        shown = []
        for text in ("hello", "again"):
            socket.send(text)
            shown.append(socket.recv(60))
        assert shown == ["1: hello", "2: again"]
        with open_socket(browser, "/chat", site) as other:
            other.send("me too")
            assert other.recv(60) == "3: me too"
        browser.post("/logout")
        socket.send("still there?")
        with pytest.raises(ConnectionClosed, match="logged out"):
            socket.recv(60)


def test_streaming(serve: Serve) -> None:
    """A stream and a background task change a session that began before the headers."""
    browser = serve("streaming")()
    assert browser.get("/export").text == "row 0\nrow 1\nrow 2\n"
    assert browser.get("/").json() == {"exports": 1, "exported_rows": 3}
    assert browser.post("/orders").json() == {"order": "accepted"}
    deadline = time.monotonic() + 60
    while (shown := browser.get("/").json()["order"]) != "confirmed":
        assert shown == "accepted"
        assert time.monotonic() < deadline


def test_several_applications(serve: Serve) -> None:
    """A login at one is none at the other, and so is a logout."""
    browser = serve("several_applications")()
    assert browser.post("/login/ann").json() == {"user": "ann"}
    assert browser.get("/admin/").json() == {}
    assert browser.post("/admin/login/root").json() == {"user": "root"}
    assert browser.get("/").json() == {"user": "ann"}
    found = {cookie.name: cookie.path for cookie in browser.cookies.jar}
    assert found == {"sid": "/", "admin_sid": "/admin"}
    browser.post("/admin/logout")
    assert browser.get("/admin/").json() == {}
    assert browser.get("/").json() == {"user": "ann"}


async def test_subdomains(application: Callable[..., Any]) -> None:
    """All hosts of the domain have one session, and other hosts have none."""
    app = application("subdomains")
    shown = []
    jar = httpx.Cookies()
    for host in ("www.shop.example", "api.shop.example", "shop.example", "other.example"):
        browser = Client(app, f"https://{host}")
        browser.cookies = jar
        shown.append((await browser.get("/")).json()["visits"])
        jar = browser.cookies
    assert shown == [1, 2, 3, 1]


def test_rotate_secret(serve: Serve) -> None:
    """In each step, processes of before and after know the cookies of each other."""
    old, new = "the-old-secret-of-32-bytes-or-more", "the-new-secret-of-32-bytes-or-more"
    steps = (old, f"{old},{new}", f"{new},{old}", new)
    processes = [serve("rotate_secret", SESSION_SECRET=step)() for step in steps]
    visitor = processes[0]  # the cookies of a host are those of all its ports
    addresses = [process.base_url for process in processes]
    visits = [
        visitor.get(address).json()["visits"]
        for before, after in pairwise(addresses)
        for address in (before, after, before, after)
    ]
    assert visits == [*range(1, 13)]


def test_callbacks(serve: Serve) -> None:
    """The provider's POST comes without the cookie, and the login stays."""
    new_browser = serve("callbacks")
    browser, without_cookies = new_browser(), new_browser()
    assert browser.post("/orders/7").headers["location"].startswith("https://pay.example/")
    cookie = browser.cookies["sid"]
    form = {"order": "7", "signature": "forged"}
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert without_cookies.post("/paid", data=form, headers=elsewhere).status_code == 400
    assert browser.get("/orders/7").json() == {"order": 7, "paid": False}
    form["signature"] = hmac.new(
        ENVIRONMENT["PAYMENT_KEY"].encode(), b"7", hashlib.sha256
    ).hexdigest()
    answer = without_cookies.post("/paid", data=form, headers=elsewhere)
    assert (answer.status_code, set_cookies(answer)) == (303, [])
    assert browser.get(answer.headers["location"]).json() == {"order": 7, "paid": True}
    assert browser.cookies["sid"] == cookie
    assert without_cookies.get("/orders/7").status_code == 404


def test_error_page(serve: Serve, tmp_path: Path) -> None:
    """A store that has vanished is a 503, and another error a 500 without the changes."""
    browser = serve("error_page")()
    browser.headers["connection"] = "close"  # uvicorn closes it after an exception
    assert browser.get("/").json() == {"visits": 1}
    assert browser.get("/crash").status_code == 500
    assert browser.get("/").json() == {"visits": 2}
    shutil.move(tmp_path / "sessions", tmp_path / "unmounted")
    answer = browser.get("/")
    assert (answer.status_code, answer.text) == (503, "Please try again.")
    shutil.move(tmp_path / "unmounted", tmp_path / "sessions")
    assert browser.get("/").json() == {"visits": 3}


@pytest.mark.integration("nginx")
def test_caching(application: Callable[..., Any]) -> None:
    """nginx keeps the page for everybody, and no page of a visitor."""
    with uvicorn_server(application("caching")) as url, Nginx({"/": url}) as cache:
        address = f"http://127.0.0.1:{cache.port}"
        with httpx.Client(base_url=address) as ann, httpx.Client(base_url=address) as bob:
            for visitor, item in ((ann, "hat"), (bob, "umbrella")):
                assert visitor.post(f"/cart/{item}").headers["cache-control"] == "no-store"
            for visitor, item in ((ann, "hat"), (bob, "umbrella")):
                answer = visitor.get("/cart")
                assert (answer.json(), answer.headers["vary"]) == ([item], "Cookie")
                assert answer.headers["cache-control"] == "private, no-cache"
            pages = [visitor.get("/catalog") for visitor in (ann, bob)]
    assert [page.headers["x-cache"] for page in pages] == ["MISS", "HIT"]
    assert "vary" not in pages[0].headers


@contextmanager
def proxied(app: Any, folder: Path, **server: Any) -> Iterator[tuple[str, str, ssl.SSLContext]]:
    """Yield the addresses of nginx for http and https, with the application behind it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("shop.example", "127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        uvicorn_server(app, **server) as url,
        NginxSite(
            (FOLDER / "nginx.conf").read_text("utf-8"),
            {
                "127.0.0.1:8000": url.removeprefix("http://"),
                "/etc/letsencrypt/live/shop.example/fullchain.pem": str(chain),
                "/etc/letsencrypt/live/shop.example/privkey.pem": str(key),
            },
        ) as site,
    ):
        yield f"http://127.0.0.1:{site.port}", f"https://127.0.0.1:{site.tls_port}", context


@pytest.mark.integration("nginx")
def test_nginx(application: Callable[..., Any], tmp_path: Path) -> None:
    """The cookie is Secure because of `trust_proxy`; http leads to https, and sockets pass."""
    app = application("proxy")
    with proxied(app, tmp_path, proxy_headers=False) as (plain, secure, context):
        with httpx.Client(base_url=plain, headers={"host": "shop.example"}) as browser:
            answer = browser.get("/")
            assert (answer.status_code, set_cookies(answer)) == (301, [])
            assert answer.headers["location"] == "https://shop.example/"
        with httpx.Client(base_url=secure, verify=context) as browser:
            forged = {"x-forwarded-proto": "http", "forwarded": "proto=http"}
            answer = browser.get("/", headers=forged)
            [line] = set_cookies(answer)
            assert line.startswith("__Host-sid=")
            assert "Secure" in line
            assert browser.get("/").json() == {"visits": 2}
            cookie = f"__Host-sid={browser.cookies['__Host-sid']}"
        url = secure.replace("https:", "wss:") + "/visits"
        with connect(url, additional_headers={"Cookie": cookie}, ssl=context) as socket:
            assert socket.recv(60) == "2"


@pytest.mark.integration("nginx")
@pytest.mark.parametrize("trusts", [True, False])
def test_uvicorn_itself_learns_from_nginx_that_it_is_https(
    application: Callable[..., Any], tmp_path: Path, trusts: bool
) -> None:
    """By its default for proxies on the same machine."""
    app = application("rotate_secret")  # without `trust_proxy`
    with proxied(app, tmp_path, proxy_headers=trusts) as (_, secure, context):
        [line] = set_cookies(httpx.get(secure, verify=context))
    assert ("Secure" in line) is trusts


def blocks_of(page: str) -> list[str]:
    """Return the blocks of Python of a page."""
    text = (ROOT / "docs/how-to" / page).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_a_script_outside_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first block of the page, as it is written: it lists sessions, and ends them."""
    monkeypatch.setenv("SESSION_STORE", f"file://{tmp_path}")
    monkeypatch.setenv("SESSION_SECRET", ENVIRONMENT["SESSION_SECRET"])
    with closing(open_store(f"file://{tmp_path}")) as store:
        options = SessionOptions(secret=ENVIRONMENT["SESSION_SECRET"], store=store, owner="user_id")
        sessions = Sessions(store, options)
        for user in (42, 42, 43):
            sessions.create({"user_id": user})
        exec(compile(blocks_of("outside-a-request.md")[0], "page", "exec"), {})
        assert [entry.data for entry in sessions.list_all()] == [{"user_id": 43}]
    assert capsys.readouterr().out.count("{'user_id': 42}") == 2


async def test_outside_a_request(tmp_path: Path) -> None:
    """The second block of the page, as it is written."""
    code = blocks_of("outside-a-request.md")[1].replace("/var/lib/shop/sessions", str(tmp_path))
    names: dict[str, Any] = {
        "SECRET": ENVIRONMENT["SESSION_SECRET"],
        "response": Response(),
        "mark_as_paid": lambda data: data.update(paid=True),
        "cookie_header": "sid=none",
    }
    running = eval(compile(code, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    await running
    assert names["found"] is None
    made, sessions = names["made"], names["sessions"]
    assert names["response"].headers["set-cookie"] == made.set_cookie
    found = await sessions.afind(f"{made.cookie_name}={made.cookie_value}")
    assert found.data == {"user_id": 42, "paid": True}
    assert [entry.ref for entry in await sessions.alist(42)] == [made.ref]
    await names["store"].close()
