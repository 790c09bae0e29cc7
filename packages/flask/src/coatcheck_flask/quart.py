"""Keep Quart's session on the server, in requests and on WebSockets.

::

    from coatcheck_flask.quart import Coatcheck

    app.config.update(SECRET_KEY=os.environ["SESSION_SECRET"], COATCHECK_STORE="redis://localhost")
    Coatcheck(app)

The settings are those of :mod:`coatcheck_flask`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar, Unpack, cast
from weakref import WeakKeyDictionary

import quart
import quart.globals
from quart.sessions import SessionInterface, SessionMixin
from quart.wrappers import Websocket
from quart.wrappers.response import IterableBody, ResponseBody
from werkzeug.datastructures import Headers

from coatcheck import AsyncSession, AsyncStore, SessionOptions, Sessions, Store
from coatcheck.errors import StoreError
from coatcheck.integration import ASGIAdapter, AsyncIntegration, AsyncRequestSession
from coatcheck.options import OptionFields

from ._extension import Extension
from ._session import Contexts, FlaskAttributes, State, Step, attach, late_login, state_of
from ._settings import Integrations, unreachable

if TYPE_CHECKING:
    from quart import Quart
    from quart.wrappers import BaseRequestWebsocket

__all__ = ["Coatcheck", "CoatcheckInterface", "QuartSession", "session"]

#: The key under which an ASGI scope has its session.
PLACE: Final = "session"

T = TypeVar("T")


class QuartSession(FlaskAttributes, AsyncSession, SessionMixin):  # type: ignore[override]  # `new`
    """The session behind ``quart.session``: coatcheck's, with the attributes of Flask's."""

    async def save(self, *, store: AsyncStore | Store | None = None) -> None:
        """Do now what the end of the request would do: see :meth:`coatcheck.AsyncSession.save`.

        A login gives the session a new id, unless the headers are out.
        """
        self._leave_id_at_login()
        await super().save(store=store)

    async def change(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Change the data by a function: see :meth:`coatcheck.AsyncSession.change`.

        A login gives the session a new id, unless the headers are out.
        """
        leave_id = self._watch_login()
        value = await super().change(function)
        if leave_id():
            await super().save()  # so the former id ends, whatever becomes of the request
        return value


_State: TypeAlias = State[AsyncRequestSession[QuartSession]]

#: ``quart.session`` with its type.
session: QuartSession = cast("QuartSession", quart.session)


class CoatcheckInterface(SessionInterface):
    """Open and save the sessions of one application: see :class:`coatcheck_flask.Coatcheck`.

    :param app: the application.
    :param options: options of coatcheck that replace those that follow from the configuration.
    :param kwargs: single options, which win over both.
    :raises SettingsError: a setting is missing or cannot work.
    """

    def __init__(
        self, app: Quart, options: SessionOptions | None = None, **kwargs: Unpack[OptionFields]
    ) -> None:
        self._integrations = Integrations(app, self, self._make, options, kwargs)
        self._contexts: Contexts[AsyncRequestSession[QuartSession]] = WeakKeyDictionary()

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

    async def check_store(self) -> None:
        """Check that the store can be reached, if ``COATCHECK_CHECK_STORE`` asks for it.

        :raises SettingsError: it cannot be reached.
        """
        if self._integrations.checks_store:
            try:
                await self._integrations.first.ping()
            except StoreError as error:
                raise unreachable(error) from error

    async def close(self) -> None:
        """Close the store, if the application named it by a URL. A later request opens it again."""
        await self._integrations.first.close()
        self._integrations.forget()

    async def open_session(self, app: Quart, request: BaseRequestWebsocket) -> QuartSession | None:
        """Open the session of a request; None where the secret was removed."""
        found = self._integrations.current()
        if found is None:
            return None
        integration, settings = found
        refreshes = app.config["SESSION_REFRESH_EACH_REQUEST"]
        scope = cast("dict[str, Any]", request.scope)
        opened = await integration.open(scope, extends_at_load=refreshes)
        state = State(opened, settings.lifetime, refreshes, settings.permanent)
        attach(opened.session, state)
        context = _context()
        if context is not None:
            self._contexts.setdefault(context, state)
            self._contexts.setdefault(_app_context(), state)
        return opened.session

    async def save_session(self, app: Quart, session: SessionMixin, response: Any) -> None:
        """Save a session, and put into the response's headers what is due.

        :param response: None for a WebSocket that was not refused.
        """
        assert isinstance(session, QuartSession)
        state = state_of(session)
        if state.opened is None:
            return
        if response is None:
            state.opened.headers_are_sent()
            state.is_saved = True
        else:
            await _decide(session, response.headers)
        body = getattr(response, "response", None)
        state.streams = isinstance(body, IterableBody)
        if isinstance(body, IterableBody):
            response.response = _SavingBody(body, state)
            return
        state.opened.headers_are_sent()  # what is read from here on cannot be in the response
        context = _context()
        if context is None or self._contexts.get(context) is not state:
            await _finish(state)

    async def end_session(self, error: BaseException | None) -> None:
        """Let go of the session that the present context opened, because the context ends.

        Without an error, a session that was not saved stays as it is.
        """
        context = _context()
        state = None if context is None else self._contexts.get(context)
        if state is None or state.opened is None or state.streams:
            return
        # A visitor who leaves a WebSocket cancels its handler.
        fails = error is not None and not (
            state.is_saved
            and (quart.has_request_context() or isinstance(error, asyncio.CancelledError))
        )
        if error is not None and fails:
            await state.opened.fail(error)
            state.let_go()
        elif state.is_saved:
            await _finish(state)

    async def end_failed(self, error: BaseException | None) -> None:
        """Let go of the session of a request that failed: see Flask's interface."""
        state = self._contexts.get(_app_context())
        if state is not None and not state.is_saved and state.opened is not None and error:
            await state.opened.fail(error)
            state.let_go()

    @staticmethod
    def _make(options: OptionFields) -> AsyncIntegration[QuartSession]:
        return AsyncIntegration(
            ASGIAdapter(), session_class=QuartSession, place=PLACE, everywhere=True, **options
        )


def _context() -> object | None:
    """Return the context of the present request or WebSocket, or a copy of it; None without one."""
    if quart.has_request_context():
        return _current("request_ctx")
    if quart.has_websocket_context():
        return _current("websocket_ctx")
    return None


def _app_context() -> object:
    """Return the context of the present application."""
    return _current("app_ctx")


def _current(name: str) -> object:
    """Return the present context of a kind: since Quart 0.23 there is one kind for all."""
    proxy: Any = getattr(quart.globals, name, quart.globals.app_ctx)
    context: object = proxy._get_current_object()
    return context


async def _decide(session: QuartSession, headers: Headers) -> None:
    """Save a session, and put into headers what is due."""
    state: _State = state_of(session)
    opened = state.opened
    assert opened is not None, "the request is not over"
    await _take(state.prepare(session), opened)
    changed = await opened.response_headers(headers)
    state.is_saved = True
    if changed is not None:
        headers.clear()
        headers.extend(changed)


async def _take(step: Step, opened: AsyncRequestSession[QuartSession]) -> None:
    """Do what has to be done before a session is saved."""
    if step is Step.DISCARD:
        await opened.discard()
    elif step is Step.END_UNCHANGED:
        await opened.end_unchanged()
    elif step is Step.REFUSE_LOGIN:
        await opened.discard()
        raise late_login()


async def _finish(state: _State) -> None:
    """Save late changes, and let go of the session."""
    opened = state.opened
    if opened is not None:
        try:
            await _take(state.prepare_late(), opened)
            await opened.save_late()
        finally:
            await opened.end()
            state.let_go()


class _SavingBody(ResponseBody):
    """A body that the application still produces, whose changes of the session are saved.

    :param body: the body.
    :param state: that of the request.
    """

    def __init__(self, body: IterableBody, state: _State) -> None:
        self._body = body
        self._state = state

    def __aiter__(self) -> AsyncIterator[Any]:
        opened = self._state.opened
        return aiter(self._body) if opened is None else opened.body(self._parts())

    async def _parts(self) -> AsyncIterator[Any]:
        try:
            async for part in self._body:
                yield part
        except (GeneratorExit, asyncio.CancelledError):  # the visitor left
            raise
        except BaseException as error:
            if self._state.opened is not None:
                await self._state.opened.fail(error)
                self._state.let_go()
            raise
        if self._state.opened is not None:
            await _take(self._state.prepare_late(), self._state.opened)

    async def __aenter__(self) -> Self:
        await self._body.__aenter__()
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        await self._body.__aexit__(kind, error, traceback)  # type: ignore[arg-type]  # passed on
        await _finish(self._state)


def _with_sessions(websocket_class: type[Websocket]) -> type[Websocket]:
    """Return a class of WebSockets whose first headers can carry the session's cookie."""

    class WebsocketWithSession(websocket_class):  # type: ignore[misc, valid-type]  # any class
        async def accept(
            self, headers: dict[str, str] | Headers | None = None, subprotocol: str | None = None
        ) -> None:
            session = self.scope.get(PLACE)
            if isinstance(session, QuartSession) and not state_of(session).is_saved:
                headers = Headers(headers)
                await _decide(session, headers)
            await super().accept(headers, subprotocol)

    return WebsocketWithSession


class Coatcheck(Extension):
    """Keep the sessions of Quart applications on the server.

    The parameters are those of :class:`coatcheck_flask.Coatcheck`.

    :raises SettingsError: a setting is missing or cannot work.
    """

    #: The class that opens and saves the sessions.
    interface_class: type[CoatcheckInterface] = CoatcheckInterface

    def __init__(
        self,
        app: Quart | None = None,
        options: SessionOptions | None = None,
        **kwargs: Unpack[OptionFields],
    ) -> None:
        super().__init__(app, options, kwargs)

    def init_app(self, app: Quart) -> None:
        """Give an application its sessions. Its settings must be there.

        :raises SettingsError: a setting is missing or cannot work.
        """
        interface = self._install(app, quart.Quart, self.interface_class)
        app.websocket_class = _with_sessions(app.websocket_class)
        app.teardown_request(interface.end_session)
        app.teardown_websocket(interface.end_session)
        app.teardown_appcontext(interface.end_failed)
        app.before_serving(interface.check_store)
        app.after_serving(interface.close)

    async def close(self) -> None:
        """Close the store, if the application named it by a URL. The end of serving does it, too.

        A later request opens it again.
        """
        await self._interface().close()

    def _current_app(self) -> Any:
        return quart.current_app
