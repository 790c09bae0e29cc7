"""Sessions that are shared with Express: options, records, cookies, and what is refused."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from webclient import (
    Client,
    Clock,
    CountingStore,
    SyncClient,
    asgi_app,
    attributes,
    sessions_in,
    set_cookies,
    wsgi_app,
)

from coatcheck import MemoryStore, Record, SessionOptions, Sessions, SessionState
from coatcheck.errors import ConfigurationError, CorruptRecord, SerializationError
from coatcheck.events import SessionEvent
from coatcheck.options import CommonFields
from coatcheck_express import (
    ExpressCodec,
    ExpressCookie,
    ExpressCookieFormat,
    ExpressCookieOptions,
    express_options,
)

SECRET = "keyboard cat"
ID = "AZaz09-_AZaz09-_AZaz09-_AZaz09-_"
NOW = 1_700_000_000.0
COOKIE = {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/"}


class Shop:
    """A WSGI application with Express's sessions, and one visitor's cookie."""

    def __init__(
        self, handler: Callable[[Any], Any] = lambda session: None, **options: Any
    ) -> None:
        self.handler = handler
        self.clock = Clock(NOW)
        self.events: list[SessionEvent] = []
        self.store = CountingStore(clock=self.clock)
        self.options = express_options(
            **{
                "secret": SECRET,
                "store": self.store,
                "clock": self.clock,
                "observers": [self.events.append],
                **options,
            }
        )
        self.app = wsgi_app(
            lambda session, _: self.handler(session),
            options=self.options,
            secret=self.options.secret,
        )
        self.cookie: str | None = None

    def put(self, record: Any, life: float = 1000.0, session_id: str = ID) -> None:
        """Store a record of Node's, and use its cookie from now on."""
        data = record if isinstance(record, bytes) else json.dumps(record).encode()
        self.store.set(session_id, Record(data, self.clock() + life))
        writer = self.options.cookie_format.bind("connect.sid", self.options.secrets)
        self.cookie = f"connect.sid={writer.sign(session_id)}"
        self.store.taken()

    def get(
        self, handler: Callable[[Any], Any] | None = None, scheme: str = "http"
    ) -> httpx.Response:
        self.handler = handler or self.handler
        client = SyncClient(self.app, f"{scheme}://shop.test")
        response = client.present(self.cookie, "/page") if self.cookie else client.get("/page")
        for line in set_cookies(response):
            self.cookie = line.partition(";")[0]
        return response

    def record(self, key: str = ID) -> Any:
        found = self.store.get(key)
        assert found is not None
        return json.loads(found.data)


def writes(session: Any) -> None:
    session["written"] = True


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secret": ""}, "must not be empty"),
        ({"secret": SECRET, "saveUninitialized": True}, "did you mean `save_uninitialized`"),
        ({"secret": SECRET, "absolute_timeout": 60}, "do not say when a session began"),
        ({"secret": SECRET, "hash_ids": True}, "no option `hash_ids`"),
        ({"secret": SECRET, "idle_timeout": 5}, "no option `idle_timeout`.*`ttl_s`"),
        ({"secret": SECRET, "ttl_s": 0}, "`ttl_s` must be seconds"),
        ({"secret": SECRET, "ttl_s": "60"}, "`ttl_s` must be seconds"),
        ({"secret": SECRET, "cookie": 5}, "`cookie` must be a dictionary"),
        ({"secret": SECRET, "cookie": []}, "`cookie` must be a dictionary"),
        ({"secret": SECRET, "cookie": False}, "`cookie` must be a dictionary"),
        ({"secret": SECRET, "proxy": "yes"}, "`proxy` must be True, False or None"),
        ({"secret": SECRET, "genid": "x"}, "`genid` must be a callable"),
        ({"secret": SECRET, "valid_id": None}, "`valid_id` must be a callable"),
        ({"secret": SECRET, "store_keys": "lastModified"}, "`store_keys` must be"),
        ({"secret": SECRET, "store_keys": None}, "`store_keys` must be"),
        ({"secret": SECRET, "store_keys": [1]}, "`store_keys` must be"),
        ({"secret": SECRET, "key": "x"}, "no option `key`; there are .*, store_keys, "),
        ({"secret": SECRET, "cookie": {"maxAge": 5}}, "no setting 'maxAge'; it has path"),
        ({"secret": SECRET, "cookie": {"max_age": 5}}, "no setting 'max_age'.*max_age_ms"),
        ({"secret": SECRET, "cookie": {"max_age_ms": "5"}}, "`max_age_ms` must be milliseconds"),
        ({"secret": SECRET, "cookie": {"max_age_ms": math.nan}}, "`max_age_ms` must be"),
        ({"secret": SECRET, "cookie": {"max_age_ms": True}}, "`max_age_ms` must be"),
        ({"secret": SECRET, "cookie": {"expires": datetime(2026, 1, 1)}}, "`expires` must be"),
        ({"secret": SECRET, "cookie": {"path": "/a;b"}}, "`path` must be"),
        ({"secret": SECRET, "cookie": {"path": "/a\r\nb"}}, "`path` must be"),
        ({"secret": SECRET, "cookie": {"domain": "a b"}}, "`domain` must be"),
        ({"secret": SECRET, "cookie": {"same_site": "laxer"}}, "`same_site` must be"),
        ({"secret": SECRET, "cookie": {"secure": "yes"}}, "`secure` must be"),
        ({"secret": SECRET, "name": "__Host-sid"}, "needs `secure=True`"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        express_options(**options)


def test_the_codec_itself_refuses_an_absolute_timeout() -> None:
    with pytest.raises(ConfigurationError, match="do not say when a session began"):
        SessionOptions(secret=SECRET * 3, codec=ExpressCodec(), absolute_timeout=timedelta(days=1))


def test_what_express_accepts_is_accepted() -> None:
    """Browsers may refuse or shorten these settings, but applications with them exist."""
    ten_years = 10 * 365 * 86_400_000
    options = express_options(
        secret=["k", b"\x00"],
        cookie={"max_age_ms": ten_years, "same_site": "none", "secure": False, "path": ""},
    )
    assert options.cookie == ExpressCookieOptions(
        max_age=ten_years / 1000, same_site="none", path=""
    )
    assert options.secrets == (b"k", b"\x00")


@pytest.mark.parametrize(
    ("cookie", "member", "tail"),
    [
        ({"priority": "HIGH"}, {"priority": "HIGH"}, "; Path=/; HttpOnly; Priority=High"),
        ({"path": None}, {"path": None}, "; HttpOnly"),
        ({"secure": None, "domain": ""}, {"secure": None, "domain": ""}, "; Path=/; HttpOnly"),
        ({"http_only": None}, {"httpOnly": None}, "; Path=/"),
        ({"same_site": "LAX"}, {"sameSite": "LAX"}, "; Path=/; HttpOnly; SameSite=Lax"),
        (
            {"max_age_ms": 1234.5},
            {"originalMaxAge": 1234, "expires": "2023-11-14T22:13:21.234Z"},
            "; Path=/; Expires=Tue, 14 Nov 2023 22:13:21 GMT; HttpOnly",
        ),
    ],
)
def test_settings_as_loose_as_express_takes_them(
    cookie: Any, member: dict[str, Any], tail: str
) -> None:
    shop = Shop(writes, cookie=cookie)
    [line] = set_cookies(shop.get())
    assert line[line.index(";") :] == tail
    [(_, record)] = shop.store.all()
    assert json.loads(record.data)["cookie"] == {**COOKIE, **member}


@pytest.mark.parametrize("max_age", [3.2e15, 2.6e14, -3.2e15])
def test_lifetimes_beyond_the_calendar(max_age: float) -> None:
    """Dates of cookies have four digits for the year."""
    year = "9999" if max_age > 0 else "1970"
    shop = Shop(writes, cookie={"max_age_ms": max_age})
    assert f" {year} " in set_cookies(shop.get())[0]
    shop = Shop(writes, rolling=True)
    shop.put({"cookie": {**COOKIE, "originalMaxAge": max_age}})
    assert f" {year} " in set_cookies(shop.get())[0]


def test_callable_cookie_settings() -> None:
    def settings(request: Any) -> Any:
        return {"max_age_ms": 60_000, "same_site": "auto", "secure": "auto"}

    shop = Shop(writes, cookie=settings)
    assert "Secure; SameSite=None" in set_cookies(shop.get(scheme="https"))[0]
    [(_, record)] = shop.store.all()
    member = json.loads(record.data)["cookie"]
    assert (member["secure"], member["sameSite"]) == (True, "none")
    assert member["originalMaxAge"] == 60_000
    with pytest.raises(ConfigurationError, match="has no setting 'maxAge'"):
        Shop(writes, cookie=lambda _: {"maxAge": 1}).get()


# Ids


def test_ids_and_keys_are_raw() -> None:
    shop = Shop(writes)
    shop.get()
    [(key, _)] = shop.store.all()
    assert shop.cookie is not None
    assert shop.cookie.startswith(f"connect.sid=s%3A{key}.")
    assert re.fullmatch(r"[\w-]{32}", key)


@pytest.mark.parametrize("session_id", ["short", "../../etc/passwd", "a" * 129, "user:1"])
def test_other_ids_reach_the_store_only_where_that_is_asked_for(session_id: str) -> None:
    shop = Shop(lambda session: session.get("n"))
    shop.put({"cookie": COOKIE, "n": 1}, session_id=session_id)
    assert shop.get().text == "None"
    assert shop.store.taken() == []
    shop = Shop(lambda session: session.get("n"), valid_id=lambda text: len(text) < 200)
    shop.put({"cookie": COOKIE, "n": 1}, session_id=session_id)
    assert shop.get().text == "1"


@pytest.mark.parametrize("session_id", ["", "a" * 257])
def test_what_is_no_key_of_a_store_never_reaches_it(session_id: str) -> None:
    shop = Shop(lambda session: session.get("n"), valid_id=lambda _: True)
    writer = shop.options.cookie_format.bind("connect.sid", shop.options.secrets)
    shop.cookie = f"connect.sid={writer.sign(session_id)}"
    assert shop.get().text == "None"
    assert shop.store.taken() == []


def test_an_own_genid() -> None:
    shop = Shop(writes, genid=lambda _: "user:1", valid_id=lambda text: text.startswith("user:"))
    shop.get()
    assert [key for key, _ in shop.store.all()] == ["user:1"]
    with pytest.raises(ConfigurationError, match="`generate_id` must return"):
        Shop(writes, genid=lambda _: "user:1").get()


# Cookies


def test_the_first_of_several_cookies_is_the_only_one() -> None:
    shop = Shop(lambda session: session.get("n"))
    shop.put({"cookie": COOKIE, "n": 1})
    good = shop.cookie
    shop.cookie = f"{good}; connect.sid=s%3Abad.bad"
    assert shop.get().text == "1"
    shop.cookie = f"connect.sid=s%3Abad.bad; {good}"
    assert shop.get().text == "None"
    assert "bad_cookie" in [event.kind for event in shop.events]


@pytest.mark.parametrize("damage", ["%", "%zz", "%C3", "", "s:", "s%3A", "%FF%FE", "s%3A.", "ü"])
def test_broken_cookies_are_no_sessions(damage: str) -> None:
    writer = ExpressCookieFormat().bind("connect.sid", [b"k"])
    assert writer.unsign(damage) is None
    assert writer.unsign(writer.sign(ID) + damage) is None or not damage


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.binary(min_size=1))
def test_what_was_signed_is_verified(session_id: str, secret: bytes) -> None:
    writer = ExpressCookieFormat(lambda _: True).bind("connect.sid", [b"new", secret])
    old = ExpressCookieFormat().bind("connect.sid", [secret])
    token = writer.unsign(old.sign(session_id))
    assert token is not None
    assert token.id == session_id
    assert token.current == (secret == b"new")


def test_a_cookie_of_a_former_secret_is_signed_anew() -> None:
    """Express accepts such a cookie forever; both sides need the new secret first."""
    shop = Shop(lambda session: session.get("n"), secret=["new", SECRET])
    writer = ExpressCookieFormat().bind("connect.sid", [SECRET.encode()])
    shop.put({"cookie": COOKIE, "n": 1})
    shop.cookie = f"connect.sid={writer.sign(ID)}"
    assert shop.get().text == "1"
    assert shop.cookie == f"connect.sid={ExpressCookieFormat().bind('', [b'new']).sign(ID)}"


def test_settings_of_the_record_win() -> None:
    """As in Express, a record's settings do not change, and survive a write from this side."""
    member = {
        "originalMaxAge": 90_000, "priority": "High", "expires": "2023-11-14T22:00:00.000Z",
        "secure": False, "httpOnly": False, "domain": "shop.test", "path": "/", "sameSite": True,
    }  # fmt: skip
    shop = Shop(writes, cookie={"max_age_ms": 5000, "secure": True})
    shop.put({"cookie": member, "n": 1})
    [line] = set_cookies(shop.get())
    assert line.partition("; ")[2] == (
        "Domain=shop.test; Path=/; Expires=Tue, 14 Nov 2023 22:14:50 GMT; "
        "Priority=High; SameSite=Strict"
    )
    assert shop.record() == {
        "cookie": {**member, "expires": "2023-11-14T22:14:50.000Z"}, "n": 1, "written": True,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/a;b", "/a\r\nSet-Cookie: x=y", "/\x00", 5])
def test_a_record_cannot_smuggle_headers(path: Any) -> None:
    shop = Shop(writes, rolling=True)
    shop.put({"cookie": {"originalMaxAge": 60_000, "path": path, "domain": "a;b"}, "n": 1})
    [line] = set_cookies(shop.get())
    assert line.startswith("connect.sid=s%3A")
    assert line.partition("; ")[2] in (
        "Path=/; Expires=Tue, 14 Nov 2023 22:14:20 GMT; HttpOnly",
        "Expires=Tue, 14 Nov 2023 22:14:20 GMT; HttpOnly",
    )


def test_settings_of_one_session() -> None:
    def remembers(session: Any) -> None:
        session["user"] = "Ada"
        session.cookie.max_age = timedelta(days=1000)
        session.cookie.same_site = "lax"

    shop = Shop(remembers)
    shop.get()
    [(key, record)] = shop.store.all()
    member = {
        "originalMaxAge": 86_400_000_000, "expires": "2026-08-10T22:13:20.000Z",
        "httpOnly": True, "path": "/", "sameSite": "lax",
    }  # fmt: skip
    assert json.loads(record.data) == {"cookie": member, "user": "Ada"}
    assert record.expires_at == NOW + 86_400_000

    def forgets(session: Any) -> None:
        session.cookie.max_age = None
        session.cookie.same_site = None

    shop.get(forgets)
    assert shop.record(key)["cookie"] == COOKIE


def test_a_fixed_end_becomes_a_distance() -> None:
    """As in Express, each use lengthens the session by the distance to its end."""
    end = datetime.fromtimestamp(NOW + 100, UTC)
    shop = Shop(writes, cookie={"expires": end})
    shop.get()
    [(key, record)] = shop.store.all()
    assert record.expires_at == NOW + 100
    assert json.loads(record.data)["cookie"]["originalMaxAge"] == 100_000
    shop.clock.advance(50)
    shop.get(lambda session: session.update(more=1))
    found = shop.store.get(key)
    assert found is not None
    assert found.expires_at == NOW + 150


def test_a_lifetime_of_nothing_ends_the_session() -> None:
    shop = Shop(lambda session: setattr(session.cookie, "max_age", 0))
    shop.put({"cookie": COOKIE, "n": 1})
    assert "Expires=Tue, 14 Nov 2023 22:13:20 GMT" in set_cookies(shop.get())[0]
    assert shop.store.get(ID) is None


# Expiry


def test_the_store_says_when_a_session_ends() -> None:
    """The record's own time is past in each session that was only touched since."""
    shop = Shop(lambda session: session.get("n"))
    member = {**COOKIE, "originalMaxAge": 60_000, "expires": "2020-01-01T00:00:00.000Z"}
    shop.put({"cookie": member, "n": 1}, life=30)
    assert shop.get().text == "1"
    assert shop.record()["cookie"] == member
    found = shop.store.get(ID)
    assert found is not None
    assert found.expires_at == NOW + 60
    shop.put({"cookie": {**member, "expires": "2099-01-01T00:00:00.000Z"}, "n": 1}, life=-1)
    assert shop.get().text == "None"


def test_ttl_is_the_lifetime_of_browser_sessions_alone() -> None:
    shop = Shop(writes, ttl_s=500, cookie={"max_age_ms": 60_000})
    shop.get()
    assert [record.expires_at for _, record in shop.store.all()] == [NOW + 60]
    shop.put({"cookie": COOKIE})
    shop.get()
    found = shop.store.get(ID)
    assert found is not None
    assert found.expires_at == NOW + 500
    shop.cookie = None
    assert shop.get(lambda session: session.expires_in).text == "60.0"


# Records


@pytest.mark.parametrize(
    "data",
    [
        b"", b"TOMBSTONE", b"null", b"[]", b"5", b"{", b"\xff", b"{}", b'{"n":1}', b'{"cookie":1}',
        b'{"cookie":null}', b'{"cookie":{},"n":NaN}', b'{"cookie":{}} {}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_records_that_are_none(data: bytes) -> None:
    with pytest.raises(CorruptRecord):
        ExpressCodec().loads(data, ID)
    if data:
        shop = Shop(writes)
        shop.put(data)
        assert shop.get().status_code == 200
        assert "corrupt" in [event.kind for event in shop.events]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"cookie":[],"n":1}', 1),
        (b'{"cookie":{},"n":"\xed\xa0\x80"}', "\ufffd" * 3),
        (b'{"cookie":{},"n":"\xffx"}', "\ufffdx"),
    ],
)
def test_odd_records_that_express_reads(data: bytes, expected: Any) -> None:
    assert ExpressCodec().loads(data, ID).data == {"n": expected}


def test_keys_that_node_does_not_hand_out_are_dropped() -> None:
    shop = Shop(writes)
    shop.put(
        b'{"cookie":{"path":"/"},"id":1,"req":2,"save":3,"__proto__":{"a":1},"toString":1,"n":1}'
    )
    shop.get()
    assert shop.record() == {"cookie": COOKIE, "n": 1, "written": True}


def test_keys_of_stores_are_hidden_and_kept() -> None:
    shop = Shop(lambda session: sorted(session))
    shop.put({"cookie": COOKIE, "n": 1, "__lastAccess": 5, "lastModified": 7})
    assert shop.get().text == "['lastModified', 'n']"
    shop = Shop(writes, store_keys=("__lastAccess", "lastModified"))
    shop.put({"cookie": COOKIE, "n": 1, "__lastAccess": 5, "lastModified": 7})
    shop.get()
    assert shop.record() == {
        "cookie": COOKIE, "n": 1, "written": True, "__lastAccess": 5, "lastModified": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ({"a": math.nan}, "session['a']", "Node would store null"),
        ({"a": [1, {"b": math.inf}]}, "session['a'][1]['b']", "Node would store null"),
        ({"a": 2**53 + 1}, "session['a']", "Node has no integers beyond 2"),
        ({"a": {"b": -(10**23)}}, "session['a']['b']", "Node has no integers"),
        ({"a": 1152921504606847000}, "session['a']", "Node has no integers"),
        ({"a": 10**400}, "session['a']", "Node has no integers"),
        ({"a": {b"x": 2}}, "session['a']", "keys must be strings"),
        ({"a": (1,)}, "session['a']", r"of type tuple; store `list\(...\)` of it"),
        ({"a": {1}}, "session['a']", "of type set"),
        ({"a": b"x"}, "session['a']", r"of type bytes; store its `hex\(\)`"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "session['a']", "isoformat"),
        ({"a": [time(12)]}, "session['a'][0]", r"of type time; store its `isoformat\(\)`"),
        ({"a": timedelta(1)}, "session['a']", r"of type timedelta; store its `total_seconds\(\)`"),
        ({"a": Decimal(1)}, "session['a']", r"of type Decimal; store `str\(...\)` of it"),
        ({"a": UUID(int=1)}, "session['a']", r"of type UUID; store `str\(...\)` of it"),
        ({"cookie": {}}, "session['cookie']", "express-session keeps this name"),
        ({"save": 1}, "session['save']", "express-session keeps this name"),
        ({"__proto__": 1}, "session['__proto__']", "express-session keeps this name"),
        ({"__lastAccess": 1}, "session['__lastAccess']", "a store keeps this name"),
    ],
)
def test_what_node_could_not_read_is_refused(data: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(SerializationError, match=reason) as caught:
        ExpressCodec().dumps(SessionState(data, 0.0))
    assert caught.value.path == path


@pytest.mark.parametrize("deep", [[], [1]])
def test_bottomless_nesting_is_refused(deep: list[Any]) -> None:
    if not deep:
        deep.append(deep)
    for _ in range(9_999):
        deep = [deep]
    with pytest.raises(SerializationError, match="nested too deeply") as caught:
        ExpressCodec().dumps(SessionState({"a": deep}, 0.0))
    assert caught.value.path == "session['a']"


@pytest.mark.parametrize("depth", [100, 600, 900, 9999])
def test_deep_records_can_be_read_and_written(depth: int) -> None:
    """Node.js has no limit for reading, and writes some 7,000 levels."""
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    shop = Shop(writes)
    shop.put(b'{"cookie":{"path":"/"},"deep":%s}' % nested)
    assert shop.get().status_code == 200
    found = shop.store.get(ID)
    assert found is not None
    assert nested in found.data
    assert b'"written":true' in found.data


def through_record(value: Any) -> Any:
    codec = ExpressCodec()
    state = SessionState({"v": value}, 0.0)
    return codec.loads(codec.pack(codec.dumps(state), state, NOW, ID), ID).data["v"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1), (-0.0, 0), (2.0**53, 2**53), (1e20, 10**20), (1e21, 1e21), (1.5, 1.5),
        (5e-324, 5e-324), (1.7976931348623157e308, 1.7976931348623157e308), (0.1 + 0.2, 0.1 + 0.2),
        (2**53, 2**53), (-(2**53), -(2**53)), (2**60, 2**60), (2.0**60, 2**60), (10**21, 1e21),
        ("\ud800", "\ud800"), ("\U0001f9e5", "\U0001f9e5"), ("\x00\u2028", "\x00\u2028"),
        ([None, True, {}], [None, True, {}]), ({"cookie": 1, "save": 2}, {"cookie": 1, "save": 2}),
    ],
)  # fmt: skip
def test_values_come_back_as_node_has_them(value: Any, expected: Any) -> None:
    found = through_record(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"9007199254740993", 9007199254740992), (b"1e400", None), (b"-1e400", None),
        (b"123456789012345678901234567890", 1.2345678901234568e29), (b"1.0", 1), (b"1E2", 100),
        (b"1152921504606847000", 2**60), (b"-0", 0), (b"-0.0", 0),
    ],
)  # fmt: skip
def test_numbers_of_other_programs_are_read_as_node_reads_them(text: bytes, expected: Any) -> None:
    codec = ExpressCodec()
    state = codec.loads(b'{"cookie":{},"v":%s}' % text, ID)
    assert state.data["v"] == expected
    codec.dumps(state)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)


@given(JSON)
def test_values_come_back_equal_and_stay(value: Any) -> None:
    once = through_record(value)
    if "\\ud" not in json.dumps(value):
        assert once == value
    assert through_record(once) == once


MEMBERS = st.dictionaries(
    st.sampled_from(
        ["originalMaxAge", "partitioned", "priority", "expires", "secure", "httpOnly", "domain",
         "path", "sameSite", "unknown"]
    ),
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["lax", "High", "/", "", "auto", "2026-11-23T17:54:48.167Z", "[]"])
    | st.lists(st.integers(), max_size=1),
)  # fmt: skip


@given(MEMBERS)
def test_any_member_is_read_and_rewritten_without_effect(member: dict[str, Any]) -> None:
    """Any cookie in a record can be read; the rewritten record has the same settings."""
    codec = ExpressCodec(clock=Clock(NOW))
    state = codec.loads(json.dumps({"cookie": member, "n": 1}).encode(), ID)
    content = codec.dumps(state)
    again = codec.loads(codec.pack(content, state, NOW + 60, ID), ID)
    assert again.cookie == state.cookie
    assert codec.dumps(again) == content


# Sessions that both sides use


def test_a_session_that_is_only_read_is_not_written() -> None:
    shop = Shop(lambda session: [session["user"]["name"], session.get("x")])
    shop.put({"user": {"name": "Ada"}, "big": 1152921504606847000, "cookie": COOKIE})
    shop.get()
    assert shop.store.taken() == ["get", "touch"]
    shop.get()
    assert shop.store.taken() == ["get"]


def test_nested_changes_are_written() -> None:
    shop = Shop(lambda session: session["user"].update(name="Eve"))
    shop.put({"user": {"name": "Ada"}, "cookie": COOKIE})
    shop.get()
    assert shop.record()["user"] == {"name": "Eve"}


def test_parallel_changes_of_both_sides_are_merged() -> None:
    shop = Shop()

    def meanwhile(session: Any) -> None:
        session["mine"] = session["n"] + 1
        theirs = {"cookie": COOKIE, "n": 1.0, "theirs": 3}
        shop.store.set(ID, Record(json.dumps(theirs).encode(), NOW + 60))

    shop.put({"cookie": COOKIE, "n": 1, "gone": 1})
    shop.get(meanwhile)
    assert shop.record() == {"cookie": COOKIE, "n": 1, "mine": 2, "theirs": 3}


@pytest.mark.parametrize("theirs", [7_000, None])
def test_a_lifetime_that_the_other_side_changed_meanwhile_is_kept(theirs: Any) -> None:
    shop = Shop(cookie={"max_age_ms": 100_000})

    def meanwhile(session: Any) -> None:
        session["mine"] = 1
        member = {**COOKIE, "originalMaxAge": theirs}
        shop.store.set(ID, Record(json.dumps({"cookie": member}).encode(), NOW + 7))

    shop.put({"cookie": {**COOKIE, "originalMaxAge": 50_000}})
    shop.get(meanwhile)
    assert shop.record()["mine"] == 1
    assert shop.record()["cookie"]["originalMaxAge"] == theirs


def test_an_owner_is_kept_by_the_store() -> None:
    """The record has no place for an owner."""
    shop = Shop(lambda session: setattr(session, "owner", "ada"))
    shop.put({"cookie": COOKIE, "n": 1})
    shop.get()
    sessions = Sessions(shop.store, shop.options)
    assert [entry.data["n"] for entry in sessions.list("ada")] == [1]
    assert "ada" not in json.dumps(shop.record())
    assert shop.get(lambda session: (session.update(n=2), session.owner)[1]).text == "ada"
    assert [entry.data["n"] for entry in sessions.list("ada")] == [2]
    assert sessions.revoke_all("ada") == 1


def test_an_owner_that_follows_from_the_data() -> None:
    shop = Shop(writes, owner=lambda data: data.get("passport", {}).get("user"))
    shop.put({"cookie": COOKIE, "passport": {"user": 42}})
    shop.get()
    [entry] = Sessions(shop.store, shop.options).list(42)
    assert entry.created_at == 0.0


@pytest.mark.anyio
async def test_regenerated_sessions_are_express_sessions() -> None:
    clock = Clock(NOW)
    store = MemoryStore(clock=clock)
    options = express_options(
        secret=SECRET, store=store, clock=clock, cookie={"max_age_ms": 60_000, "secure": "auto"}
    )

    async def login(session: Any, _: Any) -> None:
        session["cart"] = ["hat"]
        await session.save()
        session.regenerate(keep_data=True)
        session["user"] = 1

    await Client(asgi_app(login, options=options, secret=SECRET), "https://shop.test").get("/")
    [record] = sessions_in(store).values()
    member = {
        "originalMaxAge": 60_000, "expires": "2023-11-14T22:14:20.000Z", "secure": True,
        "httpOnly": True, "path": "/",
    }  # fmt: skip
    assert json.loads(record.data) == {"cookie": member, "cart": ["hat"], "user": 1}


@pytest.mark.parametrize("make", [asgi_app, wsgi_app])
@pytest.mark.anyio
async def test_a_touch_sends_no_cookie(make: Callable[..., Any]) -> None:
    clock, life = Clock(NOW), 600
    store = CountingStore(clock=clock)
    options = express_options(
        secret=SECRET, store=store, clock=clock, cookie={"max_age_ms": life * 1000}
    )

    def handler(session: Any, request: Any) -> Any:
        if (request.get("path") or request["PATH_INFO"]) == "/write":
            session["n"] = 1
        return len(session)

    client = Client(make(handler, options=options, secret=SECRET))
    cookie = set_cookies(await client.get("/write"))[0].partition(";")[0]
    store.taken()
    for pause in (120, 0.6 * life):
        clock.advance(pause)
        response = await client.present(cookie, "/read")
        assert (response.text, set_cookies(response)) == ("1", [])
    assert store.taken() == ["get", "touch", "get", "touch"]


def test_https_works_for_shared_sessions() -> None:
    """`express_options` accepts `https` like the middlewares."""
    shop = Shop(writes, https=True, cookie={"secure": True})
    assert "secure" in attributes(shop.get())


# The guide


GUIDE = (Path(__file__).parents[3] / "docs" / "from-express.md").read_text()


def test_the_guide_has_each_option() -> None:
    parameters = set(inspect.signature(express_options).parameters) - {"more"}
    options = parameters | set(CommonFields.__annotations__)
    assert [name for name in sorted(options) if f"`{name}`" not in GUIDE] == []
    settings = [name for name in ExpressCookie.__annotations__ if f'"{name}"' not in GUIDE]
    assert settings == []


def test_the_guide_has_each_difference() -> None:
    assert re.findall(r"^\| (D\d+) \|", GUIDE, re.MULTILINE) == [f"D{n}" for n in range(1, 22)]
