"""Open and save ``flask.session`` where Flask does it: in its session interface."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast
from weakref import WeakKeyDictionary

import flask
from flask.globals import app_ctx, request_ctx
from flask.sessions import SessionInterface
from werkzeug.wsgi import ClosingIterator

from coatcheck import AsyncStore, SessionOptions, Sessions, Store
from coatcheck.errors import LateWriteError, StoreError
from coatcheck.integration import SyncIntegration, SyncRequestSession, WSGIAdapter
from coatcheck.options import OptionFields

from ._session import Contexts, FlaskSession, State, Step, attach, is_event, late_login, state_of
from ._settings import Integrations, SettingsError, unreachable

if TYPE_CHECKING:
    from flask import Flask, Request, Response
    from flask.sessions import SessionMixin

#: ``flask.session`` with its type: it has ``regenerate()``, ``destroy()``, ``cookie`` and the rest.
session: FlaskSession = cast("FlaskSession", flask.session)

#: The extension's name, and the key under which a request has its session.
EXTENSION = "coatcheck"
PLACE = "coatcheck.session"
#: An environ has it while a test client keeps the context of the request.
PRESERVING = "werkzeug.debug.preserve_context"

N = TypeVar("N")


class CoatcheckInterface(SessionInterface):
    """Open and save the sessions of one application.

    A subclass may override the methods by which Flask reads its settings, such as
    ``get_cookie_name``.

    :param app: the application.
    :param options: options of coatcheck that replace those that follow from the configuration.
    :param kwargs: single options, which win over both.
    :raises SettingsError: a setting is missing or cannot work.
    """

    def __init__(
        self, app: Flask, options: SessionOptions | None = None, **kwargs: Unpack[OptionFields]
    ) -> None:
        self._integrations = Integrations(app, self, self._make, options, kwargs)
        self._contexts: Contexts[SyncRequestSession[FlaskSession]] = WeakKeyDictionary()
        if self._integrations.checks_store:
            try:
                self._integrations.first.ping()
            except StoreError as error:
                raise unreachable(error) from error

    @property
    def sessions(self) -> Sessions:
        """The application's sessions outside a request: list and revoke them."""
        present = self._integrations.present
        return Sessions(present.store, present.options)

    @property
    def store(self) -> Store | AsyncStore:
        """The store."""
        return self._integrations.first.store

    @property
    def options(self) -> SessionOptions:
        """The options that follow from the present settings."""
        return self._integrations.present.options

    def close(self) -> None:
        """Close the store, if the application named it by a URL. A later request opens it again."""
        self._integrations.first.close()
        self._integrations.forget()

    def open_session(self, app: Flask, request: Request) -> FlaskSession | None:
        """Open the session of a request; None where the secret was removed."""
        found = self._integrations.current()
        if found is None:
            return None
        integration, settings = found
        refreshes = app.config["SESSION_REFRESH_EACH_REQUEST"]
        opened = integration.open(request.environ, extends_at_load=refreshes)
        state = State(opened, settings.lifetime, refreshes, settings.permanent)
        attach(opened.session, state)
        if flask.has_request_context():
            self._contexts.setdefault(_context(), state)
            self._contexts.setdefault(_app_context(), state)
        return opened.session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save a session, and put into the response's headers what is due."""
        assert isinstance(session, FlaskSession)
        state = state_of(session)
        opened = state.opened
        if opened is None:
            return
        if is_event():
            _save_event(state, opened)
            return
        _take(state.prepare(session), opened)
        headers = opened.response_headers(response.headers)
        state.is_saved = True
        if headers is not None:
            response.headers.clear()
            response.headers.extend(headers)

        body = response.response
        # A server may send a file faster, if it finds the file itself here.
        is_file = response.direct_passthrough and not isinstance(body, Generator)
        state.streams = response.is_streamed and not is_file
        if state.streams:
            parts = opened.body(body, lambda: _take(state.prepare_late(), opened))
            response.response = ClosingIterator(parts, state.let_go)
            return
        if not response.is_streamed:
            opened.headers_are_sent()  # what is read from here on cannot be in the response
        if not (flask.has_request_context() and self._contexts.get(_context()) is state):
            _finish(state)

    def end_session(self, error: BaseException | None) -> None:
        """Let go of the session that the present context opened, because the context ends.

        Without an error, a session that was not saved stays as it is.
        """
        state = self._contexts.get(_context())
        if state is None or state.opened is None or state.streams:
            return
        if not state.is_saved:
            _fail(state, error)
        elif PRESERVING in flask.request.environ and not state.is_preserved:
            state.is_preserved = True
            state.opened.save_late()
        else:
            _finish(state)

    def end_failed(self, error: BaseException | None) -> None:
        """Let go of the session of a request that failed, if another teardown function raised.

        Then Flask does not call :meth:`end_session`, but ends the application's context.
        """
        state = self._contexts.get(_app_context())
        if state is not None and not state.is_saved:
            _fail(state, error)

    @staticmethod
    def _make(options: OptionFields) -> SyncIntegration[FlaskSession]:
        return SyncIntegration(
            WSGIAdapter(), session_class=FlaskSession, place=PLACE, everywhere=True, **options
        )


def _context() -> object:
    """Return the context of the present request, or a copy of it."""
    return request_ctx._get_current_object()  # type: ignore[attr-defined]  # it is a proxy


def _app_context() -> object:
    """Return the context of the present application."""
    return app_ctx._get_current_object()  # type: ignore[attr-defined]  # it is a proxy


def _fail(state: State[SyncRequestSession[FlaskSession]], error: BaseException | None) -> None:
    """Let go of a session whose changes are dropped, if the request failed."""
    if error is not None and state.opened is not None:
        state.opened.fail(error)
        state.let_go()


def _take(step: Step, opened: SyncRequestSession[FlaskSession]) -> None:
    """Do what has to be done before a session is saved."""
    if step is Step.DISCARD:
        opened.discard()
    elif step is Step.END_UNCHANGED:
        opened.end_unchanged()
    elif step is Step.REFUSE_LOGIN:
        opened.discard()
        raise late_login()


def _save_event(
    state: State[SyncRequestSession[FlaskSession]], opened: SyncRequestSession[FlaskSession]
) -> None:
    """Save the session of an event of Flask-SocketIO, whose response nobody gets."""
    session = opened.session
    _take(state.prepare(session, sends_cookie=False), opened)
    opened.headers_are_sent()
    state.is_saved = True
    if opened.is_loaded and session and session.is_new:
        opened.discard()
        raise LateWriteError(
            "an event cannot begin a session, because it cannot send a cookie: write to the "
            "session in a page before"
        )
    opened.save_late()


def _finish(state: State[SyncRequestSession[FlaskSession]]) -> None:
    """Save late changes, and let go of the session."""
    opened = state.opened
    if opened is not None:
        try:
            _take(state.prepare_late(), opened)
            opened.save_late()
        finally:
            opened.end()
            state.let_go()


class Extension:
    """Do what the extensions for Flask and Quart have in common.

    :param app: the application, or None.
    :param options: options of coatcheck, or None.
    :param kwargs: single options.
    """

    def __init__(self, app: Any, options: SessionOptions | None, kwargs: OptionFields) -> None:
        self._app = app
        self._options = options
        self._kwargs = kwargs
        if app is not None:
            self.init_app(app)

    @abstractmethod
    def init_app(self, app: Any) -> None:
        """Give an application its sessions."""

    @property
    def sessions(self) -> Sessions:
        """The application's sessions outside a request: list and revoke them."""
        return cast("Sessions", self._interface().sessions)

    @property
    def store(self) -> Store | AsyncStore:
        """The application's store."""
        return cast("Store | AsyncStore", self._interface().store)

    @property
    def options(self) -> SessionOptions:
        """The options that follow from the application's present settings."""
        return cast("SessionOptions", self._interface().options)

    def _install(self, app: Any, kind: type[Any], interface_class: Callable[..., N]) -> N:
        """Give an application its session interface.

        :param kind: the class of the applications that the extension is for.
        """
        if not isinstance(app, kind):
            raise SettingsError(_wrong_kind(app, kind))
        if EXTENSION in app.extensions:
            raise SettingsError("this application has its `Coatcheck` already: remove one of them")
        interface = interface_class(app, self._options, **self._kwargs)
        app.session_interface = app.extensions[EXTENSION] = interface
        return interface

    def _interface(self) -> Any:
        app: Any = self._app or self._current_app()
        interface = app.extensions.get(EXTENSION)
        if interface is None:
            raise SettingsError("call `init_app(app)` before")
        return interface

    @abstractmethod
    def _current_app(self) -> Any:
        """Return the application of the present context."""


def _wrong_kind(app: object, kind: type[Any]) -> str:
    """Say what an extension is for, and where the one for an application is."""
    text = f"this `Coatcheck` takes a {kind.__name__} application, not {type(app).__name__}"
    libraries = {base.__module__.partition(".")[0] for base in type(app).__mro__}
    if kind is flask.Flask and "quart" in libraries:
        return text + ": import it from `coatcheck_flask.quart`"
    return text + (": import it from `coatcheck_flask`" * isinstance(app, flask.Flask))


class Coatcheck(Extension):
    """Keep the sessions of Flask applications on the server.

    :param app: the application; without it call :meth:`init_app` later.
    :param options: options that this application shares with others. They replace those that
        follow from the configuration, also the secret and the cookie.
    :param kwargs: single options, such as ``store``, which win over the configuration: there
        ``COATCHECK_STORE`` is the option ``store``, and so on. The secret and the cookie follow
        from Flask's own settings.
    :raises SettingsError: a setting is missing or cannot work.
    """

    #: The class that opens and saves the sessions.
    interface_class: type[CoatcheckInterface] = CoatcheckInterface

    def __init__(
        self,
        app: Flask | None = None,
        options: SessionOptions | None = None,
        **kwargs: Unpack[OptionFields],
    ) -> None:
        super().__init__(app, options, kwargs)

    def init_app(self, app: Flask) -> None:
        """Give an application its sessions. Its settings must be there.

        :raises SettingsError: a setting is missing or cannot work.
        """
        interface = self._install(app, flask.Flask, self.interface_class)
        app.teardown_request(interface.end_session)
        app.teardown_appcontext(interface.end_failed)

    def close(self) -> None:
        """Close the store, if the application named it by a URL. A later request opens it again."""
        self._interface().close()

    def _current_app(self) -> Any:
        return flask.current_app
