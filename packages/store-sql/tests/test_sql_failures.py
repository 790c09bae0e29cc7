"""Errors that say what to do, and show no password, key or data."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from sql_backend import ALL, MARIADB, POSTGRESQL, SERVERS, Backend, record

from coatcheck import Store, Unchanged
from coatcheck.errors import StoreError, StoreUnavailable
from testing.servers.process import PortReservation

KEY = "k3y"


def restricted(backend: Backend, rights: str) -> str:
    """Return the URL of the table for a new user with some rights."""
    user = f"u_{backend.table}"
    if backend.database == "postgresql":
        backend.sql(f"CREATE ROLE {user} LOGIN PASSWORD 's3cret'")
        backend.sql(f"GRANT {rights} ON {backend.table} TO {user}")
    else:
        backend.sql(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 's3cret'")
        backend.sql(f"GRANT {rights} ON {backend.table} TO {user}@'127.0.0.1'")
    return backend.url.replace("://coatcheck@", f"://{user}:s3cret@")


@pytest.fixture
def users(backend: Backend) -> Any:
    yield
    user = f"u_{backend.table}"
    if backend.database == "postgresql":
        backend.sql(f"DROP OWNED BY {user}")
        backend.sql(f"DROP ROLE {user}")
    else:
        backend.sql(f"DROP USER {user}@'127.0.0.1'")


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_missing_right_is_named(backend: Backend) -> None:
    store = backend.store(url=restricted(backend, "SELECT"))
    assert store.get("key") is None
    calls: dict[str, Callable[[], object]] = {
        "INSERT": lambda: store.set("key", record()),
        "UPDATE": lambda: store.touch("key", 9e9),
        "DELETE": lambda: store.destroy("key"),
    }
    for right, call in calls.items():
        with pytest.raises(StoreError, match=f"`{right}` in the table `{backend.table}`") as caught:
            call()
        assert not isinstance(caught.value, StoreUnavailable)
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    store.close()


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_the_rights_of_the_documentation_are_enough(backend: Backend) -> None:
    store = backend.store(url=restricted(backend, "SELECT, INSERT, UPDATE, DELETE"))
    assert store.set("key", record())
    assert store.set("key", record(b"new"), Unchanged(b"d4ta"))
    assert [key for key, _ in store.owned_by("0wner")] == ["key"]
    assert store.destroy("key")
    store.clear()
    assert store.prune() == 0
    store.close()


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("backend", MARIADB, indirect=True)
def test_a_wrong_password(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = restricted(backend, "SELECT").replace("s3cret", "wr0ng")
    store = backend.store(url=url)
    with pytest.raises(StoreUnavailable, match="user name or the password") as caught:
        store.ping()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(store)
    assert "wr0ng" not in shown
    store.close()


@pytest.mark.parametrize("backend", POSTGRESQL, indirect=True)
def test_a_user_and_a_database_that_do_not_exist(backend: Backend) -> None:
    nobody = backend.url.replace("://coatcheck@", "://nobody:wr0ng@")
    nowhere = backend.url.replace("/postgres?", "/nowhere?")
    for url, words in ((nobody, "user name or the password"), (nowhere, "no such database")):
        store = backend.store(url=url)
        with pytest.raises(StoreUnavailable, match=words) as caught:
            store.ping()
        assert "wr0ng" not in "".join(traceback.format_exception(caught.value))
        store.close()


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_server_that_is_away_is_named_without_the_password(backend: Backend) -> None:
    nobody = PortReservation()
    start, _, rest = backend.url.partition("://coatcheck@")
    database = rest.partition("/")[2]
    store = backend.store(url=f"{start}://coatcheck:s3cret@127.0.0.1:{nobody.port}/{database}")
    with pytest.raises(StoreUnavailable, match=f"at 127.0.0.1:{nobody.port} cannot be") as caught:
        store.get("key")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)) + repr(store)
    store.close()
    nobody.end()


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_a_missing_table_is_named_with_the_command(backend: Backend) -> None:
    store = backend.store(url=backend.url + "_x")
    with pytest.raises(StoreError, match=f"no table `{backend.table}_x`.*create-table URL"):
        store.set("key", record())
    store.close()


#: Tables that look like the store's, in each database.
_OTHERS = {
    "postgresql": "(key TEXT PRIMARY KEY, data BYTEA, expires_at FLOAT, owner BYTEA,"
    " version SMALLINT DEFAULT 1)",
    "mariadb": "(`key` VARBINARY(99) PRIMARY KEY, data LONGBLOB, expires_at FLOAT, owner BLOB,"
    " version SMALLINT DEFAULT 1)",
}


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_table_of_another_layout_is_refused(backend: Backend) -> None:
    """A key that is text, and an expiry of single precision."""
    backend.sql(f"CREATE TABLE {backend.table}_x {_OTHERS[backend.database]}")
    column = "`key`" if backend.database == "postgresql" else "`expires_at`"
    store = backend.store(url=backend.url + "_x")
    for call in (store.ping, lambda: store.set("key", record()), store.clear):
        with pytest.raises(StoreError, match=f"none of coatcheck's: its column {column}"):
            call()
    store.close()
    backend.sql(f"DROP TABLE {backend.table}_x")


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_layout_of_a_later_version_is_refused(backend: Backend, store: Store) -> None:
    """Its mark is the default of the column `version`."""
    backend.sql(f"ALTER TABLE {backend.table} ALTER COLUMN version SET DEFAULT 2")
    with pytest.raises(StoreError, match="another layout"):
        store.get("key")


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_logs_and_tracebacks_show_no_session(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """Also not those of SQLAlchemy and of the driver."""
    caplog.set_level(logging.DEBUG)
    store = backend.store()
    store.set(KEY, record())
    store.get(KEY)
    backend.sql(f"DROP TABLE {backend.table}")
    shown = ""
    for call in (lambda: store.get(KEY), lambda: store.set(KEY, record())):
        with pytest.raises(StoreError) as caught:
            call()
        shown += "".join(traceback.format_exception(caught.value))
    store.close()
    for secret in (KEY, record().data.decode(), record().owner):
        assert secret
        assert secret not in shown
        assert not [text for text in caplog.messages if secret in text]
