"""URLs: the parts and options that select a database, a driver and a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from coatcheck.errors import ConfigurationError
from coatcheck.storekit import (
    integer_option,
    parse_options,
    seconds_option,
    split_url,
    text_option,
)

from ._drivers import Driver, driver_class
from ._option_values import parsers
from ._table import DEFAULT_TABLE, check_table

#: Seconds that each step of a call may take: a free connection, connecting, the reply.
TIMEOUT: Final = 3.0
#: The most connections of a process, or of an event loop.
POOL_SIZE: Final = 10

_FORM: Final = (
    "a URL of an SQL store is SQLAlchemy's: `postgresql://user:password@host:port/database`, "
    "`mysql+asyncmy://host/database`, `sqlite:////absolute/path`; it may end with `?option=value`"
)
_NO_FILE: Final = (
    "the SQL store needs a file of SQLite: `sqlite:////absolute/path`; sessions in the memory of a "
    "process have `memory:`"
)
#: The drivers of a URL that names none.
_SYNC_DRIVERS: Final = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
_ASYNC_DRIVERS: Final = {
    "postgresql": "psycopg", "mysql": "asyncmy", "mariadb": "asyncmy", "sqlite": "aiosqlite",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Hold the parts and options of a URL.

    :ivar url: SQLAlchemy's URL, which names a driver.
    :ivar driver: the driver.
    :ivar table: the name of the table.
    :ivar timeout: seconds that each step of a call may take.
    :ivar pool_size: the most connections of a process, or of an event loop.
    """

    url: URL
    driver: Driver
    table: str
    timeout: float
    pool_size: int


def parse(text: str, *, is_async: bool) -> Settings:
    """Return the parts and options of a URL. Errors quote nothing of it except names of options.

    :param is_async: which API of the driver is used.
    :raises ConfigurationError: the URL cannot be parsed, has an unknown option or needs a driver
        that is missing.
    """
    plain, hosts, options = _split(text.removeprefix("sql+"))
    url = _with_driver(_url(plain), is_async=is_async)
    dialect = _dialect(url, is_async=is_async)
    described = driver_class(dialect.driver)
    names = options if described.options is None else sorted(described.options)
    known = parsers(names) if described.options is not None else dict.fromkeys(names, text_option)
    known |= _OWN
    values = parse_options(options, known, "SQL")
    if hosts and described.options is not None:
        parse_options({"host": hosts[0]}, known, "SQL")
    _check_driver(dialect, described, url.drivername)
    if dialect.name == "sqlite":
        _check_file(url)
    own = {name: values.pop(name) for name in _OWN if name in values}
    timeout = own.get("timeout", TIMEOUT)
    return Settings(
        url=url.update_query_dict(values | _host_option(hosts)),
        driver=described(timeout, len(",".join(hosts).split(","))),
        table=own.get("table", DEFAULT_TABLE),
        timeout=timeout,
        pool_size=own.get("pool_size", POOL_SIZE),
    )


def _split(text: str) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """Return the URL without options, each `host` among the options, and the other options."""
    plain, _, query = text.partition("?")
    pieces = query.split("&") if query else []
    hosts = tuple(unquote_plus(piece[5:]) for piece in pieces if piece.startswith("host="))
    rest = "&".join(piece for piece in pieces if not piece.startswith("host="))
    _, options = split_url(f"{plain}?{rest}" if rest else plain, _FORM)
    return plain, hosts, options


def _host_option(hosts: tuple[str, ...]) -> dict[str, Any]:
    """Return the option that SQLAlchemy takes: `a:1` and `b:2`, or `a,b` with `port` as `1,2`."""
    if not hosts:
        return {}
    return {"host": hosts[0] if len(hosts) == 1 else hosts}


def _table(value: str) -> str:
    try:
        return check_table(value)
    except ConfigurationError:
        raise ValueError("the name of a table, with 48 characters at most") from None


#: The options that the store takes for itself.
_OWN: Final[dict[str, Any]] = {
    "table": _table,
    "timeout": seconds_option,
    "pool_size": integer_option(1, 1000),
}


def _url(plain: str) -> URL:
    try:
        return make_url(plain)
    except (ArgumentError, ValueError):
        raise ConfigurationError(_FORM) from None


def _with_driver(url: URL, *, is_async: bool) -> URL:
    """Return a URL that names its driver."""
    backend, plus, _ = url.drivername.partition("+")
    if plus:
        return url
    driver = (_ASYNC_DRIVERS if is_async else _SYNC_DRIVERS).get(backend)
    return url if driver is None else url.set(drivername=f"{backend}+{driver}")


def _dialect(url: URL, *, is_async: bool) -> type[Dialect]:
    """Return the dialect of a URL for one of the APIs.

    :raises ConfigurationError: it is not installed, or has no such API.
    """
    name = url.drivername
    try:
        given = url.get_dialect()
    except NoSuchModuleError:
        raise ConfigurationError(f"SQLAlchemy has no dialect `{name}`; is it installed?") from None
    dialect = given.get_async_dialect_cls(url) if is_async else given
    if dialect.is_async and not is_async:
        raise ConfigurationError(f"`{name}` has an async API alone: use `AsyncSQLStore`")
    if is_async and not dialect.is_async:
        raise ConfigurationError(f"`{name}` has a sync API alone: use `SQLStore`")
    return dialect


def _check_driver(dialect: type[Dialect], described: type[Driver], name: str) -> None:
    """Check that a driver is installed."""
    try:
        dialect.import_dbapi()
    except ImportError:
        advice = f'`pip install "{described.install}"`' if described.install else "install it"
        raise ConfigurationError(f"the driver of `{name}` is not installed: {advice}") from None


def _check_file(url: URL) -> None:
    """Check that SQLite has a file."""
    path = url.database or ""
    if not path or path == ":memory:" or path.startswith("file:"):
        raise ConfigurationError(_NO_FILE)
    if url.host or url.username:
        raise ConfigurationError(_FORM)
