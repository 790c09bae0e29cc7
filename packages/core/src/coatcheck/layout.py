"""How CPython stores the attributes of the objects that each request makes."""

from __future__ import annotations

from typing import Any


def lay_out(kind: type, names: str) -> None:
    """Make room for attributes in all instances of a class.

    CPython arranges a class's instances by the attributes that the first thirty of them had.
    Were those requests of public pages, which hardly use the session, then each later one with a
    session would have to leave that arrangement, at the price of a tenth of the request.

    :param names: at most 29 attributes, those most used.
    """
    instance: Any = object.__new__(kind)
    for name in names.split():
        setattr(instance, name, None)
