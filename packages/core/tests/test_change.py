"""Changes that depend on the old value: `session.change()`, and rules of keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.from_thread
import fastapi
import httpx
import pytest
from webclient import (
    SECRET,
    Client,
    SyncClient,
    YieldingStore,
    asgi_app,
    set_cookies,
    wsgi_app,
)

from coatcheck import MemoryStore, SessionOptions, Sessions, session_of
from coatcheck._records.succession import is_succession
from coatcheck.asgi import SessionMiddleware
from coatcheck.codec import JSONCodec
from coatcheck.errors import ConfigurationError, ConflictError, SessionGone
from coatcheck.merge_rules import counter, union

pytestmark = pytest.mark.anyio

MODES = ["merge", "error", "last-write-wins"]


def stored(store: MemoryStore) -> dict[str, Any]:
    ((key, record),) = (item for item in store.all() if not is_succession(item[0]))
    return JSONCodec().loads(record.data, key).data


def count(data: dict[str, Any]) -> int:
    data["n"] = int(data.get("n", 0)) + 1
    return int(data["n"])


def browser_of(app: Any, cookies: Any) -> Client:
    client = Client(app)
    client.cookies = cookies
    return client


@pytest.mark.parametrize("concurrency", MODES)
@pytest.mark.parametrize("processes", [1, 2])
async def test_parallel_counts_are_exact_under_asgi(concurrency: str, processes: int) -> None:
    """Of 20 requests that count at the same time each counts once, and gets its own number."""
    memory = MemoryStore()
    store = YieldingStore(memory)

    async def handle(session: Any, scope: dict[str, Any]) -> Any:
        if scope["path"] == "/login":
            session["user"] = "ann"
            return None
        value = await session.change(count)
        assert session["n"] >= value  # others may have counted in the same write
        return value

    apps = [asgi_app(handle, store=store, concurrency=concurrency) for _ in range(processes)]
    first = Client(apps[0])
    await first.get("/login")
    answers: list[str] = []

    async def visit(number: int) -> None:
        browser = browser_of(apps[number % processes], first.cookies)
        answers.append((await browser.get("/count")).text)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(visit, number)
    assert sorted(map(int, answers)) == [*range(1, 21)]
    assert stored(memory) == {"user": "ann", "n": 20}


@pytest.mark.parametrize("concurrency", MODES)
def test_parallel_counts_are_exact_under_wsgi(concurrency: str) -> None:
    """Threads count exactly as tasks do."""
    store = MemoryStore()

    def handle(session: Any, environ: dict[str, Any]) -> Any:
        if environ["PATH_INFO"] == "/login":
            session["user"] = "ann"
            return None
        return session.change(count)

    apps = [wsgi_app(handle, store=store, concurrency=concurrency) for _ in range(2)]
    with SyncClient(apps[0]) as browser:
        browser.get("/login")
        cookies = browser.cookies

    def visit(number: int) -> httpx.Response:
        with SyncClient(apps[number % 2], cookies=cookies) as client:
            return client.get("/count")

    with ThreadPoolExecutor(8) as threads:
        answers = [response.text for response in threads.map(visit, range(40))]
    assert sorted(map(int, answers)) == [*range(1, 41)]
    assert stored(store) == {"user": "ann", "n": 40}


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_rule_makes_plain_counting_exact(processes: int) -> None:
    """With the rule `counter` 20 parallel `session["n"] += 1` are 20, in one process and in two."""
    memory = MemoryStore()
    store = YieldingStore(memory)
    met = anyio.Event()
    loaded = 0

    async def handle(session: Any, scope: dict[str, Any]) -> Any:
        nonlocal loaded
        if scope["path"] == "/login":
            session.update(n=0, seen=["start"])
            return
        loaded += 1
        if loaded == 20:
            met.set()
        await met.wait()
        session["n"] += 1
        session["seen"].append(scope["path"])

    rules = {"n": counter, "seen": union}
    apps = [asgi_app(handle, store=store, merge=rules) for _ in range(processes)]
    first = Client(apps[0])
    await first.get("/login")
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            browser = browser_of(apps[number % processes], first.cookies)
            tasks.start_soon(browser.get, f"/count{number}")
    data = stored(memory)
    assert data["n"] == 20
    assert sorted(data["seen"]) == sorted(["start", *(f"/count{number}" for number in range(20))])


def one_request(act: Any, **options: Any) -> tuple[Any, dict[str, Any], list[str]]:
    """Return the answer to a visitor with ``n=5``, what is stored, and the cookies."""
    store = MemoryStore()

    def handle(session: Any, environ: dict[str, Any]) -> Any:
        if environ["PATH_INFO"] == "/login":
            session["n"] = 5
            return None
        return act(session)

    with SyncClient(wsgi_app(handle, store=store, **options)) as browser:
        browser.get("/login")
        answer = browser.get("/act")
        return answer.text, stored(store), set_cookies(answer)


def test_other_changes_of_the_request_are_stored_along() -> None:
    """The function sees what the request has changed, and both are stored before it returns."""

    def act(session: Any) -> Any:
        session["x"] = [1]
        mine = session["x"]
        value = session.change(lambda data: data.update(y=len(data["x"])))
        mine.append(2)
        return value, session["y"], session["x"], session.is_modified

    text, data, _ = one_request(act)
    assert text == "(None, 1, [1, 2], True)"
    assert data == {"n": 5, "x": [1, 2], "y": 1}


def test_a_new_session_is_changed_and_stored_with_the_response() -> None:
    """Where nobody knows the session yet the function is applied to what is there."""
    store = MemoryStore()
    app = wsgi_app(lambda session, environ: session.change(count), store=store)
    with SyncClient(app) as browser:
        answer = browser.get("/")
    assert (answer.text, len(set_cookies(answer))) == ("1", 1)
    assert stored(store) == {"n": 1}


def test_a_function_after_a_rotation_counts_in_the_new_session() -> None:
    """`regenerate(keep_data=True)` is carried out first, because others may write the old one."""

    def act(session: Any) -> Any:
        session.regenerate(keep_data=True)
        return session.change(count)

    text, data, cookies = one_request(act)
    assert (text, data, len(cookies)) == ("6", {"n": 6}, 1)


@pytest.mark.parametrize("known", [True, False])
def test_a_function_that_raises_changes_nothing(known: bool) -> None:
    """The exception comes out, and what the function had changed is dropped."""

    def fail(data: dict[str, Any]) -> None:
        data["n"] = 99
        data.setdefault("list", []).append(1)
        raise LookupError

    def act(session: Any) -> Any:
        if not known:
            session.regenerate()
            session["n"] = 5
        with pytest.raises(LookupError):
            session.change(fail)
        return dict(session)

    text, data, _ = one_request(act)
    assert text == "{'n': 5}"
    assert data == {"n": 5}


async def test_an_asynchronous_function_is_refused() -> None:
    """It would have to be awaited while others wait for their turn."""

    async def later(data: dict[str, Any]) -> None:
        data["n"] = 1

    def act(session: Any) -> Any:
        with pytest.raises(TypeError, match="async def"):
            session.change(later)

    assert one_request(act)[1] == {"n": 5}


@pytest.mark.parametrize("wrong", [None, {"n": 6}])
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    """None would pass for "no function", and a state in its place for a change."""

    def act(session: Any) -> Any:
        with pytest.raises(TypeError, match="must be a function of its data"):
            session.change(wrong)

    assert one_request(act)[1] == {"n": 5}
    app = wsgi_app(lambda session, environ: act(session), store=MemoryStore())
    with SyncClient(app) as browser:
        assert browser.get("/").status_code == 200
    sessions = Sessions(MemoryStore(), SessionOptions(secret=SECRET))
    with pytest.raises(TypeError, match="must be a function of its data"):
        sessions.update("0" * 64, wrong)


def test_a_plain_endpoint_changes_from_its_worker_thread() -> None:
    """FastAPI runs `def` endpoints in threads, which cannot await; the guide says how."""
    app = fastapi.FastAPI()
    app.add_middleware(SessionMiddleware, secret=SECRET, store=MemoryStore())

    @app.get("/")
    def page(request: fastapi.Request) -> Any:
        request.session["user"] = "ann"
        return anyio.from_thread.run(session_of(request).change, count)

    with SyncClient(app) as browser:
        assert [browser.get("/").json() for _ in range(2)] == [1, 2]


def test_a_function_of_an_ended_session_is_told_so() -> None:
    """A session that another request ended is not revived, and the caller learns it."""
    store = MemoryStore()

    def handle(session: Any, environ: dict[str, Any]) -> Any:
        if environ["PATH_INFO"] == "/login":
            session["n"] = 1
            return
        session.load()
        store.clear()
        with pytest.raises(SessionGone):
            session.change(count)

    with SyncClient(wsgi_app(handle, store=store)) as browser:
        browser.get("/login")
        assert set_cookies(browser.get("/count")) == []
    assert store.length() == 0


@pytest.mark.parametrize("concurrency", MODES)
def test_a_function_that_changes_nothing_sees_what_others_have_stored(concurrency: str) -> None:
    """Its result is decided by what is stored, and not by what the request has loaded."""
    store = MemoryStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET))

    def take(data: dict[str, Any]) -> str:
        if not data["n"]:
            return "refused"
        data["n"] -= 1
        return "taken"

    def handle(session: Any, environ: dict[str, Any]) -> Any:
        path = environ["PATH_INFO"]
        if path == "/login":
            session["n"] = 0
            return None
        assert session["n"] == 0
        ((key, _),) = store.all()
        if path == "/refill":
            assert sessions.update(key, count) is not None
        elif path == "/logout":
            store.clear()
            with pytest.raises(SessionGone):
                session.change(take)
            return None
        return session.change(take), session["n"]

    with SyncClient(wsgi_app(handle, store=store, concurrency=concurrency)) as browser:
        browser.get("/login")
        assert browser.get("/take").text == "('refused', 0)"
        assert browser.get("/refill").text == "('taken', 0)"
        assert stored(store) == {"n": 0}
        browser.get("/logout")
    assert store.length() == 0


def test_a_list_that_a_function_returns_is_not_the_sessions_own() -> None:
    """A value appended to it later is not stored; one appended to the session's own is."""

    def act(session: Any) -> Any:
        cart = session.change(lambda data: data.setdefault("cart", ["a"]))
        cart.append("lost")
        session["cart"].append("b")
        return session["cart"]

    assert one_request(act)[:2] == ("['a', 'b']", {"n": 5, "cart": ["a", "b"]})


def test_with_error_a_function_that_takes_back_a_change_is_no_conflict() -> None:
    """Where nobody else has written, what was loaded is what is stored."""

    def act(session: Any) -> Any:
        session["n"] = 6
        return session.change(lambda data: data.update(n=5))

    assert one_request(act, concurrency="error")[:2] == ("None", {"n": 5})


def test_with_error_other_changes_are_a_conflict() -> None:
    """A function may be applied again; the other changes of the request may not be merged."""
    store = MemoryStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET))

    def handle(session: Any, environ: dict[str, Any]) -> Any:
        if environ["PATH_INFO"] == "/login":
            session["n"] = 1
            return
        session["x"] = 1
        ((key, _),) = store.all()
        assert sessions.update(key, count) is not None
        with pytest.raises(ConflictError):
            session.change(count)
        session.reload()

    with SyncClient(wsgi_app(handle, store=store, concurrency="error")) as browser:
        browser.get("/login")
        browser.get("/count")
    assert stored(store) == {"n": 2}


def test_sessions_are_changed_from_outside() -> None:
    """`Sessions.update` changes a live session without extending it; others are None."""
    store = MemoryStore()
    app = wsgi_app(lambda session, environ: session.update(n=1), store=store)
    with SyncClient(app) as browser:
        browser.get("/")
    sessions = Sessions(store, app.options)
    ((key, before),) = store.all()
    entry = sessions.update(key, count)
    assert entry is not None
    assert entry.data == {"n": 2}
    assert entry.expires_at == before.expires_at
    assert sessions.update("0" * 64, count) is None


@pytest.mark.parametrize(
    ("rule", "base", "mine", "theirs", "merged"),
    [
        (counter, 1, 3, 2, 4),
        (counter, None, 1, 1, 2),
        (counter, 5, 0, 6, 1),
        (counter, 1.5, 2.0, 2.5, 3.0),
        (union, [1], [1, 2], [1, 3], [1, 3, 2]),
        (union, [1, 2], [2], [1, 2, 3], [2, 3]),
        (union, None, [1], [1], [1, 1]),
        (union, {1}, {1, 2}, {3}, {2, 3}),
        (union, None, {1}, {2}, {1, 2}),
        (union, [{"id": 1}], [{"id": 1}, {"id": 2}], [], [{"id": 2}]),
    ],
)
def test_ready_made_rules(rule: Any, base: Any, mine: Any, theirs: Any, merged: Any) -> None:
    """A rule keeps what both sides have done."""
    assert rule(base, mine, theirs) == merged


@pytest.mark.parametrize(("mine", "theirs"), [("a", "b"), ([1], {1}), (1, [1])])
def test_rules_refuse_what_they_are_not_for(mine: Any, theirs: Any) -> None:
    """Other types are a TypeError, and not a lost value."""
    with pytest.raises(TypeError):
        union(None, mine, theirs)
    with pytest.raises(TypeError):
        counter(None, mine, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {"merge": counter},
        {"merge": {"n": "counter"}},
        {"merge": {1: counter}},
        {"merge": {"n": counter}, "concurrency": "error"},
        {"conflict_timeout": None},
        {"conflict_timeout": 0},
        {"conflict_timeout": "5"},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    """The error names the option."""
    with pytest.raises(ConfigurationError, match=r"`merge`|`conflict_timeout`"):
        SessionOptions(secret=SECRET, **options)
