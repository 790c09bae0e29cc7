"""Sessions for WSGI applications: Falcon, Bottle and plain ones.

::

    app = SessionMiddleware(app, secret=os.environ["SESSION_SECRET"], store="redis://localhost")

The session is ``environ["coatcheck.session"]``; :func:`coatcheck.session_of` finds it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Unpack

from ._request.driver import SyncDriver
from ._request.finding import ENVIRON_KEY
from ._request.middleware import around, check_application, wsgi_names
from ._request.request_adapter import WSGIAdapter, is_complete_body
from ._request.request_context import RequestContext
from ._request.request_steps import SyncSteps
from ._request.response_headers import HeaderWriter
from ._request.set_cookie import NOTHING
from ._session.session_core import SyncSessionCore
from .options import OptionFields, SessionOptions
from .session import SyncSession

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["SessionMiddleware"]


def __dir__() -> list[str]:
    return __all__


_HEADERS: Final = HeaderWriter(str, str)


class SessionMiddleware(SyncDriver):
    """Give each request of a WSGI application its session.

    :param app: the application.
    :param options: the options; keyword arguments of the same names win over them.
    :raises ConfigurationError: an option that cannot work.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """

    def __init__(
        self,
        app: WSGIApplication,
        options: SessionOptions | None = None,
        **kwargs: Unpack[OptionFields],
    ) -> None:
        self.app = app
        check_application(app, "wsgi")
        super().__init__(options, kwargs, WSGIAdapter(), eager=False)
        wsgi_names.add(self.options.name)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        sessions_around = around.get()
        outer = sessions_around.get(self.options.name) if sessions_around else None
        if outer is not None and outer[1](environ):
            # The visitor has one session, and the ASGI middleware around saves it.
            environ[self._own_key] = environ[ENVIRON_KEY] = outer[0]
            return self.app(environ, start_response)
        if self._closed:
            self._open_again()
        run = self._runner.run
        context = RequestContext(self._manager, environ, ENVIRON_KEY)
        session = context.session = SyncSessionCore(context, run)
        shown = SyncSession(session)
        self._put(context, environ, ENVIRON_KEY, shown)
        return _Response(context, session, start_response).of(self.app, environ)


class _Response(SyncSteps):
    """The application's response, with the session decided before its first byte.

    :param context: decides what the response means to the session.
    """

    __slots__ = (
        "_changes",
        "_iterable",
        "_iterator",
        "_start_response",
        "_started",
        "_write",
    )

    #: There where the body is not complete.
    _iterator: Iterator[bytes]

    def __init__(
        self, context: RequestContext, session: SyncSessionCore, start_response: StartResponse
    ) -> None:
        self._context = context
        self._session = session
        self._start_response = start_response
        #: What the application passed to `start_response`; None until then.
        self._started: tuple[Any, ...] | None = None
        self._changes = NOTHING
        #: What the server's `start_response` returned; None until the headers are passed on.
        self._write: Callable[[bytes], object] | None = None
        self._iterable: Iterable[bytes] = ()

    def of(self, app: WSGIApplication, environ: WSGIEnvironment) -> Iterable[bytes]:
        """Run the application, and return what the server iterates over."""
        context, session = self._context, self._session
        try:
            if context.begin():
                session.run(context.load())
            self._iterable = app(environ, self._take_start)
            if not is_complete_body(self._iterable, environ):
                self._iterator = iter(self._iterable)
                return self
            were_sent = self._write is not None  # by the application's write()
            if not were_sent:
                # The application's code does not run any more.
                if session.is_ready and session.contents.shared:
                    session.contents.unshare()
                self._send_headers()
            self.commit_late(nested=were_sent)
            self.end()
        except BaseException as error:
            try:
                self._close_inner()
            finally:
                if context.is_open:
                    self.give_up(error)
            raise
        return self._iterable

    def _close_inner(self) -> None:
        close = getattr(self._iterable, "close", None)
        if close is not None:
            close()

    def _take_start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        if self._write is not None:
            # The headers are decided: the server re-raises exc_info, or takes the new ones.
            headers = _HEADERS.changed(headers, self._changes, self._context.manager)
            return self._start_response(status, headers, exc_info)
        if self._started is not None and exc_info is None:
            raise AssertionError("start_response() was called a second time without exc_info")
        self._started = (status, headers) if exc_info is None else (status, headers, exc_info)
        return self._early_write

    def _early_write(self, data: bytes) -> object:
        self._send_headers()
        assert self._write is not None
        return self._write(data)

    def _send_headers(self) -> None:
        """Decide about the session and pass the headers on, once."""
        if self._write is not None or self._started is None:
            return
        status, headers, *exc_info = self._started
        self._changes = self.decide_headers()
        # Servers add their own to the list they get: it must not be the application's.
        headers = _HEADERS.applied(headers, self._changes, self._context)
        self._write = self._start_response(status, headers, *exc_info)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            item = next(self._iterator)
        except StopIteration:
            self._send_headers()
            self._context.unused_headers = None
            self.commit_late()
            raise
        except BaseException as error:
            self.give_up(error)
            raise
        self._send_headers()
        return item

    def close(self) -> None:
        """Close the application's iterable, and save what changed since the headers went out."""
        self._context.unused_headers = None
        try:
            self._close_inner()
            if self._context.is_open:
                self.commit_late()
        finally:
            if self._context.is_open:
                self.end()
