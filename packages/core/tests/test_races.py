"""Requests that meet in one session: nothing is lost, and what was ended stays ended."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import pytest
from webclient import (
    SECRET,
    Client,
    Clock,
    SyncClient,
    YieldingStore,
    asgi_app,
    sessions_in,
    set_cookies,
    wsgi_app,
)

from coatcheck import (
    ALWAYS,
    Capabilities,
    CookieOptions,
    MemoryStore,
    Record,
    SessionOptions,
    Sessions,
)
from coatcheck.codec import JSONCodec
from coatcheck.errors import ConflictError, LateWriteError, SessionGone, StoreTimeout
from coatcheck.merge_rules import counter
from coatcheck.store import PRESENT, Condition

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[MemoryStore, YieldingStore])
def store(request: pytest.FixtureRequest) -> MemoryStore | YieldingStore:
    """A store that answers at once, and one that yields to the event loop around each operation."""
    made: MemoryStore | YieldingStore = request.param()
    return made


def stored(store: MemoryStore | YieldingStore) -> list[dict[str, Any]]:
    """Return the data of each session."""
    memory = store.store if isinstance(store, YieldingStore) else store
    found = sessions_in(memory).items()
    return [JSONCodec().loads(record.data, key).data for key, record in found]


def act(session: Any, path: str) -> None:
    """Do to the session what the path says."""
    action, _, word = path.strip("/").partition("/")
    match action:
        case "login":
            session.update(user="ann", cart=0)
        case "add":
            session[word] = 1
        case "cart":
            session["cart"] = word
        case "logout":
            session.destroy()
        case "clear":
            session.clear()
        case "delete":
            del session["cart"]
        case "regenerate":
            session.regenerate()
            session["user"] = "bob"
        case "rotate":
            session.regenerate(keep_data=True)
        case "count":
            session["cart"] += 1
        case "read":
            len(session)


def keys(count: int) -> list[str]:
    return [f"k{number}" for number in range(count)]


def all_answered(responses: list[Any]) -> bool:
    """Tell whether there is no exception among the responses, and no error."""
    return all(
        isinstance(response, httpx.Response) and response.status_code == 200
        for response in responses
    )


class Barrier:
    """Where requests wait, with the session loaded, until all are there and may go on."""

    def __init__(self, parties: int) -> None:
        self._missing = parties
        self.complete = anyio.Event()
        self.may_go = anyio.Event()

    async def wait(self) -> None:
        self._missing -= 1
        if not self._missing:
            self.complete.set()
        await self.may_go.wait()


class SharedSessionApp:
    """An application whose requests meet in one session.

    :param processes: how many middlewares take the requests in turn. Each has locks of its own.
    """

    def __init__(self, store: Any, *, processes: int = 1, **options: Any) -> None:
        self._apps = [asgi_app(self._act, store=store, **options) for _ in range(processes)]
        self._turn = 0
        self._barrier: Barrier | None = None
        self.browser = Client(self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._turn += 1
        scope["barrier"] = self._barrier
        await self._apps[self._turn % len(self._apps)](scope, receive, send)

    async def login(self) -> None:
        await self.browser.get("/login")

    async def meet(self, *paths: str, first: str | None = None) -> list[Any]:
        """Return the responses, or exceptions, of requests that have all loaded the session.

        :param first: a request that is answered between their loading and their changes; its
            response comes first.
        """
        barrier = self._barrier = Barrier(len(paths))
        results: list[Any] = [None] * len(paths)

        async def visit(index: int, path: str) -> None:
            try:
                results[index] = await self.browser.tab().get(path)
            except Exception as error:
                results[index] = error

        async with anyio.create_task_group() as tasks:
            for index, path in enumerate(paths):
                tasks.start_soon(visit, index, path)
            await barrier.complete.wait()
            self._barrier = None
            if first is not None:
                results.insert(0, await self.browser.tab().get(first))
                offset = results.pop(0)
            barrier.may_go.set()
        return results if first is None else [offset, *results]

    async def _act(self, session: Any, scope: dict[str, Any]) -> None:
        if scope["barrier"] is not None:
            await scope["barrier"].wait()
        act(session, scope["path"])


# Writers


#: How many, and in how many processes.
CROWDS = [(50, 1), (50, 2), (200, 2), pytest.param(200, 1, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("writers", "processes"), [(2, 1), (2, 2), *CROWDS])
async def test_parallel_writers_lose_nothing(store: Any, writers: int, processes: int) -> None:
    """Requests that each add a key are all answered, and all their keys are there."""
    app = SharedSessionApp(store, processes=processes)
    await app.login()
    responses = await app.meet(*(f"/add/{key}" for key in keys(writers)))
    assert all_answered(responses)
    assert stored(store) == [{"user": "ann", "cart": 0} | dict.fromkeys(keys(writers), 1)]


@pytest.mark.parametrize(("writers", "processes"), CROWDS)
def test_writers_in_threads_lose_nothing(writers: int, processes: int) -> None:
    """Under WSGI, too, parallel requests are all answered, and all their keys are there."""
    store = MemoryStore()
    loaded = threading.Barrier(writers)

    def handle(session: Any, environ: dict[str, Any]) -> None:
        if environ["PATH_INFO"] != "/login":
            session.load()
            loaded.wait()
        act(session, environ["PATH_INFO"])

    apps = [wsgi_app(handle, store=store) for _ in range(processes)]
    with SyncClient(apps[0]) as browser:
        browser.get("/login")
        cookies = browser.cookies

    def write(number: int) -> httpx.Response:
        with SyncClient(apps[number % processes], cookies=cookies) as client:
            return client.get(f"/add/k{number}")

    with ThreadPoolExecutor(writers) as threads:
        responses = list(threads.map(write, range(writers)))
    assert all_answered(responses)
    assert stored(store) == [{"user": "ann", "cart": 0} | dict.fromkeys(keys(writers), 1)]


async def test_of_two_changes_of_one_key_the_later_is_kept(store: Any) -> None:
    """The request that is saved last wins the key that both changed."""
    app = SharedSessionApp(store)
    await app.login()
    assert all_answered(await app.meet("/cart/red", first="/cart/blue"))
    assert stored(store) == [{"user": "ann", "cart": "red"}]


@pytest.mark.parametrize("processes", [1, 2])
async def test_with_error_one_of_the_writers_wins(store: Any, processes: int) -> None:
    """With `concurrency="error"` one of 50 parallel writes is stored and the others raise."""
    app = SharedSessionApp(store, processes=processes, concurrency="error")
    await app.login()
    responses = await app.meet(*(f"/add/{key}" for key in keys(50)))
    assert sum(isinstance(response, ConflictError) for response in responses) == 49
    winner = next(key for key, response in zip(keys(50), responses, strict=True)
                  if isinstance(response, httpx.Response))  # fmt: skip
    assert stored(store) == [{"user": "ann", "cart": 0, winner: 1}]


@pytest.mark.parametrize("processes", [1, 2])
async def test_with_error_equal_changes_are_conflicts_too(store: Any, processes: int) -> None:
    """Of 20 requests that count from the same number one is answered, and the others raise."""
    app = SharedSessionApp(store, processes=processes, concurrency="error")
    await app.login()
    responses = await app.meet(*["/count"] * 20)
    assert sum(isinstance(response, ConflictError) for response in responses) == 19
    assert stored(store) == [{"user": "ann", "cart": 1}]


@pytest.mark.parametrize("processes", [1, 2])
async def test_with_last_write_wins_one_whole_session_is_kept(store: Any, processes: int) -> None:
    """With `concurrency="last-write-wins"` all are answered, and the last write is there."""
    app = SharedSessionApp(store, processes=processes, concurrency="last-write-wins")
    await app.login()
    assert all_answered(await app.meet("/add/late", first="/add/early"))
    assert stored(store) == [{"user": "ann", "cart": 0, "late": 1}]
    assert all_answered(await app.meet(*(f"/add/{key}" for key in keys(50))))
    (data,) = stored(store)
    assert len(data) == 4


async def test_with_last_write_wins_a_deletion_is_undone_and_a_logout_is_not(store: Any) -> None:
    """So `del session["user"]` is no logout there, and `destroy()` is one."""
    app = SharedSessionApp(store, concurrency="last-write-wins")
    await app.login()
    assert all_answered(await app.meet("/add/late", first="/delete"))
    assert stored(store) == [{"user": "ann", "cart": 0, "late": 1}]
    assert all_answered(await app.meet("/add/later", first="/logout"))
    assert stored(store) == []


# Endings against writers


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("concurrency", ["merge", "last-write-wins", "error"])
@pytest.mark.parametrize("position", [0, 10, 20])
async def test_a_logout_is_never_undone(
    store: Any, concurrency: str, position: int, processes: int
) -> None:
    """However many of 20 slow writers are faster than the logout, no session is left."""
    app = SharedSessionApp(store, processes=processes, concurrency=concurrency)
    await app.login()
    writers = [f"/add/{key}" for key in keys(20)]
    responses = await app.meet(*writers[:position], "/logout", *writers[position:])
    assert "Max-Age=0" in set_cookies(responses[position])[0]
    assert stored(store) == []


@pytest.mark.parametrize("concurrency", ["merge", "last-write-wins", "error"])
async def test_who_finds_the_session_gone_gets_no_cookie(store: Any, concurrency: str) -> None:
    """Writers, readers and rotations behind a logout are answered, without a cookie of ours."""
    clock = Clock(4_000_000_000)
    app = SharedSessionApp(
        store,
        concurrency=concurrency,
        clock=clock,
        cookie=CookieOptions(max_age=3600),
        rolling=True,
        touch_interval=1,
    )
    await app.login()
    clock.advance(1)
    paths = ["/add/x", "/cart/red", "/delete", "/clear", "/rotate", "/read", "/nothing"]
    logout, *others = await app.meet(*paths, first="/logout")
    assert "Max-Age=0" in set_cookies(logout)[0]
    assert all_answered(others)
    assert [set_cookies(response) for response in others] == [[] for _ in paths]
    assert stored(store) == []


@pytest.mark.parametrize(
    "options",
    [{"rolling": True}, {"secret": ["a new secret of thirty-two bytes, or more", SECRET]}],
)
@pytest.mark.parametrize("ending", ["/logout", "/rotate", "/regenerate"])
async def test_a_cookie_that_is_due_anyway_is_not_sent_for_a_dead_session(
    store: Any, options: dict[str, Any], ending: str
) -> None:
    """Rolling and signing again ask whether the session still lives, though no touch is due."""
    before = SharedSessionApp(store)
    await before.login()
    app = SharedSessionApp(store, **options)
    app.browser.cookies = before.browser.cookies
    paths = ["/read", "/nothing"]
    _, *others = await app.meet(*paths, first=ending)
    assert all_answered(others)
    assert [set_cookies(response) for response in others] == [[], []]


@pytest.mark.parametrize("ending", ["/logout", "/rotate", "/regenerate"])
@pytest.mark.parametrize("method", ["save", "reload"])
async def test_who_asks_is_told_that_the_session_is_gone(
    store: Any, ending: str, method: str
) -> None:
    """An explicit save() or reload() behind a logout or a rotation raises SessionGone."""
    raised = []

    async def handle(session: Any, scope: dict[str, Any]) -> None:
        if scope["path"] != "/ask":
            act(session, scope["path"])
            return
        session["x"] = 1
        await browser.tab().get(ending)
        with pytest.raises(SessionGone) as error:
            await getattr(session, method)()
        raised.append(error)

    browser = Client(asgi_app(handle, store=store))
    await browser.get("/login")
    assert set_cookies(await browser.get("/ask")) == []
    assert len(raised) == 1
    assert all("x" not in data for data in stored(store))


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("position", [0, 10, 20])
@pytest.mark.parametrize(
    ("deletion", "left"), [("/delete", {"user": "ann"}), ("/clear", {})], ids=["del", "clear"]
)
async def test_a_deletion_is_never_undone(
    store: Any, deletion: str, left: dict[str, Any], position: int, processes: int
) -> None:
    """A key that one request deleted stays deleted though 20 others change it."""
    app = SharedSessionApp(store, processes=processes)
    await app.login()
    writers = [f"/cart/{key}" for key in keys(20)]
    assert all_answered(await app.meet(*writers[:position], deletion, *writers[position:]))
    assert stored(store) == [left]


async def test_a_clear_keeps_what_others_added(store: Any) -> None:
    """clear() deletes the keys that it saw, and not those of parallel writers."""
    app = SharedSessionApp(store)
    await app.login()
    adds = [f"/add/{key}" for key in keys(20)]
    assert all_answered(await app.meet(*adds[:10], "/clear", *adds[10:]))
    assert stored(store) == [dict.fromkeys(keys(20), 1)]


# Rotations


@pytest.mark.parametrize("concurrency", ["merge", "last-write-wins", "error"])
@pytest.mark.parametrize(("path", "left"), [("/rotate", []), ("/regenerate", [{"user": "bob"}])])
async def test_a_rotation_behind_a_logout_does_not_revive_it(
    store: Any, concurrency: str, path: str, left: list[dict[str, Any]]
) -> None:
    """With its data the session is gone; without them it is a new one, which does no harm."""
    app = SharedSessionApp(store, concurrency=concurrency)
    await app.login()
    _, response = await app.meet(path, first="/logout")
    assert len(set_cookies(response)) == len(left)
    assert stored(store) == left


@pytest.mark.parametrize(
    ("path", "left"),
    [("/rotate", {"user": "ann", "cart": 0, "x": 1}), ("/regenerate", {"user": "bob"})],
)
async def test_a_rotation_behind_a_write_takes_it_along(
    store: Any, path: str, left: dict[str, Any]
) -> None:
    """A parallel request's write to the old id is in the new session, if data are kept."""
    app = SharedSessionApp(store)
    await app.login()
    responses = await app.meet(path, first="/add/x")
    assert all_answered(responses)
    assert [len(set_cookies(response)) for response in responses] == [0, 1]
    assert stored(store) == [left]


@pytest.mark.parametrize("concurrency", ["merge", "last-write-wins", "error"])
@pytest.mark.parametrize(
    ("path", "left"), [("/rotate", {"user": "ann", "cart": 0}), ("/regenerate", {"user": "bob"})]
)
async def test_a_write_behind_a_rotation_does_not_revive_the_old_id(
    store: Any, concurrency: str, path: str, left: dict[str, Any]
) -> None:
    """The writer is answered without a cookie, and the old id opens nothing."""
    app = SharedSessionApp(store, concurrency=concurrency)
    await app.login()
    rotation, *others = await app.meet("/add/x", "/cart/red", "/delete", first=path)
    assert len(set_cookies(rotation)) == 1
    assert all_answered(others)
    assert [set_cookies(response) for response in others] == [[], [], []]
    assert stored(store) == [left]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("rotations", [2, 20])
@pytest.mark.parametrize("concurrency", ["merge", "last-write-wins", "error"])
async def test_of_parallel_rotations_one_survives(
    store: Any, concurrency: str, rotations: int, processes: int
) -> None:
    """One response carries the new id, the others no cookie, and one session is left."""
    app = SharedSessionApp(store, processes=processes, concurrency=concurrency)
    await app.login()
    responses = await app.meet(*["/rotate"] * rotations)
    assert all_answered(responses)
    assert sum(len(set_cookies(response)) for response in responses) == 1
    assert stored(store) == [{"user": "ann", "cart": 0}]


async def test_rotations_among_writers_lose_no_answered_session(store: Any) -> None:
    """50 writers and 5 rotations at once leave one session, with the data it began with."""
    app = SharedSessionApp(store)
    await app.login()
    writers = [f"/add/{key}" for key in keys(50)]
    responses = await app.meet(*writers[:25], *["/rotate"] * 5, *writers[25:])
    assert all_answered(responses)
    assert sum(len(set_cookies(response)) for response in responses) == 1
    (data,) = stored(store)
    assert data.items() >= {"user": "ann", "cart": 0}.items()


# One request, several tasks


class PausingStore(YieldingStore):
    """A store whose next set waits, before or after it acts, until the test lets it go on."""

    when: str | None = None

    def pause(self, when: str) -> None:
        self.when = when
        self.paused, self.resumed = anyio.Event(), anyio.Event()

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        when, self.when = self.when, None
        if when == "before":
            await self._pause()
        result = await super().set(key, record, only_if)
        if when == "after":
            await self._pause()
        return result

    async def _pause(self) -> None:
        self.paused.set()
        await self.resumed.wait()


def during_a_save(
    store: PausingStore, when: str, action: Callable[[Any], Awaitable[None]]
) -> Client:
    """Return a browser whose `/save` does something while its save is under way."""

    async def handle(session: Any, scope: dict[str, Any]) -> None:
        if scope["path"] != "/save":
            act(session, scope["path"])
            return
        session["list"] = [1]
        store.pause(when)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.save)
            await store.paused.wait()
            await action(session)
            store.resumed.set()

    return Client(asgi_app(handle, store=store))


async def add_a_key(session: Any) -> None:
    session["x"] = 1


async def append(session: Any) -> None:
    session["list"].append(2)


async def delete_the_key(session: Any) -> None:
    del session["list"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
@pytest.mark.parametrize(
    ("action", "change"),
    [(add_a_key, {"list": [1], "x": 1}), (append, {"list": [1, 2]}), (delete_the_key, {})],
)
async def test_a_change_during_a_save_is_saved_at_the_end(
    when: str, known: bool, action: Any, change: dict[str, Any]
) -> None:
    """A change while another task saves the session is not taken for saved."""
    store = PausingStore()
    browser = during_a_save(store, when, action)
    if known:
        await browser.get("/login")
    await browser.get("/save")
    assert stored(store) == [({"user": "ann", "cart": 0} if known else {}) | change]


@pytest.mark.parametrize(
    ("action", "change"), [(add_a_key, {"list": [1], "x": 1}), (append, {"list": [1, 2]})]
)
async def test_a_change_during_a_save_survives_a_merge(action: Any, change: dict[str, Any]) -> None:
    """A change while a save meets another request's write is not lost either."""
    store = PausingStore()

    async def meet_another_request(session: Any) -> None:
        await elsewhere.get("/add/theirs")
        await action(session)

    # In one process requests of a session do not meet: they take turns.
    elsewhere = Client(asgi_app(lambda session, scope: act(session, scope["path"]), store=store))
    browser = during_a_save(store, "before", meet_another_request)
    await browser.get("/login")
    elsewhere.cookies = browser.cookies
    await browser.get("/save")
    assert stored(store) == [{"user": "ann", "cart": 0, "theirs": 1} | change]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
@pytest.mark.parametrize(("ending", "left"), [("/logout", []), ("/regenerate", [{"user": "bob"}])])
async def test_an_end_during_a_save_is_an_end(
    when: str, known: bool, ending: str, left: list[dict[str, Any]]
) -> None:
    """destroy() and regenerate() while another task saves the session end it nevertheless."""
    store = PausingStore()

    async def end(session: Any) -> None:
        act(session, ending)

    browser = during_a_save(store, when, end)
    if known:
        await browser.get("/login")
    await browser.get("/save")
    assert stored(store) == left


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_request_that_fails_during_a_save_stores_no_new_session(when: str) -> None:
    """A save that regenerate() has superseded stops where no cookie can go out any more."""
    store = PausingStore()
    saves: list[asyncio.Task[None]] = []

    async def handle(session: Any, scope: dict[str, Any]) -> None:
        if scope["path"] == "/login":
            act(session, scope["path"])
            return
        session["list"] = [1]
        store.pause(when)
        saves.append(asyncio.ensure_future(session.save()))
        await store.paused.wait()
        act(session, "/regenerate")
        raise RuntimeError("no page")

    browser = Client(asgi_app(handle, store=store))
    await browser.get("/login")
    with pytest.raises(RuntimeError, match="no page"):
        await browser.get("/fail")
    store.resumed.set()
    with pytest.raises(LateWriteError):
        await saves[0]
    assert stored(store) == []


@pytest.mark.parametrize("saves", [2, 10])
async def test_parallel_saves_of_a_new_session_store_it_once(store: Any, saves: int) -> None:
    """However many tasks save a new session, it has one record and one cookie."""

    async def handle(session: Any, scope: dict[str, Any]) -> None:
        async def save(key: str) -> None:
            session[key] = 1
            await session.save()

        async with anyio.create_task_group() as tasks:
            for key in keys(saves):
                tasks.start_soon(save, key)

    response = await Client(asgi_app(handle, store=store)).get("/")
    assert len(set_cookies(response)) == 1
    assert stored(store) == [dict.fromkeys(keys(saves), 1)]


# Between two calls of the store


class ScriptedStore(MemoryStore):
    """A store before or after whose n-th call something else happens."""

    def __init__(self) -> None:
        super().__init__()
        self._script: dict[tuple[str, int], Callable[[], object]] = {}
        self._count = 0
        self._acting = False

    def script(
        self,
        before: dict[int, Callable[[], object]] | None = None,
        after: dict[int, Callable[[], object]] | None = None,
    ) -> None:
        """Count calls from here on, and act before and after those with these numbers."""
        self._count = 0
        self._script = {("before", n): action for n, action in (before or {}).items()}
        self._script |= {("after", n): action for n, action in (after or {}).items()}

    @property
    def done(self) -> bool:
        return not self._script

    @property
    def count(self) -> int:
        """How many calls there were since the script was given."""
        return self._count

    def get(self, key: str) -> Record | None:
        return self._call(super().get, key)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return self._call(super().set, key, record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return self._call(super().destroy, key, only_if)

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._acting:
            return function(*args)
        self._count += 1
        number = self._count
        self._act("before", number)
        result = function(*args)
        self._act("after", number)
        return result

    def _act(self, when: str, number: int) -> None:
        action = self._script.pop((when, number), None)
        if action is None:
            return
        self._acting = True
        try:
            action()
        finally:
            self._acting = False


class Stage:
    """A visitor of one process, and the same visitor in another one that comes in between."""

    def __init__(self, handle: Callable[[Any, str], None] = act, **options: Any) -> None:
        self.store = ScriptedStore()
        self._options = options
        self.browser = SyncClient(self._process(handle))
        self.browser.get("/login")
        self._other = SyncClient(self._process(act), cookies=self.browser.cookies)

    def _process(self, handle: Callable[[Any, str], None]) -> Any:
        return wsgi_app(
            lambda session, environ: handle(session, environ["PATH_INFO"]),
            store=self.store,
            **self._options,
        )

    def coming_in(self, path: str) -> Callable[[], object]:
        return lambda: self._other.get(path)

    def left(self) -> list[dict[str, Any]]:
        assert self.store.done, "not everything that was to come in between came"
        return stored(self.store)


@pytest.mark.parametrize("concurrency", ["merge", "last-write-wins"])
@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_logout_at_any_point_of_a_rotation_ends_it(step: int, concurrency: str) -> None:
    """Before the old record is destroyed a logout leaves neither the old nor the new session."""
    stage = Stage(concurrency=concurrency)
    stage.store.script(before={step: stage.coming_in("/logout")})
    assert set_cookies(stage.browser.get("/rotate")) == []
    assert stage.left() == []


@pytest.mark.parametrize("rotations", [1, 3])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("concurrency", ["merge", "error", "last-write-wins"])
def test_a_logout_ends_what_rotations_made_of_the_session(
    step: int, rotations: int, concurrency: str
) -> None:
    """A logout with the old cookie ends the session under its new id, however many came since.

    The rotations come before the logout reads the session, or after that.
    """
    stage = Stage(concurrency=concurrency)
    rotate = stage.coming_in("/rotate")
    stage.store.script(before={step: lambda: [rotate() for _ in range(rotations)]})
    assert "Max-Age=0" in set_cookies(stage.browser.get("/logout"))[0]
    assert stage.left() == []


def test_a_logout_that_fails_later_ends_what_a_rotation_made_of_the_session() -> None:
    """An exception behind `destroy()` does not save the session that was rotated before."""

    def fail(session: Any, path: str) -> None:
        act(session, path)
        if path == "/logout":
            raise ZeroDivisionError

    stage = Stage(fail)
    stage.store.script(before={1: stage.coming_in("/rotate")})
    with pytest.raises(ZeroDivisionError):
        stage.browser.get("/logout")
    assert stage.left() == []


def test_a_new_login_ends_what_a_rotation_made_of_the_old_session() -> None:
    """`regenerate()` without data ends the old session under its new id, too."""
    stage = Stage()
    stage.store.script(before={3: stage.coming_in("/rotate")})
    stage.browser.get("/regenerate")
    assert stage.left() == [{"user": "bob"}]


#: How a request finds out that its session is gone.
FINDINGS: dict[str, Callable[[Any], object]] = {
    "reload": lambda session: session.reload(),
    "save": lambda session: (session.update(n=1), session.save()),
    "change": lambda session: session.change(lambda data: data.update(n=1)),
}


@pytest.mark.parametrize("finding", FINDINGS.values(), ids=FINDINGS)
def test_a_new_login_ends_the_rotated_session_although_the_old_one_was_found_gone(
    finding: Callable[[Any], object],
) -> None:
    def log_in_anew(session: Any, path: str) -> None:
        if path == "/regenerate":
            len(session)
            stage.store.script(before={1: stage.coming_in("/rotate")})
            with pytest.raises(SessionGone):
                finding(session)
        act(session, path)

    stage = Stage(log_in_anew)
    assert len(set_cookies(stage.browser.get("/regenerate"))) == 1
    assert stage.left() == [{"user": "bob"}]


def test_a_new_login_during_a_save_ends_what_a_rotation_made_of_the_old_session() -> None:
    def log_in_anew(session: Any, path: str) -> None:
        if path == "/regenerate":
            session["n"] = 1
            rotate = stage.coming_in("/rotate")
            stage.store.script(before={1: lambda: (rotate(), act(session, path))})
            session.save()
        else:
            act(session, path)

    stage = Stage(log_in_anew)
    assert len(set_cookies(stage.browser.get("/regenerate"))) == 1
    assert stage.left() == [{"user": "bob"}]


def rotates_and_reloads(session: Any, path: str) -> None:
    """Change the id and drop the changes of the data."""
    act(session, path)
    if path == "/rotate":
        session["cart"] = "dropped"
        session.reload()


def test_a_rotation_that_reloads_goes_on_with_what_others_wrote() -> None:
    stage = Stage(rotates_and_reloads)
    stage.store.script(before={2: stage.coming_in("/cart/7")})
    assert len(set_cookies(stage.browser.get("/rotate"))) == 1
    assert stage.left() == [{"user": "ann", "cart": "7"}]


def test_a_rotation_that_reloads_finds_a_logout() -> None:
    stage = Stage(rotates_and_reloads)
    stage.store.script(before={2: stage.coming_in("/logout")})
    with pytest.raises(SessionGone):
        stage.browser.get("/rotate")
    assert stage.left() == []


def test_a_destroyed_session_that_is_written_again_leaves_nothing_of_the_old_one() -> None:
    """The session that a rotation made ends although a new session takes its app."""

    def start_anew(session: Any, path: str) -> None:
        act(session, path)
        if path == "/logout":
            session["user"] = "bob"

    for step in (1, 2):
        stage = Stage(start_anew)
        stage.store.script(before={step: stage.coming_in("/rotate")})
        stage.browser.get("/logout")
        assert stage.left() == [{"user": "bob"}]


@pytest.mark.parametrize("step", [5, 6, 7])
def test_a_logout_ends_a_rotation_that_merges(step: int) -> None:
    """A rotation that takes along another request's change is ended by a logout meanwhile."""
    stage = Stage()
    # get, set the succession record, set the new, destroy the old: refused, get the old, set the
    # new, destroy the old
    stage.store.script(before={4: stage.coming_in("/add/x"), step: stage.coming_in("/logout")})
    assert set_cookies(stage.browser.get("/rotate")) == []
    assert stage.left() == []


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_write_at_any_point_of_a_rotation_is_taken_along(step: int) -> None:
    """Before the old record is destroyed another request's change reaches the new session."""
    stage = Stage()
    stage.store.script(before={step: stage.coming_in("/add/x")})
    assert len(set_cookies(stage.browser.get("/rotate"))) == 1
    assert stage.left() == [{"user": "ann", "cart": 0, "x": 1}]


def rotate_and_change(session: Any, path: str) -> None:
    if path != "/change":
        act(session, path)
        return
    session.regenerate(keep_data=True)
    session.change(lambda data: data.update(cart=data["cart"] + 1))


def test_a_function_after_a_rotation_sees_what_was_written_under_the_old_id() -> None:
    """The rotation takes it along before the function is called, so both count."""
    stage = Stage(rotate_and_change)
    stage.store.script(before={2: stage.coming_in("/count")})
    stage.browser.get("/change")
    assert stage.left() == [{"user": "ann", "cart": 2}]


@pytest.mark.parametrize("step", [5, 6, 7])
def test_a_second_write_during_a_rotation_is_taken_along(step: int) -> None:
    """A rotation merges as often as others write."""
    stage = Stage()
    stage.store.script(before={4: stage.coming_in("/add/x"), step: stage.coming_in("/add/y")})
    assert len(set_cookies(stage.browser.get("/rotate"))) == 1
    assert stage.left() == [{"user": "ann", "cart": 0, "x": 1, "y": 1}]


@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_rotation_at_any_point_of_a_rotation_leaves_one(step: int) -> None:
    """The rotation that is superseded leaves no session behind."""
    stage = Stage()
    stage.store.script(before={step: stage.coming_in("/rotate")})
    assert set_cookies(stage.browser.get("/rotate")) == []
    assert stage.left() == [{"user": "ann", "cart": 0}]


@pytest.mark.parametrize("ending", ["/logout", "/rotate", "/regenerate"])
@pytest.mark.parametrize("step", [2, 3, 4])
def test_an_end_at_any_point_of_a_merge_stays_an_end(step: int, ending: str) -> None:
    """A write that merges with another one revives nothing."""
    stage = Stage()
    # get, set: refused, get, set
    script = {2: stage.coming_in("/add/x")} if step > 2 else {}
    stage.store.script(before={**script, step: stage.coming_in(ending)})
    assert set_cookies(stage.browser.get("/add/mine")) == []
    assert all("mine" not in data for data in stage.left())
    assert len(stored(stage.store)) == (ending != "/logout")


@pytest.mark.parametrize("deletion", ["/delete", "/clear"])
@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_deletion_at_any_point_of_a_merge_is_kept(step: int, deletion: str) -> None:
    """A key that was deleted in any round of a merge is deleted though the merge changes it."""
    stage = Stage()
    script = {2: stage.coming_in("/add/x")} if step > 2 else {}
    stage.store.script(before={**script, step: stage.coming_in(deletion)})
    stage.browser.get("/cart/red")
    (data,) = stage.left()
    assert "cart" not in data


# Replies that are lost


def lost() -> None:
    raise StoreTimeout("no reply")


def save_twice(session: Any, path: str) -> None:
    """Save, forgive a lost reply, do what the path says next, and let the response save that."""
    for part in path.strip("/").split(","):
        act(session, part)
        if part == "save":
            with pytest.raises(StoreTimeout):
                session.save()


@pytest.mark.parametrize(
    ("rest", "data"),
    [
        ("read", {"user": "ann", "cart": 0, "x": 1}),
        ("add/y", {"user": "ann", "cart": 0, "x": 1, "y": 1}),
        ("delete", {"user": "ann", "x": 1}),
        ("clear", {}),
    ],
)
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("concurrency", ["merge", "error", "last-write-wins"])
def test_a_save_without_reply_is_done_again(
    rest: str, data: dict[str, Any], applied: bool, concurrency: str
) -> None:
    """Whether or not it was applied, the next save leaves one session with all changes.

    With `error` what is found may be another request's as well, so nothing is acknowledged.
    """
    stage = Stage(save_twice, concurrency=concurrency)
    stage.store.script(**{"after" if applied else "before": {2: lost}})
    if concurrency == "error" and applied:
        with pytest.raises(ConflictError):
            stage.browser.get(f"/add/x,save,{rest}")
        assert stage.left() == [{"user": "ann", "cart": 0, "x": 1}]
        return
    assert set_cookies(stage.browser.get(f"/add/x,save,{rest}")) == []
    assert stage.left() == [data]


@pytest.mark.parametrize("applied", [True, False])
def test_a_change_that_is_taken_back_after_a_lost_reply_is_taken_back(applied: bool) -> None:
    """The store is brought in line even where the session is again what was loaded."""
    stage = Stage(save_twice)
    stage.store.script(**{"after" if applied else "before": {2: lost}})
    stage.browser.get("/cart/red,save,login")
    assert stage.left() == [{"user": "ann", "cart": 0}]


@pytest.mark.parametrize(("rest", "more"), [("read", {}), ("add/y", {"y": 1})])
@pytest.mark.parametrize("applied", [True, False])
def test_a_new_session_without_reply_is_stored_once(
    rest: str, more: dict[str, int], applied: bool
) -> None:
    """The second save of a new session recognises what the first one left."""
    stage = Stage(save_twice)
    stage.browser.get("/logout")
    stage.browser.cookies.clear()
    stage.store.script(**{"after" if applied else "before": {1: lost}})
    assert len(set_cookies(stage.browser.get(f"/add/x,save,{rest}"))) == 1
    assert stage.left() == [{"x": 1} | more]


@pytest.mark.parametrize("ending", ["/logout", "/rotate"])
@pytest.mark.parametrize("rest", ["read", "add/y"])
def test_a_save_without_reply_does_not_revive_a_session(ending: str, rest: str) -> None:
    """A session that was ended after a save of unknown fate is gone for the next one."""
    stage = Stage(save_twice)

    def end_and_lose() -> None:
        stage.coming_in(ending)()
        lost()

    stage.store.script(after={2: end_and_lose})
    assert set_cookies(stage.browser.get(f"/add/x,save,{rest}")) == []
    assert stage.left() == ([] if ending == "/logout" else [{"user": "ann", "cart": 0, "x": 1}])


def test_a_merge_without_reply_keeps_both_sides() -> None:
    """Another request's write survives a merged save whose reply was lost."""
    stage = Stage(save_twice)
    stage.store.script(before={2: stage.coming_in("/add/theirs")}, after={4: lost})
    stage.browser.get("/add/x,save,add/y")
    assert stage.left() == [{"user": "ann", "cart": 0, "x": 1, "theirs": 1, "y": 1}]


def test_a_write_after_a_lost_reply_is_merged_with() -> None:
    """A change that another request based on a save of unknown outcome is kept."""
    stage = Stage(save_twice)

    def write_and_lose() -> None:
        stage.coming_in("/add/theirs")()
        lost()

    stage.store.script(after={2: write_and_lose})
    stage.browser.get("/add/x,save,add/y")
    assert stage.left() == [{"user": "ann", "cart": 0, "x": 1, "theirs": 1, "y": 1}]


@pytest.mark.parametrize("rest", ["read", "add/y"])
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize(
    ("path", "step"),
    [("rotate", 2), ("rotate", 3), ("rotate", 4), ("regenerate", 2), ("regenerate", 3)],
)
def test_a_rotation_without_reply_leaves_one_session_at_most(
    path: str, step: int, applied: bool, rest: str
) -> None:
    """The second attempt uses the first one's id. Where the old record's end cannot be told from
    a parallel logout, the session is gone."""
    stage = Stage(save_twice)
    stage.store.script(**{"after" if applied else "before": {step: lost}})
    response = stage.browser.get(f"/{path},save,{rest}")
    data: dict[str, Any] = {"user": "bob"} if path == "regenerate" else {"user": "ann", "cart": 0}
    more = {"y": 1} if rest == "add/y" else {}
    looks_like_a_logout = path == "rotate" and step == 4 and applied
    assert stage.left() == ([] if looks_like_a_logout else [data | more])
    assert len(set_cookies(response)) == len(stage.left())


@pytest.mark.parametrize(("when", "step"), [("before", 6), ("after", 6), ("before", 7)])
def test_a_rotation_without_reply_counts_what_others_wrote_once(when: str, step: int) -> None:
    """The second attempt merges the old record again, and not what the first one made of it."""
    stage = Stage(save_twice, merge={"cart": counter})
    script = {"before": {4: stage.coming_in("/count")}, "after": {}}
    script[when][step] = lost
    stage.store.script(**script)
    stage.browser.get("/rotate,count,save,read")
    assert stage.left() == [{"user": "ann", "cart": 2}]


@pytest.mark.parametrize(("rest", "more", "calls"), [("read", {}, 9), ("add/y", {"y": 1}, 10)])
def test_a_new_session_without_reply_is_merged_once(
    rest: str, more: dict[str, int], calls: int
) -> None:
    """The third save finds the merge of the second one, and goes on from what it had itself.

    Nobody else knows the session's id, but who lists all sessions can change it.
    """
    kinds: list[str] = []
    stage = Stage(save_twice, observers=[lambda event: kinds.append(event.kind)])
    stage.browser.get("/logout")
    stage.browser.cookies.clear()

    def change_from_outside() -> None:
        sessions = Sessions(stage.store, SessionOptions(secret=SECRET, store=stage.store))
        (entry,) = sessions.list_all()
        sessions.update(entry.ref, lambda data: data.update(theirs=1))

    stage.store.script(before={4: change_from_outside}, after={1: lost, 6: lost})
    response = stage.browser.get(f"/add/x,save,add/z,save,{rest}")
    assert stage.left() == [{"x": 1, "theirs": 1, "z": 1} | more]
    assert len(set_cookies(response)) == 1
    # It reads before it writes: a write over what it has itself would be refused.
    assert stage.store.count == calls
    assert kinds[-1] == "merged"


@pytest.mark.parametrize(("path", "step"), [("logout", 2), ("rotate", 4), ("regenerate", 3)])
def test_an_unanswered_end_is_an_end(path: str, step: int) -> None:
    """Where the response fails because the destroy had no reply, the old session is dead."""
    stage = Stage()
    stage.store.script(before={step: lost})
    with pytest.raises(StoreTimeout):
        stage.browser.get(f"/{path}")
    assert stage.browser.get("/read").status_code == 200
    stage.store.script()
    stage.browser.get("/add/x")
    assert {"x": 1} in stage.left()


class ForgetfulStore(MemoryStore):
    """A store whose client lost the first reply and sent each removal again."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        super().destroy(key, only_if)
        return super().destroy(key, only_if)


@pytest.mark.parametrize(
    ("path", "left"), [("/logout", []), ("/rotate", []), ("/regenerate", [{"user": "bob"}])]
)
def test_a_removal_that_was_repeated_revives_nothing(path: str, left: list[dict[str, Any]]) -> None:
    """A rotation cannot tell its own repeated removal from a logout, and keeps to the safe side."""
    store = ForgetfulStore()
    app = wsgi_app(lambda session, environ: act(session, environ["PATH_INFO"]), store=store)
    with SyncClient(app) as browser:
        browser.get("/login")
        browser.get(path)
    assert stored(store) == left


@pytest.mark.parametrize("where", ["destroy", "_update", "stored_as"])
def test_a_logout_in_another_thread_than_a_save_is_not_lost(where: str) -> None:
    """Wherever one thread pauses while it changes the session's state, the session ends."""
    memory = MemoryStore()
    asked, answered, paused, go = (threading.Event() for _ in range(4))
    defects: list[AssertionError] = []

    class Slow(MemoryStore):
        capabilities = Capabilities(blocking=True)
        get, destroy = memory.get, memory.destroy  # type: ignore[assignment]  # bound ones

        def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
            written = memory.set(key, record, only_if)
            if threading.current_thread() is not threading.main_thread():
                asked.set()
                answered.wait(5)
            return written

    def pause(frame: Any, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if frame.f_code.co_name == where and file.endswith(("identity.py", "saving.py")):
            sys.settrace(None)
            paused.set()
            go.wait(0.2)  # the other thread may have to wait for this one

    def traced(act: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            sys.settrace(pause)
            try:
                act()
            except AssertionError as error:
                defects.append(error)

        return run

    def handle(session: Any, environ: dict[str, Any]) -> None:
        if environ["PATH_INFO"] == "/login":
            session["user"] = "ann"
            return
        session["a"] = 2
        save = threading.Thread(target=traced(session.save))
        end = threading.Thread(target=traced(session.destroy))
        save.start()
        if where != "_update":  # there it has not come to the store yet
            asked.wait(5)
        for thread in (end, save) if where == "destroy" else (save, end):
            if thread is end:
                end.start()
            if thread is save:
                answered.set()
            paused.wait(5)
        answered.set()
        end.join(5)
        go.set()
        save.join(5)

    with SyncClient(wsgi_app(handle, store=Slow())) as browser:
        browser.get("/login")
        response = browser.get("/act")
    assert response.status_code == 200
    assert not defects
    assert "Expires=Thu, 01 Jan 1970" in set_cookies(response)[0]
    assert not [key for key, _ in memory.all() if not key.startswith("successors:")]


@pytest.mark.parametrize("ends", ["destroy", "regenerate"])
def test_a_thread_that_is_faster_than_the_first_id_is_not_lost(ends: str) -> None:
    """A session that another thread ends or renames while its id is made leaves no record."""
    store = MemoryStore()
    held: list[Any] = []
    made: list[str] = []

    def generate_id(request: Any) -> str:
        made.append(f"{len(made)}" * 32)
        if len(made) == 1:
            thread = threading.Thread(target=getattr(held[0], ends))
            thread.start()
            thread.join(5)
        return made[-1]

    def handle(session: Any, environ: dict[str, Any]) -> None:
        held.append(session)
        session["user"] = "ann"

    app = wsgi_app(handle, store=store, generate_id=generate_id)
    with SyncClient(app) as browser:
        response = browser.get("/")
    assert response.status_code == 200
    if ends == "destroy":
        assert stored(store) == []
        assert not set_cookies(response)
    else:
        assert stored(store) == [{}]
        assert set_cookies(response)[0].startswith(f"sid={made[-1]}.")


@pytest.mark.parametrize(("ends", "left"), [("destroy", []), ("regenerate", [{}])])
def test_a_new_session_that_leaves_its_id_during_a_save_without_reply(
    ends: str, left: list[dict[str, Any]]
) -> None:
    """Only the write knows the id under which a record may be, and that record ends."""
    store = ScriptedStore()

    def handle(session: Any, environ: dict[str, Any]) -> None:
        def leave_and_lose() -> None:
            getattr(session, ends)()
            lost()

        session["user"] = "ann"
        store.script(after={1: leave_and_lose})
        with pytest.raises(StoreTimeout):
            session.save()

    with SyncClient(wsgi_app(handle, store=store)) as browser:
        browser.get("/")
    assert store.done
    assert stored(store) == left


@pytest.mark.parametrize(("refusals", "more"), [(1, {"x": 1}), (2, {})])
def test_a_record_that_was_made_again_between_two_calls_is_written(
    refusals: int, more: dict[str, int]
) -> None:
    """It is tried once more, and never without the condition that the record is there."""

    class Recreated(MemoryStore):
        left = 0

        def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
            if only_if == PRESENT and self.left:
                self.left -= 1
                return False
            return super().set(key, record, only_if)

    store = Recreated()
    app = wsgi_app(
        lambda session, environ: act(session, environ["PATH_INFO"]),
        store=store,
        concurrency="last-write-wins",
    )
    with SyncClient(app) as browser:
        browser.get("/login")
        store.left = refusals
        browser.get("/add/x")
    assert not store.left
    assert stored(store) == [{"user": "ann", "cart": 0} | more]
