"""Sessions for Pyramid: a session factory, with flash messages and CSRF tokens.

::

    from coatcheck.pyramid import SessionFactory

    def count(request):
        request.session["visits"] = request.session.get("visits", 0) + 1
        return dict(request.session)

    with Configurator() as config:
        config.set_session_factory(
            SessionFactory(secret=os.environ["SESSION_SECRET"], store="redis://localhost")
        )

This module needs Pyramid 2.1 or later.
"""

from __future__ import annotations

import secrets
import sys
from typing import Any, Final, Unpack

import pyramid.request
from pyramid.interfaces import ISession, ISessionFactory
from zope.interface import classImplements

from .integration import (
    SyncIntegration,
    SyncRequestSession,
    WSGIAdapter,
    is_complete_body,
    keep_sessions_in,
    require_version,
)
from .options import OptionFields, SessionOptions
from .session import SyncSession

__all__ = ["PyramidSession", "SessionFactory"]


def __dir__() -> list[str]:
    return __all__


require_version("pyramid", "2.1")

#: The keys of the session, as in Pyramid's own sessions.
_FLASH: Final = "_f_"
_CSRF: Final = "_csrft_"


class PyramidSession(SyncSession):
    """A session with the methods that Pyramid's sessions have."""

    __slots__ = ()

    @property
    def created(self) -> int:
        """When the session began, in whole POSIX seconds."""
        return int(self.created_at)

    @property
    def new(self) -> bool:
        """Whether the session began with this request and is not stored yet."""
        return self.is_new

    def invalidate(self) -> None:
        """End the session: see :meth:`~coatcheck.Session.destroy`."""
        self.destroy()

    def changed(self) -> None:
        """Do nothing: changes inside values are noticed."""

    def flash(self, msg: Any, queue: str = "", allow_duplicate: bool = True) -> None:
        """Add a message to a queue.

        :param allow_duplicate: False: not if the queue has the message already.
        """
        messages = self.setdefault(_FLASH + queue, [])
        if allow_duplicate or msg not in messages:
            messages.append(msg)

    def pop_flash(self, queue: str = "") -> list[Any]:
        """Remove the messages of a queue, and return them."""
        messages: list[Any] = self.pop(_FLASH + queue, [])
        return messages

    def peek_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of a queue."""
        messages: list[Any] = self.get(_FLASH + queue, [])
        return messages

    def new_csrf_token(self) -> str:
        """Make a CSRF token for this session."""
        token = self[_CSRF] = secrets.token_hex(20)
        return token

    def get_csrf_token(self) -> str:
        """Return the session's CSRF token, and make one if there is none."""
        token: str | None = self.get(_CSRF)
        return self.new_csrf_token() if token is None else token


classImplements(PyramidSession, ISession)


class SessionFactory(SyncIntegration[PyramidSession]):
    """Open the session of a request at its first use; for ``config.set_session_factory``.

    :param options: the options; keyword arguments of the same names win over them. Functions among
        them get the WSGI environ.
    :raises ConfigurationError: an option that cannot work.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """

    def __init__(
        self, options: SessionOptions | None = None, **kwargs: Unpack[OptionFields]
    ) -> None:
        super().__init__(WSGIAdapter(), options, session_class=PyramidSession, **kwargs)

    def __call__(self, request: Any) -> PyramidSession:
        """Return the session of a request of Pyramid."""
        opened = self.open(request.environ)
        callbacks = _ResponseCallbacks(opened, request.environ)
        request.add_response_callback(callbacks.add_headers)
        request.add_finished_callback(callbacks.finish)
        return opened.session


classImplements(SessionFactory, ISessionFactory)


def _environ_of(request: Any) -> dict[str, Any]:
    """Return the environ, where a session is that was opened."""
    if isinstance(request.registry.queryUtility(ISessionFactory), SessionFactory):
        _ = request.session  # opens it
    environ: dict[str, Any] = request.environ
    return environ


keep_sessions_in(pyramid.request.Request, _environ_of)


class _ResponseCallbacks:
    """Call the session of a request back: for the headers, and when the response is complete.

    :param opened: its session.
    :param environ: of the request.
    """

    def __init__(self, opened: SyncRequestSession[PyramidSession], environ: dict[str, Any]) -> None:
        self._opened = opened
        self._environ = environ
        self._streams = False

    def add_headers(self, _: Any, response: Any) -> None:
        """Save the session, and give the response its cookie."""
        headers = self._opened.response_headers(response.headerlist)
        if headers is not None:
            response.headerlist = headers
        body = response.app_iter
        self._streams = not is_complete_body(body, self._environ)
        if self._streams:
            length = response.content_length
            response.app_iter = self._opened.body(body)
            response.content_length = length  # which a new body removes

    def finish(self, _: Any) -> None:
        """Let go of the session, unless the body goes on."""
        error = sys.exc_info()[1]
        if error is not None:
            self._opened.fail(error)
        elif not self._streams:
            self._opened.end()
