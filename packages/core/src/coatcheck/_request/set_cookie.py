"""Read the session cookie that came with a request, and decide which one goes with its response.

docs/decisions/2026-11-30-cookie-and-record.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._cookies.cookie_header import path_matches, set_cookie_line
from .._session.identity import Stored
from ..cookie import CookieAttributes, CookieOptions, with_own
from ..cookie_format import CookieToken
from ..errors import ConfigurationError
from . import deployment, forwarding
from .policy import Policy

if TYPE_CHECKING:
    from .._session.session_core import SessionCore
    from ..options import Request
    from .session_manager import SessionManager

#: RFC 9110, 9.2.1.
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class HeaderChanges(NamedTuple):
    """Hold what the session adds to the response headers.

    :ivar set_cookie: the value of a Set-Cookie header, or None.
    :ivar vary: whether the response depends on the cookie.
    :ivar removals: the values of more Set-Cookie headers, which remove old cookies.
    """

    set_cookie: str | None
    vary: bool
    removals: tuple[str, ...] = ()


#: Nothing: the response has nothing to do with the session.
NOTHING: Final = HeaderChanges(None, False)
#: The response depends on the session, which has not changed.
READ: Final = HeaderChanges(None, True)


def header_changes(set_cookie: str | None, is_accessed: bool) -> HeaderChanges:
    """Return what goes into the headers.

    :param is_accessed: whether the response may depend on the session.
    """
    if set_cookie is None:
        return READ if is_accessed else NOTHING
    return HeaderChanges(set_cookie, True)


class SetCookie:
    """The session cookie in one request and its response.

    :param manager: what all requests share.
    :param policy: the settings of this request.
    :ivar presented: whether the request had a cookie of our name, good or bad. It is False until
        somebody asked for the tokens.
    :ivar is_outdated: whether the cookie that came was signed by a former secret.
    :ivar follows_expiry: whether the record's expiry moved, and the cookie's has to.
    """

    __slots__ = (
        "_https",
        "_manager",
        "_policy",
        "_request",
        "_resolved",
        "_tokens",
        "follows_expiry",
        "is_outdated",
        "presented",
    )

    def __init__(self, manager: SessionManager, request: Request, policy: Policy) -> None:
        self._manager = manager
        self._request = request
        self._policy = policy
        self.presented = self.is_outdated = self.follows_expiry = False
        #: None until they are read.
        self._tokens: list[CookieToken] | None = None
        #: Whether the client's connection is secure; None until that is asked.
        self._https: bool | None = None
        #: The attributes that were worked out last, and the settings that they follow from.
        self._resolved: tuple[CookieOptions, CookieAttributes] | None = None

    # The cookie that came

    def in_path(self) -> bool:
        """Tell whether the request is inside the cookie's path (RFC 6265, 5.1.4)."""
        cookie_path = self._policy.cookie.path
        if cookie_path == "/":
            return True
        return path_matches(self._manager.adapter.path(self._request), cookie_path)

    def tokens(self) -> list[CookieToken]:
        """Return the ids to try: those with a good signature and syntax."""
        if self._tokens is None:
            self._tokens = self._read()
        return self._tokens

    def forget_tokens(self) -> None:
        """Note that no session is left of those whose cookie came."""
        self._tokens = []

    def let_go(self) -> None:
        """Let go of the request, which leads to the session and here."""
        self._request = {}

    def _read(self) -> list[CookieToken]:
        manager = self._manager
        tokens: list[CookieToken] = []
        headers = manager.adapter.cookie_headers(self._request)
        if not headers:
            return tokens
        writer = manager.writer
        for value in writer.candidates(headers):
            self.presented = True
            token = writer.unsign(value)
            if token is not None and writer.valid_id(token.id):
                tokens.append(token)
            else:
                manager.emit("bad_cookie")
                if token is None and not manager.takeover:
                    manager.notices.unsigned_cookie()
        return tokens

    # The cookie that goes

    def line(self, session: SessionCore) -> str | None:
        """Return the one Set-Cookie of this response, or None if it needs none."""
        identity = session.identity
        if type(identity) is not Stored:
            return None if identity.is_gone else self.removal_line(session)
        is_due = self.is_outdated or self.follows_expiry or self._manager.options.rolling
        if identity.cookie_was_sent and not is_due:
            return None
        assert identity.id is not None, "it is stored"
        line = self._line(identity.id, session.contents.cookie_options, session.contents.began_at())
        if line is not None:
            identity.cookie_sent()
            session.sent_cookie = session.contents.cookie
        return line

    def removal_line(self, session: SessionCore) -> str | None:
        """Return the line that expires the browser's cookie, or None if none has to go.

        It repeats the settings of the ended session: otherwise the browser would keep the cookie.
        """
        if not session.identity.ends_presented:
            return None
        self.tokens()
        if not self.presented:
            return None
        attributes = self._attributes(with_own(self._policy.cookie, session.sent_cookie))
        expired = replace(attributes, max_age=0, expires=0.0)
        return self._manager.writer.set_cookie("", expired)

    def removal_of(self, name: str, options: CookieOptions, is_sent: bool) -> str | None:
        """Return the line that expires a cookie of another library.

        :param options: the attributes of that cookie.
        :param is_sent: whether the response has our cookie, which may replace that one.
        """
        attributes = options.resolve(name, self._is_https())
        if is_sent and name == self._manager.options.name:
            ours = self._attributes(self._policy.cookie)
            if (ours.path, ours.domain) == (attributes.path, attributes.domain):
                return None
        return set_cookie_line(name, "", replace(attributes, max_age=0, expires=0.0))

    def can_be_sent(self, options: CookieOptions) -> bool:
        """Tell whether a browser would accept the cookie on this connection."""
        return not self._attributes(options).secure or self._is_https()

    def withheld_by(self, options: CookieOptions) -> str | None:
        """Return the SameSite for which the browser kept back any cookie that it may have.

        With requests that other sites make it sends a lax cookie only where the user follows a
        link (RFC 6265bis, 5.8.3), and a strict one never. None: it would have sent one.

        :param options: the settings of the session.
        """
        adapter, request = self._manager.adapter, self._request
        if self.presented or adapter.header(request, "sec-fetch-site") != "cross-site":
            return None
        same_site = self._attributes(options).same_site or "lax"  # as browsers have it
        follows_link = (
            adapter.header(request, "sec-fetch-dest") == "document"
            and adapter.method(request) in _SAFE_METHODS
        )
        sent = same_site == "none" or (same_site == "lax" and follows_link)
        return None if sent else same_site.capitalize()

    def recorded_settings(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the cookie settings that a new session's record holds.

        :param own: those of the session alone.
        """
        if not self._manager.whole_cookie:
            return own
        attributes = self._attributes(self._policy.cookie)
        return {**self._policy.recorded_settings(attributes), **own}

    def _line(self, session_id: str, options: CookieOptions, created_at: float) -> str | None:
        """Return the line that sends a session to the browser, or None if it cannot be sent."""
        manager, writer = self._manager, self._manager.writer
        if manager.notices.one_process:
            manager.notices.check_processes(manager.adapter.is_multiprocess(self._request))
        attributes = self._attributes(options)
        if attributes.secure:
            if not self._is_https():
                return None
        elif options.secure == "auto":
            self._notice_untrusted()
        attributes = self._policy.with_lifetime(attributes, options, created_at)
        return writer.set_cookie(writer.sign(session_id), attributes)

    def _attributes(self, options: CookieOptions) -> CookieAttributes:
        resolved = self._resolved
        if resolved is None or resolved[0] is not options:
            name, https = self._manager.options.name, self._is_https()
            if options is self._policy.cookie:
                resolved = options, self._policy.attributes(name, https)
            else:
                resolved = options, options.resolve(name, https)
            self._resolved = resolved
        return resolved[1]

    # The connection

    def _is_https(self) -> bool:
        if self._https is None:
            self._https = self._manager.options.https or self._find_https()
        return self._https

    def _find_https(self) -> bool:
        """Tell whether the client's connection is secure."""
        manager, trusts = self._manager, self._manager.options.trust_proxy
        said: object = None
        if callable(trusts):
            said = trusts(self._request)
            if not isinstance(said, bool):
                raise ConfigurationError(
                    f"`trust_proxy` must return True or False, not {type(said).__name__}"
                )
        elif trusts:
            said = self._said_by_proxies()
        return manager.adapter.is_https(self._request) if said is None else bool(said)

    def _said_by_proxies(self) -> bool | None:
        header = self._manager.adapter.header
        return forwarding.is_https(
            header(self._request, "x-forwarded-proto"), header(self._request, "forwarded")
        )

    def _notice_untrusted(self) -> None:
        """Warn where a proxy says https, but is not trusted, and the cookie lacks Secure."""
        manager = self._manager
        if manager.options.trust_proxy or deployment.UNTRUSTED in manager.notices:
            return
        if not self._is_https() and self._said_by_proxies():
            manager.notices.give(deployment.UNTRUSTED)
