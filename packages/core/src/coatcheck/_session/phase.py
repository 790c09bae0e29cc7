"""Name the phases of a request, and check whether its session can still be saved.

docs/decisions/2026-11-30-session-core.md has the reasons.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ..errors import LateWriteError


class Phase(IntEnum):
    """Name how far a request is. A request never goes back to an earlier phase."""

    #: The response headers can still carry a cookie.
    OPEN = 0
    #: The response headers are sent, or are decided.
    HEADERS_SENT = 1
    #: The session could not be saved, so the response is an error.
    FAILED = 2
    #: The application raised. An error page outside the middleware may still have the session.
    RAISED = 3
    #: The request is over.
    CLOSED = 4

    @property
    def is_over(self) -> bool:
        """Whether the middleware has served the request, or failed to."""
        return self >= Phase.RAISED


# Attributes of an enumeration take longer to look up, and requests ask for these often.
OPEN: Final = Phase.OPEN
HEADERS_SENT: Final = Phase.HEADERS_SENT
FAILED: Final = Phase.FAILED
RAISED: Final = Phase.RAISED
CLOSED: Final = Phase.CLOSED


def check_write(phase: Phase, cookie_was_sent: bool) -> None:
    """Check that a change of the session can be saved now.

    :param cookie_was_sent: whether the browser has the session's cookie.
    :raises LateWriteError: it cannot be saved.
    """
    if phase is OPEN or (phase is HEADERS_SENT and cookie_was_sent):
        return
    if phase is CLOSED:
        raise LateWriteError("the request is over: its session can only be read")
    if phase is RAISED:
        raise outside()
    if phase is FAILED:
        raise LateWriteError("the session could not be saved, and the response is an error")
    raise LateWriteError(
        "the response headers are sent, without a cookie for this session: it cannot be saved; "
        "write to the session before the response starts"
    )


def check_not_closed(phase: Phase) -> None:
    """Check that the request is not over.

    :raises LateWriteError: it is over.
    """
    if phase is CLOSED:
        raise LateWriteError("the request is over: its session can only be read")


def check_headers(phase: Phase, what: str) -> None:
    """Check that the response headers can still carry a cookie.

    :param what: the action that needs them, as the beginning of the error's text.
    :raises LateWriteError: they cannot.
    """
    check_not_closed(phase)
    if phase is RAISED:
        raise outside()
    if phase is not OPEN:
        raise LateWriteError(
            f"{what} the response headers, which are sent: do it before the response starts"
        )


def outside() -> LateWriteError:
    """Return the error for changes by an error page outside the middleware."""
    return LateWriteError(
        "the application raised, and this error page is outside the session middleware: its "
        "changes of the session cannot be saved. Put the middleware around the whole application, "
        "`app = SessionMiddleware(app, ...)`, so that the error page is inside; `destroy()` works "
        "here as well"
    )
