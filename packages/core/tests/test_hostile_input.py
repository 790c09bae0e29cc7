"""Cookies from people who mean no good, and from programs that are broken."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from webclient import SECRET, CountingStore, asgi_app, wsgi_app

from coatcheck._cookies.signing import Signer
from coatcheck.cookie_format import NativeCookieFormat

pytestmark = pytest.mark.anyio

ID = "abcdefghijklmnopqrstuvwxyz012345"
Headers = list[tuple[str, str]]


def signed(session_id: str, name: str = "sid") -> bytes:
    """Sign whatever is given, as somebody who knows the secret could."""
    return Signer([SECRET.encode()], name).sign(session_id).encode()


async def ask_asgi(app: Any, cookies: Iterable[bytes]) -> tuple[Headers, bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "scheme": "http",
        "headers": [(b"host", b"shop.test"), *((b"cookie", line) for line in cookies)],
    }
    await app(scope, receive, send)
    start, *bodies = sent
    assert start["status"] == 200
    headers = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]
    ]
    return headers, b"".join(message["body"] for message in bodies)


async def ask_wsgi(app: Any, cookies: Iterable[bytes]) -> tuple[Headers, bytes]:
    environ: dict[str, Any] = {"wsgi.input": io.BytesIO()}
    setup_testing_defaults(environ)
    # As servers do: the lines of one header are joined, the bytes read as Latin-1.
    environ["HTTP_COOKIE"] = b"; ".join(cookies).decode("latin-1")
    started: list[tuple[str, Headers]] = []

    def start_response(status: str, headers: Headers, exc_info: Any = None) -> Any:
        started.append((status, headers))
        return lambda data: None

    body = b"".join(app(environ, start_response))
    [(status, headers)] = started
    assert status == "200 OK"
    return [(name.lower(), value) for name, value in headers], body


DRIVERS = {"asgi": (asgi_app, ask_asgi), "wsgi": (wsgi_app, ask_wsgi)}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Any:
    """Both drivers face the same cookies."""
    return DRIVERS[request.param]


HOSTILE: dict[str, list[bytes]] = {
    "oversized": [b"sid=" + b"a" * 100_000],
    "oversized and dotted": [b"sid=" + b"a." * 50_000],
    "oversized and signed": [b"sid=" + signed("a" * 10_000)],
    "oversized names": [b"x" * 100_000 + b"sid=1; " + b"sid" * 10_000],
    "non-ASCII": [b"sid=\xff\xfe\xe9.\xc3\xa9"],
    "non-ASCII id": ["sid=é.".encode() + signed(ID).split(b".")[1]],
    "non-ASCII signature": [f"sid={ID}.".encode() + b"\xe9" * 43],
    "CR and LF": [b"sid=a\r\nSet-Cookie: sid=b", b"sid=" + signed(ID) + b"\r\nx"],
    "NUL": [b"sid=\x00", b"sid=" + signed(ID) + b"\x00"],
    "only separators": [b";;;===;=;sid;=sid;", b"sid=", b"sid==", b"sid=.", b'sid="', b'sid=""'],
    "1,000 of ours": [b"; ".join(b"sid=%d" % number for number in range(1000))],
    "1,000 lines of ours": [b"sid=%d" % number for number in range(1000)],
    "1,000 others": [b"; ".join(b"c%d=%d" % (number, number) for number in range(1000))],
    "a good one behind five bad ones": [b"sid=1; sid=2; sid=3; sid=4; sid=5; sid=" + signed(ID)],
    "of another name": [b"sid=" + signed(ID, "admin"), b"sid2=" + signed(ID)],
    "unsigned": [f"sid={ID}".encode()],
    "half a signature": [b"sid=" + signed(ID)[:-1]],
    "a padded signature": [b"sid=" + signed(ID) + b"="],
    "two signatures": [b"sid=" + signed(signed(ID).decode())],
    "Express's spelling": [b"sid=s%3A" + signed(ID), b"sid=s:" + signed(ID)],
    "percent-encoded": [b"sid=" + signed(ID).replace(b".", b"%2E")],
    "a path": [b"sid=" + signed("../../../../etc/passwd")],
    "a long path": [b"sid=" + signed("../" * 20), b"sid=" + signed("..%2f" * 5)],
    "a pattern": [b"sid=" + signed("*" * 32), b"sid=" + signed("[a-z]*" + "a" * 20)],
    "an operator": [b"sid=" + signed('{"$gt":""}' + "a" * 20)],
    "a line break in the id": [b"sid=" + signed(ID + "\n")],
    "a short id": [b"sid=" + signed("a" * 15)],
    "a long id": [b"sid=" + signed("a" * 129)],
    "an empty id": [b"sid=" + signed("")],
}


@pytest.mark.parametrize("cookies", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_cookie_never_reaches_the_store(driver: Any, cookies: list[bytes]) -> None:
    """No good signature over an id of our syntax: a new session and not one store call."""
    make_app, ask = driver
    store, events = CountingStore(), []
    app = make_app(
        lambda session, request: (session.is_new, dict(session)),
        store=store,
        load="eager",
        observers=[events.append],
        headers=[],
    )
    headers, body = await ask(app, cookies)
    assert body == b"(True, {})"
    assert store.taken() == []
    assert [value for name, value in headers if name == "set-cookie"] == []
    assert {event.kind for event in events} <= {"bad_cookie"}
    assert len(events) <= 5


@pytest.mark.parametrize("cookies", HOSTILE.values(), ids=HOSTILE)
async def test_nothing_of_a_hostile_cookie_comes_back(driver: Any, cookies: list[bytes]) -> None:
    """A session that begins on such a request has an id of its own, in one clean header."""
    make_app, ask = driver
    store = CountingStore()
    app = make_app(lambda session, request: session.update(n=1), store=store, load="eager")
    headers, _ = await ask(app, cookies)
    [line] = [value for name, value in headers if name == "set-cookie"]
    assert line.isascii()
    assert line.isprintable()
    value = line.removeprefix("sid=").partition(";")[0]
    token = NativeCookieFormat().bind("sid", [SECRET.encode()]).unsign(value)
    assert token is not None
    assert len(token.id) == 32
    assert token.id not in b" ".join(cookies).decode("latin-1")
    assert store.taken() == ["set"]


@pytest.mark.parametrize("cookies", HOSTILE.values(), ids=HOSTILE)
async def test_a_page_without_need_of_the_session_stays_up(
    driver: Any, cookies: list[bytes]
) -> None:
    """With any cookie, an untouched session changes nothing about a response."""
    make_app, ask = driver
    store = CountingStore()
    app = make_app(lambda session, request: "hello", store=store, load="eager", headers=[])
    headers, body = await ask(app, cookies)
    assert (dict(headers).keys() - {"content-type"}, body) == (set(), b"hello")
    assert store.taken() == []


@pytest.mark.parametrize("bad", range(5))
async def test_bad_cookies_do_not_hide_a_good_one(driver: Any, bad: int) -> None:
    """Of up to five cookies of our name the first that the store knows wins."""
    make_app, ask = driver
    store = CountingStore()
    app = make_app(
        lambda session, request: session.setdefault("n", 1) and session.is_new,
        store=store,
        generate_id=lambda request: ID,
    )
    await ask(app, [])
    store.taken()
    cookies = [b"sid=%d" % number for number in range(bad)]
    _, body = await ask(app, [*cookies, b"sid=" + signed(ID)])
    assert body == b"False"
    assert store.taken() == ["get"]


async def test_an_unknown_id_is_not_adopted(driver: Any) -> None:
    """A well signed id that the store does not know gives a new session with a new id."""
    make_app, ask = driver
    store = CountingStore()
    app = make_app(lambda session, request: session.update(n=1), store=store)
    headers, _ = await ask(app, [b"sid=" + signed(ID)])
    [line] = [value for name, value in headers if name == "set-cookie"]
    assert ID not in line
    assert store.taken() == ["get", "set"]


async def test_at_most_five_ids_are_looked_up(driver: Any) -> None:
    """A thousand well signed cookies cost five reads."""
    make_app, ask = driver
    store = CountingStore()
    app = make_app(lambda session, request: dict(session), store=store, load="eager")
    line = b"; ".join(b"sid=" + signed(f"{number:032}") for number in range(1000))
    _, body = await ask(app, [line])
    assert body == b"{}"
    assert store.taken() == ["get"] * 5
