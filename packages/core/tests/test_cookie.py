"""The cookie's options, its line, and reading it back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from coatcheck import CookieOptions
from coatcheck._cookies.cookie_header import (
    CookieAttributes,
    cookie_values,
    http_date,
    path_matches,
    set_cookie_line,
)
from coatcheck.errors import ConfigurationError

IN_399_DAYS = time.time() + 399 * 86400
PRINTABLE = "printable ASCII without `;`"
LIFETIME = "seconds or a timedelta, more than zero"
EXPIRES = "an aware datetime, POSIX seconds or None"


def refusal(**options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        CookieOptions(**options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("path", "shop", "a path that starts with `/`"),
        ("path", "", "a path that starts with `/`"),
        ("path", None, "a path that starts with `/`"),
        ("path", b"/", "a path that starts with `/`"),
        ("path", "/a;b", PRINTABLE),
        ("path", "/a\r\nSet-Cookie: x=1", PRINTABLE),
        ("path", "/a\x00", PRINTABLE),
        ("path", "/a\x7f", PRINTABLE),
        ("path", "/caf\u00e9", PRINTABLE),
        ("domain", "", PRINTABLE),
        ("domain", "a;b", PRINTABLE),
        ("domain", "shop.test\n", PRINTABLE),
        ("domain", "caf\u00e9.test", PRINTABLE),
        ("domain", 1, PRINTABLE),
        ("domain", "shop..test", "a host name (in punycode) or None"),
        ("domain", "shop test", "a host name (in punycode) or None"),
        ("domain", "-", "a host name (in punycode) or None"),
        ("domain", "https://shop.test", "a host name (in punycode) or None"),
        ("max_age", 0, LIFETIME),
        ("max_age", -1, LIFETIME),
        ("max_age", timedelta(0), LIFETIME),
        ("max_age", True, LIFETIME),
        ("max_age", "60", LIFETIME),
        ("max_age", float("nan"), LIFETIME),
        ("max_age", float("inf"), LIFETIME),
        ("max_age", 34560001, "at most 400 days (34560000 seconds)"),
        ("expires", "tomorrow", EXPIRES),
        ("expires", True, EXPIRES),
        ("expires", float("nan"), EXPIRES),
        ("expires", float("-inf"), EXPIRES),
        ("expires", -(10**30), EXPIRES),
        ("expires", datetime(2026, 1, 1), "an aware datetime or POSIX seconds"),
        ("http_only", 1, "`True` or `False`"),
        ("http_only", None, "`True` or `False`"),
        ("partitioned", "yes", "`True` or `False`"),
        ("secure", 1, '`True`, `False` or "auto"'),
        ("secure", None, '`True`, `False` or "auto"'),
        ("secure", "always", '`True`, `False` or "auto"'),
        ("same_site", "relaxed", '"lax", "strict", "none", "auto", True, False or None'),
        ("same_site", 1, '"lax", "strict", "none", "auto", True, False or None'),
        ("priority", "urgent", '"low", "medium", "high" or None'),
        ("priority", 1, '"low", "medium", "high" or None'),
    ],
)
def test_a_wrong_value_is_refused_at_construction(option: str, value: object, allowed: str) -> None:
    """The error names the option, what is allowed and what was given."""
    assert refusal(**{option: value}) == f"cookie `{option}` must be {allowed}, not {value!r}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"same_site": "none", "secure": False},
            'cookie `same_site="none"` needs `secure=True`: browsers refuse the cookie',
        ),
        (
            {"partitioned": True, "secure": False},
            "cookie `partitioned=True` needs `secure=True`: browsers refuse the cookie",
        ),
        ({"max_age": 60, "expires": 1.0}, "cookie `max_age` and `expires` exclude each other"),
        (
            {"max_age": timedelta(days=401)},
            "cookie `max_age` must be at most 400 days (34560000 seconds), not 34646400.0",
        ),
        ({"path": "/" + "a" * 1024}, "cookie `path` must have at most 1024 bytes"),
        ({"domain": "a" * 1025}, "cookie `domain` must have at most 1024 bytes"),
    ],
)
def test_an_impossible_combination_is_refused_at_construction(
    options: dict[str, Any], message: str
) -> None:
    """A cookie that browsers would drop silently is an error that says why."""
    assert refusal(**options) == message


@pytest.mark.parametrize(
    "expires",
    [
        IN_399_DAYS + 2 * 86400,
        datetime.fromtimestamp(IN_399_DAYS, UTC) + timedelta(days=2),
        float("inf"),
        10**400,
        datetime.max.replace(tzinfo=UTC),
    ],
    ids=["seconds", "datetime", "infinite", "huge", "latest"],
)
def test_an_end_in_more_than_400_days_is_refused(expires: Any) -> None:
    """A fixed end has the same limit as a lifetime."""
    assert refusal(expires=expires).startswith("cookie `expires` must be ")


def test_an_unknown_attribute_is_refused() -> None:
    """A misspelt attribute does not pass in silence."""
    with pytest.raises(TypeError, match="httponly"):
        CookieOptions(httponly=True)  # type: ignore[call-arg]  # the point


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_age": timedelta(minutes=1)}, ("max_age", 60)),
        ({"max_age": 34560000}, ("max_age", 34560000)),
        ({"expires": datetime(2026, 1, 1, tzinfo=UTC)}, ("expires", 1767225600.0)),
        ({"expires": IN_399_DAYS}, ("expires", IN_399_DAYS)),
        ({"expires": 0}, ("expires", 0)),
        ({"same_site": True}, ("same_site", "strict")),
        ({"same_site": False}, ("same_site", None)),
        ({"same_site": None}, ("same_site", None)),
        ({"same_site": "Strict"}, ("same_site", "strict")),
        ({"path": "/" + "a" * 1023}, ("path", "/" + "a" * 1023)),
        ({"domain": ".shop.test"}, ("domain", ".shop.test")),
        ({"domain": "xn--caf-dma.test"}, ("domain", "xn--caf-dma.test")),
    ],
)
def test_values_are_normalised(options: dict[str, Any], expected: tuple[str, object]) -> None:
    """Timedeltas, datetimes and the spellings of SameSite come to one form."""
    name, value = expected
    assert getattr(CookieOptions(**options), name) == value


def test_the_defaults_are_the_safe_ones() -> None:
    """Without a word the cookie is for the whole host, no script's, Lax, and Secure over https."""
    assert CookieOptions() == CookieOptions(
        path="/",
        domain=None,
        max_age=None,
        expires=None,
        http_only=True,
        secure="auto",
        same_site="lax",
        priority=None,
        partitioned=False,
    )


TOKEN = "`name` must be a cookie name (RFC 6265 token: letters, digits and !#$%&'*+-.^_`|~), not "


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("", {}, TOKEN + "''"),
        ("a b", {}, TOKEN + "'a b'"),
        ("a;b", {}, TOKEN + "'a;b'"),
        ("a=b", {}, TOKEN + "'a=b'"),
        ("a\r\nb", {}, TOKEN + repr("a\r\nb")),
        ("sid\n", {}, TOKEN + repr("sid\n")),
        ("caf\u00e9", {}, TOKEN + repr("caf\u00e9")),
        (b"sid", {}, TOKEN + "b'sid'"),
        ("a" * 1025, {}, "`name` must have at most 1024 bytes"),
        ("__Secure-sid", {"secure": False}, "a cookie named '__Secure-sid' needs `secure=True`"),
        ("__Host-sid", {"secure": False}, "a cookie named '__Host-sid' needs `secure=True`"),
        ("__hOsT-sid", {"secure": False}, "a cookie named '__hOsT-sid' needs `secure=True`"),
        (
            "__Host-sid",
            {"domain": "shop.test"},
            "a cookie named '__Host-sid' needs `path=\"/\"` and no `domain`",
        ),
        (
            "__Host-sid",
            {"path": "/shop"},
            "a cookie named '__Host-sid' needs `path=\"/\"` and no `domain`",
        ),
        ("__Http-sid", {"http_only": False}, "a cookie named '__Http-sid' needs `http_only=True`"),
    ],
)
def test_a_name_that_cannot_work_is_refused(
    name: Any, options: dict[str, Any], message: str
) -> None:
    """The cookie's name is a token, and its prefix a promise that the attributes keep."""
    with pytest.raises(ConfigurationError) as caught:
        CookieOptions(**options).check_name(name)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sid", {"secure": False, "path": "/shop", "domain": "shop.test"}),
        ("__Secure-sid", {"path": "/shop", "domain": "shop.test"}),
        ("__Host-sid", {}),
        ("__Host-sid", {"secure": True}),
        ("!#$%&'*+-.^_`|~09AZaz", {}),
    ],
)
def test_a_name_that_works_is_accepted(name: str, options: dict[str, Any]) -> None:
    """Every token is a name, and a prefix whose demands are met is accepted."""
    CookieOptions(**options).check_name(name)


@pytest.mark.parametrize(
    ("name", "options", "over_http", "over_https"),
    [
        ("sid", {}, (False, "lax"), (True, "lax")),
        ("sid", {"secure": True}, (True, "lax"), (True, "lax")),
        ("sid", {"secure": False}, (False, "lax"), (False, "lax")),
        ("__Host-sid", {}, (True, "lax"), (True, "lax")),
        ("__secure-sid", {}, (True, "lax"), (True, "lax")),
        ("sid", {"same_site": "none"}, (True, "none"), (True, "none")),
        ("sid", {"partitioned": True}, (True, "lax"), (True, "lax")),
        ("sid", {"same_site": "auto"}, (False, "lax"), (True, "none")),
        ("sid", {"same_site": "auto", "secure": True}, (True, "lax"), (True, "none")),
        ("sid", {"same_site": "auto", "secure": False}, (False, "lax"), (False, "lax")),
        ("sid", {"same_site": "strict"}, (False, "strict"), (True, "strict")),
        ("sid", {"same_site": None}, (False, None), (True, None)),
    ],
)
def test_auto_is_settled_by_the_connection(
    name: str, options: dict[str, Any], over_http: Any, over_https: Any
) -> None:
    """Automatic Secure follows the scheme unless something demands it, SameSite likewise."""
    for is_https, expected in ((False, over_http), (True, over_https)):
        attributes = CookieOptions(**options).resolve(name, is_https)
        assert (attributes.secure, attributes.same_site) == expected


def test_resolving_keeps_what_is_not_automatic() -> None:
    """Path, Domain, HttpOnly, Priority and Partitioned arrive as they were given."""
    options = CookieOptions(
        path="/shop", domain="shop.test", http_only=False, priority="high", partitioned=True
    )
    assert options.resolve("sid", True) == CookieAttributes(
        path="/shop",
        domain="shop.test",
        http_only=False,
        secure=True,
        same_site="lax",
        priority="high",
        partitioned=True,
    )


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({}, "sid=v; Path=/; HttpOnly"),
        ({"path": None, "http_only": False}, "sid=v"),
        ({"path": "/shop", "domain": "a.test"}, "sid=v; Domain=a.test; Path=/shop; HttpOnly"),
        ({"secure": True, "same_site": "none"}, "sid=v; Path=/; HttpOnly; Secure; SameSite=None"),
        (
            {"max_age": 60, "expires": 60.9},
            "sid=v; Path=/; Expires=Thu, 01 Jan 1970 00:01:00 GMT; Max-Age=60; HttpOnly",
        ),
        (
            {"max_age": 0, "expires": 0.0},
            "sid=v; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly",
        ),
        (
            {"secure": True, "partitioned": True, "priority": "medium", "same_site": "strict"},
            "sid=v; Path=/; HttpOnly; Secure; Partitioned; Priority=Medium; SameSite=Strict",
        ),
    ],
)
def test_the_line_says_what_the_attributes_say(attributes: dict[str, Any], line: str) -> None:
    """Each attribute appears once, in a fixed order, and an absent one not at all."""
    assert set_cookie_line("sid", "v", CookieAttributes(**attributes)) == line


def test_a_line_that_browsers_would_drop_is_refused() -> None:
    """Name and value together have at most 4096 bytes."""
    assert set_cookie_line("sid", "v" * 4093, CookieAttributes())
    with pytest.raises(ConfigurationError) as caught:
        set_cookie_line("sid", "v" * 4094, CookieAttributes())
    assert str(caught.value) == "the session cookie's name and value exceed 4096 bytes"


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784111777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (784111777.999, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951782400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (4102444799, "Thu, 31 Dec 2099 23:59:59 GMT"),
    ],
)
def test_dates_are_those_of_rfc_1123(timestamp: float, text: str) -> None:
    """Expires is a date in GMT with English names, the fraction cut off."""
    assert http_date(timestamp) == text
    assert parsedate_to_datetime(text).timestamp() == int(timestamp)


@pytest.mark.parametrize(
    ("headers", "values"),
    [
        ([], []),
        (["sid=a"], ["a"]),
        (["sid=a; sid=b", "sid=c"], ["a", "b", "c"]),
        (["other=x; sid=a; last=y"], ["a"]),
        (["sid=a;sid=b"], ["a", "b"]),
        (["  sid \t=\t a  "], ["a"]),
        (['sid="a"'], ["a"]),
        (['sid="'], ['"']),
        (['sid=""'], [""]),
        (['sid="a'], ['"a']),
        (["sid="], [""]),
        (["sid"], []),
        (["sid=a=b=="], ["a=b=="]),
        (["SID=a; xsid=b; sidx=c; x=sid=d"], []),
        ([";;; ; =; sid=a;"], ["a"]),
        (["\u00e9=1; sid=\u00e9"], ["\u00e9"]),
        (["sid=a,b"], ["a,b"]),
        (["sid=%41"], ["%41"]),
    ],
)
def test_the_cookie_header_is_read_pair_by_pair(headers: list[str], values: list[str]) -> None:
    """Every cookie of exactly our name counts, in the order sent, without quotes and blanks."""
    assert list(cookie_values(headers, "sid")) == values


@pytest.mark.parametrize(
    ("request_path", "cookie_path", "matches"),
    [
        ("/", "/", True),
        ("/shop", "/", True),
        ("/shop", "/shop", True),
        ("/shop/", "/shop", True),
        ("/shop/cart", "/shop", True),
        ("/shop/cart", "/shop/", True),
        ("/shop", "/shop/", False),
        ("/shopping", "/shop", False),
        ("/Shop", "/shop", False),
        ("/", "/shop", False),
        ("/sho", "/shop", False),
        ("/shop%2Fcart", "/shop", False),
        ("", "/shop", False),
        ("", "/", True),
    ],
)
def test_paths_match_as_in_rfc_6265(request_path: str, cookie_path: str, matches: bool) -> None:
    """A cookie path covers itself and what is below it, and no name that only begins alike."""
    assert path_matches(request_path, cookie_path) is matches
