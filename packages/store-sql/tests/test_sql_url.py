"""URLs and engines: those that are accepted, and the errors of others."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from coatcheck import open_async_store, open_store
from coatcheck.errors import ConfigurationError, PluginError
from coatcheck_sql import AsyncSQLStore, SQLStore
from coatcheck_sql._url import parse


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@host:port/shop",
        "postgresql://u:s3cret@host/shop?no_such=1",
        "postgresql://u:s3cret@host/shop?table=a&table=b",
        "postgresql://u:s3cret@host/shop?timeout=0",
        "postgresql://u:s3cret@host/shop?pool_size=none",
        "postgresql://u:s3cret@host/shop?table=a-b",
        f"postgresql://u:s3cret@host/shop?table={'a' * 49}",
        "postgresql://u:s3cret@host/shop?prepare_threshold=1",
        "sqlite://u:s3cret@host/shop.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///shop.db?mode=memory",
        "sqlite:///file:shop.db?uri=true",
        "mysql+aiomysql://u:s3cret@host/shop",
        "mysql+asyncmy://u:s3cret@host/shop?host=a&ssl_ca=x&other=y",
        "postgresql://u:%733cret@host/shop?no_such=1",
        "postgresql://host/shop?sslpassword=s3cret&sslmode=no",
        "postgresql://u:s3cret@host:99999999/shop?timeout=x",
        "mariadb://u:s3cret@[host/shop",
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    """No error shows the password, nor does one that led to it."""
    for opener in (open_store, open_async_store):
        with pytest.raises(ConfigurationError) as caught:
            opener(url)
        assert "s3cret" not in chain(caught.value)
        assert "%733cret" not in chain(caught.value)


def chain(error: BaseException) -> str:
    """Return the traceback with each error that led to this one, also those that are hidden."""
    shown = "".join(traceback.format_exception(error))
    for led in (error.__cause__, error.__context__):
        if led is not None:
            shown += chain(led)
    return shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://host/shop?sslmode=reqire", "'sslmode'.*`verify-full`"),
        ("postgresql://host/shop?target_session_attrs=standby", "`read-write` or `primary`"),
        ("postgresql://host/shop?keepalives_idle=soon", "a whole number"),
        ("postgresql+asyncpg://host/shop?ssl=yes", "'ssl'.*`require`"),
        ("postgresql+asyncpg://host/shop?sslmode=require", "no option 'sslmode'; there are .*ssl,"),
        ("mariadb://host/shop?ssl_check_hostname=maybe", "`true` or `false`"),
        ("mariadb://host/shop?ssl_verify_cert=true", "no option 'ssl_verify_cert'.*ssl_ca"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(url: str, words: str) -> None:
    """When the store is opened, and not at the first request."""
    for opener in (open_store, open_async_store):
        with pytest.raises(ConfigurationError, match=words):
            opener(url)


@pytest.mark.parametrize(
    ("url", "drivers"),
    [
        ("postgresql://h/d", ("postgresql+psycopg", "postgresql+psycopg")),
        ("mysql://h/d", ("mysql+pymysql", "mysql+asyncmy")),
        ("mariadb://h/d", ("mariadb+pymysql", "mariadb+asyncmy")),
        ("sqlite:////d", ("sqlite", "sqlite+aiosqlite")),
        ("sql+sqlite:////d", ("sqlite", "sqlite+aiosqlite")),
    ],
)
def test_each_api_has_a_driver(url: str, drivers: tuple[str, str]) -> None:
    found = [parse(url, is_async=is_async).url.drivername for is_async in (False, True)]
    assert tuple(found) == drivers


def test_several_hosts_reach_the_driver() -> None:
    url = "postgresql://app@/shop?host=one:5432&host=two&target_session_attrs=read-write&table=t"
    query = parse(url, is_async=False).url.query
    assert query == {"host": ("one:5432", "two"), "target_session_attrs": "read-write"}


def test_a_missing_driver_is_named_with_what_pip_installs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asyncpg", None)
    with pytest.raises(ConfigurationError, match=r'`pip install "coatcheck-sql\[asyncpg\]"`'):
        open_async_store("postgresql+asyncpg://app:s3cret@localhost/shop")


def test_a_dialect_that_is_not_installed() -> None:
    with pytest.raises(ConfigurationError, match="no dialect `db2`"):
        SQLStore.from_url("sql+db2://app@localhost/shop")


def test_an_unknown_driver_of_a_known_database() -> None:
    with pytest.raises(PluginError, match="postgresql\\+psycopg"):
        open_store("postgresql+psycopg9://app@localhost/shop")


@pytest.mark.parametrize(
    ("url", "store"),
    [("postgresql+asyncpg://h/d", SQLStore), ("mysql+pymysql://h/d", AsyncSQLStore)],
)
def test_a_driver_of_the_other_api_is_refused(
    url: str, store: type[SQLStore | AsyncSQLStore]
) -> None:
    with pytest.raises(ConfigurationError, match="API alone"):
        store.from_url(url)


def test_an_engine_of_the_other_api_is_refused(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(ConfigurationError, match="AsyncEngine of SQLAlchemy, not Engine"):
        AsyncSQLStore(engine)
    with pytest.raises(ConfigurationError, match="Engine of SQLAlchemy, not AsyncEngine"):
        SQLStore(create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db"))
    with pytest.raises(ConfigurationError, match="not str"):
        SQLStore(f"sqlite:///{tmp_path}/x.db")


def test_character_sets_are_refused_in_which_data_could_end_a_literal() -> None:
    """In gbk the server takes the backslash before a quote for the end of a character."""
    for url in ("mariadb+pymysql://h/d?charset=gbk", "mysql+asyncmy://h/d?charset=utf8mb4"):
        store = AsyncSQLStore if "asyncmy" in url else SQLStore
        with pytest.raises(ConfigurationError, match="charset"):
            store.from_url(url)
    engine = create_engine("mysql+pymysql://h/d?charset=GBK")
    with pytest.raises(ConfigurationError, match="utf8mb4"):
        SQLStore(engine)
    SQLStore(create_engine("mysql+pymysql://h/d?charset=utf8mb4")).close()
