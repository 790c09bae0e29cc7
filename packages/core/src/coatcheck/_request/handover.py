"""Begin a session outside a request, with the cookie that opens it, and find a cookie's session.

A session begins here as in a request that came without a cookie, and by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from .._records.operations import Operations
from .._session.session_core import SyncSessionCore
from ..errors import ConfigurationError
from ..options import Request, SessionOptions
from ..session import Session, SyncSession
from .request_adapter import RequestAdapter
from .request_context import RequestContext
from .session_manager import SessionManager
from .stored_sessions import CreatedSession, SessionEntry, StoredSessions, named

#: Where the request that nobody sent has its session, and its path.
_PLACE: Final = "coatcheck.handover"
_PATH: Final = "coatcheck.handover.path"


class Handover:
    """Begin sessions, and find those of cookies.

    :param options: the middleware's options.
    :param stored: the sessions in the store.
    """

    def __init__(self, options: SessionOptions, stored: StoredSessions) -> None:
        self._options = options
        self._stored = stored
        self._manager = lru_cache(2)(lambda https: _manager_of(options, https))

    def create(
        self,
        data: Mapping[str, Any],
        owner: str | int | None,
        https: bool,
        request: Request | None,
    ) -> Operations[CreatedSession]:
        """Store a new session: see :meth:`Sessions.create <coatcheck.Sessions.create>`."""
        if not isinstance(data, Mapping):
            raise TypeError(
                f"`data` must be a dict of what the session holds, not {type(data).__name__}"
            )
        manager = self._manager(https)
        scope = self._scope(manager, request)
        context = RequestContext(manager, scope, _PLACE)
        core = context.session = SyncSessionCore(context, _without_store)
        session = scope[_PLACE] = SyncSession(core)
        context.begin()
        try:
            self._fill(session, data, owner)
            if not context.cookie.can_be_sent(core.contents.cookie_options):
                raise ConfigurationError(
                    "the cookie is Secure, so no browser would send it over http: leave `https` "
                    'True, or configure `CookieOptions(secure="auto")`'
                )
            changes = yield from context.commit_before_headers()
            key = session.stored_key
            assert key is not None, "it is stored, even if it is empty"
            assert changes.set_cookie is not None, "it can be sent"
            line = changes.set_cookie
            value = line.partition(";")[0].partition("=")[2]
            return CreatedSession(self._stored.ref(str(key)), self._options.name, value, line)
        except Exception:
            if context.must_abandon():
                yield from context.abandon()
            raise
        finally:
            context.end()

    def find(self, cookies: str) -> Operations[SessionEntry | None]:
        """Return a cookie's session: see :meth:`Sessions.find <coatcheck.Sessions.find>`."""
        if not isinstance(cookies, str):
            raise TypeError(
                "`cookies` must be the value of a Cookie header, such as `sid=...`, "
                f"not {type(cookies).__name__}"
            )
        manager = self._manager(True)
        for value in manager.writer.candidates((cookies,)):
            token = manager.writer.unsign(value)
            if token is None or not manager.writer.valid_id(token.id):
                continue
            found = yield from self._stored.lifecycle.load(
                manager.key_of(token.id),
                token.other_key if token.lookup_other_key else None,
                accepts=token.accepts,
            )
            if found is not None:
                return self._stored.entry(found[0].key, found[0].record)
        return None

    def _scope(self, manager: SessionManager, request: Request | None) -> dict[str, Any]:
        """Return a request that came without a cookie, for a page that has the session."""
        if request is None and manager.fixed_policy is None:
            raise ConfigurationError(
                "the option `cookie` is a function of the request: say `request=`, the ASGI scope "
                "or WSGI environ that it gets"
            )
        given = {} if request is None else dict(request)
        policy = manager.fixed_policy or manager.policy_of(given)
        return {**given, _PATH: policy.cookie.path}

    def _fill(self, session: Session, data: Mapping[str, Any], owner: str | int | None) -> None:
        session.update(data)
        if owner is None:
            return
        if self._options.owner is not None:
            raise ConfigurationError(
                "the option `owner` derives the owner from the data here: leave `owner` out, and "
                "put into the data what it needs"
            )
        session.owner = named(owner)


def _manager_of(options: SessionOptions, https: bool) -> SessionManager:
    """Return what requests share that begin sessions.

    :param https: whether the browser will have a secure connection. Nobody else says so here.
    """
    begins = replace(
        options,
        https=https or None,
        trust_proxy=False,
        load="eager",
        save_uninitialized=True,  # also an empty session gets a record
    )
    return SessionManager(begins, _NoRequest(), eager=True)


def _without_store(_: Operations[Any]) -> Any:
    raise AssertionError("a session that no cookie leads to is not loaded")


class _NoRequest(RequestAdapter):
    """Answer for a request that nobody sent."""

    def cookie_headers(self, request: Request) -> Sequence[str]:
        return ()

    def path(self, request: Request) -> str:
        return str(request[_PATH])

    def is_https(self, request: Request) -> bool:
        return False

    def method(self, request: Request) -> str:
        return "GET"

    def header(self, request: Request, name: str) -> str | None:
        return None

    def is_multiprocess(self, request: Request) -> bool | None:
        return False
