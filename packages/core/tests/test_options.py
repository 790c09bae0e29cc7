"""The options of the middlewares: what is refused, and in which words."""

from __future__ import annotations

import dataclasses
import logging
import traceback
import typing
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette
from webclient import SECRET, CountingStore

from coatcheck import CookieOptions, JSONCodec, MemoryStore, SessionOptions
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.cookie_format import NativeCookieFormat
from coatcheck.errors import ConfigurationError, PluginError
from coatcheck.options import OptionFields
from coatcheck.wsgi import SessionMiddleware as WSGISessions

Middleware = type[ASGISessions] | type[WSGISessions]

both = pytest.mark.parametrize("middleware", [ASGISessions, WSGISessions], ids=["asgi", "wsgi"])


def application(*args: Any) -> Any:
    raise AssertionError("construction calls no application")


def refusal(middleware: Middleware, *args: Any, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        middleware(application, *args, **{"secret": SECRET, **options})
    return str(caught.value)


@both
@pytest.mark.parametrize("store", ["/var/lib/sessions", "./sessions", "~/s", Path("/srv/s")])
def test_a_path_is_told_what_a_url_is(middleware: Middleware, store: Any) -> None:
    assert "file:///folder" in refusal(middleware, store=store)


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        (lambda: SessionOptions(secret=SECRET, stroe=1), "`stroe`; did you mean `store`"),  # type: ignore[call-arg]
        (lambda: SessionOptions(secret=SECRET, max_age=1), r"CookieOptions\(max_age=...\)"),  # type: ignore[call-arg]
        (lambda: CookieOptions(maxage=1), "`maxage`; did you mean `max_age`"),  # type: ignore[call-arg]
        (lambda: CookieOptions(zzz=1), "`zzz`; it has path, domain"),  # type: ignore[call-arg]
    ],
)
def test_options_that_do_not_exist_are_advised(make: Callable[[], object], meant: str) -> None:
    """The options say what the middleware says of such a name."""
    with pytest.raises(ConfigurationError, match=meant) as caught:
        make()
    assert isinstance(caught.value, TypeError)


async def asynchronous_rule(base: Any, mine: Any, theirs: Any) -> Any:
    return mine


async def asynchronous_id(request: Any) -> str:
    return "x" * 32


BOOL = "True or False"
MORE = "seconds or a timedelta, more than zero"
OBSERVERS = "callables of a SessionEvent"


@both
@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("resave", 1, BOOL),
        ("resave", None, BOOL),
        ("rolling", "yes", BOOL),
        ("save_uninitialized", 0, BOOL),
        ("hash_ids", None, BOOL),
        ("trust_proxy", 1, "True, False or a callable of the request"),
        ("trust_proxy", "loopback", "True, False or a callable of the request"),
        ("trust_proxy", bool, "True, False or a callable of the request"),
        ("https", "always", "True or None"),
        ("unset", "delete", '"keep" or "destroy"'),
        ("unset", None, '"keep" or "destroy"'),
        ("concurrency", "lock", '"merge" or "error" or "last-write-wins"'),
        ("concurrency", ["merge"], '"merge" or "error" or "last-write-wins"'),
        ("load", True, '"auto" or "eager" or "lazy"'),
        ("load", "Lazy", '"auto" or "eager" or "lazy"'),
        ("on_store_error", "ignore", '"raise" or "anonymous"'),
        ("idle_timeout", 0, MORE),
        ("idle_timeout", -1, MORE),
        ("idle_timeout", True, MORE),
        ("idle_timeout", "60", MORE),
        ("idle_timeout", float("nan"), MORE),
        ("absolute_timeout", 0.0, MORE),
        ("absolute_timeout", float("inf"), MORE),
        ("absolute_timeout", timedelta(0), MORE),
        ("touch_interval", -0.5, "seconds or a timedelta, zero or more"),
        ("touch_interval", "often", "seconds or a timedelta, zero or more"),
        ("keeps_alive", True, "a callable or None"),
        ("generate_id", "x" * 32, "a callable"),
        ("generate_id", None, "a callable"),
        ("clock", 5, "a callable"),
        ("owner", "", "a key of the data, a callable or None"),
        ("owner", 5, "a key of the data, a callable or None"),
        ("cookie", {"path": "/"}, "CookieOptions(...) or a callable of the request"),
        ("cookie", None, "CookieOptions(...) or a callable of the request"),
        ("cookie", CookieOptions, "CookieOptions(...) or a callable of the request"),
        ("codec", JSONCodec, "a Codec"),
        ("codec", "json", "a Codec"),
        ("codec", None, "a Codec"),
        ("cookie_format", "express", "a CookieFormat"),
        ("cookie_format", None, "a CookieFormat"),
        ("observers", print, OBSERVERS),
        ("observers", None, OBSERVERS),
        ("observers", (print, 5), OBSERVERS),
    ],
)
def test_a_wrong_option_is_refused_at_construction(
    middleware: Middleware, option: str, value: object, allowed: str
) -> None:
    """The error names the option, what is allowed and what was given."""
    message = f"`{option}` must be {allowed}, not {value!r}"
    assert refusal(middleware, **{option: value}) == message


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"idle_timeout": 1e13}, "`idle_timeout` must be seconds or a timedelta, less than 1e12"),
        ({"clock": datetime.now}, "`clock` must return POSIX seconds, as time.time does"),
        ({"generate_id": lambda: "x" * 32}, "`generate_id` must take a request"),
        ({"keeps_alive": lambda request, more: True}, "`keeps_alive` must take a request"),
        ({"cookie": lambda: CookieOptions()}, "`cookie` must take a request"),
        ({"trust_proxy": lambda: True}, "`trust_proxy` must take a request"),
        ({"owner": lambda: "ada"}, "`owner` must take the data"),
        ({"merge": {"n": max, "m": lambda mine, theirs: mine}}, "the rule of 'm' must take base"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_an_option_that_fails_at_each_request_is_refused_at_construction(
    middleware: Middleware, options: dict[str, Any], message: str
) -> None:
    """A number beyond all time, a clock of datetimes, callables of other arguments."""
    assert message in refusal(middleware, **options)


@both
@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"keeps_alive": asynchronous_id}, "`keeps_alive`"),
        ({"cookie": asynchronous_id}, "`cookie`"),
        ({"trust_proxy": asynchronous_id}, "`trust_proxy`"),
        ({"owner": asynchronous_id}, "`owner`"),
        ({"observers": [asynchronous_id]}, "an observer"),
        ({"merge": {"n": asynchronous_rule}}, "`merge`: the rule of 'n'"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_a_function_that_nobody_would_await_is_refused(
    middleware: Middleware, options: dict[str, Any], what: str
) -> None:
    """Its result, a coroutine, counts as true: a page that polls would keep the session alive."""
    message = f"{what} must be a plain function, not `async def`: coatcheck does not await it"
    assert refusal(middleware, **options) == message


@pytest.mark.parametrize(
    "make", [lambda: CookieOptions(expires=3600), lambda: CookieOptions(expires=86400 * 400)]
)
def test_a_duration_is_no_moment(make: Callable[[], object]) -> None:
    """`expires` in 1970 would end each session at once, without a word."""
    with pytest.raises(ConfigurationError, match=r"is in 197\d; for a duration use `max_age`"):
        make()


def test_an_unknown_option_is_shown_by_the_name_that_can_be_caught() -> None:
    """A traceback ends with the name of the error's class."""
    with pytest.raises(ConfigurationError) as caught:
        CookieOptions(lifetime=5)  # type: ignore[call-arg]  # the point
    shown = "".join(traceback.format_exception_only(caught.value))
    assert shown.startswith("coatcheck.errors.ConfigurationError: a session cookie has no setting")


def test_an_application_of_the_other_interface_is_refused() -> None:
    """Otherwise the first request would fail with a TypeError about arguments."""
    with pytest.raises(ConfigurationError, match=r"take `coatcheck\.wsgi\.SessionMiddleware`"):
        ASGISessions(Flask("shop"), secret=SECRET)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ConfigurationError, match=r"take `coatcheck\.asgi\.SessionMiddleware`"):
        WSGISessions(Starlette(), secret=SECRET)  # type: ignore[arg-type]  # the mistake


@both
@pytest.mark.parametrize(
    ("store", "given"),
    [
        (5, "int"),
        (b"memory:", "bytes"),
        ({"url": "memory:"}, "dict"),
        (MemoryStore, "the class MemoryStore: write `MemoryStore(...)`"),
    ],
)
def test_a_store_of_another_type_is_refused(
    middleware: Middleware, store: object, given: str
) -> None:
    """A store may be full of connections and passwords, so only its type is named."""
    assert refusal(middleware, store=store) == (
        f"`store` must be a coatcheck.Store, a coatcheck.AsyncStore, a URL or None, not {given}"
    )


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "__Host-sid", "cookie": CookieOptions(path="/shop")},
            "a cookie named '__Host-sid' needs `path=\"/\"` and no `domain`",
        ),
        (
            {"name": "__Secure-sid", "cookie": CookieOptions(secure=False)},
            "a cookie named '__Secure-sid' needs `secure=True`",
        ),
        (
            {"name": "a b", "cookie": lambda request: CookieOptions()},
            (
                "`name` must be a cookie name (RFC 6265 token: letters, digits and "
                "!#$%&'*+-.^_`|~), not 'a b'"
            ),
        ),
        ({"secret": ""}, "`secret` must not be empty; is its environment variable set?"),
        (
            {"secret": "short"},
            (
                "`secret` must have at least 16 bytes, this one has 5; "
                "`python -m coatcheck secret` prints a good one"
            ),
        ),
        ({"secert": SECRET}, "there is no option `secert`; did you mean `secret`?"),
        ({"secrets": (b"x",)}, "there is no option `secrets`; did you mean `secret`?"),
        (
            {"saveUninitialized": True},
            ("there is no option `saveUninitialized`; did you mean `save_uninitialized`?"),
        ),
        ({"idle_timout": 60}, "there is no option `idle_timout`; did you mean `idle_timeout`?"),
        (
            {"zzz": 1},
            "there is no option `zzz`; there are "
            + ", ".join(field.name for field in dataclasses.fields(SessionOptions) if field.init),
        ),
    ],
)
def test_what_cannot_work_together_or_does_not_exist_is_refused(
    middleware: Middleware, options: dict[str, Any], message: str
) -> None:
    """Contradictions say what is needed, and unknown options which one may be meant."""
    assert refusal(middleware, **options) == message


@both
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("session_cookie", "name=..."),
        ("cookie_name", "name=..."),
        ("key", "name=..."),
        ("secret_key", "secret=..."),
        ("https_only", "cookie=CookieOptions(secure=True)"),
        ("cookie_https_only", "cookie=CookieOptions(secure=True)"),
        ("cookie_samesite", "cookie=CookieOptions(same_site=...)"),
        ("lifetime", "idle_timeout=..."),
        ("backend", "store=..."),
        ("genid", "generate_id=..."),
    ],
)
def test_an_option_of_another_library_says_what_it_is_here(
    middleware: Middleware, theirs: str, ours: str
) -> None:
    """Starlette, Django, starsessions and express-session call some options otherwise."""
    message = refusal(middleware, **{theirs: "x"})
    assert message == f"there is no option `{theirs}`; here it is `{ours}`"


@both
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("max_age", "max_age"),
        ("maxAge", "max_age"),
        ("same_site", "same_site"),
        ("samesite", "same_site"),
        ("domain", "domain"),
        ("path", "path"),
        ("secure", "secure"),
        ("httponly", "http_only"),
    ],
)
def test_a_setting_of_the_cookie_says_where_it_belongs(
    middleware: Middleware, theirs: str, ours: str
) -> None:
    """Most libraries have no object for the cookie's settings."""
    assert refusal(middleware, **{theirs: "x"}) == (
        f"there is no option `{theirs}`; it is a setting of the cookie: "
        f"`cookie=CookieOptions({ours}=...)`"
    )


@both
def test_a_secret_is_required(middleware: Middleware) -> None:
    """There is no default secret, and the error says how to get one."""
    with pytest.raises(ConfigurationError) as caught:
        middleware(application)
    assert str(caught.value) == (
        "`secret` is required; `python -m coatcheck secret` prints a good one"
    )


@both
def test_options_of_another_type_are_refused(middleware: Middleware) -> None:
    """A dictionary of options belongs behind two stars, and its content into no message."""
    assert refusal(middleware, {"secret": SECRET}) == (
        "`options` must be SessionOptions or None, not dict"
    )
    assert refusal(middleware, SECRET) == (
        "`options` must be SessionOptions or None, not str; options are given by name: `secret=...`"
    )


@both
def test_ids_need_no_waiting(middleware: Middleware) -> None:
    """An asynchronous function for ids is refused, on its own or as a method."""

    class Maker:
        async def __call__(self, request: Any) -> str:
            return "x" * 32

    for make in (asynchronous_id, Maker()):
        assert "must be a plain function" in refusal(middleware, generate_id=make)


@both
@pytest.mark.parametrize(
    "url",
    [
        "redsi://user:Pa55w0rd@db.internal/0",
        "Pa55w0rd",
        "//user:Pa55w0rd@db.internal",
        "memory://user:Pa55w0rd@db.internal",
        "memory:?password=Pa55w0rd",
        "",
    ],
)
def test_a_wrong_url_is_not_quoted(middleware: Middleware, url: str) -> None:
    """A URL that opens nothing is a ConfigurationError without the password in it."""
    message = refusal(middleware, store=url)
    assert "Pa55w0rd" not in message
    assert "db.internal" not in message


def test_an_unknown_scheme_names_the_installed_ones_and_the_package() -> None:
    """The error for a store that is not installed says how to install it."""
    with pytest.raises(PluginError) as caught:
        ASGISessions(application, secret=SECRET, store="nosuch:x")
    assert str(caught.value).startswith("no installed store has the scheme 'nosuch'; installed: ")
    assert "memory" in str(caught.value)


@both
@pytest.mark.parametrize(
    "spoil", [{"rolling": "x"}, {"nosuch": 1}, {"store": 5}, {"name": "a b"}, {"idle_timeout": "x"}]
)
def test_secret_and_url_are_in_no_message(middleware: Middleware, spoil: dict[str, Any]) -> None:
    """Whatever else is wrong, the message quotes neither the secret nor the store's URL."""
    options = {"secret": "Pa55phrase-" * 3, "store": "redis://:Pa55w0rd@db", **spoil}
    assert "Pa55" not in refusal(middleware, **options)


@both
def test_secret_and_url_are_in_no_repr(middleware: Middleware) -> None:
    """Options and middlewares can be printed."""
    options = SessionOptions(secret=["Pa55phrase-" * 3], store="memory:?max_sessions=77")
    served = middleware(application, options)
    for shown in (repr(options), str(options), repr(served), repr(served.options)):
        assert "Pa55" not in shown
        assert "max_sessions" not in shown


def test_the_keyword_arguments_are_the_fields() -> None:
    """Type checkers see the same options, of the same types, in both places."""
    fields = [field.name for field in dataclasses.fields(SessionOptions) if field.init]
    assert set(OptionFields.__annotations__) == set(fields)
    hints = typing.get_type_hints(SessionOptions)
    assert {name: hints[name] for name in fields} == typing.get_type_hints(OptionFields)


@both
def test_keyword_arguments_win_over_options(middleware: Middleware) -> None:
    """Shared options can be overridden where they are used."""
    shared = SessionOptions(secret=SECRET, name="shared", rolling=True, idle_timeout=60)
    options = middleware(application, shared, name="own", idle_timeout=timedelta(hours=1)).options
    assert (options.name, options.rolling) == ("own", True)
    assert options.idle_timeout == 3600
    assert (shared.name, shared.idle_timeout) == ("shared", 60)
    assert refusal(middleware, shared, rolling=5) == "`rolling` must be True or False, not 5"


@both
def test_an_overriding_secret_replaces_the_shared_one(middleware: Middleware) -> None:
    """The bytes that sign are those of the secret that won."""
    shared = SessionOptions(secret=SECRET)
    other = "another secret of thirty-two bytes"
    assert middleware(application, shared, secret=other).options.secrets == (other.encode(),)


def test_the_defaults_are_those_of_the_documentation() -> None:
    """Nothing but the secret is required, and the rest is the careful choice."""
    options = SessionOptions(secret=SECRET)
    expected: dict[str, object] = {
        "store": None,
        "name": "sid",
        "cookie": CookieOptions(),
        "trust_proxy": False,
        "https": None,
        "resave": False,
        "rolling": False,
        "save_uninitialized": False,
        "unset": "keep",
        "idle_timeout": None,
        "absolute_timeout": None,
        "touch_interval": None,
        "keeps_alive": None,
        "concurrency": "merge",
        "hash_ids": True,
        "owner": None,
        "load": "auto",
        "on_store_error": "raise",
        "observers": (),
    }
    assert {name: getattr(options, name) for name in expected} == expected
    assert isinstance(options.codec, JSONCodec)
    assert isinstance(options.cookie_format, NativeCookieFormat)
    ids = {options.generate_id({}) for _ in range(100)}
    assert len(ids) == 100
    assert {len(str(made)) for made in ids} == {32}


@both
@pytest.mark.parametrize(
    "options",
    [
        {"trust_proxy": None},
        {"touch_interval": 0},
        {"idle_timeout": timedelta(minutes=5)},
        {"observers": iter([print])},
        {"observers": []},
        {"owner": "user_id"},
        {"owner": lambda data: None},
        {"keeps_alive": lambda request: True},
        {"cookie": lambda request: CookieOptions()},
        {"secret": [SECRET, SECRET.encode()]},
        {"store": "memory:"},
        {"store": "memory:?max_sessions=5"},
    ],
)
def test_what_can_work_is_accepted(middleware: Middleware, options: dict[str, Any]) -> None:
    """Each documented form of an option constructs a middleware."""
    assert middleware(application, **{"secret": SECRET, **options})


@both
def test_without_a_store_the_log_says_so_once(
    middleware: Middleware, caplog: pytest.LogCaptureFixture
) -> None:
    """A store in this process's memory is chosen with a word about it."""
    with caplog.at_level(logging.INFO, logger="coatcheck"):
        middleware(application, secret=SECRET)
    assert [record.getMessage() for record in caplog.records] == [
        "sessions are kept in the memory of this process alone and end with it; give a `store` "
        "for more than one process (`MemoryStore()` if that is what you want)"
    ]


@both
def test_construction_calls_nothing(middleware: Middleware) -> None:
    """No clock, generator, store or application is called before the first request."""

    def trap(*args: Any) -> Any:
        raise AssertionError("called at construction")

    store = CountingStore()
    callables: dict[str, Callable[..., Any]] = dict.fromkeys(
        ("cookie", "generate_id", "keeps_alive", "owner", "clock"), trap
    )
    middleware(application, secret=SECRET, store=store, observers=[trap], **callables)
    assert store.taken() == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("secure", "secure"),
        ("max_age", "max_age"),
        ("samesite", "same_site"),
        ("httponly", "http_only"),
    ],
)
@both
def test_a_cookie_setting_among_the_options_is_sent_to_its_place(
    middleware: Middleware, wrong: str, right: str
) -> None:
    """The error for a setting of the cookie says where it belongs."""
    with pytest.raises(ConfigurationError, match=rf"`cookie=CookieOptions\({right}=...\)`"):
        middleware(application, secret=SECRET, **{wrong: 1})
