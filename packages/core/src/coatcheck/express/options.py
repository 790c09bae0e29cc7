"""express-session's options, in snake_case, as options of coatcheck's middlewares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Literal, TypeAlias, Unpack

from ..cookie import CookieOptions, checked_seconds
from ..cookie_format import is_native_id
from ..errors import ConfigurationError
from ..options import CommonFields, Request, Secret, SessionOptions, make_options, random_id
from ..store import AsyncStore, Store
from .codec import STORE_KEYS, ExpressCodec
from .cookie import ExpressCookie, from_option, member_of_option
from .cookie_format import ExpressCookieFormat

CookieOption: TypeAlias = ExpressCookie | Callable[[Request], ExpressCookie]


def express_options(
    *,
    secret: Secret,
    store: Store | AsyncStore | str | None = None,
    name: str = "connect.sid",
    cookie: CookieOption | None = None,
    genid: Callable[[Request], str | Awaitable[str]] = random_id,
    proxy: bool | None = None,
    resave: bool = False,
    rolling: bool = False,
    save_uninitialized: bool = False,
    unset: Literal["keep", "destroy"] = "keep",
    ttl_s: float | None = None,
    valid_id: Callable[[str], bool] = is_native_id,
    store_keys: Collection[str] = STORE_KEYS,
    **more: Unpack[CommonFields],
) -> SessionOptions:
    """Return options for sessions that are shared with an Express application.

    Cookie, ids and records are Node's: whoever is logged in there is logged in here. Both sides
    need the same ``secret``, ``name``, ``cookie`` and store, with the same prefix.

    :param secret: of any length; of several the first signs and all verify.
    :param store: a store or a URL, as ``"redis://localhost:6379/0"`` for connect-redis.
    :param cookie: the cookie's settings, or a callable of the request that returns them. A
        lifetime is ``max_age_ms``, in milliseconds.
    :param genid: makes an id for a request, which ``valid_id`` has to accept.
    :param proxy: True: the first X-Forwarded-Proto tells whether the connection is secure.
    :param resave: as in Express; False here unless given.
    :param save_uninitialized: as in Express; False here unless given.
    :param ttl_s: seconds that a session lives whose cookie ends with the browser: the option
        ``ttl`` of Express's store. Default: a day, as with connect-redis.
    :param valid_id: tells whether an id may reach the store, if ``genid`` makes others than
        express-session does.
    :param store_keys: what the stores of Express keep among the data for themselves.
    :param more: options of coatcheck's own; see :class:`~coatcheck.SessionOptions`.
    :raises ConfigurationError: an unknown option, or a value that cannot work.
    """
    clock = more.get("clock")
    settings: CookieOptions | Callable[[Request], CookieOptions]
    member: Mapping[str, Any] = {}
    if cookie is not None and callable(cookie):
        settings = _of_request(cookie)
    else:
        settings = from_option(cookie or {})
        member = member_of_option(cookie or {})
    given: dict[str, Any] = {
        "secret": secret,
        "store": store,
        "name": name,
        "cookie": settings,
        "generate_id": genid,
        "trust_proxy": proxy,
        "resave": resave,
        "rolling": rolling,
        "save_uninitialized": save_uninitialized,
        "unset": unset,
        "idle_timeout": checked_seconds("`ttl_s`", ttl_s),
        "hash_ids": False,
        "cookie_format": ExpressCookieFormat(valid_id),
        "codec": ExpressCodec(member, store_keys=store_keys, **({"clock": clock} if clock else {})),
    }
    for option in given.keys() & more.keys():
        raise ConfigurationError(
            f"`{option}` follows from express-session's options, and cannot be given"
        )
    return make_options(None, {**given, **more})  # type: ignore[typeddict-item]  # all fields


def _of_request(cookie: Callable[[Request], ExpressCookie]) -> Callable[[Request], CookieOptions]:
    def settings(request: Request) -> CookieOptions:
        return from_option(cookie(request))

    return settings
