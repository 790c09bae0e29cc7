"""URLs are MongoDB's own, with three options of the store's; no other is ignored."""

from __future__ import annotations

import socket

import pytest

from coatcheck import open_async_store, open_store
from coatcheck.errors import ConfigurationError
from coatcheck_mongo import AsyncMongoStore, MongoStore
from coatcheck_mongo._url import Settings, parse

RIGHT = [
    ("mongodb://localhost", ("test", "sessions", True, True), "mongodb://localhost/?timeoutMS=3000"),
    (
        "mongodb://ann:p%40ss@one:1,two:2/shop?replicaSet=coats&collection=carts",
        ("shop", "carts", True, True),
        "mongodb://ann:p%40ss@one:1,two:2/shop?replicaSet=coats&timeoutMS=3000",
    ),
    (
        "mongodb+srv://cluster.example/shop?stringify=false&indexes=no",
        ("shop", "sessions", False, False),
        "mongodb+srv://cluster.example/shop?timeoutMS=3000",
    ),
    ("mongodb://h/?TIMEOUTms=500", ("test", "sessions", True, True), "mongodb://h/?TIMEOUTms=500"),
    (
        "mongodb://h/?appName=a%26b&authMechanism=MONGODB-AWS"
        "&authMechanismProperties=AWS_SESSION_TOKEN:ab%3D%3D&colle%63tion=x",
        ("test", "x", True, True),
        "mongodb://h/?appName=a%26b&authMechanism=MONGODB-AWS"
        "&authMechanismProperties=AWS_SESSION_TOKEN:ab%3D%3D&timeoutMS=3000",
    ),
    (
        "mongodb://[::1]:27018/x?w=1&readConcernLevel=linearizable",
        ("x", "sessions", True, True),
        "mongodb://[::1]:27018/x?w=1&readConcernLevel=linearizable&timeoutMS=3000",
    ),
]  # fmt: skip

WRONG = {
    "mongodb:///shop": "URL is",
    "mongodb://h:99999/": "URL is",
    "mongodb://h:port/": "URL is",
    "mongodb://ann:s3cret@x:y@h/": "URL is",
    "mongodb://:s3cret@h/": "URL is",
    "mongodb://h/#fragment": "URL is",
    "mongodb://h/ ": "URL is",
    "mongodb+srv://one,two/": "URL is",
    "mongodb+srv://one:27017/": "URL is",
    "mysql://h/": "URL is",
    "mongodb://h/a.b": "database",
    "mongodb://h/a%00b": "database",
    "mongodb://h/?collection=": "'collection'",
    "mongodb://h/?collection=$x": "'collection'",
    "mongodb://h/?collection=system.users": "'collection'",
    "mongodb://h/?stringify=perhaps": "'stringify'",
    "mongodb://h/?readPreferenceTags=dc:ny": "together",
    "mongodb://h/?tls=true&tlsCAFile=/etc/passwd": "together",
    "mongodb://h/?datetime_conversion=datetime_ms": "datetime_conversion",
    "mongodb://h/?prefix=x": "no option 'prefix'",
    "mongodb://h/?tls=true&tlsCAFile=/nowhere": "'tlsCAFile'",
    "mongodb://h/?timeoutMS=s3cret": "'timeoutMS'",
    "mongodb://h/?timeoutMS=0": "forever",
    "mongodb://h/?timeoutMS=1&timeoutMS=2": "duplicate option",
    "mongodb://h/?w=0": "w=0",
    "mongodb://h/?readPreference=secondaryPreferred": "primary",
    "mongodb://h/?srvMaxHosts=2": "srv",
    "mongodb://h/?tlsInsecure=true&tlsAllowInvalidHostnames=true": "together",
}


@pytest.mark.parametrize(("url", "names", "uri"), RIGHT)
def test_what_a_url_says(url: str, names: tuple[object, ...], uri: str) -> None:
    settings = parse(url)
    assert (
        settings.database, settings.collection, settings.stringify, settings.indexes
    ) == names  # fmt: skip
    assert settings.uri == uri


@pytest.mark.parametrize("url", WRONG)
def test_what_is_refused(url: str) -> None:
    for opened in (MongoStore.from_url, AsyncMongoStore.from_url):
        with pytest.raises(ConfigurationError, match=WRONG[url]) as failure:
            opened(url)
        assert "s3cret" not in str(failure.value)


def test_the_password_is_not_shown() -> None:
    assert "s3cret" not in repr(parse("mongodb://ann:s3cret@h/"))
    assert isinstance(parse("mongodb://h"), Settings)


@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
def test_opening_asks_no_network(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "sendto", refuse)
    assert type(open_store(f"{scheme}://db.example/shop")) is MongoStore
    assert type(open_async_store(f"{scheme}://db.example/shop")) is AsyncMongoStore
