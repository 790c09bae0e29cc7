"""What one request says about the session cookie, and what its response may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from . import deployment, forwarding
from .cookie import CookieAttributes, CookieOptions, path_matches, with_own
from .cookie_format import CookieToken
from .errors import ConfigurationError
from .policy import Policy

if TYPE_CHECKING:
    from .engine import Engine
    from .options import Request

#: RFC 9110, 9.2.1.
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class RequestCookie:
    """The cookie of our name in one request."""

    #: Whether the request presented a cookie of our name, good or bad.
    presented = False
    #: The settings that apply to this request.
    policy: Policy
    _tokens: list[CookieToken] | None = None
    _https: bool | None = None
    _resolved: tuple[CookieOptions, CookieAttributes] | None = None

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request

    def in_path(self) -> bool:
        """Tell whether the request is inside the cookie's path (RFC 6265, 5.1.4)."""
        cookie_path = self.policy.cookie.path
        if cookie_path == "/":
            return True
        return path_matches(self._engine.dialect.path(self._request), cookie_path)

    def tokens(self) -> list[CookieToken]:
        """Return the ids to try, those with a good signature and syntax."""
        if self._tokens is None:
            self._tokens = self._read()
        return self._tokens

    def can_be_sent(self, options: CookieOptions) -> bool:
        """Tell whether a browser would accept the cookie on this connection."""
        return not self._attributes(options).secure or self._is_https()

    def withheld_by(self, options: CookieOptions) -> str | None:
        """Return the SameSite for which the browser kept back any cookie that it may have.

        With requests that other sites make it sends a lax cookie only where the user follows a
        link (RFC 6265bis, 5.8.3), and a strict one never. None: it would have sent one.

        :param options: the settings of the session.
        """
        dialect, request = self._engine.dialect, self._request
        if self.presented or dialect.header(request, "sec-fetch-site") != "cross-site":
            return None
        same_site = self._attributes(options).same_site or "lax"  # as browsers have it
        follows_link = (
            dialect.header(request, "sec-fetch-dest") == "document"
            and dialect.method(request) in _SAFE_METHODS
        )
        sent = same_site == "none" or (same_site == "lax" and follows_link)
        return None if sent else same_site.capitalize()

    def line(self, session_id: str, options: CookieOptions, created_at: float) -> str | None:
        """Return the Set-Cookie line that announces a session, or None if it cannot be sent.

        :param options: the settings of the session.
        """
        engine, writer = self._engine, self._engine.writer
        if engine.notices.one_process:
            engine.notices.check_processes(engine.dialect.is_multiprocess(self._request))
        attributes = self._attributes(options)
        if attributes.secure:
            if not self._is_https():
                return None
        elif options.secure == "auto":
            self._notice_untrusted()
        attributes = self.policy.with_lifetime(attributes, options, created_at)
        return writer.set_cookie(writer.sign(session_id), attributes)

    def removal_line(self, own: Mapping[str, Any]) -> str | None:
        """Return the line that expires the browser's cookie, or None if it showed none.

        :param own: the settings of the ended session, because the removal repeats them.
        """
        self.tokens()
        if not self.presented:
            return None
        attributes = self._attributes(with_own(self.policy.cookie, own))
        expired = replace(attributes, max_age=0, expires=0.0)
        return self._engine.writer.set_cookie("", expired)

    def _read(self) -> list[CookieToken]:
        engine = self._engine
        tokens: list[CookieToken] = []
        headers = engine.dialect.cookie_headers(self._request)
        if not headers:
            return tokens
        writer = engine.writer
        for value in writer.candidates(headers):
            self.presented = True
            token = writer.unsign(value)
            if token is not None and writer.valid_id(token.id):
                tokens.append(token)
            else:
                engine.announce("bad_cookie")
                if token is None:
                    engine.notices.unsigned_cookie()
        return tokens

    def _policy_of_request(self) -> Policy:
        options = self._engine.options
        cookie = options.cookie
        if not isinstance(cookie, CookieOptions):
            cookie = cookie(self._request)
        if not isinstance(cookie, CookieOptions):
            raise ConfigurationError(
                f"`cookie` must return CookieOptions, not {type(cookie).__name__}"
            )
        cookie.check_name(options.name)
        return Policy(options, cookie, self._engine.announce)

    def _is_https(self) -> bool:
        if self._https is None:
            self._https = self._engine.options.https or self._find_https()
        return self._https

    def _find_https(self) -> bool:
        """Tell whether the client's connection is secure."""
        engine, trusts = self._engine, self._engine.options.trust_proxy
        said: object = None
        if callable(trusts):
            said = trusts(self._request)
            if not isinstance(said, bool):
                raise ConfigurationError(
                    f"`trust_proxy` must return True or False, not {type(said).__name__}"
                )
        elif trusts:
            said = self._said_by_proxies()
        return engine.dialect.is_https(self._request) if said is None else bool(said)

    def _said_by_proxies(self) -> bool | None:
        header = self._engine.dialect.header
        return forwarding.is_https(
            header(self._request, "x-forwarded-proto"), header(self._request, "forwarded")
        )

    def _notice_untrusted(self) -> None:
        """Warn where a proxy says https, but is not trusted, and the cookie lacks Secure."""
        engine = self._engine
        if engine.options.trust_proxy or deployment.UNTRUSTED in engine.notices:
            return
        if not self._is_https() and self._said_by_proxies():
            engine.notices.give(deployment.UNTRUSTED)

    def _attributes(self, options: CookieOptions) -> CookieAttributes:
        resolved = self._resolved
        if resolved is None or resolved[0] is not options:
            name, https = self._engine.options.name, self._is_https()
            if options is self.policy.cookie:
                resolved = options, self.policy.attributes(name, https)
            else:
                resolved = options, options.resolve(name, https)
            self._resolved = resolved
        return resolved[1]
