"""Give a session the attributes that Flask's sessions have."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import flask
from flask.sessions import SessionMixin
from markupsafe import Markup

from coatcheck import Session, Store, SyncSession
from coatcheck.errors import LateWriteError, SerializationError

if TYPE_CHECKING:
    from coatcheck.integration import AsyncRequestSession, SyncRequestSession

#: Attributes that Flask, and code that is written for it, may assign.
_ASSIGNABLE: Final = frozenset({"permanent", "modified", "accessed"})


#: Where Flask keeps its flashed messages, and its own tag for those that are HTML.
_FLASHES: Final = "_flashes"
_HTML: Final = " m"


class Step(Enum):
    """Name what an interface does with a session before its changes are saved."""

    NONE = auto()
    #: Drop the changes.
    DISCARD = auto()
    #: End the session, unless another request has changed it.
    END_UNCHANGED = auto()
    #: Drop a login that came when the session was saved, and say so.
    REFUSE_LOGIN = auto()


T = TypeVar("T")
R = TypeVar("R", bound="SyncRequestSession[Any] | AsyncRequestSession[Any]")


class State(Generic[R]):
    """Hold what Flask's hooks know of the session of one request.

    :param opened: the session on its way through the request.
    :param lifetime: of a permanent session.
    :param refreshes: whether each request keeps a permanent session alive.
    :param is_permanent: whether a session is permanent if nobody says so.
    :ivar insists: whether the application said that the session is modified, or ended it, or gave
        it another id.
    :ivar leaves_id: whether the application ended the session, or gave it another id.
    :ivar was_cleared: whether the application removed all data at once, which is a logout.
    :ivar was_empty: whether there were no data when it was saved.
    :ivar is_saved: whether it was saved, and the headers are decided.
    :ivar streams: whether the response is produced after the context that opened the session.
    :ivar is_preserved: whether a test client keeps that context for the test.
    :ivar was_modified: whether there was something to save, as ``session.modified`` says it
        afterwards.
    """

    __slots__ = (
        "_has_new_id",
        "_is_prepared",
        "_unwanted",
        "insists",
        "is_permanent",
        "is_preserved",
        "is_saved",
        "leaves_id",
        "lifetime",
        "opened",
        "refreshes",
        "streams",
        "was_accessed",
        "was_cleared",
        "was_empty",
        "was_modified",
    )

    def __init__(
        self,
        opened: R,
        lifetime: timedelta,
        refreshes: bool,
        is_permanent: bool,
    ) -> None:
        #: None once the request is over.
        self.opened: R | None = opened
        self.lifetime: timedelta = lifetime
        self.refreshes: bool = refreshes
        self.is_permanent: bool = is_permanent
        self.insists: bool = False
        self.leaves_id: bool = False
        self.is_saved: bool = False
        self.streams: bool = False
        self.is_preserved: bool = False
        self.was_cleared: bool = False
        self.was_empty: bool = False
        self.was_modified: bool = False
        self.was_accessed: bool = False
        self._is_prepared = self._has_new_id = False
        #: The data as they were when the application said that they are not modified.
        self._unwanted: dict[str, Any] | None = None

    def is_modified(self, session: Session) -> bool:
        """Tell what ``session.modified`` is. That is no use of the session."""
        if self.opened is None or self.was_modified:
            return self.was_modified
        if not self.opened.is_loaded:
            return False
        if self._unwanted is not None:
            return session.copy() != self._unwanted
        try:
            return self.insists or session.is_modified
        except SerializationError:
            return True  # saving raises it

    def set_modified(self, session: Session, value: bool) -> None:
        """Do what an assignment to ``session.modified`` asks for."""
        if self.leaves_id and not value:
            return  # the end and the new id are wanted
        self.insists = value
        self._unwanted = None
        if value:
            session.touch()
        elif self.opened is not None and self.opened.is_loaded:
            self._unwanted = deepcopy(session.copy())

    def leave_id(self) -> None:
        """Note that the application ended the session, or gave it another id."""
        self.insists = self.leaves_id = True
        self._unwanted = None

    def keeps_id(self) -> bool:
        """Tell whether a login leaves the id as it is: it is a new one, or no cookie can go out."""
        return self.leaves_id or self.is_saved or self.opened is None or is_event()

    def want(self) -> None:
        """Note that a change is wanted although the session was said to be not modified."""
        self._unwanted = None

    def is_accessed(self) -> bool:
        """Tell what ``session.accessed`` is."""
        return self.was_accessed if self.opened is None else self.opened.is_accessed

    def prepare(self, session: FlaskAttributes, sends_cookie: bool = True) -> Step:
        """Apply Flask's rules before the session is saved. Returns what to do before.

        A second call, for the page of an error that came after the session was saved, refuses a
        login there: it would keep the id, which somebody else may know.

        :param sends_cookie: whether a response can have the cookie.
        """
        assert self.opened is not None, "the request is not over"
        is_again, self._is_prepared = self._is_prepared, True
        if not self.opened.is_loaded:
            return Step.NONE
        if is_again:
            keeps_id = self.is_saved and not (self._has_new_id or self.leaves_id)
            return Step.REFUSE_LOGIN if keeps_id and self.opened.is_new_owners else Step.NONE
        self._has_new_id = session.is_new
        self.was_empty = not session
        self.was_modified = self.is_modified(session)
        if not self.was_modified:
            if self._unwanted is not None:
                return Step.DISCARD
            if not self.refreshes and session.permanent:
                session.touch(False)
        elif self.was_empty:
            return self._end_emptied(session)
        elif sends_cookie and self.opened.is_new_owners:
            session.regenerate(keep_data=True)  # who knows the id must not be logged in as well
        return Step.NONE

    def prepare_late(self) -> Step:
        """Apply Flask's rules before late changes are saved. Returns what to do before."""
        assert self.opened is not None, "the request is not over"
        session: FlaskAttributes = self.opened.session
        if self.opened.is_loaded and not (self.was_empty or session) and session.is_modified:
            return self._end_emptied(session)
        return Step.NONE

    def _end_emptied(self, session: FlaskAttributes) -> Step:
        """End a session that was emptied, as Flask does."""
        if session.is_new:
            return Step.NONE
        if self.was_cleared:
            session.destroy()
            return Step.NONE
        # Its last flashed message was shown, perhaps. Another request may have logged in meanwhile.
        return Step.END_UNCHANGED

    def let_go(self) -> None:
        """Note that the request is over."""
        if self.opened is not None:
            self.was_accessed = self.opened.is_accessed
            self.opened = None


#: What each context of the framework has opened when it was pushed. A copy of a context, for a
#: thread or a task, has the same session, but is not here: its end is not that of the request.
Contexts: TypeAlias = WeakKeyDictionary[object, State[R]]


class FlaskAttributes(Session):
    """A session with the attributes of Flask's.

    They are beside those of coatcheck's session, which it has as well: ``regenerate()``,
    ``destroy()``, ``cookie`` and the others.
    """

    _state: State[Any]

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser, for ``PERMANENT_SESSION_LIFETIME``.

        It is a setting of the session's cookie, and no key of its data. Assigning it alone
        stores no session.
        """
        cookie = self.cookie
        return cookie.max_age is not None or cookie.expires is not None

    @permanent.setter
    def permanent(self, value: bool) -> None:
        if bool(value) != self.permanent:
            self.cookie.max_age = self._state.lifetime if value else None
            self._state.want()

    def clear(self) -> None:
        """Remove all data, so that the session ends unless it gets new ones.

        It is then no longer permanent. A session that could not be loaded ends, too.
        """
        super().clear()
        self._state.was_cleared = True
        if self.degraded:
            self.destroy()
        elif not self._state.is_saved:
            self.permanent = self._state.is_permanent

    def regenerate(self, *, keep_data: bool = False) -> None:
        """Give the session a new id: see :meth:`coatcheck.Session.regenerate`."""
        super().regenerate(keep_data=keep_data)
        self._state.leave_id()

    def destroy(self) -> None:
        """End the session: see :meth:`coatcheck.Session.destroy`."""
        super().destroy()
        self._state.leave_id()

    def _leave_id_at_login(self) -> None:
        """Get a new id if somebody has logged in since the data were stored."""
        state, opened = self._state, self._state.opened
        if opened and opened.is_loaded and opened.is_new_owners and not state.keeps_id():
            self.regenerate(keep_data=True)

    def _watch_login(self) -> Callable[[], bool]:
        """Return a function that gives the session a new id if somebody has logged in meanwhile.

        It tells whether it did.
        """
        self._leave_id_at_login()
        former = self.owner

        def leave_id() -> bool:
            if self._state.keeps_id() or self.is_new or self.owner in {None, former}:
                return False
            self.regenerate(keep_data=True)
            return True

        return leave_id

    if not TYPE_CHECKING:  # as dict's own

        def __setitem__(self, key, value):
            if key == _FLASHES and isinstance(value, list):
                value = [_tagged(each) for each in value]
            super().__setitem__(key, value)

        def pop(self, key, /, *default):
            value = super().pop(key, *default)
            if key == _FLASHES and isinstance(value, list):
                value = [_untagged(each) for each in value]
            return value

    @property
    def new(self) -> bool:
        """Whether the session began with this request and is not stored yet."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether there is, or was, something to save. Nested changes count.

        Assigning True keeps the session alive. Assigning False drops what was changed, unless
        something is changed afterwards, or the session was ended or got a new id.
        """
        return self._state.is_modified(self)

    @modified.setter
    def modified(self, value: bool) -> None:
        self._state.set_modified(self, bool(value))

    @property
    def accessed(self) -> bool:
        """Whether the response may depend on the session, so that it gets ``Vary: Cookie``."""
        return self._state.is_accessed()

    @accessed.setter
    def accessed(self, value: bool) -> None:
        if value:
            self.mark_accessed()

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            if name in _ASSIGNABLE:
                object.__setattr__(self, name, value)
            else:
                super().__setattr__(name, value)


class FlaskSession(FlaskAttributes, SyncSession, SessionMixin):  # type: ignore[override]  # `new`
    """The session behind ``flask.session``: coatcheck's, with the attributes of Flask's."""

    def regenerate(self, *, keep_data: bool = False) -> None:
        """Give the session a new id: see :meth:`coatcheck.Session.regenerate`.

        :raises LateWriteError: in an event of Flask-SocketIO, too.
        """
        if is_event():
            raise LateWriteError("an event cannot give the session a new id: do it in a page")
        super().regenerate(keep_data=keep_data)

    def save(self, *, store: Store | None = None) -> None:
        """Do now what the end of the request would do: see :meth:`coatcheck.SyncSession.save`.

        A login gives the session a new id, unless the headers are out.
        """
        self._leave_id_at_login()
        super().save(store=store)

    def change(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Change the data by a function: see :meth:`coatcheck.SyncSession.change`.

        A login gives the session a new id, unless the headers are out.
        """
        leave_id = self._watch_login()
        value = super().change(function)
        if leave_id():
            super().save()  # so the former id ends, whatever becomes of the request
        return value


def late_login() -> LateWriteError:
    """Return the error for a login that :attr:`Step.REFUSE_LOGIN` drops."""
    return LateWriteError(
        "the session was saved before the error, and cannot get a new id any more, so nobody is "
        "logged in: log in before the response, or in the next request"
    )


def is_event() -> bool:
    """Tell whether an event of Flask-SocketIO has the session. It cannot send a cookie."""
    return flask.has_request_context() and hasattr(flask.request, "sid")


def _tagged(flash: Any) -> Any:
    """Return a category and a message in the form that is stored: HTML has Flask's tag.

    Lazy strings, as Flask-Babel has them, say that they are HTML as well.
    """
    match flash:
        case (category, message) if callable(getattr(message, "__html__", None)):
            return category, {_HTML: str(message.__html__())}
    return flash


def _untagged(flash: Any) -> Any:
    """Return a category and a message as Flask flashes them."""
    match flash:
        case (category, {" m": str(html), **others}) if not others:
            return category, Markup(html)  # noqa: S704  # it was HTML when it was flashed
    return flash


def attach(session: FlaskAttributes, state: State[Any]) -> None:
    """Tell a session of its request."""
    object.__setattr__(session, "_state", state)


def state_of(session: FlaskAttributes) -> State[Any]:
    """Return what :func:`attach` attached."""
    return session._state
