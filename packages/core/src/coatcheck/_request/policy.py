"""Which settings apply to a request's session: its cookie's, and how long it lives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .._cookies.setting_checks import posix
from .._records.lifecycle import Lifecycle
from .._records.session_writer import CONFLICT_SECONDS
from .._session.contents import Settings
from ..codec import SessionState
from ..cookie import SETTINGS, CookieAttributes, CookieOptions, in_seconds
from ..events import Emitter
from ..options import DEFAULT_LIFETIME, SessionOptions

#: Unless configured, an expiry is moved at most this often, in seconds ...
_TOUCH_INTERVAL = 60.0
#: ... or after this part of the lifetime, if that is sooner.
_TOUCH_PART = 0.1
#: The part of its lifetime that a session has left, at least, when the application gets it.
_ENOUGH = 0.5


class Policy:
    """The middleware's options together with one set of cookie settings.

    :param cookie: the settings before those of the session.
    """

    def __init__(self, options: SessionOptions, cookie: CookieOptions, emit: Emitter) -> None:
        self.cookie = cookie
        self._clock = options.clock
        self._idle = in_seconds(options.idle_timeout)
        self._absolute = in_seconds(options.absolute_timeout)
        self._touch_interval = in_seconds(options.touch_interval)
        self._max_age = in_seconds(cookie.max_age)
        self._expires = None if cookie.expires is None else posix(cookie.expires)
        #: Seconds that a session without settings of its own lives; None: until `_expires`.
        self._lifetime = self._idle or self._max_age
        if self._lifetime is None and self._expires is None:
            self._lifetime = DEFAULT_LIFETIME
        #: Seconds by which an expiry of such a session has to move before it is worth a touch; None
        #: where that depends on more than the clock.
        self._quiet: float | None = None
        if self._lifetime is not None and self._absolute is None:
            self._quiet = min(_TOUCH_INTERVAL, self._lifetime * _TOUCH_PART)
            if self._touch_interval is not None:
                self._quiet = self._touch_interval
        self._attributes: dict[bool, CookieAttributes] = {}
        self.lifecycle = lifecycle_of(options, emit, self.expiry)
        #: What sessions need to know.
        self.settings = Settings(
            options.clock,
            options.codec,
            _owner_rule(options),
            cookie,
            options.name,
            self.lifecycle.content,
        )

    def expiry(self, state: SessionState) -> float:
        """Return when a session expires that is used now, in POSIX seconds."""
        if not state.cookie and self._lifetime is not None and self._absolute is None:
            return self._clock() + self._lifetime  # nearly always
        return self.expires_at(state.cookie, state.created_at)

    def expires_at(self, own: Mapping[str, Any], created_at: float) -> float:
        """Return when a session expires that is used now, in POSIX seconds.

        :param own: the session's own cookie settings.
        """
        if not own and self._lifetime is not None:
            end = self._clock() + self._lifetime
        elif own.get("max_age") is not None:
            end = self._clock() + float(own["max_age"])
        elif own.get("expires") is not None:
            end = float(own["expires"])
        elif self._idle is not None:
            end = self._clock() + self._idle
        elif self._max_age is not None and "max_age" not in own:
            end = self._clock() + self._max_age
        elif self._expires is not None and "expires" not in own:
            end = self._expires
        else:
            end = self._clock() + DEFAULT_LIFETIME
        return self._capped(end, created_at)

    def attributes(self, name: str, is_https: bool) -> CookieAttributes:
        """Return the cookie's attributes, for sessions without settings of their own."""
        if is_https not in self._attributes:
            self._attributes[is_https] = self.cookie.resolve(name, is_https)
        return self._attributes[is_https]

    def recorded_settings(self, attributes: CookieAttributes) -> dict[str, Any]:
        """Return all settings of the cookie, for sessions without settings of their own.

        :param attributes: what :meth:`attributes` returned, where ``"auto"`` is settled.
        """
        configured = {name: getattr(self.cookie, name) for name in SETTINGS}
        times = {"max_age": self._max_age, "expires": self._expires}
        settled = {"secure": attributes.secure, "same_site": attributes.same_site}
        return {**configured, **times, **settled}

    def touch_is_due(self, expires_at: float, stored: float, forced: bool | None) -> bool:
        """Tell whether a stored expiry has to move.

        :param forced: whether the application asked for it.
        """
        moved = abs(expires_at - stored)
        if moved == 0 or forced:
            return moved != 0
        return moved >= self.touch_interval(expires_at)

    def was_touched_lately(self, own: Mapping[str, Any], stored: float) -> bool:
        """Tell quickly that a stored expiry is not worth a touch. False: somebody has to look.

        :param own: the session's own cookie settings.
        """
        quiet, lifetime = self._quiet, self._lifetime
        if own or quiet is None or lifetime is None:
            return False
        return abs(self._clock() + lifetime - stored) < quiet

    def touch_interval(self, expires_at: float) -> float:
        """Return the seconds by which an expiry has to move before it is worth a touch.

        :param expires_at: when the session expires if it is touched now.
        """
        if self._touch_interval is not None:
            return self._touch_interval
        return min(_TOUCH_INTERVAL, (expires_at - self._clock()) * _TOUCH_PART)

    def little_is_left(self, own: Mapping[str, Any], created_at: float, stored: float) -> bool:
        """Tell whether a stored expiry has to move as soon as the session is loaded.

        :param own: the session's own cookie settings.
        """
        left = stored - self._clock()
        if not own and self._lifetime is not None and left >= self._lifetime * _ENOUGH:
            return False  # nearly always; a cap on the lifetime would leave it as it is
        return left < (self.expires_at(own, created_at) - self._clock()) * _ENOUGH

    def short_of(self, expires_at: float) -> float:
        """Return the seconds that an expiry keeps back at loading, so that a touch remains due.

        :param expires_at: when the session expires if it is touched now.
        """
        lifetime = expires_at - self._clock()
        return min(self.touch_interval(expires_at), lifetime * (1 - _ENOUGH) / 2)

    def with_lifetime(
        self, attributes: CookieAttributes, options: CookieOptions, created_at: float
    ) -> CookieAttributes:
        """Add Max-Age and Expires, if the cookie has to outlive the browser.

        :param options: the settings of the session.
        """
        if options.max_age is None and options.expires is None:
            return attributes
        max_age = in_seconds(options.max_age)
        end = posix(options.expires or 0) if max_age is None else self._clock() + max_age
        end = self._capped(end, created_at)
        left = max(0, round(end - self._clock()))
        return replace(attributes, max_age=left, expires=end)

    def _capped(self, end: float, created_at: float) -> float:
        return end if self._absolute is None else min(end, created_at + self._absolute)


def lifecycle_of(
    options: SessionOptions, emit: Emitter, expiry: Callable[[SessionState], float]
) -> Lifecycle:
    """Return what loads and stores sessions after the options of a middleware.

    :param expiry: returns the POSIX time at which a state expires if it is extended now.
    """
    return Lifecycle(
        codec=options.codec,
        expiry=expiry,
        clock=options.clock,
        absolute_timeout=in_seconds(options.absolute_timeout),
        concurrency=options.concurrency,
        emit=emit,
        owner=_owner_rule(options),
        rules=options.merge,
        conflict_timeout=in_seconds(options.conflict_timeout) or CONFLICT_SECONDS,
    )


def _owner_rule(options: SessionOptions) -> Callable[[Mapping[str, Any]], str | None] | None:
    """Return what derives the owner from the data; None where it is a value of its own."""
    return None if options.owner is None else options.derived_owner
