"""Django's session middleware, for sessions that other requests may end at any time."""

from __future__ import annotations

import logging

from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

__all__ = ["SessionMiddleware"]


def __dir__() -> list[str]:
    return __all__


_log = logging.getLogger("coatcheck")


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's session middleware, except for a session that was ended during the request.

    Django answers such a request with 400, although its work is done. Here the response of the view
    goes out, and the changes of the session are dropped. No cookie goes with it: the browser may
    have the cookie of a newer login by now.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Save the session, and set its cookie."""
        try:
            return super().process_response(request, response)
        except SessionInterrupted:
            _log.warning(
                "the changes of a request were dropped: its session was ended by another request "
                "meanwhile"
            )
            patch_vary_headers(response, ("Cookie",))
            return response
