"""A session engine for Django, on every store of coatcheck.

::

    INSTALLED_APPS = [..., "coatcheck_django"]
    SESSION_ENGINE = "coatcheck_django"
    COATCHECK = {"STORE": "redis://localhost:6379/0"}
    MIDDLEWARE = [..., "coatcheck_django.middleware.SessionMiddleware", ...]

docs/django.md explains each setting.
"""

from ._engine import SessionStore
from ._sessions import alog_out_everywhere, log_out_everywhere, owner_of, sessions

__all__ = [
    "SessionStore",
    "alog_out_everywhere",
    "log_out_everywhere",
    "owner_of",
    "sessions",
]


def __dir__() -> list[str]:
    return __all__
