"""One request's session: cookie in, decision, cookie out. No I/O and no ASGI or WSGI.

An :class:`Engine` belongs to a middleware, an :class:`Exchange` to a request. A driver

1. calls :meth:`Engine.begin` and runs :meth:`Exchange.load` where :attr:`Exchange.loads_now`;
2. runs :meth:`Exchange.respond` when the response headers are at hand, and adds to them what it
   returns;
3. runs :meth:`Exchange.finish` before the last piece of the body and again at the end;
4. runs :meth:`Exchange.abandon` instead where the application failed or was cancelled.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

from .codec import SessionState
from .cookie import CookieAttributes, CookieOptions, path_matches, posix
from .errors import (
    ConfigurationError,
    LateWriteError,
    SessionGone,
    SessionUnavailable,
    StoreError,
)
from .events import Announcer, logger
from .lifecycle import KeyTaken, Lifecycle, Snapshot
from .operations import Await, Steps
from .options import DEFAULT_LIFETIME, Request, SessionOptions
from .session import Session, _gone

S = TypeVar("S", bound=Session)

#: Seconds that removing a session may take after the application failed or was cancelled.
ABANDON_SECONDS: Final = 5.0
_ID_ATTEMPTS: Final = 3


class Dialect(Protocol):
    """How a driver's protocol says what the engine needs to know of a request."""

    def cookie_headers(self, request: Request) -> Iterable[str]:
        """Return each Cookie header line."""

    def path(self, request: Request) -> str:
        """Return the full path, percent-encoded."""

    def is_https(self, request: Request, trust_proxy: bool) -> bool:
        """Tell whether the client's connection is secure."""


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """What the session adds to the response headers.

    :ivar set_cookie: the value of a Set-Cookie header, or None.
    :ivar vary: whether the response depends on the cookie.
    """

    set_cookie: str | None
    vary: bool


NOTHING: Final = HeaderChanges(None, False)


class Engine:
    """What all requests of one middleware share.

    :param options: the middleware's options.
    :param eager: what ``load="auto"`` means to the driver.
    """

    def __init__(self, options: SessionOptions, dialect: Dialect, *, eager: bool) -> None:
        self.options = options
        self.dialect = dialect
        self.announce = Announcer(options.observers, options.clock)
        self.writer = options.cookie_format.bind(options.name, options.secrets)
        self.fixed_cookie = options.cookie if isinstance(options.cookie, CookieOptions) else None
        self.everywhere = self.fixed_cookie is not None and self.fixed_cookie.path == "/"
        self.eager = (
            options.rolling
            or options.resave
            or options.load == "eager"
            or (options.load == "auto" and eager)
        )

    def begin(self, request: Request, session_type: type[S], run: Any) -> tuple[Exchange, S]:
        """Start the exchange of a request.

        :param run: runs steps, in the way of the session type.
        """
        exchange = Exchange(self, request)
        session = session_type(exchange, run)  # type: ignore[call-arg]  # both subclasses take it
        exchange.session = session
        if not self.everywhere and not exchange.in_path():
            session._failure = SessionUnavailable(
                f"the request's path is outside the session cookie's path "
                f"({exchange.cookie_options.path}): there is no session here"
            )
        elif self.eager:
            exchange.loads_now = exchange.read_cookies()
        return exchange, session

    def key_of(self, session_id: str) -> str:
        """Return the store's key for a session id."""
        if self.options.hash_ids:
            return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()
        return session_id

    def lifecycle(self, exchange: Exchange) -> Lifecycle:
        """Return the life of sessions under the settings of a request."""
        return Lifecycle(
            codec=self.options.codec,
            expiry=exchange.expiry,
            clock=self.options.clock,
            absolute_timeout=self.options.absolute_timeout,  # type: ignore[arg-type]  # normalised
            concurrency=self.options.concurrency,
            announce=self.announce,
        )


class Exchange:
    """One request and its session."""

    session: Session
    loads_now = False
    _cookies_read = False
    _candidates: list[tuple[str, bool]]
    _presented = False
    _resign = False
    _cookie_options: CookieOptions | None = None
    _https: bool | None = None
    _responded = False
    _inert = False
    _wrote = False
    _renew = False
    _lifecycle: Lifecycle | None = None

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request

    # What the session asks for

    def now(self) -> float:
        """POSIX seconds."""
        return self._engine.options.clock()

    def new_id(self) -> str:
        """Make an id, unless that takes awaiting."""
        options = self._engine.options
        if options.generates_asynchronously:
            raise SessionUnavailable(
                "the id is made when the session is saved, because `generate_id` is asynchronous"
            )
        made = options.generate_id(self._request)
        if inspect.isawaitable(made):
            if inspect.iscoroutine(made):
                made.close()
            raise SessionUnavailable(
                "the id is made when the session is saved, because `generate_id` is asynchronous"
            )
        return self._checked_id(made)

    @property
    def cookie_options(self) -> CookieOptions:
        """The cookie settings for this request, before those of the session."""
        if self._cookie_options is None:
            options = self._engine.fixed_cookie
            if options is None:
                options = self._engine.options.cookie(self._request)  # type: ignore[operator]
                if not isinstance(options, CookieOptions):
                    raise ConfigurationError(
                        f"`cookie` must return CookieOptions, not {type(options).__name__}"
                    )
                options.check_name(self._engine.options.name)
            self._cookie_options = options
        return self._cookie_options

    def check_cookie(self, options: CookieOptions) -> None:
        """Check settings that the application gave to this session."""
        options.check_name(self._engine.options.name)

    @property
    def derives_owner(self) -> bool:
        """Whether the owner follows from the data."""
        return self._engine.options.owner is not None

    def derive_owner(self, data: Mapping[str, Any]) -> str | None:
        """Return the owner that follows from the data."""
        rule = self._engine.options.owner
        owner = data.get(rule) if isinstance(rule, str) else rule(data)  # type: ignore[misc]
        if owner is None or owner == "":
            return None
        if isinstance(owner, str):
            return owner
        if isinstance(owner, bool | float) or not hasattr(owner, "__str__"):
            raise ConfigurationError(f"`owner` must give a string, not {type(owner).__name__}")
        return str(owner)

    def expiry(self, state: SessionState) -> float:
        """Return when a session expires that is used now, in POSIX seconds."""
        options, cookie, own = self._engine.options, self.cookie_options, state.cookie
        if own.get("max_age") is not None:
            end = self.now() + own["max_age"]
        elif own.get("expires") is not None:
            end = own["expires"]
        elif options.idle_timeout is not None:
            end = self.now() + options.idle_timeout  # type: ignore[operator]  # normalised
        elif "max_age" not in own and cookie.max_age is not None:
            end = self.now() + cookie.max_age  # type: ignore[operator]  # normalised
        elif "expires" not in own and cookie.expires is not None:
            end = posix(cookie.expires)
        else:
            end = self.now() + DEFAULT_LIFETIME
        return min(end, self._absolute_end(state.created_at))

    def content(self, snapshot: Snapshot) -> bytes:
        """Return the encoded state of what is stored."""
        return self.lifecycle.content(snapshot)

    def encode(self, state: SessionState) -> bytes:
        """Return the encoded state."""
        return self._engine.options.codec.dumps(state)

    def load(self) -> Steps[None]:
        """Look up the presented ids until one is known; otherwise begin a new session."""
        session = self.session
        if not self.read_cookies():
            return
        for session_id, current in self._candidates:
            try:
                found = yield from self.lifecycle.load(self._engine.key_of(session_id))
            except StoreError as error:
                self._load_failed(error)
                return
            if found is not None:
                session._fill(session_id, *found)
                self._resign = not current
                return
        session._start()

    def save(self) -> Steps[None]:
        """Do what the application asked for now."""
        session = self.session
        if session._degraded:
            raise SessionUnavailable("a degraded session is never saved")
        if session._gone:
            raise _gone()
        if session._sealed and not session._announced and not session._ended:
            raise LateWriteError("the response headers are sent: a new session cannot be saved")
        if session._closed:
            raise LateWriteError("the request is over: the session cannot be saved")
        if not session._ended:
            session._wanted = session._wanted or session._snapshot is None
        yield from self._commit()
        if session._gone:
            raise _gone()

    def reload(self) -> Steps[None]:
        """Show what is stored."""
        session = self.session
        if session._snapshot is None:
            raise _gone() if session._gone else SessionGone("the session is not stored")
        key = session._snapshot.key
        found = yield from self.lifecycle.load(key)
        if found is None:
            session._vanish()
            raise _gone()
        session._refill(*found)

    # What the driver asks for

    @property
    def lifecycle(self) -> Lifecycle:
        """The life of sessions under the settings of this request."""
        if self._lifecycle is None:
            self._lifecycle = self._engine.lifecycle(self)
        return self._lifecycle

    def in_path(self) -> bool:
        """Tell whether the request is inside the cookie's path (RFC 6265, 5.1.4)."""
        cookie_path = self.cookie_options.path
        if cookie_path == "/":
            return True
        return path_matches(self._engine.dialect.path(self._request), cookie_path)

    def read_cookies(self) -> bool:
        """Check the presented cookies. False: no id is left, and the session is a new one."""
        if self._cookies_read:
            return bool(self._candidates)
        self._cookies_read = True
        self._candidates = []
        engine = self._engine
        for value in engine.writer.candidates(engine.dialect.cookie_headers(self._request)):
            self._presented = True
            ticket = engine.writer.unsign(value)
            if ticket is not None and engine.writer.valid_id(ticket.id):
                self._candidates.append(ticket)
            else:
                engine.announce("bad_cookie")
        if not self._candidates:
            self.session._blank = True
        return bool(self._candidates)

    def untouched(self, current: object) -> bool:
        """Tell whether there is nothing to decide: no session was loaded, used or replaced.

        :param current: what stands in the session's place now.
        """
        session = self.session
        return (
            current is session
            and not session._accessed
            and session._snapshot is None
            and (session._failure is not None or not self._engine.options.save_uninitialized)
        )

    def respond(self, current: object) -> Steps[HeaderChanges]:
        """Decide and do what the session needs before the first byte.

        :param current: what stands in the session's place now.
        """
        session = self.session
        if self._inert:
            return NOTHING
        self._responded = True
        try:
            if (yield from self._notice_replacement(current)):
                yield from self._commit(final=True)
                yield from self._touch()
                set_cookie = self._cookie_line()
            else:
                yield from self._end_pending()
                set_cookie = self._removal_line() if session._ended else None
        except BaseException:
            self._inert = True
            raise
        finally:
            session._sealed = True
        return HeaderChanges(set_cookie, session._accessed or set_cookie is not None)

    def seal(self) -> None:
        """Note that the headers went out without a decision being needed."""
        self._responded = True
        self.session._sealed = True

    def finish(self) -> Steps[None]:
        """Save what changed since the headers went out."""
        session = self.session
        if self._inert or session._gone:
            return
        if session._ended:
            yield from self._end_pending()
        elif session._degraded:
            return
        elif session._snapshot is not None:
            if session._differs():
                yield from self._update()
        elif session._loaded and session._data:
            self._engine.announce("late")
            logger.warning("changes to a new session after the response headers were not saved")
            session._data = {}

    def has_late_changes(self) -> bool:
        """Tell whether :meth:`finish` has anything to do."""
        session = self.session
        return not self._inert and (
            session._written or session._exposed or session._ended
        )

    def close(self) -> None:
        """Note that the request is over."""
        self.session._closed = True

    def must_abandon(self) -> bool:
        """Tell whether the session still has a record that was to be ended."""
        return bool(self._pending_keys())

    @property
    def answered(self) -> bool:
        """Whether the response headers were decided on, without failing."""
        return self._responded and not self._inert

    def abandon(self) -> Steps[None]:
        """Drop the changes, but carry out a requested end of the session."""
        self._inert = True
        try:
            yield from self._end_pending()
        except StoreError as error:
            self._engine.announce("store_error", None, error)
            logger.error(
                "a session could not be ended after its request failed: %s", type(error).__name__
            )

    # Decisions

    def _load_failed(self, error: StoreError) -> None:
        session = self.session
        self._engine.announce("store_error", None, error)
        if self._engine.options.on_store_error == "raise":
            session._loaded = True
            session._failure = error
            return
        self._engine.announce("degraded", None, error)
        session._start()
        session._degraded = True

    def _notice_replacement(self, current: object) -> Steps[bool]:
        """Act on what the application put in the session's place. False: leave it alone."""
        session = self.session
        if session._failure is not None:
            return False
        options = self._engine.options
        if current is session:
            if options.save_uninitialized and not session._ready and self._is_known():
                session._use()
            return session._loaded
        if not self._is_known():
            yield from self.load()
        session._use()
        if current is None and options.unset == "keep":
            # Neither saved nor touched, whatever it holds.
            self._inert = True
            return False
        if isinstance(current, Mapping):
            session._replace_data(current)
        else:
            session.destroy()
        return True

    def _is_known(self) -> bool:
        return self.session._loaded or self.session._blank

    def _commit(self, final: bool = False) -> Steps[None]:
        """Bring the store in line with the session.

        :param final: at the end of the request, where nothing is stored without need.
        """
        session, options = self.session, self._engine.options
        if session._gone:
            return
        if session._snapshot is not None:
            if session._differs() or (final and options.resave):
                yield from self._update()
            return
        wanted = final and options.save_uninitialized and not session._ended
        if not session._degraded and (session.is_modified or wanted):
            yield from self._store_new()
        else:
            yield from self._end_pending()

    def _store_new(self) -> Steps[None]:
        """Store a new or regenerated session, announcing it with the response's cookie."""
        session = self.session
        if not self._can_announce():
            self._engine.announce("insecure")
            logger.warning(
                "the session is not stored: its cookie is Secure and the request came over http; "
                "behind a proxy that ends TLS, set `trust_proxy=True`"
            )
            yield from self._end_pending()
            session._degraded = True
            return
        old, keep = session._old, session._keeps_old
        for _ in range(_ID_ATTEMPTS):
            if session._id is None:
                session._id = yield from self._make_id()
            key = self._engine.key_of(session._id)
            state = session._state()
            try:
                if old is None:
                    stored = yield from self.lifecycle.create(key, state, session._attempts)
                else:
                    stored = yield from self.lifecycle.rotate(
                        old, key, state, keep, session._attempts
                    )
            except KeyTaken:
                session._id = None
                continue
            if stored is None:
                session._vanish()
            else:
                session._settle(*stored)
                self._wrote = True
            return
        raise ConfigurationError(
            f"`generate_id` returned ids of other sessions {_ID_ATTEMPTS} times in a row"
        )

    def _update(self) -> Steps[None]:
        session = self.session
        assert session._snapshot is not None
        changed_cookie = session._cookie_changed
        lifetime = self.effective_cookie.max_age or self.effective_cookie.expires
        stored = yield from self.lifecycle.update(
            session._snapshot, session._state(), self._extends(), session._attempts
        )
        if stored is None:
            session._vanish()
            return
        session._settle(*stored)
        self._wrote = True
        self._renew = self._renew or changed_cookie or lifetime is not None

    def _pending_keys(self) -> list[str]:
        """Return the keys of records that the application asked to end."""
        session = self.session
        if session._old is not None:
            return [session._old.key]
        if session._degraded and session._ended and self._cookies_read:
            # The load failed, so nobody knows which of them is alive: a logout is never skipped.
            return [self._engine.key_of(session_id) for session_id, _ in self._candidates]
        return []

    def _end_pending(self) -> Steps[None]:
        for key in self._pending_keys():
            yield from self.lifecycle.end(key)
        self.session._old = None
        self._candidates = []

    def _touch(self) -> Steps[None]:
        """Move the expiry of a session that was not written, where that is due."""
        session = self.session
        snapshot = session._snapshot
        if snapshot is None or self._wrote or not self._extends():
            return
        expires_at = self.expiry(session._state())
        moved = abs(expires_at - snapshot.record.expires_at)
        if moved == 0 or (moved < self._touch_interval(expires_at) and not session._extend):
            return
        try:
            touched = yield from self.lifecycle.touch(snapshot, expires_at)
        except StoreError as error:
            self._engine.announce("store_error", snapshot.key, error)
            logger.warning("a session's expiry could not be moved: %s", type(error).__name__)
            return
        if touched is None:
            session._vanish()
        else:
            session._snapshot = touched

    def _touch_interval(self, expires_at: float) -> float:
        interval = self._engine.options.touch_interval
        if interval is None:
            return min(60.0, (expires_at - self.now()) / 10)
        return interval  # type: ignore[return-value]  # normalised

    def _extends(self) -> bool:
        if self.session._extend is not None:
            return self.session._extend
        rule = self._engine.options.extends
        return rule is None or bool(rule(self._request))

    # The cookie

    @property
    def effective_cookie(self) -> CookieOptions:
        """The cookie settings of this request's session."""
        session = self.session
        return session.cookie.options if session._own_cookie else self.cookie_options

    def _is_https(self) -> bool:
        if self._https is None:
            trust = bool(self._engine.options.trust_proxy)
            self._https = self._engine.dialect.is_https(self._request, trust)
        return self._https

    def _attributes(self) -> CookieAttributes:
        return self.effective_cookie.resolve(self._engine.options.name, self._is_https())

    def _can_announce(self) -> bool:
        return self._is_https() or not self._attributes().secure

    def _cookie_line(self) -> str | None:
        """Return the one Set-Cookie of this response, if it needs one."""
        session = self.session
        if session._degraded:
            return self._removal_line() if session._ended else None
        if session._gone or not session._loaded:
            return None
        if session._snapshot is None:
            return self._removal_line() if session._ended else None
        due = (
            not session._announced
            or self._resign
            or self._renew
            or self._engine.options.rolling
        )
        if not due or not self._can_announce():
            return None
        session._announced = True
        writer = self._engine.writer
        assert session._id is not None
        return writer.set_cookie(writer.sign(session._id), self._with_lifetime())

    def _removal_line(self) -> str | None:
        """Expire the browser's cookie, with the attributes that it was set with."""
        self.read_cookies()
        if not self._presented:
            return None
        attributes = replace(self._attributes(), max_age=0, expires=0.0)
        return self._engine.writer.set_cookie("", attributes)

    def _with_lifetime(self) -> CookieAttributes:
        attributes, options = self._attributes(), self.effective_cookie
        if options.max_age is not None:
            end = self.now() + options.max_age  # type: ignore[operator]  # normalised
        elif options.expires is not None:
            end = posix(options.expires)
        else:
            return attributes
        end = min(end, self._absolute_end(self.session.created_at))
        return replace(attributes, max_age=max(0, round(end - self.now())), expires=end)

    def _absolute_end(self, created_at: float) -> float:
        limit = self._engine.options.absolute_timeout
        return float("inf") if limit is None else created_at + limit  # type: ignore[operator]

    # Ids

    def _make_id(self) -> Steps[str]:
        made: str | Awaitable[str] = self._engine.options.generate_id(self._request)
        if inspect.isawaitable(made):
            made = yield Await(made)
        return self._checked_id(made)

    def _checked_id(self, made: object) -> str:
        if not isinstance(made, str) or not self._engine.writer.valid_id(made):
            raise ConfigurationError(
                "`generate_id` must return 16 to 128 characters of A-Z, a-z, 0-9, `-` and `_`"
            )
        return made


