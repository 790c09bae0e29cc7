"""Hold what all requests of one middleware share: its options, made ready for use."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ..cookie import CookieOptions
from ..errors import ConfigurationError
from ..events import Emitter
from ..options import Request, SessionOptions
from .deployment import Notices
from .policy import Policy

if TYPE_CHECKING:
    from .request_adapter import RequestAdapter
    from .takeover import Takeover

#: How many results of a callable `cookie` have their settings kept.
_POLICIES: Final = 32


class SessionManager:
    """The options of a middleware, made ready.

    :param options: the middleware's options.
    :param adapter: reads the driver's requests.
    :param eager: what ``load="auto"`` means to the driver.
    :ivar emit: tells the observers and the debug log of an event.
    :ivar fixed_policy: the settings of each request; None where the option ``cookie`` is a
        callable.
    :ivar everywhere: whether each path has a session.
    :ivar takeover: takes over old sessions; None where the option ``old_sessions`` is not set.
    :ivar whole_cookie: whether a record holds all settings of the cookie, not only those of its
        session.
    :ivar eager: whether a session is loaded before the application runs.
    """

    def __init__(self, options: SessionOptions, adapter: RequestAdapter, *, eager: bool) -> None:
        self.options = options
        self.adapter = adapter
        self.emit = Emitter(options.observers, options.clock)
        self.notices = Notices(options)
        self.writer = options.cookie_format.bind(options.name, options.secrets)
        self.takeover: Takeover | None = None
        if options.old_sessions:
            from .takeover import Takeover  # most applications need none

            self.takeover = Takeover(options, adapter, self.writer)
        # A policy refers to itself, so one for each request would be left to the garbage collector.
        # A method would lead back to the manager, and leave each middleware to it.
        emit = self.emit
        self._policies = lru_cache(_POLICIES)(lambda cookie: Policy(options, cookie, emit))
        self.fixed_policy: Policy | None = None
        if isinstance(options.cookie, CookieOptions):
            self.fixed_policy = Policy(options, options.cookie, self.emit)
        self.everywhere = self.fixed_policy is not None and self.fixed_policy.cookie.path == "/"
        self.whole_cookie = bool(getattr(options.codec, "whole_cookie", False))
        # These three need to know of each request whether it has a session.
        every_request = options.rolling or options.resave or options.save_uninitialized
        self.eager = every_request or options.load == "eager" or (options.load == "auto" and eager)

    def policy_of(self, request: Request) -> Policy:
        """Return the settings of a request, where the option ``cookie`` is a callable.

        :raises ConfigurationError: the callable returned something else, or a setting that the
            cookie's name forbids.
        """
        options = self.options
        cookie = options.cookie
        if not isinstance(cookie, CookieOptions):
            cookie = cookie(request)
        if not isinstance(cookie, CookieOptions):
            raise ConfigurationError(
                f"`cookie` must return CookieOptions, not {type(cookie).__name__}"
            )
        cookie.check_name(options.name)
        return self._policies(cookie)

    def new_id(self, request: Request) -> str:
        """Make an id for a session of the request.

        :raises ConfigurationError: ``generate_id`` returned what no cookie can carry.
        """
        made: object = self.options.generate_id(request)
        if not isinstance(made, str) or not self.writer.valid_id(made):
            raise ConfigurationError(
                "`generate_id` must return 16 to 128 characters of A-Z, a-z, 0-9, `-` and `_`, "
                "or what the cookie format takes instead (`valid_id` of `express_options`)"
                + ("" if isinstance(made, str) else f", not {type(made).__name__}")
            )
        return made

    def key_of(self, session_id: str) -> str:
        """Return the store's key for a session id."""
        if self.options.hash_ids:
            return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()
        return session_id
