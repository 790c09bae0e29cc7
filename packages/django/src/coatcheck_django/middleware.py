"""Django's session middleware, for sessions that other requests may end at any time."""

from __future__ import annotations

import logging

from django.conf import settings
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from ._engine import SessionStore

__all__ = ["SessionMiddleware"]


def __dir__() -> list[str]:
    return __all__


_log = logging.getLogger("coatcheck")


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's session middleware, except for a session that was ended during the request.

    Django answers such a request with 400, although its work is done. Here the response of the view
    goes out, and the changes of the session are dropped. No cookie goes with it: the browser may
    have the cookie of a newer login by now.

    With ``SESSION_SAVE_EVERY_REQUEST``, a request that has not used its session gets no new one
    either, if there is none under the key of its cookie any more.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Save the session, and set its cookie."""
        if settings.SESSION_SAVE_EVERY_REQUEST and _has_only_a_key(request):
            return response
        try:
            return super().process_response(request, response)
        except SessionInterrupted:
            _log.warning(
                "the changes of a request were dropped: its session was ended by another request "
                "meanwhile"
            )
            patch_vary_headers(response, ("Cookie",))
            return response


def _has_only_a_key(request: HttpRequest) -> bool:
    """Tell whether a request has the key of a session that is gone, and has not looked for it."""
    session = getattr(request, "session", None)
    if not isinstance(session, SessionStore) or session.session_key is None or session.accessed:
        return False
    session.keys()  # it reads the session, which is saved next
    return session.session_key is None
