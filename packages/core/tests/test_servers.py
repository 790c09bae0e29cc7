"""The middlewares behind real servers, told with a real client and its cookie jar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from serving import (
    gunicorn_server,
    hypercorn_server,
    uvicorn_server,
    waitress_server,
    wsgiref_server,
)
from stories import GATES, TIMEOUT, awaiting, new_asgi_app, new_sockets_app, new_wsgi_app
from webclient import set_cookies
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

SERVERS: dict[str, Callable[[], Any]] = {
    "uvicorn": lambda: uvicorn_server(new_asgi_app()),
    "hypercorn-trio": lambda: hypercorn_server(new_asgi_app()),
    "waitress": lambda: waitress_server(new_wsgi_app()),
    "wsgiref": lambda: wsgiref_server(new_wsgi_app()),
    "gunicorn": lambda: gunicorn_server("stories:new_wsgi_app()"),
}


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[[str], str]]:
    """Start each server when the first test needs it, and stop all of them at the end."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def url_of(name: str) -> str:
            if name not in urls:
                urls[name] = stack.enter_context(SERVERS[name]())
            return urls[name]

        yield url_of


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest, started: Callable[[str], str]) -> str:
    """The address of each server in turn."""
    return started(request.param)


@pytest.fixture
def browser(url: str) -> Iterator[httpx.Client]:
    """A client with an empty cookie jar."""
    with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
        yield client


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return request.node.nodeid


def test_visits_are_counted(browser: httpx.Client) -> None:
    """A visitor's count goes on from request to request, and the cookie is set only once."""
    responses = [browser.get("/visits") for _ in range(3)]
    assert [response.text for response in responses] == ["1", "2", "3"]
    assert [len(set_cookies(response)) for response in responses] == [1, 0, 0]


def test_a_page_without_a_session_sets_no_cookie(browser: httpx.Client) -> None:
    """A page that does not use the session answers as if there were no middleware."""
    response = browser.get("/nothing")
    assert set_cookies(response) == []
    assert "vary" not in response.headers


def test_login_rotates_and_logout_ends(browser: httpx.Client) -> None:
    """Login gives the session a new id, and after logout neither old cookie opens anything."""
    browser.get("/visits")
    anonymous = browser.cookies["sid"]
    browser.get("/login?user=ada")
    logged_in = browser.cookies["sid"]
    assert logged_in != anonymous
    assert browser.get("/me").text == "ada"
    browser.get("/logout")
    assert "sid" not in browser.cookies
    for stolen in (anonymous, logged_in):
        browser.cookies.clear()
        assert browser.get("/me", headers={"Cookie": f"sid={stolen}"}).text == "None"
        assert browser.get("/visits", headers={"Cookie": f"sid={stolen}"}).text == "1"


def test_a_redirect_finds_what_was_saved(browser: httpx.Client) -> None:
    """A client that follows a redirect at once sees the session that the redirect announced."""
    for user in ("ada", "grace", "mary", "radia"):
        response = browser.get(f"/login?user={user}", follow_redirects=True)
        assert [response.history[0].status_code, response.text] == [303, user]


def test_head_saves_and_announces(browser: httpx.Client) -> None:
    """HEAD is served like GET: the session is saved and the cookie set, without a body."""
    response = browser.head("/visits")
    assert (response.content, len(set_cookies(response))) == (b"", 1)
    assert browser.get("/visits").text == "2"


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_saves_and_announces(browser: httpx.Client, status: int) -> None:
    """204 and 304 have no body, but their session is saved and announced."""
    response = browser.get(f"/{status}")
    assert (response.status_code, response.content) == (status, b"")
    assert len(set_cookies(response)) == 1
    browser.get("/visits")
    assert browser.get("/visits").text == "2"


def test_a_stream_announces_its_session_with_the_first_byte(
    browser: httpx.Client, gate: str
) -> None:
    """The session of a streamed response can be used by others while the stream goes on."""
    with browser.stream("GET", "/stream", params={"gate": gate, "then": "nothing"}) as response:
        lines = response.iter_lines()
        assert next(lines) == "first"
        assert len(set_cookies(response)) == 1
        assert browser.get("/visits").text == "1"
        browser.get("/open", params={"gate": gate})
        assert list(lines) == ["last"]
    response = browser.get("/visits")
    assert (response.text, set_cookies(response)) == ("2", [])


def test_a_late_write_is_saved_before_the_stream_ends(browser: httpx.Client, gate: str) -> None:
    """A write during a stream is saved when it ends, together with what others saved meanwhile."""
    browser.get("/visits")
    with browser.stream("GET", "/stream", params={"gate": gate, "then": "write"}) as response:
        assert set_cookies(response) == []
        assert browser.get("/visits").text == "2"
        browser.get("/open", params={"gate": gate})
        assert response.read() == b"first\nlast\n"
    assert browser.get("/late").text == "written"
    assert browser.get("/visits").text == "3"


def test_a_client_that_goes_away_harms_nobody(browser: httpx.Client, gate: str) -> None:
    """When the client leaves in the middle of a stream, its session and the server go on."""
    browser.get("/visits")
    with browser.stream("GET", "/stream", params={"gate": gate, "then": "nothing"}) as response:
        assert next(response.iter_lines()) == "first"
    browser.get("/open", params={"gate": gate})
    assert browser.get("/visits").text == "2"


@pytest.mark.parametrize("name", ["uvicorn", "hypercorn-trio", "waitress", "wsgiref"])
def test_a_logout_is_done_though_the_client_left(
    started: Callable[[str], str], name: str, gate: str
) -> None:
    """A logout in a stream ends the session even if nobody reads the rest of the stream."""
    with httpx.Client(base_url=started(name), timeout=TIMEOUT) as browser:
        browser.get("/login?user=ada")
        with awaiting("destroyed"):
            parameters = {"gate": gate, "then": "logout"}
            with browser.stream("GET", "/stream", params=parameters) as response:
                assert next(response.iter_lines()) == "first"
            GATES[gate].set()
        assert browser.get("/me").text == "None"


def test_no_cookie_of_one_user_reaches_another(url: str) -> None:
    """Many users on a few kept-alive connections get their own cookies and their own data."""

    def visit_in_turn(numbers: range) -> list[tuple[int, list[str], list[str]]]:
        with httpx.HTTPTransport(limits=httpx.Limits(max_connections=1)) as connection:
            users = [
                (number, httpx.Client(base_url=url, transport=connection, timeout=TIMEOUT), [], [])
                for number in numbers
            ]
            for path in ("/login?user={}", "/me", "/visits", "/visits", "/me"):
                for number, user, announced, seen in users:
                    response = user.get(path.format(number))
                    announced.extend(set_cookies(response))
                    seen.append(response.text)
        return [(number, announced, seen) for number, _, announced, seen in users]

    with ThreadPoolExecutor(4) as threads:
        parts = threads.map(visit_in_turn, [range(first, 12, 4) for first in range(4)])
        results = [result for part in parts for result in part]
    cookies = [cookie for _, announced, _ in results for cookie in announced]
    assert len(cookies) == len(set(cookies)) == 12
    for number, _, seen in results:
        assert seen == ["", str(number), "1", "2", str(number)]


# WebSockets


@pytest.fixture(scope="module")
def sockets_url() -> Iterator[str]:
    """The address of a server of sockets."""
    with uvicorn_server(new_sockets_app()) as url:
        yield url


@pytest.fixture
def visitor(sockets_url: str) -> Iterator[httpx.Client]:
    """A client of the server of sockets, with an empty cookie jar."""
    with httpx.Client(base_url=sockets_url, timeout=TIMEOUT) as client:
        yield client


def open_socket(visitor: httpx.Client, path: str = "/socket") -> ClientConnection:
    """Open a socket with the cookies of a visitor."""
    sid = visitor.cookies.get("sid")
    headers = {} if sid is None else {"Cookie": f"sid={sid}"}
    url = str(visitor.base_url.join(path)).replace("http:", "ws:")
    return connect(url, additional_headers=headers, open_timeout=TIMEOUT)


def test_a_socket_sees_the_session_of_its_visitor(visitor: httpx.Client) -> None:
    """A socket has the session of the cookie in its handshake, and sets no second cookie."""
    visitor.get("/login?user=ada")
    with open_socket(visitor) as socket:
        assert socket.recv(TIMEOUT) == "1 ada"
        assert "set-cookie" not in socket.response.headers
    with open_socket(visitor) as socket:
        assert socket.recv(TIMEOUT) == "2 ada"


def test_a_socket_announces_a_new_session_when_accepted(visitor: httpx.Client) -> None:
    """The cookie of a session that began with a socket comes with the handshake's response."""
    with open_socket(visitor) as socket:
        assert socket.recv(TIMEOUT) == "1 None"
        cookie = socket.response.headers["set-cookie"]
    visitor.cookies.set("sid", cookie.partition("=")[2].partition(";")[0])
    with open_socket(visitor) as socket:
        assert socket.recv(TIMEOUT) == "2 None"


def test_a_write_in_an_open_socket_is_saved_when_it_closes(visitor: httpx.Client) -> None:
    """A write while the socket is open is there for the requests after its end."""
    visitor.get("/visits")
    with open_socket(visitor) as socket:
        socket.recv(TIMEOUT)
        socket.send("hello")
        assert socket.recv(TIMEOUT) == "noted"
        assert visitor.get("/late").text == "None"
        with awaiting("updated"):
            socket.close()
    assert visitor.get("/late").text == "hello"


def test_a_denied_socket_may_announce_its_session(visitor: httpx.Client) -> None:
    """The HTTP response that denies a socket carries the cookie of a new session."""
    with pytest.raises(InvalidStatus) as denied, open_socket(visitor, "/denied"):
        pass
    assert denied.value.response.status_code == 403
    assert denied.value.response.headers["set-cookie"].startswith("sid=")


def test_a_socket_that_is_closed_before_it_opens_sets_no_cookie(visitor: httpx.Client) -> None:
    """A close instead of an accept becomes the server's own 403, in which nothing can be set."""
    with pytest.raises(InvalidStatus) as denied, open_socket(visitor, "/closed"):
        pass
    assert denied.value.response.status_code == 403
    assert "set-cookie" not in denied.value.response.headers
