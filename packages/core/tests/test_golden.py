"""Records of released versions can be read forever, and today's code writes the newest form.

``golden/`` has one file for each version that wrote something differently. Python values are
written there as expressions, because JSON lacks their types.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from webclient import Clock, CountingStore, SyncClient, wsgi_app

from coatcheck import CookieOptions, JSONCodec, Record, SessionState
from coatcheck.cookie_format import NativeCookieFormat

GOLDEN = Path(__file__).parent / "golden"
SECRET = "a secret of thirty-two bytes, more"
OTHER_SECRET = "another secret, bytes: \u00e9\u00df, and so on"
ID = "AZaz09-_AZaz09-_AZaz09-_AZaz09-_"
NOW = 1_700_000_000.25

codec = JSONCodec()

#: Sessions in the states that a record can have: data, created_at, cookie, owner.
STATES = {
    "empty": ("{}", NOW, {}, None),
    "born on the second": ("{'n': 1}", 1_700_000_000, {}, None),
    "scalars": (
        "{'none': None, 'yes': True, 'int': -7, 'float': 1.0, 'text': 'ab'}",
        NOW,
        {},
        None,
    ),
    "numbers": (
        "{'zero': -0.0, 'small': 1e-300, 'large': 1.5e+300, 'long': 2**100, 'third': 1 / 3}",
        NOW,
        {},
        None,
    ),
    "texts": (
        r"""{'quotes': '"\\/\'', 'controls': '\x00\x1f\x7f\n', 'letters': '\u00e9\u4e2d\U0001f9e5',
        'surrogate': '\ud800', 'separators': '\u2028\u2029', '': 'empty key'}""",
        NOW,
        {},
        None,
    ),
    "containers": ("{'list': [1, [2, []]], 'dict': {'b': 1, 'a': {}}}", NOW, {}, None),
    "tuples": ("{'v': (), 'w': (1, ('a', [2]))}", NOW, {}, None),
    "sets": ("{'v': set(), 'w': {'b', 'a', 'c', 3, 1, None, (1, 'x')}}", NOW, {}, None),
    "bytes": (r"{'v': b'', 'w': b'\x00\xff\xfe'}", NOW, {}, None),
    "dates": (
        """{'date': datetime.date(2026, 1, 2),
        'naive': datetime.datetime(2026, 1, 2, 3, 4, 5, 678),
        'utc': datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
        'east': datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.timezone(
            datetime.timedelta(hours=5, minutes=45)))}""",
        NOW,
        {},
        None,
    ),
    "decimals": (
        "{'v': decimal.Decimal('1.50'), 'w': decimal.Decimal('-1E+5')}",
        NOW,
        {},
        None,
    ),
    "uuid": ("{'v': uuid.UUID('12345678-1234-5678-1234-567812345678')}", NOW, {}, None),
    "tag at the top": ("{'$': 'set', '=': [1]}", NOW, {}, None),
    "tag inside": ("{'v': [{'$': 'tuple', '=': [{'$': None}]}]}", NOW, {}, None),
    "remembered": ("{'user_id': 42}", NOW, {"max_age": 2592000, "expires": None}, None),
    "own cookie": (
        "{'user_id': 42}",
        NOW,
        {"path": "/shop", "same_site": "strict", "http_only": False, "domain": "shop.test"},
        None,
    ),
    "fixed end": ("{}", NOW, {"expires": 1700003600.0, "max_age": None}, None),
    "owned": ("{'user_id': 42}", NOW, {}, "42"),
    "owned and remembered": ("{'n': 1}", NOW, {"max_age": 600, "expires": None}, '\u00e9 "x"'),
}

COOKIES = [
    ("sid", SECRET, ID),
    ("__Host-sid", SECRET, ID),
    ("sid", OTHER_SECRET, ID),
    ("sid", SECRET, "a" * 16),
    ("sid", SECRET, "z" * 128),
]

#: Options of a middleware, and whether the request comes over https.
RESPONSES = [
    ("{}", False),
    ("{}", True),
    ("{'hash_ids': False}", False),
    ("{'name': '__Host-sid'}", True),
    ("{'owner': 'user_id', 'idle_timeout': 300}", False),
    ("{'absolute_timeout': 100, 'cookie': CookieOptions(max_age=600)}", False),
    ("{'cookie': CookieOptions(max_age=600)}", False),
    ("{'cookie': CookieOptions(expires=1700003600)}", False),
    ("{'cookie': CookieOptions(same_site='none', partitioned=True, priority='high')}", True),
    ("{'cookie': CookieOptions(same_site='auto')}", True),
    ("{'cookie': CookieOptions(same_site=False, http_only=False, secure=False)}", False),
    ("{'cookie': CookieOptions(domain='shop.test', path='/', same_site=True)}", False),
]


def value_of(expression: str) -> Any:
    names = {"datetime": dt, "decimal": decimal, "uuid": uuid, "CookieOptions": CookieOptions}
    return eval(expression, names)


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def data_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@dataclass
class Story:
    """One session's first response, by options of a middleware, and its end."""

    expression: str
    is_https: bool

    def __post_init__(self) -> None:
        self.store = CountingStore(clock=Clock(NOW))
        app = wsgi_app(
            self._serve,
            **{"secret": SECRET, "store": self.store, "clock": Clock(NOW)},
            generate_id=lambda request: ID,
            **value_of(self.expression),
        )
        self._client = SyncClient(app, f"http{'s' if self.is_https else ''}://shop.test")
        self._step = "write"

    def write(self) -> str:
        """Store a session, and return the Set-Cookie line."""
        return self._line("write", "")

    def read(self, cookie: str) -> httpx.Response:
        """Show what is stored."""
        return self._ask("read", cookie)

    def destroy(self, cookie: str) -> str:
        """End the session, and return the Set-Cookie line."""
        return self._line("destroy", cookie)

    def _line(self, step: str, cookie: str) -> str:
        return self._ask(step, cookie).headers["set-cookie"]

    def _ask(self, step: str, cookie: str) -> httpx.Response:
        self._step = step
        return self._client.present(cookie)

    def _serve(self, session: Any, environ: Any) -> Any:
        if self._step == "write":
            session["user_id"] = 42
        if self._step == "destroy":
            session.destroy()
        return dict(session)


def written() -> dict[str, Any]:
    """Return what today's code writes, in the form of a golden file."""
    return {
        "records": {name: written_record(*state) for name, state in STATES.items()},
        "cookies": [
            {"name": name, "secret": secret, "id": made, "value": signed(name, secret, made)}
            for name, secret, made in COOKIES
        ],
        "responses": [written_response(*case) for case in RESPONSES],
    }


def written_record(
    expression: str, created_at: float, cookie: dict[str, Any], owner: str | None
) -> dict[str, Any]:
    state = SessionState(value_of(expression), created_at, cookie, owner)
    stored = codec.pack(codec.dumps(state), state, NOW + 60, "key")
    return {
        "data": expression,
        "created_at": created_at,
        "cookie": cookie,
        "owner": owner,
        "stored": text_of(stored),
    }


def signed(name: str, secret: str, session_id: str) -> str:
    return NativeCookieFormat().bind(name, [secret.encode()]).sign(session_id)


def written_response(expression: str, is_https: bool) -> dict[str, Any]:
    story = Story(expression, is_https)
    line = story.write()
    [(key, record)] = story.store.all()
    return {
        "options": expression,
        "https": is_https,
        "set_cookie": line,
        "key": key,
        "stored": text_of(record.data),
        "expires_at": record.expires_at,
        "owner": record.owner,
        "removal": story.destroy(line.partition(";")[0]),
    }


def version_of(path: Path) -> tuple[int, ...]:
    return tuple(map(int, path.stem.split(".")))


VERSIONS = sorted(GOLDEN.glob("*.json"), key=version_of)


def entries(part: str) -> list[Any]:
    """Return the entries of one part of each golden file, as parameters."""
    found = []
    for path in VERSIONS:
        entry = json.loads(path.read_text("ascii"))[part]
        named = entry.items() if isinstance(entry, dict) else enumerate(entry)
        found += [pytest.param(item, id=f"{path.stem}-{name}") for name, item in named]
    return found


def exact(value: Any) -> Any:
    """Return something whose equality tells 1, 1.0 and True apart, and ignores a set's order."""
    if isinstance(value, dict):
        return [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exact(item) for item in value]
    return (set, sorted(map(repr, value))) if isinstance(value, set) else repr(value)


@pytest.mark.parametrize("entry", entries("records"))
def test_every_record_that_was_ever_written_can_be_read(entry: dict[str, Any]) -> None:
    """The data come back with their types, the rest of the session with them."""
    state = codec.loads(data_of(entry["stored"]), "key")
    assert exact(state.data) == exact(value_of(entry["data"]))
    assert (state.created_at, state.cookie, state.owner, state.extra) == (
        entry["created_at"],
        entry["cookie"],
        entry["owner"],
        {},
    )


@pytest.mark.parametrize("entry", entries("cookies"))
def test_every_cookie_that_was_ever_signed_is_good(entry: dict[str, Any]) -> None:
    """An upgrade logs nobody out."""
    writer = NativeCookieFormat().bind(entry["name"], [entry["secret"].encode()])
    token = writer.unsign(entry["value"])
    assert token is not None
    assert (token.id, token.current) == (entry["id"], True)
    assert writer.valid_id(token.id)


@pytest.mark.parametrize("entry", entries("responses"))
def test_every_session_that_was_ever_stored_goes_on(entry: dict[str, Any]) -> None:
    """The cookie of an earlier version finds the record of that version under its key."""
    story = Story(entry["options"], entry["https"])
    record = Record(data_of(entry["stored"]), entry["expires_at"], entry["owner"])
    story.store.set(entry["key"], record)
    story.store.taken()
    response = story.read(entry["set_cookie"].partition(";")[0])
    assert response.text == "{'user_id': 42}"
    assert "set-cookie" not in response.headers
    assert story.store.taken() == ["get"]


def test_the_newest_file_is_what_todays_code_writes() -> None:
    """Byte for byte: records, cookie values, Set-Cookie lines and store keys."""
    newest = json.loads(VERSIONS[-1].read_text("ascii"))
    today = written()
    assert newest.keys() == today.keys()
    for part, entry in today.items():
        assert newest[part] == entry, part


def test_the_first_version_is_there_unchanged() -> None:
    """The files of released versions are never changed."""
    digest = hashlib.sha256((GOLDEN / "0.1.0.json").read_bytes()).hexdigest()
    assert digest == "963e9a6f8269e9de3902ecc2242832097ce94ee2a14570bc6df19ecabd26b316"


if __name__ == "__main__":
    text = json.dumps(written(), indent=1, ensure_ascii=True)
    with (GOLDEN / f"{sys.argv[1]}.json").open("x") as file:
        file.write(text + "\n")
