"""The application that INSTALLED_APPS names, and its system checks of the settings.

``manage.py check`` and ``runserver`` run the checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning
from django.utils.module_loading import import_string

from coatcheck import MemoryStore
from coatcheck.errors import CoatcheckError

from . import _configuration as configuration
from ._engine import SessionStore

ENGINE: Final = "coatcheck_django"
_MIDDLEWARE: Final = "coatcheck_django.middleware.SessionMiddleware"
_SERIALIZER: Final = "django.contrib.sessions.serializers.JSONSerializer"
_OF_DJANGO: Final = "django.contrib.sessions.middleware.SessionMiddleware"


class CoatcheckConfig(AppConfig):
    """Register the system checks."""

    name = "coatcheck_django"
    label = "coatcheck"
    verbose_name: str = "Sessions"

    def ready(self) -> None:
        """Register the checks."""
        register(check_settings, "coatcheck")
        register(check_store, "coatcheck", deploy=True)


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the settings, without asking the store."""
    wrong: list[CheckMessage] = [
        Error(problem, id="coatcheck.E001") for problem in configuration.problems()
    ]
    return wrong or list(_doubtful_settings())


def check_store(**_: Any) -> list[CheckMessage]:
    """Ask the store whether it is there. It takes a trip, so only ``check --deploy`` does it."""
    if any(configuration.problems()):
        return []
    sessions = configuration.lifecycle(SessionStore)
    try:
        sessions.run(sessions.ping())
    except CoatcheckError as error:
        return [
            Error(
                f'The store of COATCHECK["STORE"] cannot be used: {error}',
                hint="Start its server, or correct the URL.",
                id="coatcheck.E002",
            )
        ]
    return []


def _doubtful_settings() -> Iterator[CheckMessage]:
    if settings.SESSION_ENGINE != ENGINE and not _is_ours(
        f"{settings.SESSION_ENGINE}.SessionStore"
    ):
        yield CheckWarning(
            f"SESSION_ENGINE is {settings.SESSION_ENGINE!r}, so COATCHECK is not used.",
            hint=f'Write SESSION_ENGINE = "{ENGINE}".',
            id="coatcheck.W001",
        )
        return
    if _OF_DJANGO in (settings.MIDDLEWARE or ()):
        yield CheckWarning(
            "A request whose session is ended meanwhile, by a logout in another tab, gets 400.",
            hint=f"In MIDDLEWARE, write {_MIDDLEWARE!r} instead of {_OF_DJANGO!r}.",
            id="coatcheck.W002",
        )
    if settings.SESSION_SERIALIZER != _SERIALIZER and configuration.former() is None:
        yield CheckWarning(
            f"SESSION_SERIALIZER is {settings.SESSION_SERIALIZER!r}, and is not used.",
            hint='Give a codec, COATCHECK["CODEC"], if values need one of their own.',
            id="coatcheck.W005",
        )
    store = configuration.store()
    if isinstance(store, MemoryStore) and not settings.DEBUG:
        yield CheckWarning(
            "Sessions are kept in the memory of each process, and are lost at a restart.",
            hint=f"Write {configuration.EXAMPLE}, or another store.",
            id="coatcheck.W003",
        )
    if not store.capabilities.owners:
        yield CheckWarning(
            'The store of COATCHECK["STORE"] cannot find the sessions of a user.',
            hint="`log_out_everywhere` and the admin's page of sessions need another store.",
            id="coatcheck.W004",
        )


def _is_ours(path: str) -> bool:
    try:
        return issubclass(import_string(path), SessionStore)
    except Exception:  # a module that is imported may raise anything
        return False
