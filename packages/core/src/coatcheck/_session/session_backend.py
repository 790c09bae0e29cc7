"""Name what a session needs from the request that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .._records.operations import Operations
from ..codec import SessionState

if TYPE_CHECKING:
    from .._request.policy import Policy
    from .._request.replacement import Place
    from .._request.saving import Saving


class Backend(Protocol):
    """Do for a session what it needs from the request that it belongs to."""

    def presents_session(self) -> bool:
        """Tell whether the request has a cookie that a session may be found with."""

    def load(self) -> Operations[None]:
        """Load the session, or begin a new one."""

    def reload(self) -> Operations[None]:
        """Show what is stored."""

    def new_id(self) -> str:
        """Make an id."""

    def expiry(self, state: SessionState) -> float:
        """Return when a session expires that is used now, in POSIX seconds."""

    def check_late_use(self) -> None:
        """Refuse the session to a body that caches may serve to other visitors."""

    def let_go(self) -> None:
        """Let go of the session and the request."""

    @property
    def saving(self) -> Saving:
        """The part that saves the session."""

    @property
    def end_outside(self) -> Callable[[], None]:
        """A function that carries out `destroy()` after the application raised."""

    @property
    def place(self) -> Place:
        """The place where the application finds the session."""

    @property
    def policy(self) -> Policy:
        """The settings of the request."""

    @property
    def manager(self) -> object:
        """The object that all requests of one middleware share."""
