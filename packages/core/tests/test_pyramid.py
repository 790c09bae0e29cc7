"""Pyramid's sessions: flash messages, CSRF tokens, failures and streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden, HTTPFound
from pyramid.interfaces import ISession, ISessionFactory
from pyramid.request import Request
from pyramid.response import FileResponse, Response
from webclient import SECRET, Clock, CountingStore, FragileStore, SyncClient, sessions_in
from zope.interface.verify import verifyObject

from coatcheck import CookieOptions, MemoryStore, Sessions, session_of
from coatcheck.errors import ConfigurationError, LateWriteError, StoreUnavailable
from coatcheck.pyramid import PyramidSession, SessionFactory
from coatcheck.testing import login


def count(request: Any) -> dict[str, Any]:
    assert session_of(request) is request.session
    request.session["n"] = request.session.get("n", 0) + 1
    return dict(request.session)


def show(request: Any) -> dict[str, Any]:
    return dict(request.session)


def enter(request: Any) -> Any:
    request.session.invalidate()
    request.session["user"] = "ann"
    raise HTTPFound("/show")


def leave(request: Any) -> dict[str, Any]:
    request.session.invalidate()
    return {}


def flash(request: Any) -> dict[str, Any]:
    session = request.session
    for message in ("saved", "saved"):
        session.flash(message, allow_duplicate=False)
        session.flash(message, "twice")
    return {}


def read_flash(request: Any) -> dict[str, Any]:
    session = request.session
    return {"peek": session.peek_flash("twice"), "pop": [*session.pop_flash(), session.pop_flash()]}


def nested(request: Any) -> dict[str, Any]:
    request.session.setdefault("cart", []).append("umbrella")
    request.session.changed()
    return {"new": request.session.new, "created": request.session.created}


def token(request: Any) -> dict[str, Any]:
    return {"token": request.session.get_csrf_token()}


def fail(request: Any) -> Any:
    request.session["user"] = "eve"
    raise ZeroDivisionError


def refuse(request: Any) -> Any:
    request.session["refused"] = True
    raise HTTPForbidden


def stream(request: Any) -> Any:
    session = request.session
    session["before"] = True

    def parts() -> Iterator[bytes]:
        session["late"] = True
        yield b"piece"

    return Response(app_iter=parts())


def given(request: Any) -> Any:
    request.session["before"] = True
    return Response(app_iter=request.environ["test.body"](request.session))


def file(request: Any) -> Any:
    request.session["before"] = True
    return FileResponse(__file__, request)


def public(request: Any) -> dict[str, Any]:
    return {}


def csrf(request: Any) -> dict[str, Any]:
    return {"checked": True}


PAGES = [
    count,
    show,
    enter,
    leave,
    flash,
    read_flash,
    nested,
    token,
    fail,
    refuse,
    stream,
    given,
    file,
    public,
]


def site(**options: Any) -> tuple[SessionFactory, Any]:
    """Return a session factory, and an application with it."""
    factory = SessionFactory(secret=SECRET, **{"store": MemoryStore(), **options})
    with Configurator() as config:
        config.set_session_factory(factory)
        for page in PAGES:
            config.add_route(page.__name__, f"/{page.__name__}")
            config.add_view(page, route_name=page.__name__, renderer="json")
        config.add_route("csrf", "/csrf")
        config.add_view(csrf, route_name="csrf", renderer="json", require_csrf=True)
        return factory, config.make_wsgi_app()


def browser_of(**options: Any) -> SyncClient:
    return SyncClient(site(**options)[1])


def test_a_session_is_kept_from_request_to_request() -> None:
    store = CountingStore()
    browser = browser_of(store=store)
    answers = [browser.get("/count") for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"n": 1}, {"n": 2}]
    assert answers[0].headers["Vary"] == "Cookie"
    assert "set-cookie" not in answers[1].headers
    store.taken()
    assert "Vary" not in browser.get("/public").headers
    assert store.taken() == []


def test_a_redirect_that_is_raised_has_the_new_session() -> None:
    store = MemoryStore()
    browser = browser_of(store=store)
    browser.get("/count")
    [before] = sessions_in(store)
    assert browser.get("/enter", follow_redirects=True).json() == {"user": "ann"}
    assert before not in sessions_in(store)
    browser.get("/leave")
    assert sessions_in(store) == {}
    assert list(browser.cookies) == []


def test_flash_messages_are_shown_once() -> None:
    browser = browser_of()
    browser.get("/flash")
    assert browser.get("/read_flash").json() == {"peek": ["saved"] * 2, "pop": ["saved", []]}
    assert browser.get("/read_flash").json() == {"peek": ["saved"] * 2, "pop": [[]]}


def test_changes_inside_values_are_noticed() -> None:
    clock = Clock(1_700_000_000.5)
    browser = browser_of(clock=clock, store=MemoryStore(clock=clock))
    assert browser.get("/nested").json() == {"new": True, "created": 1_700_000_000}
    assert browser.get("/nested").json() == {"new": False, "created": 1_700_000_000}
    assert browser.get("/show").json() == {"cart": ["umbrella", "umbrella"]}


def test_pyramid_s_protection_against_forged_requests_uses_the_session() -> None:
    browser = browser_of()
    token = browser.get("/token").json()["token"]
    assert browser.get("/token").json()["token"] == token
    headers = {"X-CSRF-Token": token, "Origin": "http://shop.test"}
    assert browser.post("/csrf", headers=headers).json() == {"checked": True}
    assert browser.post("/csrf", headers={**headers, "X-CSRF-Token": "forged"}).status_code == 400


def test_a_view_that_fails_changes_nothing() -> None:
    """A response that it raises is one, and keeps its changes."""
    browser = browser_of()
    browser.get("/count")
    with pytest.raises(ZeroDivisionError):
        browser.get("/fail")
    assert browser.get("/show").json() == {"n": 1}
    assert browser.get("/refuse").status_code == 403
    assert browser.get("/show").json() == {"n": 1, "refused": True}


def test_a_stream_is_saved_at_its_end() -> None:
    browser = browser_of()
    assert browser.get("/stream").text == "piece"
    assert browser.get("/show").json() == {"before": True, "late": True}


class Parts:
    """A body that is open until somebody closes it."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        self.session["late"] = True
        yield b"piece"
        yield b"end"

    def close(self) -> None:
        self.closed += 1


class FailingParts(Parts):
    """A body whose second part fails."""

    def __iter__(self) -> Iterator[bytes]:
        self.session["late"] = True
        yield b"piece"
        raise ZeroDivisionError


class Streams:
    """A visitor with a session, who reads bodies part by part."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        _, app = site(store=self.store)
        self.app = app
        self.browser = SyncClient(app)
        self.browser.get("/count")
        self.body: Any = None

    def read(
        self,
        path: str,
        parts: Callable[[Any], Any] = Parts,
        method: str = "GET",
        wrapper: type | None = None,
    ) -> tuple[dict[str, str], Any]:
        """Return the headers of a page, and what the server iterates over."""

        def make(session: Any) -> Any:
            self.body = parts(session)
            return self.body

        [(name, value)] = self.browser.cookies.items()
        environ: dict[str, Any] = {"test.body": make}
        if wrapper is not None:
            environ["wsgi.file_wrapper"] = wrapper
        request = Request.blank(path, environ=environ, cookies={name: value}, method=method)
        _, headers, body = request.call_application(self.app)
        return dict(headers), body

    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.browser.get("/show").json()
        return data


def is_open(session: Any) -> bool:
    """Tell whether a request's session can still be changed."""
    try:
        session["n"] = 1
    except LateWriteError:
        return False
    return True


def test_a_stream_is_closed_once_it_is_read() -> None:
    visitor = Streams()
    _, body = visitor.read("/given")
    assert list(body) == [b"piece", b"end"]
    body.close()
    assert visitor.body.closed == 1
    assert visitor.data() == {"n": 1, "before": True, "late": True}
    assert not is_open(visitor.body.session)


def test_a_stream_that_nobody_reads_is_closed() -> None:
    visitor = Streams()
    _, body = visitor.read("/given", method="HEAD")
    assert list(body) == []
    assert is_open(visitor.body.session)
    body.close()
    assert visitor.body.closed == 1
    assert not is_open(visitor.body.session)
    assert visitor.data() == {"n": 1, "before": True}


def test_a_stream_that_is_cut_off_saves_what_it_has_changed() -> None:
    visitor = Streams()
    _, body = visitor.read("/given")
    assert next(iter(body)) == b"piece"
    body.close()
    assert visitor.body.closed == 1
    assert visitor.data() == {"n": 1, "before": True, "late": True}
    assert not is_open(visitor.body.session)


def test_a_stream_that_raises_drops_its_changes() -> None:
    visitor = Streams()
    _, body = visitor.read("/given", FailingParts)
    assert next(body) == b"piece"
    with pytest.raises(ZeroDivisionError):
        next(body)
    body.close()
    assert visitor.body.closed == 1
    assert visitor.data() == {"n": 1, "before": True}


def test_a_file_goes_out_as_it_is() -> None:
    visitor = Streams()
    _, body = visitor.read("/file", wrapper=FileWrapper)
    assert type(body) is FileWrapper
    body.close()
    assert visitor.data() == {"n": 1, "before": True}


def test_a_file_without_the_server_s_wrapper_keeps_its_length() -> None:
    visitor = Streams()
    headers, body = visitor.read("/file")
    body.close()
    assert int(headers["Content-Length"]) == Path(__file__).stat().st_size


def test_a_store_that_fails_sends_no_cookie() -> None:
    store = FragileStore()
    browser = browser_of(store=store)
    store.fail("set")
    with pytest.raises(StoreUnavailable):
        browser.get("/count")


def test_the_session_has_what_pyramid_asks_for() -> None:
    factory, app = site(owner="user")
    assert verifyObject(ISessionFactory, factory)
    seen: list[Any] = []

    def look(request: Any) -> dict[str, Any]:
        seen.append(verifyObject(ISession, request.session, tentative=True))
        seen.append(isinstance(request.session, PyramidSession))
        return {}

    with Configurator() as config:
        config.set_session_factory(factory)
        config.add_route("look", "/")
        config.add_view(look, route_name="look", renderer="json")
        SyncClient(config.make_wsgi_app()).get("/")
    assert seen == [True, True]
    sessions = Sessions(factory.store, factory.options)
    browser = SyncClient(app)
    login(browser, {"user": "ann"}, sessions=sessions)
    assert browser.get("/show").json() == {"user": "ann"}
    assert sessions.revoke_all("ann") == 1
    assert browser.get("/show").json() == {}


def test_options_are_those_of_the_other_middlewares() -> None:
    browser = browser_of(name="shop", cookie=CookieOptions(max_age=600))
    line = browser.get("/count").headers["set-cookie"]
    assert line.startswith("shop=")
    assert "Max-Age=600" in line
    with pytest.raises(ConfigurationError, match="`secret` is required"):
        SessionFactory()
