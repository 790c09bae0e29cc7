"""Real shared caches in front of the middlewares: no visitor gets what is another's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from serving import uvicorn_server, waitress_server
from webclient import SECRET, set_cookies

from coatcheck import MemoryStore
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.wsgi import SessionMiddleware as WSGISessions
from testing.servers.caches import Apache, Nginx

#: How the pages of the application are declared, by what their path begins with.
DECLARED = {
    "public": {"Cache-Control": "public, max-age=60"},
    "shared": {"Cache-Control": "s-maxage=60, max-age=0, immutable"},
    "expires": {"Expires": "Fri, 01 Jan 2100 00:00:00 GMT"},
    "mine": {"Cache-Control": "public, max-age=60", "X-Accel-Expires": "60"},
    "undeclared": {"Last-Modified": "Fri, 01 Jan 2010 00:00:00 GMT"},
}


async def asgi_pages(scope: Any, receive: Any, send: Any) -> None:
    """Serve pages whose path says how they are declared, and what they do with the session."""
    if scope["type"] != "http":
        return
    session, (declared, what) = scope["session"], scope["path"].strip("/").split("/")
    body = use(session, what)
    headers = [
        (name.lower().encode(), value.encode()) for name, value in DECLARED[declared].items()
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if what == "late":
        await send({"type": "http.response.body", "body": b"for ", "more_body": True})
        body = session.get("user", "nobody")
    await send({"type": "http.response.body", "body": body.encode()})


def wsgi_pages(environ: Any, start_response: Any) -> Iterator[bytes]:
    """Serve the same pages."""
    session = environ["coatcheck.session"]
    declared, what = environ["PATH_INFO"].strip("/").split("/")
    body = use(session, what)
    start_response("200 OK", list(DECLARED[declared].items()))
    if what == "late":
        yield b"for "
        body = session.get("user", "nobody")
    yield body.encode()


def use(session: Any, what: str) -> str:
    if what == "visit":
        session["visits"] = 1
    elif what in ("ann", "bob"):
        session["user"] = what
    elif what == "me":
        return str(session.get("user", "nobody"))
    return "hello"


CACHES = {"nginx": Nginx, "apache": Apache}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.integration(name)) for name in CACHES],
)
def cache(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a cache, with both middlewares behind it."""
    with ExitStack() as stack:
        backends = {
            "/asgi/": uvicorn_server(
                ASGISessions(asgi_pages, secret=SECRET, store=MemoryStore()), lifespan="off"
            ),
            "/wsgi/": waitress_server(WSGISessions(wsgi_pages, secret=SECRET, store=MemoryStore())),
        }
        urls = {path: stack.enter_context(server) for path, server in backends.items()}
        server = stack.enter_context(CACHES[request.param](urls))
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(params=["asgi", "wsgi"])
def site(request: pytest.FixtureRequest, cache: str) -> str:
    """The address of each application in turn."""
    return f"{cache}/{request.param}"


@contextmanager
def visitor(site: str, user: str | None = None) -> Iterator[httpx.Client]:
    """Yield a client, of a user who has logged in."""
    with httpx.Client(base_url=site, verify=False) as client:
        if user is not None:
            assert len(set_cookies(client.get(f"/undeclared/{user}"))) == 1
        yield client


def seen(client: httpx.Client, path: str) -> str:
    """Return what a client gets to see of a page, which may break off."""
    body = b""
    try:
        with client.stream("GET", path) as response:
            for part in response.iter_raw():
                body += part
    except httpx.RemoteProtocolError:
        return "broken off"
    return body.decode()


@pytest.mark.parametrize("declared", DECLARED)
def test_a_cookie_goes_to_one_visitor_alone(site: str, declared: str) -> None:
    """However its page is declared, a response that sets the cookie is in no cache."""
    with visitor(site) as ann, visitor(site) as bob:
        cookies = [set_cookies(each.get(f"/{declared}/visit")) for each in (ann, bob)]
    assert [len(lines) for lines in cookies] == [1, 1]
    assert cookies[0] != cookies[1]


@pytest.mark.parametrize("declared", DECLARED)
def test_a_page_is_shown_to_its_visitor_alone(site: str, declared: str) -> None:
    """A page that read the session is kept for each cookie apart, if it may be kept at all."""
    with visitor(site, "ann") as ann, visitor(site, "bob") as bob, visitor(site) as stranger:
        shown = [seen(each, f"/{declared}/me") for each in (ann, bob, stranger)]
        again = ann.get(f"/{declared}/me")
    assert shown == ["ann", "bob", "nobody"]
    assert (again.text, again.headers["x-cache"][:3]) == ("ann", "HIT")


@pytest.mark.parametrize("declared", sorted(DECLARED.keys() - {"undeclared"}))
def test_a_stream_that_reads_late_is_shown_to_nobody_else(site: str, declared: str) -> None:
    """The session of a page that caches may keep is refused once its headers are out."""
    with visitor(site, "ann") as ann, visitor(site, "bob") as bob, visitor(site) as stranger:
        shown = [seen(each, f"/{declared}/late") for each in (ann, bob, stranger)]
    assert shown == ["broken off", "broken off", "for nobody"]
