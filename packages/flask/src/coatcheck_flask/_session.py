"""Give a session the attributes that Flask's sessions have."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from flask.sessions import SessionMixin

from coatcheck import Session, SyncSession

if TYPE_CHECKING:
    from coatcheck.integration import AsyncRequestSession, SyncRequestSession

#: Attributes that Flask, and code that is written for it, may assign.
_ASSIGNABLE: Final = frozenset({"permanent", "modified", "accessed"})


R = TypeVar("R", bound="SyncRequestSession[Any] | AsyncRequestSession[Any]")


class State(Generic[R]):
    """Hold what Flask's hooks know of the session of one request.

    :param opened: the session on its way through the request.
    :param lifetime: of a permanent session.
    :param refreshes: whether each request keeps a permanent session alive.
    :ivar insists: whether the application said that the session is modified, or ended it, or gave
        it another id.
    :ivar is_saved: whether it was saved, and the headers are decided.
    :ivar was_modified: whether there was something to save, as ``session.modified`` says it
        afterwards.
    """

    __slots__ = (
        "_unwanted",
        "insists",
        "is_saved",
        "lifetime",
        "opened",
        "refreshes",
        "was_accessed",
        "was_modified",
    )

    def __init__(
        self,
        opened: R,
        lifetime: timedelta,
        refreshes: bool,
    ) -> None:
        #: None once the request is over.
        self.opened: R | None = opened
        self.lifetime: timedelta = lifetime
        self.refreshes: bool = refreshes
        self.insists: bool = False
        self.is_saved: bool = False
        self.was_modified: bool = False
        self.was_accessed: bool = False
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
        return self.insists or session.is_modified

    def set_modified(self, session: Session, value: bool) -> None:
        """Do what an assignment to ``session.modified`` asks for."""
        self.insists = value
        self._unwanted = None
        if value:
            session.touch()
        elif self.opened is not None and self.opened.is_loaded:
            self._unwanted = deepcopy(session.copy())

    def is_accessed(self) -> bool:
        """Tell what ``session.accessed`` is."""
        return self.was_accessed if self.opened is None else self.opened.is_accessed

    def prepare(self, session: FlaskAttributes) -> bool:
        """Apply Flask's rules before the session is saved. Returns whether to drop its changes."""
        assert self.opened is not None, "it is not saved yet"
        if not self.opened.is_loaded:
            return False
        self.was_modified = self.is_modified(session)
        if self._unwanted is not None and not self.was_modified:
            return True
        if self.was_modified and not session and not session.is_new:
            session.destroy()  # Flask ends a session that was emptied
        elif not self.was_modified and not self.refreshes and session.permanent:
            session.touch(False)
        return False

    def let_go(self) -> None:
        """Note that the request is over."""
        if self.opened is not None:
            self.was_accessed = self.opened.is_accessed
            self.opened = None


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

    def regenerate(self, *, keep_data: bool = False) -> None:
        """Give the session a new id: see :meth:`coatcheck.Session.regenerate`."""
        super().regenerate(keep_data=keep_data)
        self._state.insists = True

    def destroy(self) -> None:
        """End the session: see :meth:`coatcheck.Session.destroy`."""
        super().destroy()
        self._state.insists = True

    @property
    def new(self) -> bool:
        """Whether the session began with this request and is not stored yet."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether there is, or was, something to save. Nested changes count.

        Assigning True keeps the session alive. Assigning False drops what was changed, unless
        something is changed afterwards.
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


def attach(session: FlaskAttributes, state: State[Any]) -> None:
    """Tell a session of its request."""
    object.__setattr__(session, "_state", state)


def state_of(session: FlaskAttributes) -> State[Any]:
    """Return what :func:`attach` attached."""
    return session._state
