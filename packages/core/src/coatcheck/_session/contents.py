"""Hold the data of a session and what is stored with them, and tell whether they changed."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .._json.tagged_json import TAG_BYTE
from .._records.records import Snapshot
from ..codec import IMMUTABLE, Codec, JSONCodec, SessionState, dumps_json
from ..cookie import CookieOptions, with_own

_set_item: Final = dict.__setitem__
_items: Final = dict.items
#: Never changed in place.
_NOTHING: Final[dict[str, Any]] = {}


class Settings:
    """Hold what a session needs to know of its middleware.

    :param clock: returns POSIX seconds.
    :param codec: turns the session into bytes.
    :param derive_owner: returns the owner that follows from the data; None where the owner is a
        value of its own.
    :param cookie: the cookie settings of the request, before those of the session.
    :param name: the cookie's name.
    :param content: returns the encoded state of what is stored.
    """

    __slots__ = ("clock", "codec", "content", "cookie", "derive_owner", "name")

    def __init__(  # a dataclass would take a millisecond of each import
        self,
        clock: Callable[[], float],
        codec: Codec,
        derive_owner: Callable[[Mapping[str, Any]], str | None] | None,
        cookie: CookieOptions,
        name: str,
        content: Callable[[Snapshot], bytes],
    ) -> None:
        self.clock = clock
        self.codec = codec
        self.derive_owner = derive_owner
        self.cookie = cookie
        self.name = name
        self.content = content


class Contents:
    """Hold the data of a session.

    The application can change a value that it got without telling anybody. Such a value is shared,
    and its fingerprint tells later whether it has changed.

    :param data: the session itself, which is a dict. Once the request is over, an empty dict that
        nobody else has.
    :param settings: those of the middleware.
    :param state: a stored session; None for a new, empty one.
    :ivar shared: the keys whose values are mutable and known to the application.
    :ivar is_written: whether the application wrote something since the last draft.
    :ivar cookie: the session's own cookie settings.
    :ivar cookie_changed: whether the application changed them since the last draft.
    :ivar owner: whose session it is, where that does not follow from the data.
    :ivar created_at: when the session began, in POSIX seconds; None until that is asked for.
    :ivar extra: what else the stored form has.
    """

    __slots__ = (
        "_all_cookie_settings",
        "_fingerprints",
        "_only_scalars",
        "cookie",
        "cookie_changed",
        "created_at",
        "data",
        "extra",
        "is_written",
        "owner",
        "settings",
        "shared",
    )

    def __init__(
        self, data: dict[str, Any], settings: Settings, state: SessionState | None = None
    ) -> None:
        self.data = data
        self.settings = settings
        self.shared: set[str] = set()
        #: Shared values, some at a time, with what they looked like when last stored or handed out.
        self._fingerprints: list[tuple[Any, bytes | None]] = []
        #: Whether the application got and set nothing but JSON's scalars. Then the rest is as it
        #: was stored, and has a tag only where the record has.
        self._only_scalars = True
        self.is_written = self.cookie_changed = False
        self._all_cookie_settings: tuple[Mapping[str, Any], CookieOptions] | None = None
        dict.clear(data)
        self.cookie: Mapping[str, Any]
        self.owner: str | None
        self.created_at: float | None
        self.extra: Mapping[str, Any]
        if state is None:
            self.cookie = self.extra = _NOTHING
            self.owner = self.created_at = None
        else:
            dict.update(data, state.data)
            self.cookie, self.extra = state.cookie, state.extra
            self.owner, self.created_at = state.owner, state.created_at

    # What the application does

    def share(self, key: str, value: Any) -> None:
        """Note what a value looks like before the application can change it."""
        self._fingerprints.append((value, _fingerprint(value)))
        self.shared.add(key)
        self._only_scalars = False

    def receive(self, key: str, value: Any) -> None:
        """Note a value that the application sets, which is none of JSON's scalars."""
        self._only_scalars = False
        if type(value) not in IMMUTABLE:
            self.shared.add(key)

    def share_all(self, data: dict[str, Any]) -> None:
        """Note what all values look like before the application, or code in C, can change one.

        :param data: the session, which is not known here any more once the request is over.
        """
        for key, value in [*dict.items(data)]:
            if type(value) not in IMMUTABLE and key not in self.shared:
                self.share(key, value)

    def unshare(self) -> None:
        """Note that no value that the application has can change any more."""
        self.shared = set()

    def change_cookie(self, changed: Mapping[str, Any]) -> None:
        """Change cookie settings of this session."""
        # A new dictionary: a write that is under way has the old one.
        self.cookie = {**self.cookie, **changed}
        self.cookie_changed = True

    def replace(self, data: dict[str, Any]) -> None:
        """Show other data, which the application has."""
        self._show(data)
        self.shared, self._fingerprints = set(data), []
        self._only_scalars = False
        self.is_written = True

    # What they are

    @property
    def cookie_options(self) -> CookieOptions:
        """All cookie settings that apply to this session."""
        base = self.settings.cookie
        if not self.cookie:
            return base
        if self._all_cookie_settings is None or self._all_cookie_settings[0] is not self.cookie:
            self._all_cookie_settings = self.cookie, with_own(base, self.cookie)
        return self._all_cookie_settings[1]

    def began_at(self) -> float:
        """Return when the session began, in POSIX seconds: now, unless it has begun before."""
        if self.created_at is None:
            self.created_at = self.settings.clock()
        return self.created_at

    def current_owner(self) -> str | None:
        """Return whose session it is."""
        derive = self.settings.derive_owner
        return self.owner if derive is None else derive(self.plain())

    def plain(self) -> dict[str, Any]:
        """Return a plain dict with the data."""
        return dict(_items(self.data))

    def state(self) -> SessionState:
        """Return them in the form that codecs store."""
        data, derive = dict(_items(self.data)), self.settings.derive_owner
        owner = self.owner if derive is None else derive(data)
        began_at = self.began_at() if self.created_at is None else self.created_at
        return SessionState(data, began_at, self.cookie, owner, self.extra)

    def encoded(self) -> bytes:
        """Return their stored form as they are now, and change nothing."""
        return self.settings.codec.dumps(self.state())

    def is_empty(self) -> bool:
        """Tell whether there is nothing worth storing."""
        return self.owner is None and dict.__len__(self.data) == 0

    # How they become another session's

    def refill(self, state: SessionState) -> None:
        """Show what was read again, without changes."""
        self._show(state.data)
        self._take(state)
        self.is_written = self.cookie_changed = False

    def forget(self) -> None:
        """Become an empty session, which begins now."""
        dict.clear(self.data)
        self.shared, self._fingerprints = set(), []
        self._only_scalars = True
        self.cookie = self.extra = _NOTHING
        self.owner = self.created_at = None
        self.is_written = self.cookie_changed = False

    # Whether they have changed

    def may_differ(self, nested: bool = True) -> bool:
        """Tell whether they can differ from what is stored; that is cheaper than finding out.

        :param nested: ask also whether shared values have changed.
        """
        if self.is_written or self.cookie_changed:
            return True
        if not nested:
            return False
        try:
            for values, fingerprint in self._fingerprints:
                if fingerprint is None or fingerprint != marshal.dumps(values, _MARSHAL_VERSION):
                    return True
        except ValueError:
            return True
        return False

    def draft(self, base: Snapshot | None) -> tuple[SessionState, bytes, bool]:
        """Encode them as they are now. A change from here on is another change.

        :param base: the record that the session was loaded from or stored as, if there is one.
        :returns: the state, its stored form, and whether the cookie settings had changed.
        """
        cookie_changed = self.cookie_changed
        self.is_written = self.cookie_changed = False
        try:
            if self.shared:
                self._take_fingerprints()
            state, codec = self.state(), self.settings.codec
            if type(codec) is JSONCodec:
                is_plain = self._only_scalars and not (base and TAG_BYTE in base.record.data)
                return state, dumps_json(state, is_plain), cookie_changed
            return state, codec.dumps(state), cookie_changed
        except BaseException:
            self.take_back(cookie_changed)
            raise

    def take_back(self, cookie_changed: bool) -> None:
        """Note that a draft is not stored, so they still differ from what is.

        :param cookie_changed: whether the cookie settings had changed before it.
        """
        self.is_written = True
        self.cookie_changed = self.cookie_changed or cookie_changed

    def show_stored(
        self, state: SessionState, rebase: Callable[[SessionState], SessionState]
    ) -> None:
        """Show what a write has stored, with the changes of others, and what changed meanwhile.

        :param state: what is stored.
        :param rebase: returns, for what is shown now, that together with what is stored.
        """
        changed = self.may_differ()
        if changed:
            state = rebase(self.state())
        shared = self.shared
        self._show(state.data)
        self._take(state)
        self.is_written = changed
        self.shared = shared
        self._take_fingerprints()

    def _take(self, state: SessionState) -> None:
        self.shared, self._fingerprints = set(), []
        self.created_at = state.created_at
        self.cookie = state.cookie
        self.owner = state.owner
        self.extra = state.extra

    def _show(self, data: dict[str, Any]) -> None:
        """Let the session have other data. Other threads never see it empty meanwhile."""
        mine = self.data
        dict.update(mine, data)
        for key in [*dict.keys(mine)]:
            if key not in data:
                dict.pop(mine, key, None)
        if [*dict.keys(mine)] != [*data]:
            for key, value in data.items():
                dict.pop(mine, key)
                _set_item(mine, key, value)

    def _take_fingerprints(self) -> None:
        """Note what the shared values look like now."""
        # A copy, because other threads may add to the set; and the set stays, so that they do.
        values = [dict.get(self.data, key) for key in tuple(self.shared)]
        self._fingerprints = [(values, _fingerprint(values))]


def check_keys(keys: Iterable[object]) -> None:
    """Check that keys are strings.

    :raises TypeError: one is none.
    """
    if _STRINGS.issuperset(map(type, keys)):
        return
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"session keys must be strings, not {type(key).__name__}")


_STRINGS: Final = frozenset({str})

#: Twice as fast as those before. It notes which objects are referred to more than once, so a
#: value that the application holds at one time and not at the other may look changed: then the
#: session is encoded for nothing, and found to be the same.
_MARSHAL_VERSION: Final = 4


def _fingerprint(value: Any) -> bytes | None:
    """Return bytes that differ whenever the values do, or None for types that marshal lacks.

    It is ten times faster than encoding the value, and like it tells 1, 1.0 and True apart. The
    bytes stay in this process.
    """
    try:
        return marshal.dumps(value, _MARSHAL_VERSION)
    except ValueError:
        return None
