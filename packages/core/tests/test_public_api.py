"""The text of the public API changes with everything that users can see, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import coatcheck
import coatcheck.errors
import coatcheck.events
from coatcheck import MemoryStore, Session, Sessions, Store
from coatcheck.cookie_format import CookieToken
from coatcheck.options import OptionFields
from testing.public_api import MODULES, file_of, main, text_of

Patch = pytest.MonkeyPatch


def a_name_goes(patch: Patch) -> None:
    patch.setattr(coatcheck.errors, "__all__", coatcheck.errors.__all__[1:])


def a_name_comes(patch: Patch) -> None:
    patch.setattr(coatcheck, "__all__", [*coatcheck.__all__, "errors_of"])
    patch.setattr(coatcheck, "errors_of", lambda: None, raising=False)


def a_base_class_goes(patch: Patch) -> None:
    patch.setattr(
        coatcheck.errors,
        "PluginError",
        type("PluginError", (Exception,), {"__module__": "coatcheck.errors"}),
    )


def a_method_goes(patch: Patch) -> None:
    patch.delattr(Sessions, "revoke")


def a_method_is_called_otherwise(patch: Patch) -> None:
    patch.setattr(Store, "get_it", Store.get, raising=False)
    patch.delattr(Store, "get")


def a_method_becomes_asynchronous(patch: Patch) -> None:
    async def close(self: object) -> None: ...

    patch.setattr(MemoryStore, "close", close)


def a_property_can_no_longer_be_set(patch: Patch) -> None:
    patch.setattr(Session, "owner", property(Session.owner.fget))


def a_default_changes(patch: Patch) -> None:
    patch.setattr(MemoryStore.__init__, "__kwdefaults__", {"max_sessions": 7, "clock": print})


def an_annotation_changes(patch: Patch) -> None:
    patch.setitem(Sessions.revoke.__annotations__, "return", "int")


def an_option_goes(patch: Patch) -> None:
    patch.delitem(OptionFields.__annotations__, "rolling")


def a_field_has_another_type(patch: Patch) -> None:
    patch.setitem(CookieToken.__annotations__, "id", "bytes")


@pytest.mark.parametrize(
    "change",
    [
        a_name_goes,
        a_name_comes,
        a_base_class_goes,
        a_method_goes,
        a_method_is_called_otherwise,
        a_method_becomes_asynchronous,
        a_property_can_no_longer_be_set,
        a_default_changes,
        an_annotation_changes,
        an_option_goes,
        a_field_has_another_type,
    ],
)
def test_what_users_can_see_is_noticed(change: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """Each of these would break somebody's program, or is a promise to keep."""
    before = text_of("packages/core")
    change(monkeypatch)
    assert text_of("packages/core") != before


def test_the_module_of_a_class_does_not_matter(monkeypatch: Patch) -> None:
    """A class may move inside the package."""
    before = text_of("packages/core")
    monkeypatch.setattr(MemoryStore, "__module__", "coatcheck._elsewhere")
    assert text_of("packages/core") == before


@pytest.mark.parametrize("distribution", MODULES)
def test_the_text_has_no_place_in_memory(distribution: str) -> None:
    """Nothing in it differs from run to run."""
    assert " at 0x" not in file_of(distribution).read_text("utf-8")


def test_the_command_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """It explains itself instead of writing files."""
    assert main(["--help"]) == 2
    assert "usage: python -m testing.public_api" in capsys.readouterr().err


def test_the_public_api_is_the_one_that_was_agreed_on() -> None:
    """No signature changes unnoticed. `python -m testing.public_api` writes the file."""
    agreed = file_of("packages/core").read_text("utf-8")
    assert text_of("packages/core") == agreed
