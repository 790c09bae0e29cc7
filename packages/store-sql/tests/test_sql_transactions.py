"""Requests that save their session in the application's own transaction."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import anyio.from_thread
import flask
import pytest
from shop import (
    SECRET,
    Handler,
    Shop,
    cookie_of,
    count,
    create,
    engine,
    orders_in,
    serve,
    sessions,
    stored,
)
from sql_backend import ALL, MARIADB, POSTGRESQL, SQLITE, Backend
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession as AsyncORMSession
from sqlalchemy.orm import Session as ORMSession
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import (
    ConfigurationError,
    ConflictError,
    RecordTooLarge,
    SessionGone,
    TransactionOpen,
)
from coatcheck_flask import Coatcheck
from coatcheck_sql import SQLStore

Story = Generator[Any, Any, Any]
CONCURRENCY = ["merge", "error", "last-write-wins"]


@pytest.fixture
def orders(backend: Backend) -> Iterator[str]:
    with orders_in(backend) as name:
        yield name


def outcome(
    backend: Backend, orders: str, handler: Handler, **settings: Any
) -> tuple[int, dict[str, Any] | None]:
    """Return how many orders there are after a request, and what the session has."""
    made = create(backend, {"cart": ["hat"], "size": 7})
    serve(backend, orders, handler, cookie_of(made), **settings)
    return count(backend, orders), stored(backend, made.ref)


def order(shop: Shop, session: Any) -> Story:
    """Begin a transaction, and order what is in the cart."""
    connection = yield shop.engine.connect()
    yield shop.order(connection)
    session["cart"] = []
    yield shop.save(session, connection)
    return connection


def finish(connection: Any, *, commits: bool) -> Story:
    yield connection.commit() if commits else connection.rollback()
    yield connection.close()


def other(backend: Backend, ref: str, **changes: Any) -> None:
    """Change the session as another request does."""
    store = backend.store()
    assert sessions(store).update(ref, lambda data: data.update(changes))
    store.close()


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_an_order_and_the_empty_cart_commit_together(backend: Backend, orders: str) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        assert stored(backend, sessions(shop.store).ref_of(session)) == {"cart": ["hat"], "size": 7}
        yield from finish(connection, commits=True)
        session["flash"] = "thank you"

    assert outcome(backend, orders, handler) == (
        1, {"cart": [], "size": 7, "flash": "thank you"},
    )  # fmt: skip


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_after_a_rollback_later_changes_alone_are_stored(backend: Backend, orders: str) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        session["size"] = 8
        connection = yield from order(shop, session)
        yield from finish(connection, commits=False)
        session["flash"] = "sold out"

    assert outcome(backend, orders, handler) == (
        0, {"cart": ["hat"], "size": 7, "flash": "sold out"},
    )  # fmt: skip


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize("then", ["respond", "change", "rotate", "transaction"])
@pytest.mark.parametrize("concurrency", CONCURRENCY)
def test_a_key_that_a_rollback_removes_is_set_again(
    backend: Backend, orders: str, then: str, concurrency: str
) -> None:
    """Nobody has deleted it, so the new value is not lost."""

    def handler(shop: Shop, session: Any) -> Story:
        session["flash"] = "thank you"
        session.owner = "0wner"
        connection = yield from order(shop, session)
        yield from finish(connection, commits=False)
        session["flash"] = "sold out"
        session.owner = "somebody"
        if then == "change":
            yield session.change(lambda data: data.update(size=8))
        elif then == "rotate":
            session.regenerate(keep_data=True)
        elif then == "transaction":
            session["cart"] = ["hat"]
            with shop.engine.begin() as another:
                shop.save(session, another)

    made = create(backend, {"cart": ["hat"]})
    serve(backend, orders, handler, cookie_of(made), concurrency=concurrency)
    with closing(backend.store()) as store:
        (found,) = sessions(store).list("somebody")
    size = {"size": 8} if then == "change" else {}
    assert found.data == {"cart": ["hat"], "flash": "sold out", **size}


@pytest.mark.parametrize("backend", SQLITE, indirect=True)
@pytest.mark.parametrize("commits", [True, False])
def test_the_end_of_the_request_writes_nothing_again(
    backend: Backend, orders: str, commits: bool
) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        assert not session.is_modified
        yield from finish(connection, commits=commits)

    made = create(backend, {"cart": ["hat"]})
    _, shop = serve(backend, orders, handler, cookie_of(made), resave=True)
    assert [event.kind for event in shop.events] == ["loaded", "updated"]
    assert stored(backend, made.ref) == {"cart": [] if commits else ["hat"]}


@pytest.mark.parametrize("backend", [*SQLITE, *POSTGRESQL[::2]], indirect=True)
def test_a_request_that_raises_stores_neither(backend: Backend, orders: str) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        yield from finish(connection, commits=False)
        raise ZeroDivisionError

    made = create(backend, {"cart": ["hat"]})
    with pytest.raises(ZeroDivisionError):
        serve(backend, orders, handler, cookie_of(made))
    assert (count(backend, orders), stored(backend, made.ref)) == (0, {"cart": ["hat"]})


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize("concurrency", CONCURRENCY)
@pytest.mark.parametrize("commits", [True, False])
def test_later_changes_are_no_conflict(
    backend: Backend, orders: str, concurrency: str, commits: bool
) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        yield from finish(connection, commits=commits)
        session["flash"] = 1
        yield session.save()
        session["flash"] += 1
        yield session.change(lambda data: data.update(flash=data["flash"] + 1))
        session["flash"] += 1

    made = create(backend, {"cart": ["hat"]})
    _, shop = serve(backend, orders, handler, cookie_of(made), concurrency=concurrency)
    assert stored(backend, made.ref) == {"cart": [] if commits else ["hat"], "flash": 4}
    assert "conflict" not in [event.kind for event in shop.events]


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("concurrency", ["merge", "last-write-wins"])
def test_later_changes_are_merged_with_those_of_others(
    backend: Backend, orders: str, commits: bool, concurrency: str
) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        yield from finish(connection, commits=commits)
        other(backend, made.ref, size=8)
        session["flash"] = 1

    made = create(backend, {"cart": ["hat"], "size": 7})
    serve(backend, orders, handler, cookie_of(made), concurrency=concurrency)
    cart = [] if commits else ["hat"]
    assert stored(backend, made.ref) == {"cart": cart, "size": 8, "flash": 1}


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize("commits", [True, False])
def test_another_requests_change_is_a_conflict_where_nothing_is_merged(
    backend: Backend, orders: str, commits: bool
) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        yield from finish(connection, commits=commits)
        other(backend, made.ref, size=8)
        session["flash"] = 1

    made = create(backend, {"cart": ["hat"], "size": 7})
    with pytest.raises(ConflictError):
        serve(backend, orders, handler, cookie_of(made), concurrency="error")
    assert stored(backend, made.ref) == {"cart": [] if commits else ["hat"], "size": 8}


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize(
    ("concurrency", "cart"), [("merge", []), ("error", ["hat"]), ("last-write-wins", [])]
)
def test_another_request_was_faster_than_the_transaction(
    backend: Backend, orders: str, concurrency: str, cart: list[str]
) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        assert session["cart"]
        other(backend, made.ref, size=8)
        connection = yield shop.engine.connect()
        try:
            yield shop.order(connection)
            session["cart"] = []
            yield shop.save(session, connection)
            assert session["size"] == (8 if concurrency == "merge" else 7)
            yield connection.commit()
        except ConflictError:
            yield connection.rollback()
        yield connection.close()

    made = create(backend, {"cart": ["hat"], "size": 7})
    serve(backend, orders, handler, cookie_of(made), concurrency=concurrency)
    size = 7 if concurrency == "last-write-wins" else 8
    assert stored(backend, made.ref) == {"cart": cart, "size": size}
    assert count(backend, orders) == (0 if cart else 1)


@pytest.mark.parametrize("backend", [SQLITE[0], POSTGRESQL[2], MARIADB[0]], indirect=True)
@pytest.mark.parametrize("concurrency", CONCURRENCY[:2])
@pytest.mark.parametrize("commits_first", [True, False])
def test_another_transaction_writes_what_a_rollback_undid(
    backend: Backend, orders: str, concurrency: str, commits_first: bool
) -> None:
    """As an application does that tries again after a deadlock."""

    def handler(shop: Shop, session: Any) -> Story:
        for commits in (commits_first, False, True):
            connection = yield from order(shop, session)
            yield from finish(connection, commits=commits)
        session["flash"] = 1

    orders_then = 2 if commits_first else 1
    assert outcome(backend, orders, handler, concurrency=concurrency) == (
        orders_then, {"cart": [], "size": 7, "flash": 1},
    )  # fmt: skip


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize("concurrency", ["merge", "last-write-wins"])
@pytest.mark.parametrize("commits_first", [True, False])
def test_another_transaction_comes_after_another_request(
    backend: Backend, orders: str, concurrency: str, commits_first: bool
) -> None:
    """Nobody knows whether that request has seen the first transaction."""

    def handler(shop: Shop, session: Any) -> Story:
        for commits in (commits_first, True):
            connection = yield from order(shop, session)
            yield from finish(connection, commits=commits)
            if not count(backend, f"{orders} WHERE what = 'bow'"):
                other(backend, made.ref, coupon=5)
                backend.sql(f"INSERT INTO {orders} VALUES ('bow')")

    made = create(backend, {"cart": ["hat"], "size": 7})
    serve(backend, orders, handler, cookie_of(made), concurrency=concurrency)
    expected = {"cart": [], "size": 7, "coupon": 5}
    if concurrency == "last-write-wins":
        del expected["coupon"]
    assert stored(backend, made.ref) == expected


@pytest.mark.parametrize("backend", [*SQLITE, POSTGRESQL[2], MARIADB[0]], indirect=True)
@pytest.mark.parametrize("commits", [True, False])
def test_two_saves_in_one_transaction(backend: Backend, orders: str, commits: bool) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        yield shop.save(session, connection)
        session["cart"] = ["bow"]
        yield shop.save(session, connection)
        yield from finish(connection, commits=commits)
        session["flash"] = 1

    number, cart = (1, ["bow"]) if commits else (0, ["hat"])
    assert outcome(backend, orders, handler) == (number, {"cart": cart, "size": 7, "flash": 1})


@pytest.mark.parametrize("backend", POSTGRESQL[:1], indirect=True)
def test_a_savepoint_that_is_rolled_back(backend: Backend, orders: str) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield shop.engine.connect()
        yield shop.order(connection)
        savepoint = yield connection.begin_nested()
        session["cart"] = []
        yield shop.save(session, connection)
        yield savepoint.rollback()
        yield from finish(connection, commits=True)
        session["flash"] = 1

    assert outcome(backend, orders, handler) == (1, {"cart": ["hat"], "size": 7, "flash": 1})


@pytest.mark.parametrize("backend", [SQLITE[0], POSTGRESQL[2]], indirect=True)
@pytest.mark.parametrize("commits", [True, False])
def test_reload_shows_what_became_of_it(backend: Backend, orders: str, commits: bool) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        yield from finish(connection, commits=commits)
        yield session.reload()
        assert session["cart"] == ([] if commits else ["hat"])
        session["flash"] = 1

    cart = [] if commits else ["hat"]
    assert outcome(backend, orders, handler)[1] == {"cart": cart, "size": 7, "flash": 1}


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize("concurrency", CONCURRENCY)
@pytest.mark.parametrize("commits", [True, False])
def test_the_session_gets_a_new_id_afterwards(
    backend: Backend, orders: str, concurrency: str, commits: bool
) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        yield from finish(connection, commits=commits)
        session.regenerate(keep_data=True)
        session["flash"] = 1

    made = create(backend, {"cart": ["hat"]})
    response, _ = serve(backend, orders, handler, cookie_of(made), concurrency=concurrency)
    assert stored(backend, made.ref) is None
    store = backend.store()
    found = sessions(store).find(f"sid={response.cookies['sid']}")
    store.close()
    assert found is not None
    assert found.data == {"cart": [] if commits else ["hat"], "flash": 1}


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize("commits", [True, False])
def test_the_session_ends_afterwards(backend: Backend, orders: str, commits: bool) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        yield from finish(connection, commits=commits)
        session.destroy()

    assert outcome(backend, orders, handler) == (int(commits), None)


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize("commits", [True, False])
def test_a_session_that_others_end_stays_ended(
    backend: Backend, orders: str, commits: bool
) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        yield from finish(connection, commits=commits)
        assert sessions(shop.store).revoke(made.ref)
        session["flash"] = 1

    made = create(backend, {"cart": ["hat"]})
    serve(backend, orders, handler, cookie_of(made))
    assert stored(backend, made.ref) is None


@pytest.mark.parametrize("backend", [SQLITE[0], POSTGRESQL[2]], indirect=True)
def test_a_session_that_was_ended_before(backend: Backend, orders: str) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        assert session["cart"]
        store = backend.store()
        assert sessions(store).revoke(made.ref)
        store.close()
        connection = yield shop.engine.connect()
        try:
            yield shop.order(connection)
            session["cart"] = []
            with pytest.raises(SessionGone):
                yield shop.save(session, connection)
        finally:
            yield from finish(connection, commits=False)

    made = create(backend, {"cart": ["hat"]})
    serve(backend, orders, handler, cookie_of(made))
    assert stored(backend, made.ref) is None


@pytest.mark.parametrize("backend", [SQLITE[0], POSTGRESQL[2]], indirect=True)
def test_a_save_that_fails_is_made_up_by_nobody(backend: Backend, orders: str) -> None:
    """The response must not empty the cart of an order that was rolled back."""

    def handler(shop: Shop, session: Any) -> Story:
        connection = yield shop.engine.connect()
        yield shop.order(connection)
        session["cart"] = []
        session["photo"] = "x" * 3 * 2**20
        with pytest.raises(RecordTooLarge):
            yield shop.save(session, connection)
        yield from finish(connection, commits=False)
        del session["photo"]
        session["flash"] = 1

    assert outcome(backend, orders, handler) == (0, {"cart": ["hat"], "size": 7, "flash": 1})


@pytest.mark.parametrize("backend", [POSTGRESQL[0], POSTGRESQL[2], MARIADB[0]], indirect=True)
def test_an_open_transaction_is_an_error_and_no_deadlock(backend: Backend, orders: str) -> None:
    """The row is locked, and who would wait for it is the one who has to commit."""

    def refused(call: Callable[[], Any]) -> Story:
        with pytest.raises(TransactionOpen, match="commit or roll back"):
            yield call()

    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        shop.left_open.append(connection)
        second = yield shop.engine.connect()
        session["flash"] = 1
        for call in (
            session.save, session.reload, lambda: session.change(dict.clear),
            lambda: shop.save(session, second),
        ):  # fmt: skip
            yield from refused(call)
        yield second.close()

    made = create(backend, {"cart": ["hat"]})
    began = time.monotonic()
    with pytest.raises(TransactionOpen):  # by the response
        serve(backend, orders, handler, cookie_of(made))
    assert time.monotonic() - began < 2
    assert stored(backend, made.ref) == {"cart": ["hat"]}


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize(
    "act",
    [
        lambda session: session.destroy(),
        lambda session: session.regenerate(),
        lambda session: session.regenerate(keep_data=True),
    ],
    ids=["destroy", "regenerate", "keep"],
)
def test_neither_end_nor_new_id_while_a_transaction_is_open(
    backend: Backend, orders: str, act: Callable[[Any], None]
) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        shop.left_open.append((yield from order(shop, session)))
        act(session)

    made = create(backend, {"cart": ["hat"]})
    with pytest.raises(TransactionOpen):
        serve(backend, orders, handler, cookie_of(made))
    assert stored(backend, made.ref) == {"cart": ["hat"]}


@pytest.mark.parametrize("backend", [SQLITE[0], POSTGRESQL[2]], indirect=True)
def test_a_session_that_is_not_stored_under_its_id_is_refused(
    backend: Backend, orders: str
) -> None:
    def refused(shop: Shop, session: Any) -> Story:
        connection = yield shop.engine.connect()
        with pytest.raises(ConfigurationError, match=r"call `save\(\)` before"):
            yield shop.save(session, connection)
        yield connection.close()

    def new(shop: Shop, session: Any) -> Story:
        session["cart"] = ["hat"]
        yield from refused(shop, session)
        yield session.save()
        connection = yield from order(shop, session)
        yield from finish(connection, commits=True)

    def renamed(shop: Shop, session: Any) -> Story:
        session.regenerate(keep_data=True)
        yield from refused(shop, session)

    def ended(shop: Shop, session: Any) -> Story:
        session.destroy()
        yield from refused(shop, session)

    response, _ = serve(backend, orders, new)
    cookie = f"sid={response.cookies['sid']}"
    assert count(backend, orders) == 1
    for handler in (renamed, ended):
        response, _ = serve(backend, orders, handler, cookie)
        cookie = f"sid={response.cookies.get('sid')}"


@pytest.mark.parametrize("backend", SQLITE, indirect=True)
def test_a_store_without_a_transaction_is_refused(backend: Backend, orders: str) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        for wrong in (shop.store, "sqlite://"):
            with pytest.raises(ConfigurationError, match=r"`store\.bind\(connection\)`"):
                yield session.save(store=wrong)

    assert outcome(backend, orders, handler)[0] == 0


@pytest.mark.parametrize("backend", [SQLITE[0], *POSTGRESQL[::2]], indirect=True)
def test_with_a_session_of_the_orm(backend: Backend, orders: str) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        kind: Any = AsyncORMSession if backend.is_async else ORMSession
        orm = kind(shop.engine)
        yield shop.order(orm)
        session["cart"] = []
        connection = orm.connection()
        if backend.is_async:
            connection = yield connection
        yield shop.save(session, connection)
        yield orm.commit()
        session["flash"] = 1
        yield orm.close()

    assert outcome(backend, orders, handler) == (1, {"cart": [], "size": 7, "flash": 1})


@pytest.mark.parametrize("backend", [POSTGRESQL[0], MARIADB[0]], indirect=True)
def test_another_request_waits_for_the_commit(backend: Backend, orders: str) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        waiting.append(pool.submit(other, backend, made.ref, size=8))
        time.sleep(0.3)
        assert not waiting[0].done()
        yield from finish(connection, commits=True)
        waiting[0].result(10)
        session["flash"] = 1

    waiting: list[Any] = []
    made = create(backend, {"cart": ["hat"], "size": 7})
    with ThreadPoolExecutor(1) as pool:
        serve(backend, orders, handler, cookie_of(made))
    assert stored(backend, made.ref) == {"cart": [], "size": 8, "flash": 1}


def _order_and_die(backend: Backend, orders: str, cookie: str, commits: bool) -> None:
    def handler(shop: Shop, session: Any) -> Story:
        connection = yield from order(shop, session)
        if commits:
            yield from finish(connection, commits=True)
            session["flash"] = 1
        os.kill(os.getpid(), signal.SIGKILL)

    serve(backend, orders, handler, cookie)


@pytest.mark.parametrize("backend", POSTGRESQL[::2], indirect=True)
def test_a_process_is_killed_between_save_commit_and_response(
    backend: Backend, orders: str
) -> None:
    killed: list[Any] = []
    spawn = multiprocessing.get_context("spawn")
    both = {commits: create(backend, {"cart": ["hat"]}) for commits in (True, False)}
    for commits, made in both.items():
        words = backend, orders, cookie_of(made), commits
        killed.append(spawn.Process(target=_order_and_die, args=words))
        killed[-1].start()
    for each in killed:
        each.join(60)
        assert each.exitcode == -signal.SIGKILL
    assert count(backend, orders) == 1
    assert stored(backend, both[True].ref) == {"cart": []}
    assert stored(backend, both[False].ref) == {"cart": ["hat"]}


@pytest.mark.slow
@pytest.mark.parametrize("backend", [SQLITE[0], MARIADB[0]], indirect=True)
def test_a_process_is_killed_with_other_databases(backend: Backend, orders: str) -> None:
    test_a_process_is_killed_between_save_commit_and_response(backend, orders)


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
@pytest.mark.parametrize("commits", [True, False])
def test_a_view_of_flask(backend: Backend, orders: str, commits: bool) -> None:
    own = engine(backend)
    store = SQLStore(own, table=backend.table)
    app = flask.Flask("shop")
    app.config.update(SECRET_KEY=SECRET, COATCHECK_STORE=store)
    extension = Coatcheck(app)

    @app.get("/")
    def view() -> str:
        flask.session["cart"] = ["hat"]
        flask.session.save()
        with own.connect() as connection:
            connection.execute(text(f"INSERT INTO {orders} VALUES ('hat')"))
            flask.session["cart"] = []
            flask.session.save(store=extension.store.bind(connection))
            (connection.commit if commits else connection.rollback)()
        flask.flash("done")
        return extension.sessions.ref_of(flask.session)

    ref = app.test_client().get("/").text
    found = stored(backend, ref)
    own.dispose()
    assert count(backend, orders) == int(commits)
    assert found is not None
    assert found["cart"] == ([] if commits else ["hat"])
    assert "_flashes" in found


@pytest.mark.parametrize("backend", [SQLITE[0], POSTGRESQL[0]], indirect=True)
@pytest.mark.parametrize("commits", [True, False])
def test_a_view_in_a_worker_thread(backend: Backend, orders: str, commits: bool) -> None:
    """As `def` endpoints of FastAPI are, with a synchronous session of the ORM."""
    own = engine(backend)
    store = SQLStore(own, table=backend.table)

    def view(request: Request) -> PlainTextResponse:
        session = request.session
        with ORMSession(own) as orm:
            orm.execute(text(f"INSERT INTO {orders} VALUES ('hat')"))
            session["cart"] = []
            bound = store.bind(orm.connection())
            anyio.from_thread.run(partial(session.save, store=bound))
            (orm.commit if commits else orm.rollback)()
        session["flash"] = 1
        return PlainTextResponse("ok")

    made = create(backend, {"cart": ["hat"]})
    app = ASGISessions(Starlette(routes=[Route("/", view)]), secret=SECRET, store=store)
    client = TestClient(app, base_url="https://shop", headers={"cookie": cookie_of(made)})
    assert client.get("/").text == "ok"
    assert stored(backend, made.ref) == {"cart": [] if commits else ["hat"], "flash": 1}
    own.dispose()
