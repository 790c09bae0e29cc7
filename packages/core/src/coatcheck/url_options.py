"""The options of stores' URLs: ``scheme://host/name?option=value&option=value``.

A store names its options with a parser each, and every other one, one that stands twice or has a
value that cannot be is a :class:`~coatcheck.errors.ConfigurationError` (clause LIFE-3 of the Store
contract). No value is in an error: some are passwords.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .errors import ConfigurationError


def split(url: str, form: str) -> tuple[SplitResult, dict[str, str]]:
    """Return the parts of a URL, and its options.

    :param form: the error where it cannot be understood: what a URL of the store looks like.
    :raises ConfigurationError: it cannot be understood, or an option stands twice.
    """
    try:
        parts = urlsplit(url)
        options = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict"
        )
    except ValueError:
        raise ConfigurationError(form) from None
    if "#" in url or any(character < " " for character in url):
        raise ConfigurationError(form)
    if len(dict(options)) != len(options):
        raise ConfigurationError("an option stands twice in the store's URL")
    return parts, dict(options)


def read(
    options: Mapping[str, str], known: Mapping[str, Callable[[str], Any]], store: str
) -> dict[str, Any]:
    """Return the values of options.

    :param known: a parser for each option that there is; it raises ValueError with what the value
        must be.
    :param store: which store's URL it is, for errors: ``"Redis"``.
    :raises ConfigurationError: there is no such option, or its value cannot be.
    """
    values = {}
    for name, value in options.items():
        if name not in known:
            raise ConfigurationError(
                f"the {store} store's URL has no option {name!r}; there are {', '.join(known)}"
            )
        try:
            values[name] = known[name](value)
        except ValueError as error:
            raise ConfigurationError(
                f"{name!r} in the {store} store's URL must be {error}"
            ) from None
    return values


def text(value: str) -> str:
    """Return a value that is not empty."""
    if not value:
        raise ValueError("some text")
    return value


def seconds(value: str) -> float:
    """Return a number of seconds, more than 0."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or not float(value):
        raise ValueError("seconds, more than 0")
    return float(value)


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers in a range."""

    def parsed(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(value)

    return parsed


def flag(value: str) -> bool:
    """Return yes or no."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if value.lower() not in words:
        raise ValueError("`true` or `false`")
    return words[value.lower()]


def one_of(allowed: Collection[str]) -> Callable[[str], str]:
    """Return a parser of words from a list."""

    def parsed(value: str) -> str:
        if value not in allowed:
            names = [f"`{name}`" for name in allowed]
            raise ValueError(" or ".join(filter(None, (", ".join(names[:-1]), names[-1]))))
        return value

    return parsed
