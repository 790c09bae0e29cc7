"""The errors are the ones that their module draws."""

from __future__ import annotations

import inspect
import re

import pytest

from coatcheck import errors
from coatcheck.errors import (
    CoatcheckError,
    ConfigurationError,
    CorruptRecord,
    RecordTooLarge,
    SerializationError,
    StoreError,
    UnsupportedOperation,
)

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, BaseException)
}

_DRAWN = re.compile(r"    ([│ ]*)(?:[├└]── )?([A-Z][A-Za-z]+)(?:\(([A-Za-z]+)\))?(?:  |$)")


def drawn() -> dict[str, set[str]]:
    """Read the tree in the module's docstring: each name, and the names of its bases."""
    tree: dict[str, set[str]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(
            r"    ([│ ]*)(?:[├└]── )?([A-Z][A-Za-z]+)(?:\(([A-Za-z]+)\))?(?:  |$)", line
        )
        if match is None:
            continue
        indent, name, extra = match.groups()
        root = not tree
        depth = 0 if root else len(indent) // 4 + 1
        above[depth:] = [name]
        tree[name] = {"Exception"} if root else {above[depth - 1]} | ({extra} if extra else set())
    return tree


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    """Each class is in the drawing, under its base, and nothing else is."""
    assert drawn() == {
        name: {base.__name__ for base in error.__bases__} for name, error in CLASSES.items()
    }
    assert len(CLASSES) == 19


@pytest.mark.parametrize("error", CLASSES.values(), ids=CLASSES)
def test_every_error_is_explained(error: type[CoatcheckError]) -> None:
    """Each class is a CoatcheckError with a docstring of its own."""
    assert issubclass(error, CoatcheckError)
    assert error.__doc__
    assert error.__doc__ not in {base.__doc__ for base in error.__bases__}


@pytest.mark.parametrize("error", CLASSES.values(), ids=CLASSES)
def test_documented_attributes_exist(error: type[CoatcheckError]) -> None:
    """An attribute that the docstring names is there on an instance, and the reverse."""
    documented = set(re.findall(r":ivar (\w+):", error.__doc__ or ""))
    arguments = {RecordTooLarge: (2, 1), UnsupportedOperation: ("all", "enumerable")}
    assert set(vars(error(*arguments.get(error, ("what happened",))))) == documented


def test_an_impossible_configuration_is_a_value_error() -> None:
    """Code that knows nothing of this package catches it as Python's own."""
    assert issubclass(ConfigurationError, ValueError)
    assert not issubclass(StoreError, ValueError)
    assert not issubclass(CorruptRecord, ValueError)


def test_a_record_that_is_too_large_says_how_large() -> None:
    """Size and limit are in the message and on the error."""
    error = RecordTooLarge(500, 400)
    assert (error.size, error.limit) == (500, 400)
    assert str(error) == "the record has 500 bytes; this store accepts at most 400"


def test_an_unsupported_operation_names_verb_and_capability() -> None:
    """The message says what the store would have to declare."""
    error = UnsupportedOperation("owned_by", "owners")
    assert error.operation == "owned_by"
    assert str(error) == (
        "`owned_by` needs the capability `owners`, which this store does not declare"
    )


def test_an_operation_that_a_framework_lacks_comes_with_advice() -> None:
    """The message is the advice, because no other store would help."""
    error = UnsupportedOperation("create", advice="use the framework's own")
    assert (error.operation, str(error)) == ("create", "use the framework's own")


def test_a_serialization_error_carries_the_path() -> None:
    """The path is the whole session unless one value is the cause."""
    assert SerializationError("no").path == "session"
    assert SerializationError("no", "session['a']").path == "session['a']"
