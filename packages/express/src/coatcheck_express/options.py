"""express-session's options, in snake_case, as options of coatcheck's middlewares."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeAlias, Unpack

from coatcheck import AsyncStore, Store
from coatcheck.cookie import CookieOptions, checked_seconds
from coatcheck.cookie_format import is_native_id
from coatcheck.errors import ConfigurationError
from coatcheck.options import CommonFields, Request, Secret, SessionOptions, random_id

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
    genid: Callable[[Request], str] = random_id,
    proxy: bool | None = None,
    resave: bool = False,
    rolling: bool = False,
    save_uninitialized: bool = False,
    unset: Literal["keep", "destroy"] = "keep",
    ttl_s: float | None = None,
    valid_id: Callable[[str], bool] = is_native_id,
    store_keys: Collection[str] = STORE_KEYS,
    codec: Callable[..., ExpressCodec] = ExpressCodec,
    **more: Unpack[CommonFields],
) -> SessionOptions:
    """Return options for sessions that are shared with an Express application.

    Cookie, ids and records are Node's, so a login there is a login here, too. Both sides
    need the same ``secret``, ``name``, ``cookie`` and store, with the same prefix.

    :param secret: of any length. If there are several, the first one signs and all verify. Add a
        new secret as the last one in all processes of both sides, then move it to the front.
    :param store: a store or a URL, as ``"redis://localhost:6379/0"`` for connect-redis.
    :param cookie: the cookie's settings, or a callable of the request that returns them. The
        lifetime is ``max_age_ms``, in milliseconds.
    :param genid: makes an id for a request; ``valid_id`` must accept it.
    :param proxy: True: the first X-Forwarded-Proto tells whether the connection is secure. Without
        it Forwarded does, which Express does not read.
    :param resave: as in Express; the default here is False.
    :param save_uninitialized: as in Express; the default here is False.
    :param ttl_s: seconds that a session lives whose cookie ends with the browser: the option
        ``ttl`` of Express's store. Default: a day, as in connect-redis.
    :param valid_id: tells whether an id may reach the store, if ``genid`` makes other ids than
        express-session does.
    :param store_keys: keys that the stores of Express reserve for themselves in the data.
    :param codec: makes the codec if records are not plain JSON, as in
        :mod:`coatcheck_mongo.express`.
    :param more: coatcheck's other options; see :class:`~coatcheck.SessionOptions`.
    :raises ConfigurationError: an unknown option, or a value that cannot work.
    """
    for option in more:
        # SessionOptions says why there is no absolute timeout.
        if option not in CommonFields.__annotations__ and option != "absolute_timeout":
            raise _unknown(option)
    _check("proxy", proxy, proxy is None or isinstance(proxy, bool), "True, False or None")
    _check("genid", genid, callable(genid), "a callable")
    _check("codec", codec, callable(codec), "a class of codecs, or a callable that makes one")
    _check("valid_id", valid_id, callable(valid_id), "a callable")
    settings: CookieOptions | Callable[[Request], CookieOptions]
    member: Mapping[str, Any] = {}
    if callable(cookie):
        settings = _of_request(cookie)
    else:
        settings = from_option({} if cookie is None else cookie)
        member = member_of_option(cookie or {})
    clock = {"clock": more["clock"]} if "clock" in more else {}
    return SessionOptions(
        secret=secret,
        store=store,
        name=name,
        cookie=settings,
        generate_id=genid,
        trust_proxy=proxy,
        resave=resave,
        rolling=rolling,
        save_uninitialized=save_uninitialized,
        unset=unset,
        idle_timeout=checked_seconds("`ttl_s`", ttl_s),
        hash_ids=False,
        cookie_format=ExpressCookieFormat(valid_id),
        codec=codec(member, store_keys=store_keys, **clock),
        **more,
    )


def _check(option: str, value: object, right: bool, allowed: str) -> None:
    if not right:
        raise ConfigurationError(f"`{option}` must be {allowed}, not {value!r}")


def _unknown(option: str) -> ConfigurationError:
    """Return the error for an option that does not exist."""
    names = [*inspect.signature(express_options).parameters, *CommonFields.__annotations__]
    names.remove("more")
    if option == "idle_timeout":
        near = ["ttl_s"]
    else:
        near = difflib.get_close_matches(re.sub("([A-Z])", r"_\1", option).lower(), names, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else f"; there are {', '.join(names)}"
    return ConfigurationError(f"there is no option `{option}`{hint}")


def _of_request(cookie: Callable[[Request], ExpressCookie]) -> Callable[[Request], CookieOptions]:
    def settings(request: Request) -> CookieOptions:
        return from_option(cookie(request))

    return settings
