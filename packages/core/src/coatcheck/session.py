"""The session as the application sees it: a dictionary, and what needs no I/O."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self, TypeVar

from .codec import IMMUTABLE, SessionState
from .contents import Contents, Draft, check_keys
from .cookie import CookieOptions, SessionCookie
from .errors import (
    ConfigurationError,
    SessionGone,
    SessionUnavailable,
)
from .group_commit import ChangeFunction
from .identity import UNKNOWN, Identity, New, Stored
from .layout import lay_out
from .operations import Steps
from .phase import CLOSED, OPEN, RAISED, Phase, check_headers, check_not_closed, check_write
from .records import Snapshot
from .store import is_text

if TYPE_CHECKING:
    import anyio

T = TypeVar("T")


class Backend(Protocol):
    """What a session needs from the request that it belongs to."""

    def is_of(self, engine: object) -> bool: ...
    def leave_place(self, request: object, leaves: bool) -> None: ...
    def load(self) -> Steps[None]: ...
    def save(self) -> Steps[None]: ...
    def reload(self) -> Steps[None]: ...
    def change(self, function: ChangeFunction) -> Steps[Any]: ...
    def check_late_use(self) -> None: ...
    def new_id(self) -> str: ...
    def expiry(self, state: SessionState) -> float: ...
    def content(self, snapshot: Snapshot) -> bytes: ...
    def rebase(self, sent: PendingWrite, mine: SessionState, stored: Snapshot) -> SessionState: ...
    def end_outside(self) -> None: ...
    def let_go(self) -> None: ...


class PendingWrite:
    """The session as a write that is under way stores it; the application may go on meanwhile.

    :ivar draft: the contents that are written.
    :ivar id: the new id under which they are, or None.
    :ivar is_superseded: whether the session was ended or got another id meanwhile.
    """

    __slots__ = ("draft", "id", "is_superseded")

    def __init__(self, draft: Draft, new_id: str | None) -> None:
        self.draft = draft
        self.id = new_id
        self.is_superseded = False

    @property
    def state(self) -> SessionState:
        """What the session showed when the write began. Its values may change."""
        return self.draft.state

    @property
    def encoded(self) -> bytes:
        """The encoded state. It does not change."""
        return self.draft.encoded


class Session(dict[str, Any]):
    """The data of one visitor, kept on the server.

    A session is a dict. Keys are strings. Values are what the codec stores: for the native one
    see :class:`~coatcheck.codec.JSONCodec`. Nested changes are noticed:
    ``session["cart"].append(item)`` is saved. Copies and unions are plain dictionaries that have
    nothing to do with the session any more.

    Reading and writing raise :class:`~coatcheck.errors.SessionUnavailable` where there is no
    session (outside the cookie's path, or before a lazy one was loaded) and
    :class:`~coatcheck.errors.StoreError` where it could not be loaded. Writing raises
    :class:`~coatcheck.errors.LateWriteError` once it is too late to save.

    Some code in C reads a dict without asking it, as orjson does: :meth:`load` the session
    before. It counts as access, and all values are watched from then on. A session that is not
    loaded holds an entry that no encoder can encode, so that it is never taken for an empty dict.
    """

    __slots__ = ("__weakref__", "_core")

    _core: SessionCore

    def __init__(self, core: SessionCore) -> None:
        _set_core(self, core)
        core.contents = Contents(self)

    # The dict

    def __getitem__(self, key: str) -> Any:
        core = self._core
        if not core._ready:
            core._prepare()
        value = _get_item(self, key)
        if type(value) not in IMMUTABLE and key not in core.contents.shared:
            core.contents.share(key, value)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"session keys must be strings, not {type(key).__name__}")
        core = self._core
        core._before_write()
        if type(value) not in IMMUTABLE:
            core.contents.shared.add(key)
        _set_item(self, key, value)
        core.contents.is_written = True

    def __delitem__(self, key: str) -> None:
        core = self._core
        core._before_write()
        dict.__delitem__(self, key)
        core.contents.is_written = True

    def __iter__(self) -> Iterator[str]:
        self._core._use()
        return dict.__iter__(self)

    def __reversed__(self) -> Iterator[str]:
        self._core._use()
        return dict.__reversed__(self)

    def __len__(self) -> int:
        self._core._use()
        return dict.__len__(self)

    def __contains__(self, key: object) -> bool:
        self._core._use()
        return dict.__contains__(self, key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        self._core._use()
        if isinstance(other, Session):
            other._core._use()
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        result = self.__eq__(other)
        return result if result is NotImplemented else not result

    __hash__ = None  # mutable, as every dict

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    # What error reporters and debuggers show of it. They would walk a dict.

    def __sentry_repr__(self) -> str:
        return repr(self)

    def __rich_repr__(self) -> Iterator[Any]:
        return iter(())

    def __repr_args__(self) -> list[Any]:
        return []

    def __pretty__(self, **_: Any) -> Iterator[str]:
        yield repr(self)

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return the value of a key, or the default."""
        self._core._use()
        return self[key] if dict.__contains__(self, key) else default

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # as good, and its repr shows no data
        """Return a view of the keys."""
        self._core._use()
        return _Keys(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # as above
        """Return a view of the values."""
        self._core._use()
        return _Values(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # as above
        """Return a view of the pairs of keys and values."""
        self._core._use()
        return _Items(self)

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        """Return the value of a key; set it to the default before, if it is missing."""
        self._core._use()
        if not dict.__contains__(self, key):
            self[key] = default
        return self[key]

    def pop(self, key: str, /, *default: Any) -> Any:
        """Remove a key and return its value; without the key, the default or a KeyError."""
        self._core._use()
        if default and not dict.__contains__(self, key):
            return dict.pop(self, key, *default)
        self._core._before_write()
        value = dict.pop(self, key)
        self._core.contents.is_written = True
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove the pair that was added last, and return it."""
        self._core._before_write()
        item = dict.popitem(self)
        self._core.contents.is_written = True
        return item

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set several keys: all of them, or none if one is not a string."""
        added = dict(other, **more)
        check_keys(added)
        core = self._core
        core._before_write()
        for key, value in added.items():
            if type(value) not in IMMUTABLE:
                core.contents.shared.add(key)
        dict.update(self, added)
        core.contents.is_written = True

    if not TYPE_CHECKING:  # dict's own signatures say it better

        def __ior__(self, other: Any) -> Self:
            self.update(other)
            return self

        def __or__(self, other: Any) -> dict[str, Any]:
            return {**self, **other} if isinstance(other, dict) else NotImplemented

        def __ror__(self, other: Any) -> dict[str, Any]:
            return {**other, **self} if isinstance(other, dict) else NotImplemented

    def clear(self) -> None:
        """Remove all data. The session itself goes on; :meth:`destroy` ends it."""
        self._core._before_write()
        dict.clear(self)
        self._core.contents.is_written = True

    def copy(self) -> dict[str, Any]:
        """Return a plain dict with the same values."""
        self._core._expose_all(self)
        return dict(dict.items(self))

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(self.copy(), memo)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a session cannot be pickled; `dict(session)` can")

    @classmethod
    def fromkeys(cls, iterable: Iterable[str], value: Any = None, /) -> dict[str, Any]:  # type: ignore[override]  # sessions are made by the middleware
        """Return a plain dict, because sessions are made by the middleware."""
        return dict.fromkeys(iterable, value)

    if not TYPE_CHECKING:  # so that type checkers refuse unknown attributes

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"a session has no attribute `{name}`{_hint(name)}; "
                f'its data are keys: `session["{name}"]`'
            )

        def __setattr__(self, name: str, value: object) -> None:
            if name == "owner":
                object.__setattr__(self, name, value)
                return
            if name == "cookie":
                advice = "assign to its settings: `session.cookie.max_age = ...`"
            elif hasattr(type(self), name):
                advice = "it is not yours to set"
            else:
                advice = f'data are keys: `session["{name}"] = ...`' + _hint(name)
            raise AttributeError(f"`session.{name}` cannot be assigned; {advice}")

        def __delattr__(self, name: str) -> None:
            raise AttributeError(
                f'`session.{name}` cannot be deleted; data are keys: `del session["{name}"]`'
            )

    # What it is

    @property
    def id(self) -> str:
        """The secret that the cookie carries. Do not log it.

        :raises SessionUnavailable: an asynchronous ``generate_id`` has not made it yet.
        :raises LateWriteError: the request is over, and the session has none.
        """
        self._core._use()
        return SessionId(self._core._current_id())

    @property
    def cookie(self) -> SessionCookie:
        """The cookie settings of this session; assign to change them for it alone."""
        core = self._core
        core._use()
        if core._cookie is None:
            core._cookie = SessionCookie(core)
        return core._cookie

    @property
    def is_new(self) -> bool:
        """Whether the session began with this request and is not stored yet."""
        core = self._core
        core._use()
        return core.identity.snapshot is None and not core.identity.continues

    @property
    def is_modified(self) -> bool:
        """Whether there is something to save. Equal values that were assigned do not count."""
        core = self._attached()
        if core.identity.snapshot is None:
            return core._has_contents()
        change = core._change()
        if change is not None:
            core.contents.take_back(change.draft)
        return change is not None

    @property
    def created_at(self) -> float:
        """When the session began, in POSIX seconds."""
        self._core._use()
        return self._core.contents.began_at()

    @property
    def expires_at(self) -> float:
        """When the session ends unless it is used again, in POSIX seconds."""
        core = self._attached()
        snapshot = core.identity.snapshot
        if snapshot is not None and not core.contents.cookie_changed:
            return snapshot.record.expires_at
        return core._backend.expiry(core.contents.state())

    @property
    def expires_in(self) -> float:
        """The seconds until :attr:`expires_at`."""
        return self.expires_at - self._core.contents.settings.clock()

    @property
    def owner(self) -> str | None:
        """Whose session it is, for listing and revoking; derived where the option says how.

        Assigning raises :class:`~coatcheck.errors.ConfigurationError` where it is derived, and
        TypeError for anything but a non-empty string or None.
        """
        return self._attached().contents.current_owner()

    @owner.setter
    def owner(self, owner: str | None) -> None:
        core = self._core
        if core.contents.settings.derive_owner is not None:
            raise ConfigurationError("`session.owner` follows from the option `owner` here")
        if not (owner is None or (isinstance(owner, str) and owner and is_text(owner))):
            raise TypeError(
                "`session.owner` must be a non-empty string or None, without lone surrogates"
            )
        core._before_write()
        core.contents.owner = owner
        core.contents.is_written = True

    @property
    def degraded(self) -> bool:
        """Whether the session is an empty stand-in that is never saved."""
        core = self._core
        if core.phase is not OPEN and not core._ready:
            core._backend.check_late_use()
        core._accessed = True
        core._ensure_loaded()
        return core.identity.is_detached

    @property
    def stored_key(self) -> str | None:
        """The store's key of the record behind the session, or None while there is none.

        With ``hash_ids=False`` it is the secret that the cookie carries. What names a session and
        can be shown is :meth:`Sessions.ref_of <coatcheck.Sessions.ref_of>`.
        """
        core = self._core
        core._use()
        stored = core.identity.snapshot or core.identity.old
        return None if stored is None else SessionId(stored.key)

    # What can be done with it

    def regenerate(self, *, keep_data: bool = False) -> None:
        """Give the session a new id; the old one is dead when the response goes out.

        Do it whenever privileges change, at login above all.

        :param keep_data: go on with data, owner and creation time instead of starting anew.
        :raises LateWriteError: the headers are out, and cannot carry the new cookie.
        :raises SessionGone: ``keep_data``, but the session was ended elsewhere.
        """
        self._core._regenerate(keep_data)

    def destroy(self) -> None:
        """End the session: its data now, its record and cookie with the response.

        What is written afterwards starts a new session with a new id.
        """
        self._core._destroy()

    def touch(self, extend: bool = True) -> None:
        """Move the expiry, however recently it was moved; or not at all.

        It moves with this response. After the headers, as on a WebSocket, it moves with the next
        ``save()``, or else at the end. Where the cookie has a ``max_age``, which cannot go along
        then, it stops one ``touch_interval`` short, so the next response moves both.

        :param extend: False: this request does not keep the session alive. For pages that poll,
            the option ``extends`` costs less: it is asked before anything is moved.
        """
        self._core._use()
        self._core._extend = extend

    def mark_accessed(self) -> None:
        """Note that the response depends on the session. Reading and writing it do so, too.

        Starlette calls it when an application asks for ``request.session``.
        """
        self._core._accessed = True

    # For the engine

    def _attached(self) -> SessionCore:
        """Return what is behind the session, for reading, even after the request."""
        core = self._core
        core._use()
        core.contents.data = self
        return core


_set_core: Final = Session.__dict__["_core"].__set__
_get_item: Final = dict.__getitem__
_set_item: Final = dict.__setitem__


class _Keys(KeysView[str]):
    """The keys of a session, whose repr does not show them."""

    __slots__ = ()
    _mapping: Session

    def __iter__(self) -> Iterator[str]:
        return iter(dict.keys(self._mapping))

    def __reversed__(self) -> Iterator[str]:
        return reversed(dict.keys(self._mapping))

    @property
    def mapping(self) -> MappingProxyType[str, Any]:
        """The session, read-only."""
        return MappingProxyType(self._mapping)


class _Values(ValuesView[Any]):
    """The values of a session, whose repr does not show them."""

    __slots__ = ()
    _mapping: Session

    def __iter__(self) -> Iterator[Any]:
        self._mapping._core._expose_all(self._mapping)
        return iter(dict.values(self._mapping))

    def __reversed__(self) -> Iterator[Any]:
        self._mapping._core._expose_all(self._mapping)
        return reversed(dict.values(self._mapping))

    @property
    def mapping(self) -> MappingProxyType[str, Any]:
        """The session, read-only."""
        return MappingProxyType(self._mapping)


class _Items(ItemsView[str, Any]):
    """The keys and values of a session, whose repr does not show them."""

    __slots__ = ()
    _mapping: Session

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self._mapping._core._expose_all(self._mapping)
        return iter(dict.items(self._mapping))

    def __reversed__(self) -> Iterator[tuple[str, Any]]:
        self._mapping._core._expose_all(self._mapping)
        return reversed(dict.items(self._mapping))

    @property
    def mapping(self) -> MappingProxyType[str, Any]:
        """The session, read-only."""
        return MappingProxyType(self._mapping)


class SessionId(str):
    """A session's id: a string that templates and debuggers do not show."""

    __slots__ = ()

    def __html__(self) -> str:
        return "[session id]"

    def __repr__(self) -> str:
        return "<session id>"

    def __sentry_repr__(self) -> str:
        return repr(self)

    def __rich_repr__(self) -> Iterator[Any]:
        return iter(())

    def __pretty__(self, **_: Any) -> Iterator[str]:
        yield repr(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)


#: What other libraries call something that there is, or that is not needed.
_FOREIGN: Final = {
    **dict.fromkeys(("flush", "invalidate"), "`session.destroy()`"),
    **dict.fromkeys(("cycle_key", "rotate", "renew"), "`session.regenerate(keep_data=True)`"),
    **dict.fromkeys(("permanent", "max_age", "set_expiry"), "`session.cookie.max_age = ...`"),
    **dict.fromkeys(("modified", "changed"), "nothing, because changes are noticed"),
    **dict.fromkeys(("new", "is_empty"), "`session.is_new`"),
    **dict.fromkeys(("sid", "session_key"), "`session.id`"),
}


def _hint(name: str) -> str:
    """Return what to write instead of an attribute that does not exist."""
    if name in _FOREIGN:
        return f"; here it is {_FOREIGN[name]}"
    if name.startswith("_"):
        return ""
    import difflib

    known = [each for each in dir(AsyncSession) if not each.startswith("_")]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"; did you mean `session.{near[0]}`?" if near else ""


class SyncSession(Session):
    """A session of the WSGI middleware. It loads itself at the first use."""

    __slots__ = ()
    _core: SyncSessionCore

    def load(self) -> None:
        """Read the session now instead of at the first use, for code in C as well.

        :raises StoreError: the store failed.
        :raises SessionUnavailable: there is no session at this path.
        """
        self._core._expose_all(self)

    def save(self) -> None:
        """Do now what the end of the request would do: store, regenerate, destroy.

        :raises SessionGone: the session was ended elsewhere.
        :raises LateWriteError: a new session, and the headers are out.
        :raises SerializationError: a value cannot be stored.
        :raises ConflictError: parallel changes that could not be merged.
        :raises StoreError: the store failed.
        """
        self._core._check_open()
        self._core._exclusively(self._core._backend.save)

    def change(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Change the data by a function, and store the result now.

        The function gets the newest stored data, together with what this request has changed, and
        changes the data in place; its return value is yours. If another request was faster, it is
        called again with what that one has stored. So counters are exact, whatever ``concurrency``
        says, and the session shows the result. The function must be quick, depend on nothing but
        its argument, and not use the session.

        :returns: what the function returned. A list or a dict is not the session's own: to change
            the session go on with ``session[key]``.
        :raises TypeError: it is no function, or an asynchronous one.
        :raises SessionGone: the session was ended elsewhere.
        :raises LateWriteError: a new session, and the headers are out.
        :raises ConflictError: others were faster for as long as ``conflict_timeout``.
        :raises StoreError: the store failed, and the change may be stored or not.
        """
        core = self._core
        core._check_open()
        value: T = core._exclusively(lambda: core._backend.change(function))
        return value

    def reload(self) -> None:
        """Drop unsaved changes and read the session again; one that was never stored is empty.

        A requested ``destroy()`` or ``regenerate()`` is still carried out.

        :raises SessionGone: the session was ended elsewhere.
        :raises StoreError: the store failed.
        """
        self._core._check_open()
        self._core._exclusively(self._core._backend.reload)


class AsyncSession(Session):
    """A session of the ASGI middleware."""

    __slots__ = ()
    _core: AsyncSessionCore

    async def load(self) -> None:
        """Read the session, where ``load="lazy"``; otherwise note that code in C will read it.

        :raises StoreError: the store failed.
        :raises SessionUnavailable: there is no session at this path.
        """
        core = self._core
        if core.phase is not OPEN and not core._ready:
            core._backend.check_late_use()
        if not (core._loaded or core._blank or core._failure):
            check_not_closed(core.phase)
            await core._exclusively(core._backend.load)
        core._expose_all(self)

    async def save(self) -> None:
        """Do now what the end of the request would do: store, regenerate, destroy.

        :raises SessionGone: the session was ended elsewhere.
        :raises LateWriteError: a new session, and the headers are out.
        :raises SerializationError: a value cannot be stored.
        :raises ConflictError: parallel changes that could not be merged.
        :raises StoreError: the store failed.
        """
        self._core._check_open()
        await self._core._exclusively(self._core._backend.save)

    async def change(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Change the data by a function, and store the result now.

        The function gets the newest stored data, together with what this request has changed, and
        changes the data in place; its return value is yours. If another request was faster, it is
        called again with what that one has stored. So counters are exact, whatever ``concurrency``
        says, and the session shows the result. The function must be quick, depend on nothing but
        its argument, and not use the session.

        :returns: what the function returned. A list or a dict is not the session's own: to change
            the session go on with ``session[key]``.
        :raises TypeError: it is no function, or an asynchronous one.
        :raises SessionGone: the session was ended elsewhere.
        :raises LateWriteError: a new session, and the headers are out.
        :raises ConflictError: others were faster for as long as ``conflict_timeout``.
        :raises StoreError: the store failed, and the change may be stored or not.
        """
        core = self._core
        core._check_open()
        value: T = await core._exclusively(lambda: core._backend.change(function))
        return value

    async def reload(self) -> None:
        """Drop unsaved changes and read the session again; one that was never stored is empty.

        A requested ``destroy()`` or ``regenerate()`` is still carried out.

        :raises SessionGone: the session was ended elsewhere.
        :raises StoreError: the store failed.
        """
        self._core._check_open()
        await self._core._exclusively(self._core._backend.reload)


# Django's templates call what they find, `{{ session.destroy }}`, unless it says so.
for _kind, _names in (
    (Session, "regenerate destroy touch clear pop popitem update setdefault"),
    (SyncSession, "load save reload change"),
    (AsyncSession, "load save reload change"),
):
    for _name in _names.split():
        _kind.__dict__[_name].alters_data = True


class SessionCore:
    """What is behind a session: where it stands between the request and the store."""

    # Class attributes are the state of a session of which nothing is known yet: most requests
    # end in that state, and pay for nothing else.
    _ready = False
    _blank = False
    _failure: Exception | None = None
    _accessed = False
    _loaded = False
    identity: Identity = UNKNOWN
    _extend: bool | None = None
    _busy = False
    phase: Phase = OPEN
    #: The session's own cookie settings as the browser has them.
    _sent_cookie: Mapping[str, Any] = {}  # never changed in place
    _cookie: SessionCookie | None = None
    contents: Contents
    pending: PendingWrite | None = None

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def _regenerate(self, keep_data: bool) -> None:
        self._use()
        check_headers(self.phase, "`regenerate()` needs")
        if self.identity.is_gone and keep_data:
            raise gone()
        self.identity = self.identity.regenerate(keep_data, self._supersede())
        if not keep_data:
            self.contents.forget()

    def _destroy(self) -> None:
        if not self._ready:
            self._prepare(reads=False)
        self._check_open()
        self.identity = self.identity.destroy(self._supersede())
        self.contents.forget()
        if self.phase is RAISED:
            self._backend.end_outside()

    def _supersede(self) -> bool:
        """Tell the write that is under way that the session leaves its id, if there is one."""
        if self.pending is None:
            return False
        self.pending.is_superseded = True
        return True

    # For the engine

    @property
    def _is_over(self) -> bool:
        """Whether its middleware has served the request, or failed to."""
        return self.phase >= RAISED

    def _advance(self, phase: Phase) -> None:
        """Note that the request has come so far. It never goes back."""
        if phase > self.phase:
            self.phase = phase

    def _prepare(self, reads: bool = True) -> None:
        """Make the data available, or say why they are not.

        :param reads: the response may depend on them from here on.
        """
        if reads and self.phase is not OPEN:
            self._backend.check_late_use()
        self._accessed = True
        self._ensure_loaded()
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        self._ready = True

    def _current_id(self) -> str:
        if self.identity.id is None:
            check_not_closed(self.phase)
            self.identity.id = self._backend.new_id()
        return self.identity.id

    def _ensure_loaded(self) -> None:
        if not (self._loaded or self._failure):
            if not self._blank:
                check_not_closed(self.phase)
            self._load_at_first_use()

    @abstractmethod
    def _load_at_first_use(self) -> None:
        """Load the session, or begin a new one where none was presented."""

    def _fail(self, failure: Exception) -> None:
        """Note why there is no session; it is raised at the first use."""
        self._failure = failure
        self._loaded = True
        self._hold_off()

    def _use(self) -> None:
        if not self._ready:
            self._prepare()

    def _expose_all(self, data: dict[str, Any]) -> None:
        """Note what all values look like before the application, or code in C, can change one.

        :param data: the session, which is not known here any more once the request is over.
        """
        self._use()
        self.contents.share_all(data)

    def _before_write(self) -> None:
        if not self._ready:
            self._prepare()
        if self.phase is not OPEN:
            check_write(self.phase, self.identity.is_announced)

    def _check_open(self) -> None:
        self._use()
        check_not_closed(self.phase)

    def _change_cookie(self, options: CookieOptions, changed: dict[str, Any]) -> None:
        self._before_write()
        check_headers(self.phase, "cookie settings need")
        options.check_name(self.contents.settings.name)
        self.contents.change_cookie(changed)

    def _start(self) -> None:
        """Begin as a new, empty session."""
        self.contents.begin()
        self.identity = New()
        self._loaded = True

    def _hold_off(self) -> None:
        """See to it that code in C, which reads without asking, finds no empty dict."""
        self.contents.hold_off(_NOT_LOADED)

    def _fill(self, session_id: str, snapshot: Snapshot, state: SessionState) -> None:
        """Continue a stored session."""
        self.contents.fill(state)
        self.identity = Stored(session_id, snapshot, is_announced=True)
        self._sent_cookie = state.cookie
        # Last, for other threads: who finds it loaded goes on without a lock.
        self._loaded = True

    def _refill(self, snapshot: Snapshot, state: SessionState) -> None:
        """Show what was read again, without changes."""
        self.identity.reread(snapshot)
        self.contents.refill(state)

    def _empty(self) -> None:
        """Show a session that is not stored without changes: there is nothing to read again."""
        self.contents.forget()
        self.identity.reset()

    def _replace_data(self, contents: Mapping[str, Any]) -> None:
        """Take over what the application put in the session's place."""
        if contents is not self.contents.data:
            data = dict(contents)
            check_keys(data)
            self._before_write()
            self.contents.replace(data)

    def _has_contents(self) -> bool:
        """Whether a session that is not stored is worth it."""
        return self.identity.must_store or not self.contents.is_empty()

    def _may_differ(self, nested: bool = True) -> bool:
        """Whether the session can differ from what is stored; cheaper than finding out.

        :param nested: ask also whether values have changed that the application has.
        """
        return self.identity.attempts is not None or self.contents.may_differ(nested)

    def _change(self) -> PendingWrite | None:
        """Return what is to be written if the session differs from what is stored."""
        identity = self.identity
        assert identity.snapshot is not None, "it is stored"
        if not self._may_differ():
            return None
        write = self._draft()
        if identity.attempts is not None and identity.attempts.unknown:
            # What is stored may be an earlier attempt of ours, not what was loaded.
            return write
        is_same = write.encoded == self._backend.content(identity.snapshot)
        return None if is_same else write

    def _draft(self) -> PendingWrite:
        """Encode the session as it is now. What changes from here on is another change."""
        identity = self.identity
        new_id = identity.id if identity.snapshot is None else None
        return PendingWrite(self.contents.draft(), new_id)

    def _write_failed(self, pending: PendingWrite) -> None:
        """Note that a write failed, or that nobody knows what became of it."""
        self.pending = None
        if not pending.is_superseded:
            self.contents.take_back(pending.draft)
        elif pending.id is not None:
            self.identity.add_orphan(pending.id)

    def _write_succeeded(
        self, pending: PendingWrite, snapshot: Snapshot, state: SessionState
    ) -> None:
        """Note what is stored now, and show it together with what was changed meanwhile."""
        self.pending = None
        if pending.is_superseded:
            self.identity = self.identity.superseded_by(snapshot)
            if not self.identity.keeps_data:
                return
        else:
            self.identity = self.identity.stored_as(snapshot)
        if state is not pending.state:
            self.contents.show_stored(
                state, lambda mine: self._backend.rebase(pending, mine, snapshot)
            )

    def _record_deleted(self, pending: PendingWrite | None = None) -> None:
        """Note that the session was ended elsewhere; changes are dropped."""
        self.pending = None
        if pending is not None and pending.is_superseded and not self.identity.keeps_data:
            return  # the old one is ended all the same: it may go on under another id
        self.identity = self.identity.vanished()
        self.contents.is_written = self.contents.cookie_changed = False


class SyncSessionCore(SessionCore):
    """A session of the WSGI middleware, which loads itself."""

    def __init__(self, backend: Backend, run: Callable[[Steps[Any]], Any]) -> None:
        self._backend = backend
        self._run = run
        # Reentrant: what is done under it may be the first use of the session.
        self._lock = threading.RLock()

    def _load_at_first_use(self) -> None:
        with self._lock:
            if not self._loaded:
                if self._blank:
                    self._start()
                else:
                    self._exclusively(self._backend.load)

    def _exclusively(self, steps: Callable[[], Steps[T]]) -> T:
        with self._lock:
            if self._busy:
                return self._run(steps())  # type: ignore[no-any-return]  # any runner
            # Before it looks whether the request is over, as the request, in another thread, is
            # noted to be over before it looks whether the session is busy.
            self._busy = True
            try:
                check_not_closed(self.phase)
                return self._run(steps())  # type: ignore[no-any-return]  # any runner
            finally:
                self._busy = False
                if self.phase is CLOSED:
                    self._backend.let_go()


class AsyncSessionCore(SessionCore):
    """A session of the ASGI middleware, which awaits."""

    _idle: anyio.Event | None = None

    def __init__(self, backend: Backend, run: Callable[[Steps[Any]], Any]) -> None:
        self._backend = backend
        self._run = run

    def _load_at_first_use(self) -> None:
        if self._blank:
            self._start()
            return
        raise SessionUnavailable('with `load="lazy"`, `await session.load()` comes first')

    async def _exclusively(self, steps: Callable[[], Steps[T]]) -> T:
        # An anyio.Lock would yield to the event loop each time; nearly always nobody waits.
        while self._busy:
            import anyio

            self._idle = self._idle or anyio.Event()
            await self._idle.wait()
        check_not_closed(self.phase)
        self._busy = True
        try:
            return await self._run(steps())  # type: ignore[no-any-return]  # any runner
        finally:
            self._busy = False
            if self.phase is CLOSED:
                self._backend.let_go()
            if self._idle is not None:
                self._idle.set()
                self._idle = None


#: The attributes that nearly each session which is used sets.
_ATTRIBUTES: Final = """
    _backend _run _blank _ready _loaded _accessed phase _cookie
    contents _busy _sent_cookie
    pending identity
"""

lay_out(SyncSessionCore, _ATTRIBUTES + "_lock")
lay_out(AsyncSessionCore, _ATTRIBUTES + "_idle")


class SessionNotLoaded:
    """Stands in a session that is not loaded: encoders name its type in their errors."""

    __slots__ = ()

    def __repr__(self) -> NoReturn:
        raise SessionUnavailable("the session is not loaded: `session.load()` comes first")

    __str__ = __repr__


_UNLOADED: Final = SessionNotLoaded()
#: No encoder knows the value's type. If it is told how to encode that (`default=`), it still
#: refuses the second key, which has no UTF-8.
_NOT_LOADED: Final = {"a session that is not loaded": _UNLOADED, "\ud800": _UNLOADED}


def gone() -> SessionGone:
    return SessionGone("the session was ended by another request, or has expired")
