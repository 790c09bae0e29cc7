"""The options of drivers that accept only some values. A driver would say so when it connects."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from coatcheck.storekit import choice_option, integer_option, text_option

_TLS: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_NUMBER: Final = integer_option(0, 999_999_999)

_VALUES: Final[dict[str, Callable[[str], Any]]] = {
    # psycopg
    "channel_binding": choice_option(("disable", "prefer", "require")),
    "gssencmode": choice_option(("disable", "prefer", "require")),
    "keepalives": integer_option(0, 1),
    "keepalives_count": _NUMBER,
    "keepalives_idle": _NUMBER,
    "keepalives_interval": _NUMBER,
    "sslmode": choice_option(_TLS),
    # Sessions are written, so a server that does not accept writes is of no use.
    "target_session_attrs": choice_option(("any", "read-write", "primary")),
    "tcp_user_timeout": _NUMBER,
    # asyncpg
    "prepared_statement_cache_size": _NUMBER,
    "ssl": choice_option(_TLS),
    # PyMySQL and asyncmy
    "ssl_check_hostname": choice_option(("true", "false")),
}


def parsers(names: Collection[str]) -> dict[str, Callable[[str], str]]:
    """Return a parser for each option of a driver. It checks a text and returns it."""
    return {name: _unchanged(_VALUES.get(name, text_option)) for name in names}


def _unchanged(check: Callable[[str], Any]) -> Callable[[str], str]:
    def parsed(value: str) -> str:
        check(value)
        return value

    return parsed
