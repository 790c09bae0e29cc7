"""Rules of Flask's sessions that coatcheck's have to follow: logins, logouts, lifetimes, paths."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import Any

import flask
import flask_login
import pytest
import quart
from flask.sessions import SecureCookieSessionInterface
from flask_socketio import SocketIO
from flaskshop import SECRET, QuartShop, Shop, put
from markupsafe import Markup
from werkzeug.test import Client

from coatcheck import MemoryStore, Record
from coatcheck.errors import LateWriteError, StoreUnavailable
from coatcheck.old_sessions.flask import FlaskSessions
from coatcheck.testing import login, read_session
from coatcheck_flask import session
from coatcheck_flask.quart import session as quart_session


@pytest.fixture
def shop() -> Shop:
    return Shop()


def cookie_of(shop: Shop) -> str:
    found = shop.client.get_cookie("session")
    assert found is not None
    return found.value


def visitor(shop: Shop, cookie: str) -> Any:
    """Return another client with the same cookie."""
    client = shop.app.test_client()
    client.set_cookie("session", cookie)
    return client


# Logins and logouts


class User(flask_login.UserMixin):  # type: ignore[misc]  # it has no types
    def __init__(self, user_id: str) -> None:
        self.id = user_id


def test_a_remember_me_cookie_logs_in_under_a_new_id() -> None:
    """A planted session cookie must not become that of the user."""
    shop = Shop()
    manager = flask_login.LoginManager(shop.app)
    manager.user_loader(User)
    shop.visit(lambda: flask_login.login_user(User("victim"), remember=True) and None)
    remembered = shop.client.get_cookie("remember_token")
    assert remembered is not None
    attacker = Shop(shop.store)
    attacker.visit(put(cart=["hat"]))
    planted = cookie_of(attacker)
    victim = visitor(shop, planted)
    victim.set_cookie("remember_token", remembered.value)
    shop.page = lambda: str(flask_login.current_user.get_id())
    assert victim.get("/").text == "victim"
    assert victim.get_cookie("session").value != planted
    assert visitor(shop, planted).get("/").text == "None"


def test_a_new_owner_gives_a_new_id_and_an_old_one_does_not(shop: Shop) -> None:
    shop.visit(put(cart=["hat"]))
    ids = [cookie_of(shop)]
    for values in ({"_user_id": "42"}, {"cart": []}, {"_user_id": "42"}, {"_user_id": "43"}):
        shop.visit(put(**values))
        ids.append(cookie_of(shop))
    assert [len({*pair}) for pair in pairwise(ids)] == [2, 1, 1, 2]
    shop.visit(lambda: session.pop("_user_id") and None)
    assert cookie_of(shop) == ids[-1]
    assert shop.data() == {"cart": []}


def log_in(data: Any) -> None:
    data["_user_id"] = "42"


def save_login() -> None:
    log_in(session)
    session.save()


def change_after_login() -> None:
    log_in(session)
    session.change(lambda data: data.update(seen=True))


def save_before_login() -> None:
    session.save()
    log_in(session)


def change_to_login() -> None:
    session.change(log_in)


LOGINS = [save_login, save_before_login, change_after_login, change_to_login]


@pytest.mark.parametrize("page", LOGINS)
def test_a_login_that_is_stored_gives_a_new_id(shop: Shop, page: Callable[[], object]) -> None:
    """The former id, which somebody may have planted, opens nothing, not even meanwhile."""
    shop.app.add_url_rule("/found", view_func=lambda: dict(session))
    shop.visit(put(cart=["hat"]))
    planted = cookie_of(shop)
    found: list[Any] = []

    def log_in_and_go_on() -> None:
        page()
        found.append(visitor(shop, planted).get("/found").json)
        session["cart"].append("cap")

    shop.visit(log_in_and_go_on)
    assert cookie_of(shop) != planted
    assert shop.data().items() >= {"cart": ["hat", "cap"], "_user_id": "42"}.items()
    found.append(visitor(shop, planted).get("/found").json)
    assert found == [{"cart": ["hat"]} if page is save_before_login else {}, {}]


@pytest.mark.parametrize("page", [save_login, change_after_login, change_to_login])
def test_a_first_session_with_a_login_is_stored_once(
    shop: Shop, page: Callable[[], object]
) -> None:
    shop.visit(page)
    assert shop.data()["_user_id"] == "42"
    assert shop.store.length() == 1


def test_changes_without_a_login_keep_the_id(shop: Shop) -> None:
    shop.visit(put(_user_id="42"))
    known = cookie_of(shop)
    for page in (*LOGINS, lambda: session.change(dict.clear)):
        shop.visit(page)
        assert cookie_of(shop) == known


def test_a_login_after_the_headers_keeps_the_id(shop: Shop) -> None:
    def page() -> Any:
        def parts() -> Iterator[str]:
            yield "a"
            session.change(log_in)
            session["_user_id"] = "43"
            session.save()

        return flask.stream_with_context(parts())

    shop.visit(put(cart=["hat"]))
    known = cookie_of(shop)
    assert shop.visit(page).text == "a"
    assert cookie_of(shop) == known
    assert shop.data() == {"cart": ["hat"], "_user_id": "43"}


def test_an_id_that_the_application_gave_stays(shop: Shop) -> None:
    def page() -> None:
        session.regenerate(keep_data=True)
        session["_user_id"] = "42"
        session.save()

    shop.visit(put(cart=["hat"]))
    assert len(shop.cookies(shop.visit(page))) == 1
    assert shop.data() == {"cart": ["hat"], "_user_id": "42"}


@pytest.mark.parametrize("how", ["clear", "destroy"])
def test_a_logout_while_the_store_is_down(how: str) -> None:
    """With `COATCHECK_ON_STORE_ERROR = "anonymous"` the session is unknown, but the cookie goes."""

    class Down(MemoryStore):
        is_down = False

        def get(self, key: str) -> Record | None:
            if self.is_down:
                raise StoreUnavailable("down")
            return super().get(key)

    store = Down()
    shop = Shop(store, COATCHECK_ON_STORE_ERROR="anonymous")
    shop.visit(put(user=42))
    store.is_down = True
    (line,) = shop.cookies(shop.visit(lambda: getattr(flask.session, how)()))
    store.is_down = False
    assert line.startswith("session=;")
    assert store.length() == 0


@pytest.mark.parametrize("late", [{"cart": ["hat"]}, {"_user_id": "42"}])
def test_showing_the_last_message_ends_no_login(shop: Shop, late: dict[str, str]) -> None:
    """Another request has changed the session meanwhile, or given it another id."""
    shop.visit(lambda: flask.flash("goodbye"))
    other = visitor(shop, cookie_of(shop))

    def page() -> str:
        messages = flask.get_flashed_messages()
        shop.page = put(**late)
        thread = threading.Thread(target=lambda: other.get("/"))
        thread.start()
        thread.join()
        return str(messages)

    assert shop.visit(page).text == "['goodbye']"
    shop.client = other
    assert late.items() <= shop.data().items()


@pytest.mark.parametrize("began", ["before", "now", "regenerated"])
def test_a_login_in_an_error_handler_keeps_no_id_that_somebody_may_know(
    began: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The session was saved when the error came, so it cannot get a new id any more."""
    shop = Shop(PROPAGATE_EXCEPTIONS=False)

    @shop.app.errorhandler(500)
    def error_page(error: Any) -> str:
        session["_user_id"] = "42"
        return "an error"

    if began != "now":
        shop.visit(put(cart=1))

    def page() -> None:
        session["seen"] = True
        if began == "regenerated":
            session.regenerate(keep_data=True)

    def fail(sender: Any, response: flask.Response, **_: Any) -> None:
        if response.status_code == 200:
            raise ZeroDivisionError

    with flask.request_finished.connected_to(fail, shop.app):
        assert shop.visit(page).text == "an error"
    is_logged_in = began != "before"
    assert ("_user_id" in shop.data()) is is_logged_in
    assert shop.data()["seen"]
    assert ("log in before the response" in caplog.text) is not is_logged_in


@pytest.mark.anyio
async def test_a_login_in_an_error_handler_of_quart_keeps_no_known_id() -> None:
    shop = QuartShop(PROPAGATE_EXCEPTIONS=False)

    async def begin() -> None:
        quart_session["cart"] = 1

    async def fail(sender: Any, response: Any, **_: Any) -> None:
        if response.status_code == 200:
            raise ZeroDivisionError

    @shop.app.errorhandler(500)
    async def error_page(error: Any) -> str:
        quart_session["_user_id"] = "42"
        return "an error"

    await shop.visit(begin)
    with quart.request_finished.connected_to(fail, shop.app):
        response = await shop.visit(begin)
    assert await response.get_data(as_text=True) == "an error"
    assert await shop.data() == {"cart": 1}


@pytest.mark.parametrize("is_old", [False, True])
def test_showing_the_last_message_ends_no_session_whose_cookie_came_along(is_old: bool) -> None:
    """Somebody may have planted the cookie of a session that has only a message."""
    store, old = MemoryStore(), FlaskSessions(SECRET, name="old")
    planted = Shop(store, COATCHECK_OLD_SESSIONS=[old])
    planted.visit(lambda: flask.flash("goodbye"))
    shop = Shop(store, COATCHECK_OLD_SESSIONS=[old])
    if is_old:
        signed = SecureCookieSessionInterface().get_signing_serializer(shop.app)
        assert signed is not None
        own = f"old={signed.dumps({'user': 42})}"
        shop.clock.advance(60)  # the cookie has the time of the system's clock
    else:
        shop.visit(put(user=42))
        own = f"session={cookie_of(shop)}"
    shop.page = lambda: str(flask.get_flashed_messages())
    both = {"Cookie": f"session={cookie_of(planted)}; {own}"}
    client = shop.app.test_client(use_cookies=False)
    response = client.get("/", headers=both)
    assert (response.text, shop.cookies(response)) == ("['goodbye']", [])
    assert client.get("/", headers=both).text == "[]"
    shop.page = lambda: str(flask.session["user"])
    assert client.get("/", headers={"Cookie": own}).text == "42"


def test_a_stream_that_empties_the_session_ends_it(shop: Shop) -> None:
    shop.visit(put(user=42))

    def page() -> flask.Response:
        session.get("user")

        @flask.stream_with_context
        def parts() -> Iterator[str]:
            yield "a"
            flask.session.clear()
            yield "b"

        return flask.Response(parts())

    assert shop.visit(page).text == "ab"
    assert shop.store.length() == 0


@pytest.mark.parametrize(
    "steps",
    [
        lambda: (setattr(session, "modified", False), session.regenerate(keep_data=True)),
        lambda: (session.regenerate(keep_data=True), setattr(session, "modified", False)),
        lambda: (setattr(session, "modified", False), setattr(session, "permanent", True)),
    ],
)
def test_what_is_asked_for_is_done_although_nothing_is_modified(
    shop: Shop, steps: Callable[[], Any]
) -> None:
    shop.visit(put(user=42))

    def page() -> None:
        assert session["user"] == 42
        steps()

    assert len(shop.cookies(shop.visit(page))) == 1
    assert shop.data() == {"user": 42}


# Lifetimes


def test_clearing_the_session_makes_it_one_of_the_browser(shop: Shop) -> None:
    """The next user of this browser may not want to be remembered."""

    def remembered() -> None:
        session.permanent = True
        session["user"] = "Ada"

    def login_again() -> str:
        session.clear()
        session["user"] = "Bob"
        return str(session.permanent)

    shop.visit(remembered)
    response = shop.visit(login_again)
    assert response.text == "False"
    assert "Max-Age" not in shop.cookies(response)[0]


def page_that_raises() -> None:
    assert session["user"] == 42
    raise ValueError


def page_that_streams() -> flask.Response:
    return flask.Response(flask.stream_with_context(str(session["user"]) for _ in "a"))


def page_that_changes_nothing() -> None:
    session["n"] = 1
    session.modified = False


@pytest.mark.parametrize("page", [page_that_raises, page_that_streams, page_that_changes_nothing])
def test_only_changes_refresh_a_session_that_is_not_refreshed(page: Callable[[], Any]) -> None:
    shop = Shop(PERMANENT_SESSION_LIFETIME=3600, SESSION_REFRESH_EACH_REQUEST=False)

    def begin() -> None:
        session.permanent = True
        session["user"] = 42

    shop.visit(begin)
    shop.clock.advance(3400)
    try:
        shop.visit(page)
    except ValueError:
        pass
    shop.clock.advance(400)
    assert shop.data() == {}


# Paths


def test_pages_outside_the_path_of_the_cookie_have_a_session() -> None:
    shop = Shop(SESSION_COOKIE_PATH="/shop")
    assert shop.visit(lambda: str(flask.get_flashed_messages())).text == "[]"
    (line,) = shop.cookies(shop.visit(put(user=42)))
    assert "Path=/shop" in line


def test_a_proxy_may_remove_the_root_of_the_application() -> None:
    shop = Shop(APPLICATION_ROOT="/shop")
    shop.page = put(user=42)
    response = Client(shop.app).get("/")
    assert "Path=/shop" in response.headers["Set-Cookie"]


@pytest.mark.anyio
async def test_pages_of_quart_outside_the_path_have_a_session() -> None:
    shop = QuartShop(SESSION_COOKIE_PATH="/shop")

    async def page() -> str:
        return str(quart_session.get("user"))

    response = await shop.visit(page)
    assert response.status_code == 200


@pytest.mark.anyio
async def test_quart_shows_the_last_message_and_ends_the_session() -> None:
    shop = QuartShop()

    async def flash() -> None:
        await quart.flash(Markup("<b>goodbye</b>"))

    async def show() -> str:
        (message,) = quart.get_flashed_messages()
        return type(message).__name__

    await shop.visit(flash)
    assert await (await shop.visit(show)).get_data(as_text=True) == "Markup"
    assert shop.store.length() == 0


@pytest.mark.anyio
async def test_a_login_of_quart_gives_a_new_id() -> None:
    shop = QuartShop()

    async def begin() -> None:
        quart_session["cart"] = []

    async def log_in() -> None:
        quart_session["_user_id"] = "42"

    await shop.visit(begin)
    response = await shop.visit(log_in)
    assert response.headers["Set-Cookie"].startswith("session=")
    assert await shop.data() == {"cart": [], "_user_id": "42"}


async def quart_saves() -> None:
    log_in(quart_session)
    await quart_session.save()


async def quart_changes() -> None:
    await quart_session.change(log_in)


@pytest.mark.anyio
@pytest.mark.parametrize("page", [quart_saves, quart_changes])
async def test_a_login_of_quart_that_is_stored_at_once_gives_a_new_id(
    page: Callable[[], Any],
) -> None:
    shop = QuartShop()

    async def begin() -> None:
        quart_session["cart"] = []

    await shop.visit(begin)
    (planted,) = [cookie.value for cookie in shop.client.cookie_jar]
    await shop.visit(page)
    assert [cookie.value for cookie in shop.client.cookie_jar] != [planted]
    assert await shop.data() == {"cart": [], "_user_id": "42"}
    shop.client = shop.app.test_client()
    shop.client.set_cookie("localhost", "session", planted)
    assert await shop.data() == {}


@pytest.mark.anyio
@pytest.mark.parametrize("store", [quart_saves, quart_changes])
async def test_a_login_on_an_accepted_socket_keeps_the_id(store: Callable[[], Any]) -> None:
    shop = QuartShop()

    async def begin() -> None:
        quart_session["cart"] = []

    @shop.app.websocket("/ws")
    async def socket() -> None:
        await quart.websocket.accept()
        await store()
        await quart.websocket.send("done")

    await shop.visit(begin)
    async with shop.client.websocket("/ws") as visitor:
        assert await visitor.receive() == "done"
    assert await shop.data() == {"cart": [], "_user_id": "42"}


@pytest.mark.anyio
async def test_a_stream_of_quart_that_empties_the_session_ends_it() -> None:
    shop = QuartShop()

    async def begin() -> None:
        quart_session["user"] = 42

    async def page() -> Any:
        assert quart_session["user"] == 42

        @quart.stream_with_context
        async def parts() -> AsyncIterator[str]:
            yield "a"
            quart.session.clear()
            yield "b"

        return parts()

    await shop.visit(begin)
    assert await (await shop.visit(page)).get_data(as_text=True) == "ab"
    assert shop.store.length() == 0


# Settings that change


@pytest.mark.parametrize("setting", ["SECRET_KEY", "SESSION_COOKIE_NAME"])
def test_tools_for_tests_have_the_present_settings(shop: Shop, setting: str) -> None:
    """A fixture may change them after the application was made."""
    shop.app.config[setting] = "another_secret_of_thirty-two_bytes"
    sessions = shop.coatcheck.sessions
    login(shop.client, {"user": 42}, sessions=sessions)
    assert shop.visit(lambda: str(flask.session["user"])).text == "42"
    assert read_session(shop.client, sessions=sessions) == {"user": 42}


# Flashed messages


class Lazy:
    """A text that is translated when it is shown, as those of Flask-Babel."""

    def __html__(self) -> str:
        return "please log in"


def test_flashed_messages_may_be_html_or_lazy(shop: Shop) -> None:
    def flash() -> None:
        flask.flash(Markup("<b>hat</b>"))
        flask.flash("<b>cap</b>")
        flask.flash(Lazy())  # type: ignore[arg-type]

    shop.visit(flash)
    template = "{% for message in get_flashed_messages() %}{{ message }};{% endfor %}"
    shown = shop.visit(lambda: flask.render_template_string(template)).text
    assert shown == "<b>hat</b>;&lt;b&gt;cap&lt;/b&gt;;please log in;"


# Events of Flask-SocketIO


def test_an_event_stores_no_session_that_nobody_has(shop: Shop) -> None:
    socketio = SocketIO(shop.app, manage_session=False, async_mode="threading")
    errors: list[str] = []

    @socketio.on("count")
    def count() -> None:
        session["n"] = session.get("n", 0) + 1

    @socketio.on("regenerate")
    def regenerate() -> None:
        with pytest.raises(LateWriteError, match="new id"):
            session.regenerate(keep_data=True)

    @socketio.on("login")
    def login_by_event() -> None:
        session.change(log_in)
        session["_user_id"] = "43"
        session.save()

    socketio.on_error_default(lambda error: errors.append(str(error)))
    sockets = socketio.test_client(shop.app)
    with pytest.raises(LateWriteError, match="cannot begin a session"):
        sockets.emit("count")
    assert shop.store.length() == 0
    shop.visit(put(n=0))
    sockets = socketio.test_client(shop.app, flask_test_client=shop.client)
    sockets.emit("count")
    sockets.emit("regenerate")
    assert shop.data() == {"n": 1}
    sockets.emit("login")
    assert shop.data() == {"n": 1, "_user_id": "43"}  # under the same id
    shop.visit(lambda: session.regenerate(keep_data=True))
    records = shop.store.length()
    with pytest.raises(LateWriteError, match="cannot begin a session"):
        sockets.emit("count")
    assert shop.store.length() == records
