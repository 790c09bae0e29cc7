"""`flask.session` and all of Flask that uses it, on sessions that are kept on the server."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import flask
import pytest
from a2wsgi import WSGIMiddleware
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from flask.testing import FlaskClient

from coatcheck import MemoryStore, Record, SyncSession
from coatcheck import session_of as core_session_of
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import ConfigurationError, LateWriteError, StoreUnavailable
from coatcheck.integration import SyncIntegration
from coatcheck.store import ALWAYS, Condition
from coatcheck.testing import login, read_session
from coatcheck.wsgi import SessionMiddleware
from coatcheck_flask import Coatcheck, FlaskSession, session

SECRET = "a secret of thirty-two bytes, more"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Shop:
    """A Flask application, its clock, its store and a visitor."""

    def __init__(self, store: MemoryStore | None = None, **config: Any) -> None:
        self.clock = Clock()
        self.store = store or MemoryStore(clock=self.clock)
        self.app = flask.Flask("shop")
        self.app.config.update(SECRET_KEY=SECRET, TESTING=True, **config)
        self.coatcheck = Coatcheck(self.app, store=self.store, clock=self.clock)
        self.page: Callable[[], Any] = lambda: None
        self.app.add_url_rule("/", "page", lambda: self.page() or "done")
        self.client: FlaskClient = self.app.test_client()

    def visit(self, function: Callable[[], Any], **arguments: Any) -> Any:
        """Make a request that is answered by the function."""
        self.page = function
        return self.client.get("/", **arguments)

    def data(self) -> dict[str, Any]:
        """Return what the session of the visitor has."""
        with self.client.session_transaction() as found:
            return dict(found)

    def cookies(self, response: Any) -> list[str]:
        return list(response.headers.getlist("Set-Cookie"))


@pytest.fixture
def shop() -> Shop:
    return Shop()


def put(**values: Any) -> Callable[[], None]:
    return lambda: flask.session.update(values)


def test_data_stay_on_the_server(shop: Shop) -> None:
    response = shop.visit(put(user="Ada Lovelace"))
    (line,) = shop.cookies(response)
    assert line.startswith("session=")
    assert "; HttpOnly" in line
    assert "Lovelace" not in line
    assert shop.visit(lambda: flask.session["user"]).text == "Ada Lovelace"
    assert shop.store.length() == 1


def test_the_session_is_both(shop: Shop) -> None:
    """It is a session of coatcheck and one of Flask."""

    def page() -> None:
        found = flask.session._get_current_object()  # type: ignore[attr-defined]
        assert isinstance(found, FlaskSession)
        assert isinstance(found, SyncSession)
        assert isinstance(found, flask.sessions.SessionMixin)
        assert core_session_of(flask.request) is found
        assert session == flask.session

    shop.visit(page)


def test_nested_changes_are_noticed(shop: Shop) -> None:
    shop.visit(put(cart=["umbrella"]))
    shop.visit(lambda: flask.session["cart"].append("hat"))
    assert shop.data() == {"cart": ["umbrella", "hat"]}


def test_flashed_messages_are_shown_once(shop: Shop) -> None:
    shop.visit(lambda: flask.flash("welcome", "info"))
    page = lambda: str(flask.get_flashed_messages(with_categories=True))  # noqa: E731
    assert shop.visit(page).text == "[('info', 'welcome')]"
    assert shop.visit(page).text == "[]"


def test_templates_have_the_session(shop: Shop) -> None:
    shop.visit(put(user="Ada"))
    template = "{{ session.user }} {{ session['user'] }}"
    assert shop.visit(lambda: flask.render_template_string(template)).text == "Ada Ada"


def test_a_page_without_the_session_costs_nothing(shop: Shop) -> None:
    response = shop.visit(lambda: "public")
    assert shop.cookies(response) == []
    assert "Vary" not in response.headers
    assert shop.store.length() == 0


def test_reading_makes_the_page_vary(shop: Shop) -> None:
    response = shop.visit(lambda: str("user" in flask.session))
    assert response.headers["Vary"] == "Cookie"
    assert shop.cookies(response) == []


# permanent, new, modified, accessed


def test_a_permanent_session_has_a_cookie_that_stays() -> None:
    shop = Shop(PERMANENT_SESSION_LIFETIME=timedelta(days=7))

    def page() -> None:
        assert flask.session.permanent is False
        flask.session["user"] = 42
        flask.session.permanent = True
        assert flask.session.permanent is True

    (line,) = shop.cookies(shop.visit(page))
    assert "Max-Age=604800" in line
    assert shop.visit(lambda: str(flask.session.permanent)).text == "True"

    def no_more() -> None:
        flask.session.permanent = False

    (line,) = shop.cookies(shop.visit(no_more))
    assert "Max-Age" not in line
    assert "Expires" not in line


def test_a_lifetime_of_its_own_stays() -> None:
    """As that of "remember me", in an application that makes each session permanent."""
    shop = Shop()

    def page() -> None:
        flask.session["user"] = 42
        session.cookie.max_age = 60
        flask.session.permanent = True

    (line,) = shop.cookies(shop.visit(page))
    assert "Max-Age=60" in line


def test_being_permanent_alone_begins_no_session(shop: Shop) -> None:
    """So `session.permanent = True` before each request is no session for each visitor."""

    def page() -> None:
        flask.session.permanent = True

    assert shop.cookies(shop.visit(page)) == []
    assert shop.store.length() == 0


def test_a_session_ends_when_it_was_not_used_for_its_lifetime() -> None:
    shop = Shop(PERMANENT_SESSION_LIFETIME=3600)
    shop.visit(put(user=42))
    shop.clock.now += 3599
    assert shop.data() == {"user": 42}
    shop.clock.now += 3601
    assert shop.data() == {}


def test_new(shop: Shop) -> None:
    def page() -> str:
        was_new = flask.session.new
        flask.session["n"] = 1
        return str(was_new)

    assert shop.visit(page).text == "True"
    assert shop.visit(page).text == "False"


def test_modified_and_accessed(shop: Shop) -> None:
    with shop.client:
        shop.visit(put(cart=[]))
        found = flask.globals.request_ctx._session
        assert found is not None
        assert (found.modified, found.accessed) == (True, True)
        shop.visit(lambda: None)
        found = flask.globals.request_ctx._session
        assert found is not None
        assert (found.modified, found.accessed) == (False, False)
        shop.visit(lambda: str(flask.session["cart"]))
        found = flask.globals.request_ctx._session
        assert found is not None
        assert (found.modified, found.accessed) == (False, True)
        shop.visit(lambda: flask.session["cart"].append(1))
        found = flask.globals.request_ctx._session
        assert found is not None
        assert found.modified is True


def test_not_modified_drops_what_was_changed(shop: Shop) -> None:
    shop.visit(put(cart=["umbrella"]))

    def page() -> str:
        flask.session["cart"].append("hat")
        flask.session.modified = False
        return str(flask.session["cart"])

    assert shop.visit(page).text == "['umbrella', 'hat']"
    assert shop.data() == {"cart": ["umbrella"]}


def test_what_is_changed_after_not_modified_is_saved(shop: Shop) -> None:
    def page() -> None:
        flask.session["cart"] = ["umbrella"]
        flask.session.modified = False
        flask.session["cart"].append("hat")
        assert flask.session.modified

    shop.visit(page)
    assert shop.data() == {"cart": ["umbrella", "hat"]}


def test_modified_keeps_the_session_alive() -> None:
    shop = Shop(PERMANENT_SESSION_LIFETIME=3600)
    shop.visit(put(user=42))
    shop.clock.now += 30  # less than the interval at which the expiry moves by itself

    def page() -> None:
        flask.session.modified = True
        assert flask.session.modified

    shop.visit(page)
    ((_, record),) = shop.store.all()
    assert record.expires_at == shop.clock.now + 3600


def test_other_attributes_are_refused(shop: Shop) -> None:
    def page() -> None:
        flask.session.user = 42  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match=r'session\["user"\]'):
        shop.visit(page)


# The end of a session


def test_an_emptied_session_ends(shop: Shop) -> None:
    """As Flask's does: the record is gone, and the browser forgets the cookie."""
    shop.visit(put(user=42))
    (line,) = shop.cookies(shop.visit(lambda: flask.session.clear()))
    assert line.startswith("session=;")
    assert shop.store.length() == 0


def test_a_session_may_be_emptied_and_filled_again(shop: Shop) -> None:
    shop.visit(put(user=41))

    def login() -> None:
        flask.session.clear()
        flask.session["user"] = 42

    shop.visit(login)
    assert shop.data() == {"user": 42}


def test_regenerate_and_destroy(shop: Shop) -> None:
    shop.visit(put(cart=["hat"]))
    before = shop.client.get_cookie("session")
    shop.visit(lambda: session.regenerate(keep_data=True))
    after = shop.client.get_cookie("session")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert shop.data() == {"cart": ["hat"]}
    thief = shop.app.test_client()
    thief.set_cookie("session", before.value)
    with thief.session_transaction() as stolen:
        assert dict(stolen) == {}
    shop.visit(lambda: session.destroy())
    assert shop.client.get_cookie("session") is None


def test_refreshing_can_be_turned_off() -> None:
    """A permanent session then lives until its lifetime after the last change."""
    shop = Shop(PERMANENT_SESSION_LIFETIME=3600, SESSION_REFRESH_EACH_REQUEST=False)

    def login() -> None:
        flask.session["user"] = 42
        flask.session.permanent = True

    shop.visit(login)
    shop.clock.now += 1700
    assert shop.cookies(shop.visit(lambda: str(flask.session["user"]))) == []
    shop.clock.now += 1800
    assert shop.cookies(shop.visit(lambda: str(flask.session["user"]))) == []
    shop.clock.now += 200
    assert shop.data() == {}


def test_refreshing_moves_the_cookie_along() -> None:
    shop = Shop(PERMANENT_SESSION_LIFETIME=3600)

    def login() -> None:
        flask.session["user"] = 42
        flask.session.permanent = True

    shop.visit(login)
    shop.clock.now += 1700
    (line,) = shop.cookies(shop.visit(lambda: str(flask.session["user"])))
    assert "Max-Age=3600" in line


def test_a_change_refreshes_a_session_that_is_not_refreshed() -> None:
    shop = Shop(PERMANENT_SESSION_LIFETIME=3600, SESSION_REFRESH_EACH_REQUEST=False)

    def login() -> None:
        flask.session["user"] = 42
        flask.session.permanent = True

    shop.visit(login)
    shop.clock.now += 1700
    (line,) = shop.cookies(shop.visit(put(cart=[])))
    assert "Max-Age=3600" in line


# Flask's own ways to the session


def test_a_session_transaction(shop: Shop) -> None:
    with shop.client.session_transaction() as found:
        found["user"] = 42
        found.permanent = True
    assert shop.visit(lambda: str(flask.session["user"])).text == "42"
    with shop.client.session_transaction() as found:
        assert found.permanent
        del found["user"]
    assert shop.client.get_cookie("session") is None


def test_a_request_context(shop: Shop) -> None:
    with shop.app.test_request_context():
        assert flask.session.get("user") is None
        flask.session["user"] = 42
        assert flask.session["user"] == 42


def test_the_context_of_a_client(shop: Shop) -> None:
    with shop.client:
        shop.visit(put(user=42))
        assert flask.session["user"] == 42


def test_a_copied_context_in_another_thread(shop: Shop) -> None:
    seen = []

    def page() -> None:
        flask.session["user"] = 42

        @flask.copy_current_request_context
        def work() -> None:
            seen.append(flask.session["user"])

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    shop.visit(page)
    assert seen == [42]


def test_after_request_functions_can_write(shop: Shop) -> None:
    def page() -> None:
        @flask.after_this_request
        def write(response: Any) -> Any:
            flask.session["late"] = True
            return response

    shop.visit(page)
    assert shop.data() == {"late": True}


# Streams


def test_a_stream_saves_what_it_changes(shop: Shop) -> None:
    shop.visit(put(parts=0))

    def page() -> flask.Response:
        @flask.stream_with_context
        def parts() -> Iterator[str]:
            for number in (1, 2):
                flask.session["parts"] = number
                yield str(number)

        return flask.Response(parts())

    assert shop.visit(page).text == "12"
    assert shop.data() == {"parts": 2}


def test_a_stream_that_is_cut_off_saves_what_it_has_changed(shop: Shop) -> None:
    shop.visit(put(parts=0))
    closed = []

    def page() -> flask.Response:
        @flask.stream_with_context
        def parts() -> Iterator[str]:
            try:
                for number in (1, 2):
                    flask.session["parts"] = number
                    yield str(number)
            finally:
                closed.append(True)

        return flask.Response(parts())

    response = shop.visit(page, buffered=False)
    assert next(response.iter_encoded()) == b"1"
    response.close()
    assert closed == [True]
    assert shop.data() == {"parts": 1}


def page_whose_stream_raises(change: Callable[[], object]) -> flask.Response:
    @flask.stream_with_context
    def parts() -> Iterator[str]:
        change()
        yield "part"
        raise ZeroDivisionError

    return flask.Response(parts())


def test_a_stream_that_raises_drops_its_changes(shop: Shop) -> None:
    shop.visit(put(parts=0))
    response = shop.visit(
        lambda: page_whose_stream_raises(lambda: flask.session.update(parts=1)), buffered=False
    )
    parts = response.iter_encoded()
    assert next(parts) == b"part"
    with pytest.raises(ZeroDivisionError):
        next(parts)
    response.close()
    assert shop.data() == {"parts": 0}


def test_a_stream_that_raises_ends_the_session_as_asked(shop: Shop) -> None:
    shop.visit(put(parts=0))
    response = shop.visit(lambda: page_whose_stream_raises(lambda: session.destroy()))
    with pytest.raises(ZeroDivisionError):
        _ = response.text
    response.close()
    assert shop.data() == {}


def test_a_body_that_nobody_reads_is_closed(shop: Shop) -> None:
    closed = []

    class Parts:
        def __iter__(self) -> Iterator[bytes]:
            return iter(())

        def close(self) -> None:
            closed.append(True)

    shop.page = lambda: flask.Response(Parts())
    shop.client.head("/").close()
    assert closed


def test_a_stream_cannot_begin_a_session(shop: Shop) -> None:
    def page() -> flask.Response:
        @flask.stream_with_context
        def parts() -> Iterator[str]:
            flask.session["user"] = 42
            yield "part"

        return flask.Response(parts())

    with pytest.raises(LateWriteError, match="headers are sent"):
        shop.visit(page)


def test_a_file_goes_out_as_it_is(shop: Shop) -> None:
    shop.visit(put(user=42))

    def page() -> flask.Response:
        flask.session["file"] = True
        response = flask.send_file(__file__)
        assert response.direct_passthrough
        return response

    response = shop.visit(page)
    assert b"A file goes out" not in response.data[:20]
    response.close()
    assert shop.data() == {"user": 42, "file": True}


# Errors


class Failing(MemoryStore):
    """A store that can be down."""

    is_down = False

    def get(self, key: str) -> Record | None:
        if self.is_down:
            raise StoreUnavailable("down")
        return super().get(key)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if self.is_down:
            raise StoreUnavailable("down")
        return super().set(key, record, only_if)


def test_an_error_page_answers_a_failed_save() -> None:
    store = Failing()
    shop = Shop(store, PROPAGATE_EXCEPTIONS=False)

    @shop.app.errorhandler(500)
    def error_page(error: Any) -> tuple[str, int]:
        return type(error.original_exception).__name__, 503

    store.is_down = True
    response = shop.visit(put(user=42))
    assert (response.status_code, response.text) == (503, "StoreUnavailable")
    assert shop.cookies(response) == []


def test_a_failed_read_reaches_error_handlers() -> None:
    clock = Clock()
    store = Failing(clock=clock)
    shop = Shop(store)

    @shop.app.errorhandler(StoreUnavailable)
    def error_page(error: Any) -> tuple[str, int]:
        return "try again", 503

    shop.visit(put(user=42))
    store.is_down = True
    assert shop.visit(lambda: str(flask.session["user"])).status_code == 503
    assert shop.visit(lambda: "public").status_code == 200


def test_an_error_page_saves_the_session() -> None:
    """As Flask's own does."""
    shop = Shop(PROPAGATE_EXCEPTIONS=False)

    def page() -> None:
        flask.session["tried"] = True
        raise ValueError

    assert shop.visit(page).status_code == 500
    assert shop.data() == {"tried": True}


def test_without_a_response_changes_are_dropped_and_a_logout_is_done(shop: Shop) -> None:
    shop.visit(put(user=42))

    def page() -> None:
        flask.session["user"] = 43
        raise ValueError

    with pytest.raises(ValueError):
        shop.visit(page)
    assert shop.data() == {"user": 42}

    def logout() -> None:
        session.destroy()
        raise ValueError

    with pytest.raises(ValueError):
        shop.visit(logout)
    assert shop.store.length() == 0


def test_an_error_of_saving_without_a_response_ends_the_former_session() -> None:
    """`regenerate()` was asked for, so the old cookie must lead nowhere."""

    class Full(MemoryStore):
        def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
            if b"admin" in record.data:
                raise StoreUnavailable("full")
            return super().set(key, record, only_if)

    shop = Shop(Full(clock=Clock()))
    shop.visit(put(user=42))

    def page() -> None:
        session.regenerate(keep_data=True)
        session["admin"] = True

    with pytest.raises(StoreUnavailable):
        shop.visit(page)
    assert shop.data() == {}


def test_each_of_two_logins_at_once_has_a_session() -> None:
    """After a double click the browser may keep the cookie of either response."""
    shop = Shop(COATCHECK_OWNER="user")
    (line,) = shop.cookies(shop.visit(put(cart="shoes")))
    headers = {"Cookie": line.partition(";")[0]}
    fresh = partial(shop.app.test_client, use_cookies=False)
    first: list[Any] = []

    def log_in() -> str:
        number = len(first)
        if flask.session["cart"] and not number:
            first.append(None)
            first.append(fresh().get("/", headers=headers))
        flask.session["user"] = f"user {number}"
        return "welcome"

    shop.page = log_in
    second = fresh().get("/", headers=headers)
    for number, response in enumerate((second, first[1])):
        (line,) = shop.cookies(response)
        shop.page = lambda: f"{flask.session['user']}, {flask.session['cart']}"
        page = fresh().get("/", headers={"Cookie": line.partition(";")[0]})
        assert page.text == f"user {number}, shoes"


# Around and beside


def test_an_application_has_one_session_cookie(shop: Shop) -> None:
    def page() -> None:
        flask.flash("welcome")
        flask.session["user"] = 42

    shop.visit(page)
    assert [cookie.key for cookie in shop.client._cookies.values()] == ["session"]


def test_a_middleware_of_another_name_may_be_around(shop: Shop) -> None:
    shop.app.wsgi_app = SessionMiddleware(  # type: ignore[method-assign]
        shop.app.wsgi_app, secret=SECRET, store=MemoryStore()
    )
    shop.visit(put(user=42))
    assert shop.data() == {"user": 42}
    assert [cookie.key for cookie in shop.client._cookies.values()] == ["session"]


def test_a_middleware_of_the_same_name_around_is_an_error(shop: Shop) -> None:
    shop.app.wsgi_app = SessionMiddleware(  # type: ignore[method-assign]
        shop.app.wsgi_app, secret=SECRET, store=MemoryStore(), name="session"
    )
    with pytest.raises(ConfigurationError, match="two session middlewares of the name 'session'"):
        shop.visit(lambda: "page")


def test_an_asgi_application_around_shares_the_session() -> None:
    """With the same cookie name, store and secret a visitor has one cookie."""
    store, clock = MemoryStore(), time.time
    app = flask.Flask("shop")
    app.config.update(SECRET_KEY=SECRET, SESSION_COOKIE_NAME="sid")
    Coatcheck(app, store=store, clock=clock)

    @app.get("/login")
    def login_page() -> str:
        flask.session["user"] = 42
        return "welcome"

    outer = FastAPI()
    outer.add_middleware(ASGISessions, secret=SECRET, store=store)

    @outer.get("/api")
    def api(request: Request) -> dict[str, Any]:
        request.session["seen"] = True
        return dict(request.session)

    outer.mount("/shop", WSGIMiddleware(app))
    with TestClient(outer) as client:
        client.get("/shop/login")
        assert client.get("/api").json() == {"user": 42, "seen": True}
        assert client.get("/shop/login").text == "welcome"
        assert list(client.cookies) == ["sid"]
    assert store.length() == 1


def test_one_store_is_one_login() -> None:
    """Two applications with the same store and secret share their sessions."""
    store = MemoryStore(clock=Clock())
    shop, forum = Shop(store), Shop(store)
    shop.visit(put(user=42))
    found = shop.client.get_cookie("session")
    assert found is not None
    forum.client.set_cookie("session", found.value)
    assert forum.data() == {"user": 42}


def test_sessions_of_a_user_can_be_ended(shop: Shop) -> None:
    shop.visit(put(_user_id="42"))
    other = Shop(shop.store)
    other.visit(put(_user_id="42"))
    assert len(shop.coatcheck.sessions.list("42")) == 2

    def page() -> str:
        return str(shop.coatcheck.sessions.revoke_all("42", keep=session))

    assert shop.visit(page).text == "1"
    assert shop.data() == {"_user_id": "42"}
    assert other.data() == {}


def test_the_tools_for_tests_find_the_sessions(shop: Shop) -> None:
    login(shop.client, {"user": 42})
    shop.visit(put(cart=["hat"]))
    assert read_session(shop.client) == {"user": 42, "cart": ["hat"]}
    assert shop.coatcheck.options.name == "session"


def test_nothing_is_left_to_the_garbage_collector(shop: Shop) -> None:
    """The session of a request is free as soon as nobody uses it."""
    seen: list[weakref.ref[Any]] = []

    def page() -> None:
        flask.session["n"] = 1
        seen.append(weakref.ref(flask.session._get_current_object()))  # type: ignore[attr-defined]

    shop.visit(page)
    gc.collect()
    gc.disable()
    try:
        environ = shop.app.test_request_context().request.environ
        app = shop.app
        shop.visit(page)
        del environ, app
        assert seen[1]() is None
    finally:
        gc.enable()


def test_an_interface_may_choose_the_cookie_name(shop: Shop) -> None:
    """As with Flask's own interface, by a method that a subclass overrides."""
    from coatcheck_flask import CoatcheckInterface

    class ByPath(CoatcheckInterface):
        def get_cookie_name(self, app: flask.Flask) -> str:
            has = flask.has_request_context()
            return "admin" if has and flask.request.path.startswith("/admin") else "session"

    class Sessions(Coatcheck):
        interface_class = ByPath

    app = flask.Flask("shop")
    app.config.update(SECRET_KEY=SECRET, TESTING=True)
    Sessions(app, store=MemoryStore())

    @app.get("/admin")
    @app.get("/shop")
    def count() -> str:
        flask.session["n"] = flask.session.get("n", 0) + 1
        return str(flask.session["n"])

    client = app.test_client()
    assert [client.get(path).text for path in ("/shop", "/shop", "/admin")] == ["1", "2", "1"]
    assert sorted(cookie.key for cookie in client._cookies.values()) == ["admin", "session"]


def test_it_stands_on_the_public_layer(shop: Shop) -> None:
    interface: Any = shop.app.session_interface
    assert isinstance(interface._integrations.first, SyncIntegration)


def test_a_message_after_clear_keeps_the_session_and_after_destroy_begins_one() -> None:
    """`clear()` is a logout only if the session stays empty."""
    app = flask.Flask("shop")
    app.config.update(SECRET_KEY="a secret of thirty-two bytes, more", TESTING=True)
    coatcheck = Coatcheck(app, store=MemoryStore(), owner="user_id")

    @app.post("/<method>")
    def act(method: str) -> str:
        if method == "login":
            session["user_id"] = 42
        else:
            getattr(session, method)()
            flask.flash("bye")
        return session.id or ""

    for method, stays in (("clear", True), ("destroy", False)):
        visitor = app.test_client()
        visitor.post("/login")
        before = visitor.get_cookie("session")
        visitor.post(f"/{method}")
        after = visitor.get_cookie("session")
        assert before is not None
        assert after is not None
        assert (after.value == before.value) is stays
        assert coatcheck.sessions.list(42) == []
    coatcheck.close()
