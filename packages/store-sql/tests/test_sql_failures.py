"""Errors that say what to do, and show no password, key or data."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from commandline import run_here
from sql_backend import ALL, MARIADB, POSTGRESQL, SERVERS, Backend, record

from coatcheck import Store, Unchanged
from coatcheck._command_line.commands import main
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
def test_a_user_that_does_not_exist(backend: Backend) -> None:
    store = backend.store(url=backend.url.replace("://coatcheck@", "://nobody:wr0ng@"))
    with pytest.raises(StoreUnavailable, match="user name or the password") as caught:
        store.ping()
    assert "wr0ng" not in "".join(traceback.format_exception(caught.value))
    store.close()


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_database_that_does_not_exist(backend: Backend) -> None:
    """Neither for a store nor for the command; SQLite is another matter."""
    start, _, options = backend.url.partition("?")
    url = f"{start.rpartition('/')[0]}/nowhere?{options}"
    store = backend.store(url=url)
    with pytest.raises(StoreUnavailable, match=r"no such database.*`CREATE DATABASE`") as caught:
        store.ping()
    assert "SQLite" not in str(caught.value)
    store.close()
    done = run_here(main, "create-table", url)
    assert (done.returncode, done.stderr) == (2, f"error: {caught.value}\n")


@pytest.mark.parametrize("backend", MARIADB, indirect=True)
def test_a_url_without_a_database(backend: Backend) -> None:
    store = backend.store(url=backend.url.replace("/coatcheck?", "/?"))
    with pytest.raises(StoreUnavailable, match=r"the URL names none: .* name it in the URL"):
        store.ping()
    store.close()


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_schema_that_does_not_exist(backend: Backend) -> None:
    url = backend.url.replace("table=", "table=nowhere.")
    done = run_here(main, "create-table", url)
    assert done.returncode == 2
    assert "no such" in done.stderr
    assert "create-table" not in done.stderr


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_the_right_to_create_tables_is_named(backend: Backend) -> None:
    url = restricted(backend, "SELECT, INSERT, UPDATE, DELETE")
    url = url.replace(f"table={backend.table}", "table=other")
    done = run_here(main, "create-table", url)
    assert (done.returncode, done.stdout) == (2, "")
    words = {"postgresql": "the right to `CREATE` tables", "mariadb": "`create-table` needs CREATE"}
    assert words[backend.database] in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_the_right_to_read_is_named(backend: Backend) -> None:
    """MariaDB refuses to show the columns to a user who may not read them."""
    store = backend.store(url=restricted(backend, "DELETE"))
    with pytest.raises(StoreError, match=f"`SELECT` in the table `{backend.table}`"):
        store.get("key")
    store.close()


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_password_is_shown_nowhere(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """Written with `%` in a URL, not in logs, errors and what led to them, and not by `repr`."""
    caplog.set_level(logging.DEBUG)
    url = restricted(backend, "SELECT").replace("s3cret", "p%40ss%2Fword")
    if backend.database == "postgresql":
        backend.sql(f"ALTER ROLE u_{backend.table} PASSWORD 'p@ss/word'")
    else:
        backend.sql(f"ALTER USER u_{backend.table}@'127.0.0.1' IDENTIFIED BY 'p@ss/word'")
    store = backend.store(url=url)
    assert store.get("key") is None
    shown = repr(store) + repr(vars(store))
    bad = backend.store(url=f"{url}_x")
    for call in (lambda: store.set("key", record()), lambda: bad.get("key")):
        with pytest.raises(StoreError) as caught:
            call()
        shown += chain(caught.value)
    store.close()
    bad.close()
    for secret in ("p@ss", "p%40ss", "%2Fword", "/word"):
        assert secret not in shown + caplog.text


def chain(error: BaseException) -> str:
    """Return the traceback with each error that led to this one, also those that are hidden."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    for led in (error.__cause__, error.__context__):
        if led is not None:
            shown += chain(led)
    return shown


@pytest.mark.parametrize("backend", POSTGRESQL, indirect=True)
@pytest.mark.parametrize("options", ["&sslmode=require", "&service=nowhere"])
def test_an_option_that_cannot_work_with_this_server(backend: Backend, options: str) -> None:
    if backend.scheme.endswith("asyncpg"):
        options = "&ssl=require"
    store = backend.store(options)
    with pytest.raises(StoreError, match="has no TLS" if "ssl" in options else "an option"):
        store.ping()
    store.close()


@pytest.mark.parametrize("backend", MARIADB, indirect=True)
def test_a_certificate_s_file_that_does_not_exist(backend: Backend) -> None:
    store = backend.store("&ssl_ca=/nowhere/authority.pem")
    with pytest.raises(StoreUnavailable, match="a file that the URL names does not exist"):
        store.ping()
    store.close()


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_host_name_that_does_not_exist(backend: Backend) -> None:
    store = backend.store(url=f"{backend.scheme}://app@nowhere.invalid/shop")
    with pytest.raises(StoreUnavailable, match=r"at nowhere\.invalid cannot be reached"):
        store.ping()
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
