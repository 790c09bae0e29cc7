"""Cookies and records as Node writes them: ``express-vectors.json``, in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from webclient import Clock, SyncClient

from coatcheck import MemoryStore, Record, SessionOptions
from coatcheck.cookie_format import CookieWriter
from coatcheck.store import ALWAYS, Condition
from coatcheck.wsgi import SessionMiddleware
from coatcheck_express import ExpressCodec, ExpressCookieFormat, express_options
from coatcheck_express.cookie_format import _decoded

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "express-vectors.json").read_text())
#: When they were made.
NOW = 1_700_000_000.0


def writer(*secrets: str | bytes, name: str = "connect.sid") -> CookieWriter:
    raw = [secret.encode() if isinstance(secret, str) else secret for secret in secrets]
    return ExpressCookieFormat(lambda _: True).bind(name, raw)


# Signatures


@pytest.mark.parametrize("vector", VECTORS["signatures"], ids=lambda vector: vector["signed"])
def test_signatures(vector: dict[str, str]) -> None:
    signs = writer(vector["secret"])
    assert signs.sign(vector["value"]) == vector["cookie_value"]
    for value in (vector["cookie_value"], f"s:{vector['signed']}"):
        token = signs.unsign(value)
        assert token is not None
        assert token.id == vector["value"]
        assert token.current


def test_a_binary_secret() -> None:
    vector = VECTORS["signature_binary_key"]
    signs = writer(bytes.fromhex(vector["secret_hex"]))
    token = signs.unsign(f"s:{vector['signed']}")
    assert token is not None
    assert token.id == vector["value"]
    assert _decoded(signs.sign(vector["value"])) == f"s:{vector['signed']}"


@pytest.mark.parametrize(
    "vector",
    VECTORS["unsign_must_reject"],
    ids=lambda vector: f"{vector['secret']}-{vector['input']}",
)
def test_what_node_rejects(vector: dict[str, str]) -> None:
    assert writer(vector["secret"]).unsign(f"s:{vector['input']}") is None


# The Cookie header


@pytest.mark.parametrize(
    "vector", VECTORS["cookie_header_parsing"], ids=lambda vector: repr(vector["header"])
)
def test_reading_the_cookie_header(vector: dict[str, Any]) -> None:
    """Cookies of each possible name are read; `""` means that there is none."""
    for name in ("a", "b"):
        found = [*writer("k", name=name).candidates([vector["header"]])]
        expected = vector["parsed"].get(name)
        assert [*map(_decoded, found)] == ([] if expected is None else [expected])


# Set-Cookie and the member `cookie`


class KeepingStore(MemoryStore):
    """A memory store that remembers the last written record, even an expired one."""

    written: Record

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self.written = record
        return super().set(key, record, only_if)


def snake_case(options: dict[str, Any]) -> dict[str, Any]:
    """Return Node's option `cookie` as express_options takes it."""
    result = {}
    for name, value in options.items():
        snake = re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)
        if name == "expires":
            value = datetime.fromisoformat(value)
        result["max_age_ms" if name == "maxAge" else snake] = value
    return result


def express(store: MemoryStore, **options: Any) -> SessionOptions:
    return express_options(
        secret="k",
        store=store,
        genid=lambda _: "abc",
        valid_id=lambda _: True,
        clock=Clock(NOW),
        **options,
    )


def answer(options: SessionOptions, scheme: str = "https", **headers: str) -> str:
    """Return the Set-Cookie line for a request that writes to its session."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        environ["coatcheck.session"]["n"] = 2
        start_response("200 OK", [])
        yield b""

    client = SyncClient(SessionMiddleware(app, options), f"{scheme}://shop.test")
    return client.get("/p", headers=headers).headers["set-cookie"]


def option_id(vector: dict[str, Any]) -> str:
    return json.dumps(vector["options"])


@pytest.mark.parametrize("vector", VECTORS["set_cookie"], ids=option_id)
def test_options_to_set_cookie_and_record(vector: dict[str, Any]) -> None:
    store = KeepingStore(clock=Clock(NOW))
    options = express(store, cookie=snake_case(vector["options"]))
    assert answer(options) == vector["header"]
    member = json.loads(store.written.data)["cookie"]
    expected = dict(vector["json"])
    if "expires" in vector["options"]:
        # The vector's was a string, which Node keeps as a lifetime; a Date has a distance.
        end = datetime.fromisoformat(vector["options"]["expires"]).timestamp()
        expected["originalMaxAge"] = (end - NOW) * 1000
    assert list(member.items()) == list(expected.items())


@pytest.mark.parametrize("vector", VECTORS["set_cookie"], ids=option_id)
def test_record_to_set_cookie_and_record(vector: dict[str, Any]) -> None:
    """A session of Node's can have other settings than the options of this side."""
    store = KeepingStore(clock=Clock(NOW))
    options = express(store, rolling=True, cookie={"max_age_ms": 5, "path": "/p"})
    data = json.dumps({"cookie": vector["json"], "n": 1}).encode()
    store.set("abc", Record(data, NOW + 1000))
    value = VECTORS["signatures"][0]["cookie_value"]
    assert answer(options, cookie=f"connect.sid={value}") == vector["header"]
    record = json.loads(store.written.data)
    assert list(record["cookie"].items()) == list(vector["json"].items())
    assert record["n"] == 2


# Records


STORED = [vector["stored"] for vector in VECTORS["session_json"]] + [
    vector["input"]["Item"]["sess"]["S"]
    for vector in VECTORS["dynamodb"]
    if "Item" in vector["input"]
]


@pytest.mark.parametrize("stored", STORED)
def test_records_of_node(stored: str) -> None:
    codec = ExpressCodec(clock=Clock(NOW))
    state = codec.loads(stored.encode(), "key")
    assert state.data == VECTORS["hash_example"]["data"]
    expires = json.loads(stored)["cookie"]["expires"]
    end = NOW if expires is None else datetime.fromisoformat(expires).timestamp()
    written = codec.pack(codec.dumps(state), state, end, "key").decode()
    assert json.loads(written) == json.loads(stored)
    member = stored[stored.index('"cookie":') : -1]
    assert written == f'{{{member},"user":{{"name":"bób"}},"n":1}}'


def test_records_begin_as_node_writes_them() -> None:
    store = KeepingStore(clock=Clock(NOW))
    options = express(store, cookie=snake_case({"maxAge": 60000}))
    answer(options)
    moment = datetime.fromtimestamp(NOW + 60, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert store.written.data.decode() == (
        f'{{"cookie":{{"originalMaxAge":60000,"expires":"{moment}.000Z","httpOnly":true,'
        f'"path":"/"}},"n":2}}'
    )
    assert store.written.expires_at == NOW + 60
