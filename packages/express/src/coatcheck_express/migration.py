"""Turn Express's sessions into coatcheck's own, without logging anybody out.

A session migrates at its visitor's next request. It is looked up under the new key, and under
Express's key if the new key has no record. It is written as a record of coatcheck's under the new
key, Express's record is removed, and the response sets a cookie of coatcheck's. The session keeps
its id, so parallel requests with the old cookie also find it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Final, Literal, TypeAlias

from coatcheck.codec import SessionState
from coatcheck.cookie import MAX_AGE_LIMIT, CookieAttributes, CookieOptions, in_seconds
from coatcheck.cookie_format import CookieToken, CookieWriter, is_hash
from coatcheck.errors import ConfigurationError, CorruptRecord
from coatcheck.options import SessionOptions

from .codec import ExpressCodec

Write: TypeAlias = Literal["express", "native"]

#: The first bytes of a record of the native JSON codec.
_NATIVE_BEGINNING: Final = b'{"v":'


def migrate_from_express(
    native: SessionOptions, express: SessionOptions, *, write: Write = "native"
) -> SessionOptions:
    """Return options that read both formats of sessions, and write one of them.

    If there are several processes, first deploy ``write="express"`` to all of them: they read both
    formats and migrate nothing. Then deploy ``write="native"``. After the longest lifetime use
    ``native``.

    :param native: the new options, with ``hash_ids``. The cookie may have a new name, but then the
        old cookie stays in the browser until it expires.
    :param express: the current options, from :func:`~coatcheck_express.express_options`.
    :param write: the format of new sessions. With ``"native"``, Express's sessions migrate.
    :raises ConfigurationError: the options are not of these kinds.
    """
    for options in (native, express):
        if not isinstance(options, SessionOptions):
            raise ConfigurationError(
                f"`native` and `express` must be SessionOptions, not {type(options).__name__}"
            )
    if not isinstance(express.codec, ExpressCodec) or express.hash_ids:
        raise ConfigurationError("`express` must be what `express_options` returned")
    if isinstance(native.codec, ExpressCodec | _ReadsBoth) or not native.hash_ids:
        raise ConfigurationError("`native` must have `hash_ids=True` and a codec of its own")
    if write not in ("express", "native"):
        raise ConfigurationError(f'`write` must be "express" or "native", not {write!r}')
    stores = [options.store for options in (native, express) if options.store is not None]
    if len(stores) == 2 and stores[0] != stores[1]:
        raise ConfigurationError("`native` and `express` must have the same `store`")
    codec = (_WritesNative if write == "native" else _WritesExpress)(native, express)
    return replace(
        native if write == "native" else express,
        store=stores[0] if stores else None,
        cookie_format=_BothCookieFormats(native, express, write, codec.may_be_under),
        codec=codec,
    )


class _BothCookieFormats:
    """Read cookies of both formats, and write one."""

    def __init__(
        self,
        native: SessionOptions,
        express: SessionOptions,
        write: Write,
        may_be_under: Callable[[str, str, bytes], bool],
    ) -> None:
        self._options = {"native": native, "express": express}
        self._write = write
        self._may_be_under = may_be_under
        self.minimum_secret_bytes = self._options[write].cookie_format.minimum_secret_bytes

    def bind(self, name: str, secrets: Sequence[bytes]) -> CookieWriter:
        """See :meth:`coatcheck.cookie_format.CookieFormat.bind`."""
        writers = {
            kind: options.cookie_format.bind(options.name, options.secrets)
            for kind, options in self._options.items()
        }
        names = {kind: options.name for kind, options in self._options.items()}
        writers[self._write] = self._options[self._write].cookie_format.bind(name, secrets)
        names[self._write] = name
        one_name = names["native"] == names["express"]
        return _BothCookies(
            writers["native"], writers["express"], self._write, one_name, self._may_be_under
        )


class _BothCookies:
    def __init__(
        self,
        native: CookieWriter,
        express: CookieWriter,
        write: Write,
        one_name: bool,
        may_be_under: Callable[[str, str, bytes], bool],
    ) -> None:
        self._native, self._express = native, express
        self._may_be_under = may_be_under
        self._one_name = one_name
        self._writes_native = write == "native"
        self._writer = native if self._writes_native else express

    def candidates(self, headers: Iterable[str]) -> Iterable[str]:
        if self._one_name:
            return self._native.candidates(headers)
        return chain(self._native.candidates(headers), self._express.candidates(headers))

    def unsign(self, value: str) -> CookieToken | None:
        token = self._unsign(value)
        if token is not None and is_hash(token.id):
            # The id may be a key of the store, which is a public ref: see `may_be_under`.
            return token._replace(accepts=partial(self._may_be_under, token.id))
        return token

    def _unsign(self, value: str) -> CookieToken | None:
        token = self._native.unsign(value)
        if token is not None:
            if self._writes_native:
                # A record that an interrupted migration left under this key ends with the session.
                return token._replace(other_key=token.id)
            return CookieToken(token.id, True, _hashed(token.id), lookup_other_key=True)
        token = self._express.unsign(value)
        if token is None:
            return None
        if self._writes_native:
            # A session whose id a native cookie cannot carry does not migrate.
            migrate = self._native.valid_id(token.id)
            return CookieToken(
                token.id,
                not migrate and token.current,
                token.id,
                lookup_other_key=True,
                migrate=migrate,
            )
        return token._replace(other_key=_hashed(token.id), lookup_other_key=True)

    def sign(self, session_id: str) -> str:
        writer = self._writer if self._native.valid_id(session_id) else self._express
        return writer.sign(session_id)

    def valid_id(self, session_id: str) -> bool:
        return self._native.valid_id(session_id) or self._express.valid_id(session_id)

    def set_cookie(self, value: str, attributes: CookieAttributes) -> str:
        return self._writer.set_cookie(value, attributes)


def _hashed(session_id: str) -> str:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


class _ReadsBoth:
    def __init__(self, native: SessionOptions, express: SessionOptions) -> None:
        self._native, self._express = native.codec, express.codec

    def _read(self, data: bytes, key: str) -> tuple[bool, SessionState]:
        """Return whether a record is native, and its session."""
        native_first = data.startswith(_NATIVE_BEGINNING)
        kinds = (native_first, not native_first)
        for is_native in kinds:
            try:
                return is_native, (self._native if is_native else self._express).loads(data, key)
            except CorruptRecord:
                continue
        raise CorruptRecord("the record is neither coatcheck's nor express-session's")

    def key_is_id(self, data: bytes, key: str) -> bool:
        """Tell whether a record is Express's, so that its key is the session's id."""
        return not self._read(data, key)[0]

    def may_be_under(self, session_id: str, key: str, data: bytes) -> bool:
        """Tell whether a record can be the session whose id has the form of a hash.

        coatcheck's records have the hashes of ids as keys. A client that sends such a key as its id
        knows a ref and not the id, and must not get the session.
        """
        try:
            return key != session_id or self.key_is_id(data, key)
        except CorruptRecord:
            return True  # decoding it reports the error


class _WritesNative(_ReadsBoth):
    """Read records of both kinds, and write native ones."""

    def __init__(self, native: SessionOptions, express: SessionOptions) -> None:
        super().__init__(native, express)
        self._clock, self._lifetimes = native.clock, _lifetimes(native, express)
        # Records are written again when they move. One that cannot move, because of its id, becomes
        # native when it changes.
        self.canonical = native.codec.canonical

    def dumps(self, state: SessionState) -> bytes:
        return self._native.dumps(state)

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        return self._native.pack(content, state, expires_at, key)

    def loads(self, data: bytes, key: str) -> SessionState:
        is_native, state = self._read(data, key)
        if is_native:
            return state
        # The record does not say when the session began, so its time counts from now.
        return SessionState(state.data, self._clock(), self._own_settings(state.cookie))

    def _own_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a session's own lifetime, unless it is the configured one.

        Express's records hold all settings of the cookie, and do not say which of them were the
        session's own. The other attributes are taken for the configured ones.
        """
        max_age = settings["max_age"]
        if any(_are_the_same(max_age, configured) for configured in self._lifetimes):
            return {}
        if max_age is None or max_age > 0:
            return {"max_age": None if max_age is None else min(max_age, MAX_AGE_LIMIT)}
        return {}


class _WritesExpress(_ReadsBoth):
    """Read records of both kinds, keep the kind of each, and write new ones as Express's."""

    canonical = False
    keeps_created_at = False
    whole_cookie = True

    def dumps(self, state: SessionState) -> bytes:
        extra = state.extra.get(_NATIVE)
        if extra is None:
            return self._express.dumps(state)
        return self._native.dumps(replace(state, extra=extra))

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        codec = self._express if state.extra.get(_NATIVE) is None else self._native
        return codec.pack(content, state, expires_at, key)

    def loads(self, data: bytes, key: str) -> SessionState:
        is_native, state = self._read(data, key)
        if is_native:
            state.extra = {_NATIVE: state.extra}
        return state


def _lifetimes(*several: SessionOptions) -> list[float | None]:
    """Return the configured lifetimes, except those that depend on the request."""
    cookies = [options.cookie for options in several if isinstance(options.cookie, CookieOptions)]
    return [in_seconds(cookie.max_age) for cookie in cookies]


def _are_the_same(lifetime: float | None, configured: float | None) -> bool:
    """Tell whether a lifetime is the configured one; Express subtracts some milliseconds."""
    if lifetime is None or configured is None:
        return lifetime is configured
    return abs(lifetime - configured) < _SLACK


#: The key in `extra` under which a native session keeps the unknown members of its record.
_NATIVE: Final = "native"
#: Seconds by which equal lifetimes may differ.
_SLACK: Final = 0.1
