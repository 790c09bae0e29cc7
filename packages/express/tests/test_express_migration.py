"""Express's sessions become coatcheck's own: nobody is logged out, and no logout is undone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from webclient import Client, Clock, CountingStore, YieldingStore, sessions_in, set_cookies

from coatcheck import CookieOptions, MemoryStore, Record, SessionOptions, Sessions
from coatcheck.asgi import SessionMiddleware
from coatcheck.cookie_format import is_native_id
from coatcheck.errors import ConfigurationError, StoreUnavailable
from coatcheck.store import ALWAYS, Condition, Unchanged
from coatcheck_express import express_options, migrate_from_express

SECRET = "a secret of thirty-two bytes, more"
OLD_SECRET = "keyboard cat"
ID = "AZaz09-_AZaz09-_AZaz09-_AZaz09-_"
KEY = hashlib.sha256(ID.encode()).hexdigest()
NOW = 1_700_000_000.0
DAY = 86400.0

Handler = Callable[[Any], Any]


class Shop:
    """The same sessions with the present options, those of the migration, and the new ones."""

    def __init__(
        self,
        store: Any = None,
        clock: Clock | None = None,
        name: str = "connect.sid",
        cookie: CookieOptions | None = None,
        express_cookie: Any = None,
        valid_id: Callable[[str], bool] = is_native_id,
        **native: Any,
    ) -> None:
        self.clock = clock or Clock(NOW)
        self.store = CountingStore(clock=self.clock) if store is None else store
        self.express = express_options(
            secret=OLD_SECRET,
            store=self.store,
            clock=self.clock,
            cookie=express_cookie,
            valid_id=valid_id,
        )
        self.native = SessionOptions(
            secret=SECRET,
            store=self.store,
            name=name,
            clock=self.clock,
            cookie=cookie or CookieOptions(),
            **native,
        )
        self.both = migrate_from_express(self.native, self.express)
        self.prepared = migrate_from_express(self.native, self.express, write="express")
        signs = self.express.cookie_format.bind("connect.sid", self.express.secrets)
        self.old_cookie = f"connect.sid={signs.sign(ID)}"

    def put(
        self, key: str = ID, life: float = DAY, owner: str | None = None, **cookie: Any
    ) -> None:
        """Store a session of Express."""
        member = {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/", **cookie}
        data = json.dumps({"cookie": member, "n": 1}).encode()
        self.store.set(key, Record(data, self.clock() + life, owner))
        self.store.taken()

    def keys(self) -> set[str]:
        return set(sessions_in(self.store))


async def get(options: SessionOptions, cookie: str | None, handler: Handler) -> httpx.Response:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        result = str(handler(scope["session"])).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": result})

    client = Client(SessionMiddleware(app, options))
    return await (client.get("/") if cookie is None else client.present(cookie))


def shows(session: Any) -> Any:
    return session.get("n")


def adds(session: Any) -> Any:
    session["n"] += 1
    return session["n"]


def destroys(session: Any) -> None:
    session.destroy()


def cookie_of(response: httpx.Response) -> str:
    [line] = set_cookies(response)
    return line.partition(";")[0]


pytestmark = pytest.mark.anyio


# One visitor


async def test_a_session_moves_at_its_next_request() -> None:
    shop = Shop()
    shop.put()
    response = await get(shop.both, shop.old_cookie, shows)
    assert response.text == "1"
    assert shop.store.taken() == ["get", "get", "set", "destroy", "touch"]
    cookie = cookie_of(response)
    assert cookie.startswith(f"connect.sid={ID}.")
    assert shop.keys() == {KEY}
    for options in (shop.both, shop.native):
        shop.store.taken()
        response = await get(options, cookie, shows)
        assert response.text == "1"
        assert set_cookies(response) == []
        assert shop.store.taken() == ["get"]


async def test_requests_with_the_old_cookie_find_what_has_moved() -> None:
    shop = Shop()
    shop.put()
    await get(shop.both, shop.old_cookie, adds)
    shop.store.taken()
    response = await get(shop.both, shop.old_cookie, adds)
    assert response.text == "3"
    assert shop.store.taken() == ["get", "set"]
    assert cookie_of(response).startswith(f"connect.sid={ID}.")


async def test_new_sessions_are_native() -> None:
    shop = Shop()

    def begins(session: Any) -> None:
        session["n"] = 1

    response = await get(shop.both, None, begins)
    assert (await get(shop.native, cookie_of(response), shows)).text == "1"
    assert shop.store.taken() == ["set", "get"]


async def test_old_cookies_of_dead_sessions_open_nothing() -> None:
    shop = Shop()
    assert (await get(shop.both, shop.old_cookie, shows)).text == "None"
    assert shop.store.taken() == ["get", "get", "get"]


async def test_a_new_login_ends_what_processes_that_are_not_there_yet_made_of_the_old_session() -> (
    None
):
    """An interrupted move left the session in two places, and one of them was rotated."""
    shop = Shop()
    shop.put()
    cookie = cookie_of(await get(shop.both, shop.old_cookie, shows))
    shop.put()

    def logs_in_anew(session: Any) -> None:
        session.regenerate()
        session["n"] = 5

    rotated = cookie_of(
        await get(shop.express, shop.old_cookie, lambda session: session.regenerate(keep_data=True))
    )
    assert (await get(shop.express, rotated, shows)).text == "1"
    await get(shop.both, cookie, logs_in_anew)
    assert (await get(shop.express, rotated, shows)).text == "None"


@pytest.mark.parametrize("ends", ["destroy", "regenerate"])
async def test_the_end_of_a_session_is_its_end_everywhere(ends: str) -> None:
    """A session ends in both places where an interrupted move left it, with either cookie."""
    shop = Shop()
    for made_by in (shop.old_cookie, None):
        shop.put()
        cookie = cookie_of(await get(shop.both, shop.old_cookie, shows))
        shop.put()
        await get(shop.both, made_by or cookie, lambda session: getattr(session, ends)())
        assert shop.keys().isdisjoint({ID, KEY})
        for copy in (shop.old_cookie, cookie):
            assert (await get(shop.both, copy, shows)).text == "None"
        shop.store.clear()


async def test_a_rotation_whose_request_fails_ends_the_session_everywhere() -> None:
    """The application asked for the end of the old id, and that is in both places."""
    shop = Shop()
    shop.put()
    cookie = cookie_of(await get(shop.both, shop.old_cookie, shows))
    shop.put()

    def rotates_and_fails(session: Any) -> None:
        session.regenerate()
        raise ValueError

    with pytest.raises(ValueError):  # the application's own
        await get(shop.both, cookie, rotates_and_fails)
    assert shop.keys() == set()


async def test_a_logout_of_a_session_that_could_not_be_loaded() -> None:
    class Failing(CountingStore):
        def get(self, key: str) -> Record | None:
            raise StoreUnavailable("no")

    shop = Shop(Failing(clock=Clock(NOW)), on_store_error="anonymous")
    shop.put()
    shop.put(KEY)
    await get(shop.both, shop.old_cookie, destroys)
    assert shop.keys() == set()


async def test_what_a_session_has_of_its_own_comes_along() -> None:
    shop = Shop(cookie=CookieOptions(max_age=DAY), absolute_timeout=timedelta(days=7))
    shop.put(owner="ada", originalMaxAge=30 * 86_400_000, secure=True, sameSite="none")

    def tells(session: Any) -> Any:
        return [session.owner, session.cookie.max_age, session.cookie.same_site, session.created_at]

    response = await get(shop.both, shop.old_cookie, tells)
    assert response.text == str(["ada", 30 * DAY, "lax", NOW])
    assert "Secure" not in set_cookies(response)[0]
    found = shop.store.get(KEY)
    assert found is not None
    assert json.loads(found.data) == {
        "v": 1, "t": NOW, "c": {"max_age": 30 * DAY}, "o": "ada", "d": {"n": 1},
    }  # fmt: skip
    assert found.expires_at == NOW + 7 * DAY


@pytest.mark.parametrize(
    ("original_max_age", "own"),
    [
        (3_600_000, {}), (3_599_999, {}), (86_400_000, {}), (10**12, {"max_age": 400 * DAY}),
        (60_000, {"max_age": 60}), (None, {"max_age": None}), ("x", {"max_age": None}), (0, {}),
    ],
)  # fmt: skip
async def test_lifetimes_of_a_session_s_own(original_max_age: Any, own: dict[str, Any]) -> None:
    """Configured lifetimes are not kept as a session's own, even some milliseconds shorter."""
    shop = Shop(cookie=CookieOptions(max_age=DAY), express_cookie={"max_age_ms": 3_600_000})
    shop.put(originalMaxAge=original_max_age)
    await get(shop.both, shop.old_cookie, shows)
    found = shop.store.get(KEY)
    assert found is not None
    assert json.loads(found.data).get("c", {}) == own


async def test_a_cookie_of_another_name() -> None:
    shop = Shop(name="sid")
    shop.put()
    response = await get(shop.both, shop.old_cookie, shows)
    assert response.text == "1"
    assert cookie_of(response).startswith(f"sid={ID}.")
    cookies = f"{shop.old_cookie}; {cookie_of(response)}"
    for options in (shop.both, shop.prepared):
        assert (await get(options, cookies, adds)).status_code == 200
    assert (await get(shop.both, cookies, shows)).text == "3"
    await get(shop.both, cookies, destroys)
    assert (await get(shop.both, shop.old_cookie, shows)).text == "None"


async def test_other_cookies_and_records_are_none() -> None:
    shop = Shop()
    shop.put()
    for cookie in ("connect.sid=x", f"connect.sid={ID}", f"connect.sid=s%3A{ID}.AAAA"):
        assert (await get(shop.both, cookie, shows)).text == "None"
    assert shop.store.taken() == []
    shop.store.set(ID, Record(b'{"v":1}', NOW + 5))
    assert (await get(shop.both, shop.old_cookie, shows)).text == "None"


@pytest.mark.parametrize("own_id", ["user:1", "\u00e9-no-ascii", "a;Domain=evil.test", "a\r\nX: y"])
async def test_ids_of_a_form_of_their_own_stay_where_they_are(own_id: str) -> None:
    """Ids that a native cookie cannot carry do not move."""
    shop = Shop(valid_id=lambda _: True)
    shop.put(own_id)
    signs = shop.express.cookie_format.bind("connect.sid", shop.express.secrets)
    old = f"connect.sid={signs.sign(own_id)}"
    assert (await get(shop.both, old, adds)).text == "2"
    assert shop.keys() == {own_id}
    assert (await get(shop.prepared, old, adds)).text == "3"

    def lasts(session: Any) -> None:
        session.cookie.max_age = 60

    response = await get(shop.both, old, lasts)
    assert cookie_of(response) == old
    rotated = await get(shop.both, old, lambda session: session.regenerate(keep_data=True))
    assert (await get(shop.native, cookie_of(rotated), shows)).text == "3"
    assert len(shop.keys() - {own_id}) == 1
    shop.put(own_id)
    await get(shop.both, old, destroys)
    assert len(shop.keys() - {own_id}) == len(shop.keys()) == 1


def test_impossible_options() -> None:
    shop = Shop()
    for native, express in ((None, shop.express), ({}, shop.express), (shop.native, None)):
        with pytest.raises(ConfigurationError, match="must be SessionOptions"):
            migrate_from_express(native, express)  # type: ignore[arg-type]  # wrong on purpose
    for native, express in ((shop.both, shop.express), (shop.prepared, shop.express)):
        with pytest.raises(ConfigurationError, match="a codec of its own"):
            migrate_from_express(native, express)
    for store in ("redis://127.0.0.1/0", MemoryStore()):
        with pytest.raises(ConfigurationError, match="the same `store`"):
            migrate_from_express(SessionOptions(secret=SECRET, store=store), shop.express)
    storeless = SessionOptions(secret=SECRET)
    assert migrate_from_express(storeless, shop.express).store is shop.store
    assert migrate_from_express(storeless, shop.express, write="express").store is shop.store
    with pytest.raises(ConfigurationError, match="what `express_options` returned"):
        migrate_from_express(shop.native, shop.native)
    with pytest.raises(ConfigurationError, match="what `express_options` returned"):
        migrate_from_express(shop.native, replace(shop.express, hash_ids=True))
    with pytest.raises(ConfigurationError, match="`hash_ids=True`"):
        migrate_from_express(shop.express, shop.express)
    with pytest.raises(ConfigurationError, match="`hash_ids=True`"):
        migrate_from_express(SessionOptions(secret=SECRET, hash_ids=False), shop.express)
    with pytest.raises(ConfigurationError, match='`write` must be "express" or "native"'):
        migrate_from_express(shop.native, shop.express, write="both")  # type: ignore[arg-type]  # wrong on purpose


# Old and new processes side by side


async def test_processes_that_are_not_there_yet_read_what_has_moved() -> None:
    """They keep the kind of each record, and the next process reads what they wrote."""
    shop = Shop(cookie=CookieOptions(max_age=DAY))
    shop.put(originalMaxAge=86_400_000)
    cookie = cookie_of(await get(shop.both, shop.old_cookie, adds))
    for presented in (cookie, shop.old_cookie):
        response = await get(shop.prepared, presented, adds)
        assert response.status_code == 200
    found = shop.store.get(KEY)
    assert found is not None
    assert json.loads(found.data) == {"v": 1, "t": NOW, "d": {"n": 4}}
    assert (await get(shop.both, cookie, shows)).text == "4"
    assert shop.keys() == {KEY}


async def test_processes_that_are_not_there_yet_go_on_as_before() -> None:
    shop = Shop()
    shop.put()
    assert (await get(shop.prepared, shop.old_cookie, adds)).text == "2"
    assert shop.store.taken() == ["get", "set"]
    found = shop.store.get(ID)
    assert found is not None
    assert set(json.loads(found.data)) == {"cookie", "n"}

    def begins(session: Any) -> None:
        session["n"] = 5

    cookie = cookie_of(await get(shop.prepared, None, begins))
    assert cookie.startswith("connect.sid=s%3A")
    assert (await get(shop.express, cookie, shows)).text == "5"
    assert (await get(shop.both, cookie, shows)).text == "5"


async def test_a_rotation_by_either_kind_of_process_is_found_by_the_other() -> None:
    shop = Shop()
    shop.put()

    def rotates(session: Any) -> None:
        session.regenerate(keep_data=True)

    cookie = shop.old_cookie
    for options in (shop.prepared, shop.both, shop.prepared, shop.prepared, shop.both, shop.both):
        response = await get(options, cookie, rotates)
        for earlier in (cookie, shop.old_cookie):
            assert (await get(shop.both, earlier, shows)).text == "None"
        cookie = cookie_of(response)
        assert len(shop.keys()) == 1
    assert (await get(shop.both, cookie, shows)).text == "1"
    assert len(shop.keys()) == 1


async def test_processes_that_are_not_there_yet_keep_a_lifetime_that_was_changed_meanwhile() -> (
    None
):
    shop = Shop(cookie=CookieOptions(max_age=DAY))
    shop.put()
    cookie = cookie_of(await get(shop.both, shop.old_cookie, adds))

    def meanwhile(session: Any) -> None:
        session["mine"] = 1
        record = shop.store.get(KEY)
        data = json.loads(record.data)
        data["c"] = {"max_age": 33}
        shop.store.set(KEY, Record(json.dumps(data).encode(), NOW + 33))

    await get(shop.prepared, cookie, meanwhile)
    found = shop.store.get(KEY)
    assert found is not None
    data = json.loads(found.data)
    assert (data["c"], data["d"]["mine"]) == ({"max_age": 33}, 1)


async def test_a_rotation_that_a_move_overtakes_leaves_what_has_moved() -> None:
    shop = Shop()
    shop.put()
    moved: list[str] = []

    class Overtaken(CountingStore):
        def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
            if key == ID and not moved:
                moved.append(key)
                record = self.get(ID)
                assert record is not None
                data = json.dumps({"v": 1, "t": NOW, "d": {"n": 1}}).encode()
                self.set(KEY, Record(data, record.expires_at))
                super().destroy(ID)
            return super().destroy(key, only_if)

    shop = Shop(Overtaken(clock=shop.clock), shop.clock)
    shop.put()
    response = await get(
        shop.prepared, shop.old_cookie, lambda session: session.regenerate(keep_data=True)
    )
    assert set_cookies(response) == []
    assert shop.keys() == {KEY}
    assert (await get(shop.both, shop.old_cookie, shows)).text == "1"


async def test_refs_open_nothing() -> None:
    """An Express session that has not moved has its id for a key."""
    shop = Shop()
    shop.put(owner="ada")
    [entry] = Sessions(shop.store, shop.both).list("ada")
    assert entry.ref == KEY
    await get(shop.both, shop.old_cookie, shows)
    [entry] = Sessions(shop.store, shop.both).list("ada")
    assert entry.ref == KEY
    assert Sessions(shop.store, shop.both).revoke_all("ada") == 1


async def test_a_stored_key_is_no_id() -> None:
    """A key of the store and Express's secret open no session."""
    shop = Shop(owner="user")

    def begins(session: Any) -> None:
        session.update(n=1, user="ada")

    cookie = cookie_of(await get(shop.both, None, begins))
    [entry] = Sessions(shop.store, shop.both).list("ada")
    assert shop.keys() == {entry.ref}
    signed_by = {
        options: f"connect.sid={writer.sign(entry.ref)}"
        for options in ("native", "express")
        for writer in [
            getattr(shop, options).cookie_format.bind("connect.sid", getattr(shop, options).secrets)
        ]
    }
    for options in (shop.both, shop.prepared, shop.express, shop.native):
        for forged in signed_by.values():
            assert (await get(options, forged, shows)).text == "None"
            if options is not shop.express:  # there an id is the key, and its secret signs any
                await get(options, forged, destroys)
    assert shop.keys() == {entry.ref}
    assert (await get(shop.both, cookie, shows)).text == "1"


async def test_express_ids_that_look_like_a_stored_key_move() -> None:
    """A `genid` may make 64 hexadecimal digits, which are not shown as a ref."""
    shop = Shop()
    shop.put(KEY, owner="ada")
    [entry] = Sessions(shop.store, shop.both).list("ada")
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    assert entry.ref == hashed
    signs = shop.express.cookie_format.bind("connect.sid", shop.express.secrets)
    old = f"connect.sid={signs.sign(KEY)}"
    assert (await get(shop.prepared, old, adds)).text == "2"
    assert (await get(shop.both, old, adds)).text == "3"
    assert shop.keys() == {hashed}
    for options in (shop.both, shop.prepared):
        assert (await get(options, old, shows)).text == "3"


# At the same moment


class Wavering(YieldingStore):
    """Let a seed decide about the order of parallel calls."""

    def __init__(self, store: MemoryStore, seed: int) -> None:
        super().__init__(store)
        self._random = random.Random(seed)

    async def call(self, operation: Callable[..., Any], *args: Any) -> Any:
        for _ in range(self._random.randrange(8)):
            await asyncio.sleep(0)  # lets other requests run
        return await super().call(operation, *args)


def wavering_shop(seed: int, **native: Any) -> tuple[Shop, MemoryStore]:
    clock = Clock(NOW)
    memory = CountingStore(clock=clock)
    outer = Shop(memory, clock)
    outer.put()
    return Shop(Wavering(memory, seed), clock, **native), memory


@pytest.mark.parametrize("seed", range(60))
async def test_parallel_requests_move_a_session_once_and_lose_nothing(seed: int) -> None:
    shop, memory = wavering_shop(seed)

    def marks(number: int) -> Handler:
        return lambda session: session.update({str(number): session["n"]})

    responses = await asyncio.gather(
        *(get(shop.both, shop.old_cookie, marks(number)) for number in range(5))
    )
    assert [response.status_code for response in responses] == [200] * 5
    [(key, record)] = memory.all()
    assert key == KEY
    assert json.loads(record.data)["d"] == {"n": 1, **{str(number): 1 for number in range(5)}}


@pytest.mark.parametrize("seed", range(100))
async def test_a_logout_in_the_middle_of_a_move_is_final(seed: int) -> None:
    shop, memory = wavering_shop(seed)
    await asyncio.gather(
        get(shop.both, shop.old_cookie, shows),
        get(shop.both, shop.old_cookie, destroys),
        get(shop.both, shop.old_cookie, shows),
    )
    assert [key for key, _ in memory.all()] == []


@pytest.mark.parametrize("concurrency", ["merge", "error", "last-write-wins"])
@pytest.mark.parametrize("seed", range(30))
async def test_writes_of_others_in_the_middle_of_a_move_come_along(
    seed: int, concurrency: str
) -> None:
    """The new record has data that were written under the old key before it ended."""
    clock = Clock(NOW)

    class Interfering(CountingStore):
        left = 1 + seed % 3

        def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
            if key == ID and only_if is not ALWAYS and self.left:
                self.left -= 1
                data = json.dumps({"cookie": {}, "n": 1, "late": self.left}).encode()
                super().set(ID, Record(data, NOW + DAY))
            return super().destroy(key, only_if)

    store = Interfering(clock=clock)
    shop = Shop(store, clock, concurrency=concurrency)
    shop.put()
    response = await get(shop.both, shop.old_cookie, lambda session: session.get("late"))
    if concurrency == "last-write-wins":
        assert response.text == "None"
    else:
        assert response.text == "0"
    assert shop.keys() == {KEY}


@pytest.mark.parametrize("concurrency", ["merge", "error"])
@pytest.mark.parametrize("writes", [1, 2, 9])
async def test_a_request_that_only_reads_meets_no_conflict_of_a_move(
    writes: int, concurrency: str
) -> None:
    """Other requests write under both keys while it moves the session."""
    clock = Clock(NOW)

    class Interfering(CountingStore):
        left = writes

        def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
            if key == ID and only_if is not ALWAYS and self.left:
                data = json.dumps({"cookie": {}, "n": 1, "late": self.left}).encode()
                super().set(ID, Record(data, NOW + DAY))
            return super().destroy(key, only_if)

        def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
            if key == KEY and isinstance(only_if, Unchanged) and self.left:
                self.left -= 1
                found = super().get(KEY)
                assert found is not None
                data = found.data.replace(b'"n":1', b'"n":1,"other%d":1' % self.left)
                super().set(KEY, replace(found, data=data))
            return super().set(key, record, only_if)

    store = Interfering(clock=clock)
    shop = Shop(store, clock, concurrency=concurrency)
    shop.put()
    response = await get(shop.both, shop.old_cookie, lambda session: sorted(session))
    assert response.status_code == 200
    if concurrency == "merge" or writes < 3:
        assert response.text == str(["late", "n", *(f"other{number}" for number in range(writes))])
        assert shop.keys() == {KEY}
