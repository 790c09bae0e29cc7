"""The differences between drivers: one module for those of each database."""

from __future__ import annotations

from typing import Final

from coatcheck.errors import ConfigurationError

from .base import Call, Driver
from .mysql import AsyncMy, PyMySQL, check_charset
from .postgresql import AsyncPG, Psycopg
from .sqlite import AIOSQLite, PySQLite

__all__ = ["Call", "Driver", "check_charset", "driver_class"]

_CLASSES: Final[dict[str, type[Driver]]] = {
    "aiosqlite": AIOSQLite,
    "asyncmy": AsyncMy,
    "asyncpg": AsyncPG,
    "psycopg": Psycopg,
    "psycopg_async": Psycopg,
    "pymysql": PyMySQL,
    "pysqlite": PySQLite,
}
_REFUSED: Final = {
    "aiomysql": "aiomysql 0.3 cannot send bytes with PyMySQL 1.2, and sessions are bytes; "
    "use asyncmy: `mysql+asyncmy://` or `mariadb+asyncmy://`",
}


def driver_class(name: str) -> type[Driver]:
    """Return the description of a driver.

    :param name: the name that SQLAlchemy has for it.
    :raises ConfigurationError: it is known not to work.
    """
    if name in _REFUSED:
        raise ConfigurationError(_REFUSED[name])
    return _CLASSES.get(name, Driver)
