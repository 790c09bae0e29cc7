"""Put what the session has to say into the headers of a response."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import AnyStr, Generic

from . import caching, deployment
from .request_context import RequestContext
from .session_manager import SessionManager
from .set_cookie import NOTHING, HeaderChanges


class HeaderWriter(Generic[AnyStr]):
    """Put what the session has to say into the headers of a response.

    :param to: turns text into the type of the protocol's headers.
    :param text: turns it back.
    """

    def __init__(self, to: Callable[[str], AnyStr], text: Callable[[AnyStr], str]) -> None:
        self._to: Callable[[str], AnyStr] = to
        self._text: Callable[[AnyStr], str] = text
        self._vary: AnyStr = to("vary")
        self._cookie: AnyStr = to("Cookie")
        self._set_cookie: AnyStr = to("set-cookie")
        self._cache_control: AnyStr = to("cache-control")
        self._between: AnyStr = to("\n")
        self._vary_cookie: tuple[AnyStr, AnyStr] = (self._vary, self._cookie)
        self._no_store: tuple[AnyStr, AnyStr] = (self._cache_control, to("no-store"))

    @cached_property
    def _name_for_caches(self) -> re.Pattern[AnyStr]:
        """Found wherever a header is for caches."""
        return re.compile(self._to("|".join(map(re.escape, caching.PARTS_OF_NAMES))))

    def applied(
        self,
        headers: Iterable[tuple[AnyStr, AnyStr]],
        changes: HeaderChanges,
        context: RequestContext,
    ) -> list[tuple[AnyStr, AnyStr]]:
        """Return a new list of headers, and note it where the response does not use the session."""
        if changes is NOTHING:
            result = list(headers)
        else:
            result = self.changed(headers, changes, context.manager)
        if not changes.vary:
            context.unused_headers = result
        return result

    def changed(
        self,
        headers: Iterable[tuple[AnyStr, AnyStr]],
        changes: HeaderChanges,
        manager: SessionManager,
    ) -> list[tuple[AnyStr, AnyStr]]:
        """Return a new list: the application's belongs to it, and may serve other responses."""
        result = list(headers)
        names = []
        for name, _ in result:
            names.append(name.lower())  # a comprehension is slower
        sets = changes.set_cookie is not None or bool(changes.removals)
        for_caches = sets and self._speak_of_caches(names)
        if for_caches:
            self._warn_of_sharing(result, manager)  # what the application says: without our Vary
        if changes.vary:
            if self._vary in names:
                self._extend_vary(result, names)
            else:
                result.append(self._vary_cookie)
        if sets:
            if for_caches:
                result = self._without_storing(result)
            else:
                result.append(self._no_store)
            for line in (*changes.removals, changes.set_cookie):
                if line is not None:
                    result.append((self._set_cookie, self._to(line)))
        return result

    def may_be_shared(self, headers: Iterable[tuple[AnyStr, AnyStr]], now: float) -> bool:
        """Tell whether a response says that a cache may serve it to several visitors."""
        text = self._text
        return caching.may_be_shared(((text(name), text(value)) for name, value in headers), now)

    def _speak_of_caches(self, names: list[AnyStr]) -> bool:
        """Tell whether headers say what caches may do.

        :param names: in lower case.
        """
        together = self._between.join(names)  # nearly always no part of any name is there
        if self._name_for_caches.search(together) is None:
            return False
        return any(
            name == self._cache_control or caching.forbids(self._text(name)) is not None
            for name in names
        )

    def _warn_of_sharing(
        self, headers: Iterable[tuple[AnyStr, AnyStr]], manager: SessionManager
    ) -> None:
        if deployment.SHARED not in manager.notices and self.may_be_shared(
            headers, manager.options.clock()
        ):
            manager.notices.give(deployment.SHARED)

    def _without_storing(
        self, headers: Iterable[tuple[AnyStr, AnyStr]]
    ) -> list[tuple[AnyStr, AnyStr]]:
        """Return headers by which no cache stores the response."""
        result: list[tuple[AnyStr, AnyStr]] = []
        controls: list[str] = []
        for name, value in headers:
            forbidding = caching.forbids(self._text(name).lower())
            if name.lower() == self._cache_control:
                controls.append(self._text(value))
            else:
                result.append((name, value if forbidding is None else self._to(forbidding)))
        result.append((self._cache_control, self._to(caching.restricted(controls))))
        return result

    def _extend_vary(self, headers: list[tuple[AnyStr, AnyStr]], names: list[AnyStr]) -> None:
        """Add Cookie to the last Vary header, unless one of them has it or is ``*``."""
        last = 0
        for index, name in enumerate(names):
            if name == self._vary:
                last = index
                listed = [part.strip().lower() for part in headers[index][1].split(self._to(","))]
                if self._to("*") in listed or self._cookie.lower() in listed:
                    return
        name, value = headers[last]
        added = value + self._to(", ") + self._cookie if value.strip() else self._cookie
        headers[last] = (name, added)
