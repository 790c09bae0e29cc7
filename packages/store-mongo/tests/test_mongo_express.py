"""Records that connect-mongo writes with `stringify: false`, and with its WebCrypto adapter."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import bson
import httpx
import pytest
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from mongo_backend import Backend
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from coatcheck import Record
from coatcheck.asgi import SessionMiddleware
from coatcheck.codec import SessionState
from coatcheck.errors import ConfigurationError, CorruptRecord, SerializationError
from coatcheck_express import express_options
from coatcheck_mongo import MongoStore
from coatcheck_mongo.express import DocumentCodec, WebCryptoCodec
from testing.stack import near_the_end_of_the_stack

pytestmark = pytest.mark.integration("mongo")

VECTORS = Path(__file__).parents[2] / "express/tests/express-vectors.json"
NOW = 1_700_000_000.0


def written(codec: Any, data: dict[str, Any], extra: dict[str, Any] | None = None) -> bytes:
    state = SessionState(data, 0.0, extra=extra or {})
    return codec.pack(codec.dumps(state), state, NOW + 60, "key")


def node_document(**data: Any) -> bytes:
    """Return a session as connect-mongo stores it: members without a value are null."""
    cookie = {
        "originalMaxAge": 60000, "partitioned": None, "priority": None,
        "expires": datetime.fromtimestamp(NOW + 60, UTC), "secure": None, "httpOnly": True,
        "domain": None, "path": "/", "sameSite": None,
    }  # fmt: skip
    return bson.encode({"cookie": cookie, **data})


class TestDocuments:
    codec = DocumentCodec({"originalMaxAge": 60000}, clock=lambda: NOW)

    def test_a_document_of_node_is_read(self) -> None:
        id_ = ObjectId()
        at = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
        data = node_document(n=1, half=1.5, whole=5.0, large=2.0**40, none=None, user=id_, at=at)
        state = self.codec.loads(data, "key")
        assert state.data == {
            "n": 1, "half": 1.5, "whole": 5, "large": 2**40, "none": None, "user": id_, "at": at,
        }  # fmt: skip
        assert {type(state.data[name]) for name in ("n", "whole", "large")} == {int}
        assert state.cookie["max_age"] == 60

    def test_what_was_read_is_written_as_it_was(self) -> None:
        data = node_document(cart=["hat"], at=datetime(2026, 1, 2, tzinfo=UTC), deep={"a": [None]})
        state = self.codec.loads(data, "key")
        again = self.codec.pack(self.codec.dumps(state), state, NOW + 60, "key")
        assert bson.decode(again) == bson.decode(data)

    @pytest.mark.parametrize(
        "value",
        [
            {"$ref": "#/defs/a", "$id": "https://shop.test/a"}, {"": 1, "a.b": 2, "$c": 3},
            [Int64(2**53 + 1)], [Binary(b"x" * 16, 4)], [Timestamp(1, 2)], [MinKey(), MaxKey()],
            [Code("f")], [Regex("a")], [Decimal128("1.1")], [DatetimeMS(8_640_000_000_000_000)],
        ],
    )  # fmt: skip
    def test_every_value_is_written_as_it_was_read(self, value: Any) -> None:
        data = node_document(value=value, other=1)
        state = self.codec.loads(data, "key")
        state.data["other"] = 2
        again = self.codec.pack(self.codec.dumps(state), state, NOW + 60, "key")
        assert again == node_document(value=value, other=2)

    def test_equal_sessions_have_equal_contents(self) -> None:
        state = self.codec.loads(node_document(a=1, b=2), "key")
        assert self.codec.dumps(state) == self.codec.dumps(
            self.codec.loads(node_document(a=1.0, b=2.0), "key")
        )

    def test_numbers_and_dates_are_in_nodes_form(self) -> None:
        east = timezone(timedelta(hours=2))
        at = datetime(2026, 1, 2, 3, 4, 5, 678999, east)
        raw = bson.decode(written(self.codec, {"n": 1, "large": 2**40, "whole": 3.0, "at": at}))
        assert (type(raw["n"]), type(raw["large"]), type(raw["whole"])) == (int, float, int)
        assert raw["at"] == datetime(2026, 1, 2, 1, 4, 5, 678000)
        assert type(raw["cookie"]["expires"]) is datetime
        assert next(iter(raw)) == "cookie"

    @pytest.mark.parametrize(
        "value",
        [datetime(2026, 1, 2), float("nan"), 2**60 + 1, {1}, object(), {b"": 2}, {"a\0b": 1}],
    )
    def test_what_cannot_be_stored(self, value: object) -> None:
        with pytest.raises(SerializationError):
            written(self.codec, {"value": value})

    def test_what_comes_back_is_plain(self) -> None:
        """A value of a subclass comes back as its base type, and keys as strings."""
        at = type("Moment", (datetime,), {})(2026, 1, 2, tzinfo=UTC)
        blob = type("Blob", (bytes,), {})(b"x")
        state = self.codec.loads(written(self.codec, {"v": [{1: at, None: blob}]}), "key")
        assert state.data == {"v": [{"1": at, "null": b"x"}]}
        assert [*map(type, state.data["v"][0].values())] == [datetime, bytes]

    def test_a_hundred_levels_are_stored(self, backend: Backend) -> None:
        """MongoDB takes as many levels as can be saved; more are refused with their key."""
        store = MongoStore(
            backend.client, database="coatcheck", collection=backend.name, stringify=False
        )
        deep: Any = 1
        for _ in range(50):
            deep = {"a": [deep]}
        record = Record(written(self.codec, {"deep": deep}), 4e9)
        assert store.set("key", record)
        assert store.get("key") == record
        with pytest.raises(SerializationError, match="nested too deeply") as failure:
            written(self.codec, {"deep": [deep]})
        assert failure.value.path == "session['deep']"

        def read() -> Any:
            return self.codec.loads(record.data, "key").data

        assert read() == {"deep": deep}
        assert near_the_end_of_the_stack(30, read) == {"deep": deep}
        for room in range(1, 30):
            with suppress(RecursionError):
                near_the_end_of_the_stack(room, read)

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ({"b": [1, float("nan")]}, "session['m']['b'][1]"),
            ({"b": "\ud800"}, "session['m']['b']"),
            ({"b": datetime(2026, 1, 2)}, "session['m']['b']"),
            ({"b\0": 1}, "session['m']"),
        ],
    )
    def test_an_error_names_the_value(self, value: object, path: str) -> None:
        with pytest.raises(SerializationError) as failure:
            written(self.codec, {"at": datetime(2026, 1, 2, tzinfo=UTC), "m": value})
        assert failure.value.path == path
        assert "None" not in str(failure.value)

    @pytest.mark.parametrize("data", [b"", b"{}", b"\x05\0\0\0\0", bson.encode({"cookie": "x"})])
    def test_what_is_none_of_nodes(self, data: bytes) -> None:
        with pytest.raises(CorruptRecord):
            self.codec.loads(data, "key")


@pytest.fixture(scope="module")
def vector() -> dict[str, Any]:
    return json.loads(VECTORS.read_text())["mongo_webcrypto"]


@pytest.fixture(scope="module")
def codec(vector: dict[str, Any]) -> WebCryptoCodec:
    return WebCryptoCodec({}, crypto_secret=vector["secret"], clock=lambda: NOW)


class TestWebCrypto:
    def test_a_record_of_node_is_read(self, codec: WebCryptoCodec, vector: dict[str, Any]) -> None:
        # The vector is a session without a cookie, which no request leaves behind.
        encrypted = vector["session_field"].encode()
        assert codec.decode_record(encrypted) == json.loads(vector["plaintext"])

    def test_there_and_back(self, codec: WebCryptoCodec) -> None:
        data = {"name": "Ada Lovelace"}
        first, second = (written(codec, data) for _ in range(2))
        assert first != second  # each has a nonce of its own
        assert codec.loads(first, "key").data == codec.loads(second, "key").data == data
        assert b"Lovelace" not in first

    def test_what_was_changed_is_no_session(self, codec: WebCryptoCodec) -> None:
        record = written(codec, {"name": "Ada"})
        other = b"A" if record[40:41] != b"A" else b"B"
        for data in (record[:40] + other + record[41:], record[:-8], b"", b"{}", b"AAAA"):
            with pytest.raises(CorruptRecord):
                codec.loads(data, "key")

    def test_a_secret_is_needed(self) -> None:
        with pytest.raises(ConfigurationError, match="crypto_secret"):
            WebCryptoCodec({}, crypto_secret="")


@pytest.mark.parametrize("form", ["documents", "encrypted"])
def test_requests(form: str, backend: Backend) -> None:
    """Whole requests: log in, come back, log out."""
    codec = DocumentCodec if form == "documents" else partial(WebCryptoCodec, crypto_secret="x")
    store = MongoStore(
        backend.client, database="coatcheck", collection=backend.name,
        stringify=form != "documents",
    )  # fmt: skip
    options = express_options(secret="keyboard cat", store=store, codec=codec)

    async def login(request: Any) -> JSONResponse:
        request.session["user"] = {"name": "Ada", "visits": request.session.get("n", 0)}
        return JSONResponse({})

    async def who(request: Any) -> JSONResponse:
        return JSONResponse(request.session.get("user"))

    async def logout(request: Any) -> JSONResponse:
        request.session.clear()
        request.session.destroy()
        return JSONResponse({})

    routes = [Route("/login", login), Route("/", who), Route("/logout", logout)]
    app = SessionMiddleware(Starlette(routes=routes), options)
    transport = httpx.ASGITransport(app)

    async def story() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
            await client.get("/login")
            assert (await client.get("/")).json() == {"name": "Ada", "visits": 0}
            session = backend.collection.find_one()["session"]
            assert type(session) is (dict if form == "documents" else str)
            cookies = dict(client.cookies)
            await client.get("/logout")
            client.cookies.update(cookies)
            assert (await client.get("/")).json() is None

    asyncio.run(story())


def test_without_coatcheck_express_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "coatcheck_express", None)
    monkeypatch.delitem(sys.modules, "coatcheck_mongo.express")
    advice = re.escape('`pip install "coatcheck-mongo[express]"`')
    with pytest.raises(ModuleNotFoundError, match=advice):
        importlib.import_module("coatcheck_mongo.express")
