"""A pytest plugin that runs Flask's own tests with coatcheck's session interface.

Each application of the tests has the interface, and a memory store of its own. Flask keeps no
session alive more rarely than at each request, so here coatcheck does not either. The secrets of
the tests are shorter than coatcheck accepts, and are made longer.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import flask
from _pytest import monkeypatch
from flask.sessions import SecureCookieSessionInterface

import coatcheck_flask._settings as settings
from coatcheck import MemoryStore
from coatcheck_flask import CoatcheckInterface

if not hasattr(monkeypatch, "notset"):  # Flask's tests use pytest's former name
    monkeypatch.notset = monkeypatch.NOTSET  # type: ignore[attr-defined]

_read = settings.current
_interfaces: WeakKeyDictionary[flask.Flask, CoatcheckInterface] = WeakKeyDictionary()


def _with_long_secrets(*arguments: Any) -> settings.Current:
    found = _read(*arguments)
    longer = [secret and secret * 16 for secret in (found.secret, *found.fallbacks)]
    return found._replace(secret=longer[0], fallbacks=tuple(longer[1:]))


class Interface(SecureCookieSessionInterface):
    """Give each application an interface of coatcheck when it gets its first request."""

    def open_session(self, app: Any, request: Any) -> Any:
        """Open the session of a request."""
        if not app.secret_key:
            return None
        if app not in _interfaces:
            _interfaces[app] = CoatcheckInterface(
                app, store=MemoryStore(), load="eager", touch_interval=0
            )
        return _interfaces[app].open_session(app, request)

    def save_session(self, app: Any, session: Any, response: Any) -> None:
        """Save a session."""
        _interfaces[app].save_session(app, session, response)


settings.current = _with_long_secrets  # type: ignore[assignment]
flask.Flask.session_interface = Interface()
