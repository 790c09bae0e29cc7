"""Parse the options of stores' URLs: ``scheme://host/name?option=value&option=value``.

A store names its options and gives each a parser. Any other option, a duplicate and a value that
the parser refuses raise :class:`~coatcheck.errors.ConfigurationError` (clause LIFE-3 of the Store
contract). Errors never contain a value, because some are passwords.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from ..errors import ConfigurationError


def split_url(url: str, form: str) -> tuple[SplitResult, dict[str, str]]:
    """Return the parts of a URL, and its options.

    :param form: the form of the store's URLs. It is the text of the error for other URLs.
    :raises ConfigurationError: the URL cannot be parsed, or has an option twice.
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
        raise ConfigurationError("duplicate option in the store URL")
    return parts, dict(options)


def parse_options(
    options: Mapping[str, str], known: Mapping[str, Callable[[str], Any]], store: str
) -> dict[str, Any]:
    """Return the parsed values of options.

    :param known: a parser for each option of the store. A parser raises ValueError with a text that
        says what the value must be.
    :param store: the store's name, for errors: ``"Redis"``.
    :raises ConfigurationError: an option is unknown, or its parser refuses the value.
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


def text_option(value: str) -> str:
    """Return a non-empty text."""
    if not value:
        raise ValueError("some text")
    return value


def seconds_option(value: str) -> float:
    """Return seconds, a number greater than 0."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or not float(value):
        raise ValueError("seconds, more than 0")
    return float(value)


def integer_option(least: int, most: int) -> Callable[[str], int]:
    """Return a parser for whole numbers from ``least`` to ``most``."""

    def parsed(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(value)

    return parsed


def flag_option(value: str) -> bool:
    """Return a boolean: ``true``, ``yes``, ``1``, ``false``, ``no`` or ``0``."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if value.lower() not in words:
        raise ValueError("`true` or `false`")
    return words[value.lower()]


def choice_option(allowed: Collection[str]) -> Callable[[str], str]:
    """Return a parser for one of the allowed words."""

    def parsed(value: str) -> str:
        if value not in allowed:
            names = [f"`{name}`" for name in allowed]
            raise ValueError(" or ".join(filter(None, (", ".join(names[:-1]), names[-1]))))
        return value

    return parsed
