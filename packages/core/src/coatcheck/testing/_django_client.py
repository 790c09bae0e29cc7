"""Log Django's test client in, through the session engine that the settings name.

The client runs no WSGI or ASGI middleware around the application, and the cookie of Django has a
form of its own. So the session is made as Django makes it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError
from ..sessions import CreatedSession


class DjangoClient:
    """The test client of Django, plain or asynchronous.

    :param client: the client.
    :raises ConfigurationError: ``SESSION_ENGINE`` is not that of coatcheck-django.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._settings = sys.modules["django.conf"].settings
        self._engine = importlib.import_module(self._settings.SESSION_ENGINE).SessionStore
        if not hasattr(self._engine, "ref"):
            raise ConfigurationError(
                'the test client of Django needs coatcheck-django: `SESSION_ENGINE = "coatcheck_'
                'django"`; it runs no middleware around the application'
            )

    def new(self, data: Mapping[str, Any]) -> Any:
        """Return a session of Django with these data, which is not stored yet.

        :raises TypeError: ``data`` is no mapping.
        """
        if not isinstance(data, Mapping):
            raise TypeError(
                f"`data` must be a dict of what the session holds, not {type(data).__name__}"
            )
        session = self._engine()
        session.update(data)
        return session

    def receive(self, session: Any) -> CreatedSession:
        """Give the client the cookie of a stored session."""
        settings, key = self._settings, session.session_key
        name = settings.SESSION_COOKIE_NAME
        self._client.cookies[name] = key
        cookie = self._client.cookies[name]
        cookie["path"] = settings.SESSION_COOKIE_PATH
        cookie["domain"] = settings.SESSION_COOKIE_DOMAIN or ""
        cookie["secure"] = settings.SESSION_COOKIE_SECURE or ""
        cookie["httponly"] = settings.SESSION_COOKIE_HTTPONLY or ""
        cookie["samesite"] = settings.SESSION_COOKIE_SAMESITE or ""
        return CreatedSession(session.ref, name, key, cookie.OutputString())

    def present(self) -> Any:
        """Return the session that the client's cookie names."""
        cookie = self._client.cookies.get(self._settings.SESSION_COOKIE_NAME)
        return self._engine(cookie.value if cookie else None)


def django_client_of(client: Any) -> DjangoClient | None:
    """Return what is known of a test client of Django; None for any other client."""
    module = sys.modules.get("django.test.client")
    if module is None or not isinstance(client, module.ClientMixin):
        return None
    return DjangoClient(client)
