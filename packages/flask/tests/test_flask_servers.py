"""Sessions in the clients that Flask-Session's settings name, on real servers."""

from __future__ import annotations

import uuid
from typing import Any

import flask
import pytest
from pymongo import MongoClient

import redis
from coatcheck_flask import Coatcheck
from testing.servers import mongo
from testing.servers import redis as redis_server

SECRET = "a secret of thirty-two bytes, more"


def visit(**config: Any) -> None:
    """Visit an application twice: the second visit knows of the first."""
    app = flask.Flask("shop")
    app.config.update(SECRET_KEY=SECRET, TESTING=True, **config)
    coatcheck = Coatcheck(app)

    @app.get("/")
    def count() -> str:
        flask.session["n"] = flask.session.get("n", 0) + 1
        return str(flask.session["n"])

    client = app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["1", "2"]
    coatcheck.close()


@pytest.mark.integration("redis")
def test_redis() -> None:
    prefix = f"test-{uuid.uuid4().hex[:8]}:"
    with redis_server.server() as url, redis.Redis.from_url(url) as client:
        visit(SESSION_TYPE="redis", SESSION_REDIS=client, SESSION_KEY_PREFIX=prefix)
        keys = list(client.scan_iter(match=f"*{prefix}*"))
        assert keys
        client.delete(*keys)


@pytest.mark.integration("mongo")
def test_mongodb() -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    with mongo.server() as url, MongoClient[dict[str, Any]](url) as client:
        visit(
            SESSION_TYPE="mongodb", SESSION_MONGODB=client, SESSION_MONGODB_DB="coatcheck",
            SESSION_MONGODB_COLLECT=name,
        )  # fmt: skip
        assert client["coatcheck"][name].count_documents({}) == 1
        client["coatcheck"][name].drop()
