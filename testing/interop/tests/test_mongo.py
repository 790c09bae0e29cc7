"""Express with connect-mongo and coatcheck with its MongoDB store, on one server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from coatcheck_mongo import AsyncMongoStore, MongoStore
from coatcheck_mongo.express import DocumentCodec, WebCryptoCodec
from testing.interop.applications import NAME, express_application, options_of, wsgi_server
from testing.interop.both import each_length, random_walk_on_both
from testing.servers.mongo import server

pytestmark = pytest.mark.integration("express", "mongo")

VALUES: tuple[Any, ...] = (1, 1.5, 2**40, None, True, "b\u00f3b", [1, {"a": []}], {})
AT = "2023-11-14T22:13:20.123Z"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as started:
        yield started


@pytest.mark.parametrize("form", ["text", "encrypted"])
@each_length
def test_both_sides_see_the_same_sessions(steps: int, url: str, form: str) -> None:
    """The random walk uses every kind of text and number that JSON has."""
    place = f"{url}test?collection={form}"
    asynchronous, plain = AsyncMongoStore.from_url(place), MongoStore.from_url(place)
    more: dict[str, Any] = {}
    node: dict[str, Any] = {"collectionName": form}
    if form == "encrypted":
        more["codec"] = partial(WebCryptoCodec, crypto_secret="squirrel")
        node["cryptoSecret"] = "squirrel"
    with MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        collection = client.test[form]

        def expire(session_id: str) -> None:
            past = datetime.now(UTC) - timedelta(seconds=1)
            changed = collection.update_one({"_id": session_id}, {"$set": {"expires": past}})
            assert changed.matched_count == 1

        def remaining(session_id: str) -> float:
            found = collection.find_one({"_id": session_id})
            assert found is not None, "it is in the store"
            expires: datetime = found["expires"]
            return (expires - datetime.now(UTC)).total_seconds()

        with express_application("mongo", url, **node) as express:
            random_walk_on_both(express, asynchronous, plain, expire, remaining, steps, **more)
    plain.close()


def test_native_documents_are_read_and_written_on_both_sides(url: str) -> None:
    """With `stringify: false` numbers, dates and nested values keep their types on both sides."""
    store = MongoStore.from_url(f"{url}test?collection=native&stringify=false")
    with (
        express_application("mongo", url, collectionName="native", stringify=False) as express,
        wsgi_server(lambda path: options_of(path, store, codec=DocumentCodec)) as ours,
        httpx.Client() as client,
    ):

        def ask(base: str, path: str, *actions: list[Any]) -> Any:
            response = client.post(f"{base}{path}", json=actions)
            assert response.status_code == 200, response.text
            return response.json()

        for path in ("/lasting", "/plain", "/rolling"):
            client.cookies.clear()
            both = (express.url, ours)
            for turn, value in enumerate(VALUES):
                writer, reader = both[turn % 2], both[1 - turn % 2]
                written = ask(writer, path, ["set", [f"n{turn}"], value])
                seen = ask(reader, path)
                assert (seen["id"], seen["data"]) == (written["id"], written["data"])
                assert seen["data"][f"n{turn}"] == value
            # Node's dates are dates in Python, and stay dates in Node.
            session_id = ask(express.url, path, ["set_date", "at", 1_700_000_000_123])["id"]
            assert ask(ours, path, ["set", ["more"], 1])["data"]["at"] == AT
            assert ask(express.url, path)["data"]["at"] == AT
            stored = store.get(session_id)
            assert stored is not None
            assert type(DocumentCodec().loads(stored.data, session_id).data["at"]) is datetime
            ended = client.cookies[NAME]
            ask(ours, path, ["destroy"])
            client.cookies.set(NAME, ended, domain="127.0.0.1", path="/")
            assert ask(express.url, path)["data"] == {}
    store.close()
