"""Turn JSON values into types and back, by Pydantic or msgspec.

Both directions are those of JSON, whatever the values are in memory. So a value is read by the same
rules by which it was written, also for bytes and strict models, and each codec can store it.

Messages of the two libraries may show values, so only those parts are passed on that cannot.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol, cast

from ..errors import ConfigurationError

#: msgspec's messages without values.
_HARMLESS: Final = ("Expected ", "Object missing ", "Object contains unknown field")
_MSGSPEC_PATH: Final = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)


class Misfit(Exception):
    """A value does not fit a type.

    :ivar path: the place in the value, such as ``['lines'][0]``.
    :ivar reason: what is wrong there. It shows no value.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


class Converter(Protocol):
    """Turn JSON values into a type and back."""

    def load(self, stored: Any) -> Any:
        """Return the value of the type.

        :raises Misfit: what is stored does not fit it.
        """

    def dump(self, value: Any) -> Any:
        """Return JSON values.

        :raises Misfit: the value has parts that JSON cannot have.
        """


def converter_for(kind: Any) -> Converter:
    """Return a converter for a type.

    :raises ConfigurationError: no library that is installed can read it.
    """
    libraries: dict[str, Any] = {"Pydantic": _Pydantic, "msgspec": _Msgspec}
    if hasattr(kind, "__pydantic_validator__"):  # msgspec would take its own view of such a class
        del libraries["msgspec"]
    refused: list[str] = []
    for name, make in libraries.items():
        try:
            return cast("Converter", make(kind))
        except ImportError:
            refused.append(f"{name} is not installed")
        except TypeError as error:
            refused.append(f"{name}: {error}")
    raise ConfigurationError(f"a session view of {kind!r} cannot be made: {'; '.join(refused)}")


class _Pydantic:
    def __init__(self, kind: Any) -> None:
        import pydantic
        import pydantic_core

        try:
            self._adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(kind)
        except (pydantic.PydanticUserError, NameError) as error:
            raise TypeError(str(error).partition("\n")[0]) from error
        self._to_json = pydantic_core.to_json
        self._invalid = pydantic.ValidationError
        self._unserializable = pydantic_core.PydanticSerializationError

    def load(self, stored: Any) -> Any:
        try:
            return self._adapter.validate_json(self._to_json(stored))
        except self._unserializable:
            raise Misfit("", "it has values that JSON does not have") from None
        except self._invalid as error:
            # Messages may show values, types of errors do not.
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise Misfit("".join(f"[{part!r}]" for part in first["loc"]), first["type"]) from None

    def dump(self, value: Any) -> Any:
        try:
            return self._adapter.dump_python(value, mode="json", by_alias=True, warnings=False)
        except self._unserializable:
            raise Misfit("", "it has values that JSON does not have") from None


class _Msgspec:
    def __init__(self, kind: Any) -> None:
        import msgspec
        import msgspec.inspect

        if isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType):
            raise TypeError("it has no fields that msgspec knows")
        self._encode = msgspec.json.encode
        self._decode = msgspec.json.Decoder(kind).decode
        self._to_builtins = msgspec.to_builtins
        self._invalid = msgspec.ValidationError

    def load(self, stored: Any) -> Any:
        try:
            return self._decode(self._encode(stored))
        except self._invalid as error:
            raise _misfit(str(error)) from None
        except (TypeError, ValueError):
            raise Misfit("", "it has values that JSON does not have") from None

    def dump(self, value: Any) -> Any:
        try:
            return self._to_builtins(value, str_keys=True)
        except (TypeError, ValueError):
            raise Misfit("", "it has values that JSON does not have") from None


def _misfit(message: str) -> Misfit:
    """Return what a message of msgspec says, without values."""
    path = ""
    if found := _MSGSPEC_PATH.search(message):
        path = re.sub(r"\.(\w+)", r"['\1']", found[1])
        message = message[: found.start()]
    if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
        return Misfit(f"{path}[{missing[1]!r}]", "missing")
    return Misfit(path, message if message.startswith(_HARMLESS) else "it is not valid")
