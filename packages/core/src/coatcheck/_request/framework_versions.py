"""Tell that a framework is too old, before its first missing name does."""

from __future__ import annotations

import re


def require_version(distribution: str, least: str) -> None:
    """Check that the installed release of a framework is new enough.

    A release without metadata, as in some bundles, is not checked.

    :param distribution: the name under which pip knows the framework.
    :param least: the oldest release that works, in numbers and dots.
    :raises ImportError: an older one is installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version(distribution)
    except PackageNotFoundError:
        return
    if _numbers(found) < _numbers(least):
        raise ImportError(
            f"coatcheck needs {distribution} {least} or later, and {found} is installed: "
            f'`pip install "{distribution}>={least}"`',
            name=distribution,
        )


def _numbers(release: str) -> tuple[int, ...]:
    numbers = re.match(r"[\d.]*", release)
    return tuple(int(part) for part in (numbers[0] if numbers else "").split(".") if part)
