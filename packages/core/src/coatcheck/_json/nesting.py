"""Encode and decode JSON of any depth, without recursion.

The functions of :mod:`json` recurse. Under Python 3.11 they fail near the end of their caller's
stack, so a record that is read at one place of an application could not be read at another. The
functions of this module are slower and need no stack. They are used where those of :mod:`json` have
failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

#: Levels of lists and objects that a record may have: more than JSON in Node.js can write.
DEEPEST: Final = 10_000

_BLANKS: Final = re.compile(r"[ \t\n\r]*")


class _Text(str):
    """Mark a string as JSON, so that it is not encoded again."""

    __slots__ = ()


def encode_deep(value: Any, encode: Callable[[Any], str]) -> str:
    """Return the JSON of a value that consists of JSON's own types.

    :param encode: returns the JSON of a string, number, boolean, None or empty container.
    """
    chunks: list[str] = []
    left: list[Any] = [value]
    while left:
        item = left.pop()
        if type(item) is _Text:
            chunks.append(item)
        elif type(item) is list and item:
            left.append(_Text("]"))
            for inner in reversed(item):
                left += (inner, _Text(","))
            left[-1] = _Text("[")
        elif type(item) is dict and item:
            left.append(_Text("}"))
            for name, inner in reversed(item.items()):
                left += (inner, _Text(f",{encode(name)}:"))
            left[-1] = _Text("{" + left[-1][1:])
        else:
            chunks.append(encode(item))
    return "".join(chunks)


def decode_deep(text: str, decoder: json.JSONDecoder) -> Any:
    """Return what ``decoder.decode(text)`` would return if the stack was large enough.

    :raises ValueError: the text is not JSON, or has more than :data:`DEEPEST` levels.
    """
    reader = _Reader(text, decoder)
    while True:
        value = reader.first()
        while reader.is_inside:
            if reader.add(value):
                break
            value = reader.close()
        else:
            reader.expect("")
            return value


class _Reader:
    """Hold a place in a text, and the containers around it. Each method reads and goes on."""

    def __init__(self, text: str, decoder: json.JSONDecoder) -> None:
        self._text = text
        self._decoder = decoder
        self._around: list[list[Any] | dict[str, Any]] = []
        self._keys: list[str] = []  # of those that are dictionaries
        self._at = 0
        self._skip_blanks()

    @property
    def is_inside(self) -> bool:
        """Whether the place is in a container."""
        return bool(self._around)

    def first(self) -> Any:
        """Enter containers until a complete value is found, and return the value."""
        while (opened := self._container()) is not None:
            if self.accepts(_end_of(opened)):
                return self._finished(opened)
            if len(self._around) == DEEPEST:
                raise ValueError("too deep")
            self._around.append(opened)
            if isinstance(opened, dict):
                self._keys.append(self._key())
        return self._scalar()

    def add(self, value: Any) -> bool:
        """Add a value to the innermost container, and tell whether another one follows."""
        container = self._around[-1]
        if isinstance(container, dict):
            container[self._keys[-1]] = value
        else:
            container.append(value)
        follows = self.accepts(",")
        if follows and isinstance(container, dict):
            self._keys[-1] = self._key()
        return follows

    def close(self) -> Any:
        """Leave the innermost container, and return its value."""
        container = self._around.pop()
        if isinstance(container, dict):
            self._keys.pop()
        self.expect(_end_of(container))
        return self._finished(container)

    def _container(self) -> list[Any] | dict[str, Any] | None:
        """Return an empty container if one begins here."""
        if self.accepts("{"):
            return {}
        return [] if self.accepts("[") else None

    def _scalar(self) -> Any:
        value, self._at = self._decoder.raw_decode(self._text, self._at)
        self._skip_blanks()
        return value

    def _key(self) -> str:
        if not self._text.startswith('"', self._at):
            raise ValueError("no key")
        key: str = self._scalar()
        self.expect(":")
        return key

    def accepts(self, character: str) -> bool:
        """Tell whether a character is next, and go on behind it."""
        found = self._text[self._at : self._at + 1] == character
        if found:
            self._at += 1
            self._skip_blanks()
        return found

    def expect(self, character: str) -> None:
        """Go on behind a character, or with ``""`` check that the text ends here.

        :raises ValueError: something else follows.
        """
        if not self.accepts(character):
            raise ValueError("something else was expected")

    def _finished(self, container: list[Any] | dict[str, Any]) -> Any:
        """Return the value of a container: the decoder may have a hook for objects."""
        hook = self._decoder.object_hook
        return container if hook is None or isinstance(container, list) else hook(container)

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        assert blanks is not None, "it also matches no characters"
        self._at = blanks.end()


def _end_of(container: list[Any] | dict[str, Any]) -> str:
    return "}" if isinstance(container, dict) else "]"
