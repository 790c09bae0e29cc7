"""Open and save ``flask.session`` where Flask does it: in its session interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

import flask
from flask.sessions import SessionInterface

from coatcheck import AsyncStore, SessionOptions, Sessions, Store
from coatcheck.errors import StoreError
from coatcheck.integration import SyncIntegration, WSGIAdapter
from coatcheck.options import OptionFields

from ._session import FlaskSession, State, attach, state_of
from ._settings import Integrations, SettingsError, unreachable

if TYPE_CHECKING:
    from flask import Flask, Request, Response
    from flask.sessions import SessionMixin

#: ``flask.session`` with its type: it has ``regenerate()``, ``destroy()``, ``cookie`` and the rest.
session: FlaskSession = cast("FlaskSession", flask.session)

#: The extension's name, and the key under which a request has its session.
EXTENSION = "coatcheck"
PLACE = "coatcheck.session"

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
        if self._integrations.checks_store:
            try:
                self._integrations.first.ping()
            except StoreError as error:
                raise unreachable(error) from error

    @property
    def sessions(self) -> Sessions:
        """The application's sessions outside a request: list and revoke them."""
        first = self._integrations.first
        return Sessions(first.store, first.options)

    @property
    def store(self) -> Store | AsyncStore:
        """The store."""
        return self._integrations.first.store

    @property
    def options(self) -> SessionOptions:
        """The options that follow from the settings, as they were at the beginning."""
        return self._integrations.first.options

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
        opened = integration.open(request.environ)
        refreshes = app.config["SESSION_REFRESH_EACH_REQUEST"]
        attach(opened.session, State(opened, settings.lifetime, refreshes))
        return opened.session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save a session, and put into the response's headers what is due."""
        assert isinstance(session, FlaskSession)
        state = state_of(session)
        opened = state.opened
        if opened is None:
            return
        if state.prepare(session):
            opened.discard()
        headers = opened.response_headers(response.headers)
        state.is_saved = True
        if headers is not None:
            response.headers.clear()
            response.headers.extend(headers)

        def finish() -> None:
            opened.save_late()
            opened.end()
            state.let_go()

        if response.is_streamed and not response.direct_passthrough:
            close = getattr(response.response, "close", None)
            response.response = opened.body(response.response)
            if close is not None:
                response.call_on_close(close)
            response.call_on_close(finish)
        else:
            finish()

    @staticmethod
    def give_up(error: BaseException | None) -> None:
        """Let go of the session of a request that failed without a response."""
        session = flask.request.environ.get(PLACE)
        if error is None or not isinstance(session, FlaskSession):
            return
        state = state_of(session)
        if state.opened is not None and not state.is_saved:
            state.opened.fail(error)
            state.let_go()

    @staticmethod
    def _make(options: OptionFields) -> SyncIntegration[FlaskSession]:
        return SyncIntegration(WSGIAdapter(), session_class=FlaskSession, place=PLACE, **options)


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

    def init_app(self, app: Any) -> None:
        """Give an application its sessions."""
        raise NotImplementedError

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
        """The options that follow from the application's settings, as they were at the start."""
        return cast("SessionOptions", self._interface().options)

    def _install(self, app: Any, interface_class: Callable[..., N]) -> N:
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

    def _current_app(self) -> Any:
        raise NotImplementedError


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
        interface = self._install(app, self.interface_class)
        app.teardown_request(interface.give_up)

    def close(self) -> None:
        """Close the store, if the application named it by a URL. A later request opens it again."""
        self._interface().close()

    def _current_app(self) -> Any:
        return flask.current_app
