"""The system checks: each says what to write."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client, override_settings

from coatcheck import Capabilities, MemoryStore
from coatcheck_django import SessionStore


def observe(event: object) -> None:
    """An observer that the settings name."""


def later(base: Any, mine: Any, theirs: Any) -> Any:
    """A merge rule that the settings name."""
    return mine


class NoCodec:
    """A codec that cannot be made."""

    def __init__(self) -> None:
        raise ValueError("it needs a key")


@pytest.fixture(autouse=True)
def broken_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that raises when it is imported."""
    (tmp_path / "brokenmodule.py").write_text("1 / 0\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)


def found(*, deploy: bool = False, **settings: Any) -> list[CheckMessage]:
    with override_settings(**settings):
        return run_checks(tags=["coatcheck"], include_deployment_checks=deploy)


def test_good_settings_need_no_word(store: MemoryStore) -> None:
    assert [message.id for message in found(DEBUG=True, deploy=True)] == []


WRONG: list[tuple[Any, str]] = [
    (None, "COATCHECK is missing: write COATCHECK = {"),
    ("redis://localhost", "must be a dict, as in COATCHECK = {"),
    ({}, r'COATCHECK\["STORE"\] is missing: write COATCHECK = {.*"memory:"'),
    ({"STORE": "redsi://localhost"}, r'COATCHECK\["STORE"\]: .*redis'),
    ({"STORE": "/srv/sessions"}, r"for a folder it is `file:///folder`"),
    ({"STORE": 42}, r'COATCHECK\["STORE"\]: a store URL is a string, not int'),
    ({"STORE": "memory:", "OBSERVER": []}, "no setting 'OBSERVER': did you mean \"OBSERVERS\"?"),
    ({"STORE": "memory:", "IDLE_TIMEOUT": 60}, "set SESSION_COOKIE_AGE, as Django has it"),
    ({"STORE": "memory:", "XYZ": 1}, "there are ABSOLUTE_TIMEOUT, CODEC"),
    ({"STORE": "memory:", "ABSOLUTE_TIMEOUT": -1}, r'COATCHECK\["ABSOLUTE_TIMEOUT"\]'),
    ({"STORE": "memory:", "CONCURRENCY": "no"}, r'COATCHECK\["CONCURRENCY"\] must be "merge"'),
    ({"STORE": "memory:", "OBSERVERS": ["no.such.module"]}, r'\["OBSERVERS"\]: No module named'),
    ({"STORE": "memory:", "OBSERVERS": "shop.note"}, r"must be a list: write \['shop.note'\]"),
    ({"STORE": "memory:", "OWNER": "brokenmodule.owner"}, r'\["OWNER"\]: .*division by zero'),
    ({"STORE": "memory:", "CODEC": "test_django_checks.NoCodec"}, r'\["CODEC"\]: .*a key'),
]


@pytest.mark.parametrize(("value", "text"), WRONG)
def test_a_wrong_setting_is_an_error_that_says_what_to_write(value: Any, text: str) -> None:
    (message,) = found(COATCHECK=value)
    assert message.id == "coatcheck.E001"
    assert re.search(text, message.msg)
    # At run time it is the same error, for servers that run no checks.
    with override_settings(COATCHECK=value), pytest.raises(ImproperlyConfigured, match=text):
        SessionStore("somekeyofone").load()


def test_all_that_is_unknown_is_told_at_once() -> None:
    messages = found(COATCHECK={"STORE": "memory:", "XYZ": 1, "ZYX": 2, "MERGE": 3})
    assert len(messages) == 2 + 1


def test_a_wrong_store_is_not_asked() -> None:
    (message,) = found(COATCHECK={"STORE": "redsi://localhost"}, deploy=True)
    assert message.id == "coatcheck.E001"


def test_settings_can_name_what_they_need() -> None:
    value = {
        "STORE": "memory:",
        "OBSERVERS": ["test_django_checks.observe", observe],
        "MERGE": {"seen": "coatcheck.merge_rules.union", "last": later},
        "CODEC": "coatcheck.JSONCodec",
        "ABSOLUTE_TIMEOUT": 3600,
    }
    assert found(COATCHECK=value, DEBUG=True) == []


def test_manage_check_fails() -> None:
    with (
        override_settings(COATCHECK={"STORE": "redsi://localhost"}),
        pytest.raises(SystemCheckError, match=r"coatcheck\.E001"),
    ):
        call_command("check")


def test_check_deploy_asks_the_store() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"
        assert found(COATCHECK={"STORE": url}) == []
        (message,) = found(COATCHECK={"STORE": url}, deploy=True)
    assert message.id == "coatcheck.E002"
    assert "cannot be used" in message.msg


def test_another_engine_is_noticed(store: MemoryStore) -> None:
    (message,) = found(SESSION_ENGINE="django.contrib.sessions.backends.db")
    assert message.id == "coatcheck.W001"
    assert message.hint == 'Write SESSION_ENGINE = "coatcheck_django".'


@pytest.mark.parametrize("engine", ["", "brokenmodule", ".x"])
def test_an_engine_that_cannot_be_imported_is_noticed(engine: str, store: MemoryStore) -> None:
    (message,) = found(SESSION_ENGINE=engine)
    assert message.id == "coatcheck.W001"


@pytest.mark.parametrize("former", [".x", "brokenmodule"])
def test_a_former_engine_that_cannot_be_imported_is_an_error(former: str) -> None:
    (message,) = found(COATCHECK={"STORE": "memory:", "MOVE_FROM": former}, DEBUG=True)
    assert message.id == "coatcheck.E001"
    assert "must be the former SESSION_ENGINE" in message.msg


def test_an_empty_name_of_the_former_engine_is_none() -> None:
    assert found(COATCHECK={"STORE": "memory:", "MOVE_FROM": ""}, DEBUG=True) == []


def test_no_middleware_at_all_is_no_crash(store: MemoryStore) -> None:
    assert found(MIDDLEWARE=None, DEBUG=True) == []


@pytest.mark.parametrize("name", ["no.such", "brokenmodule.X", ""])
def test_a_serializer_that_cannot_be_imported_is_an_error(name: str, store: MemoryStore) -> None:
    """Each session of Django imports it, also one that does not use it."""
    (message,) = found(SESSION_SERIALIZER=name, DEBUG=True)
    assert message.id == "coatcheck.E001"
    assert "SESSION_SERIALIZER" in message.msg


def test_a_serializer_reads_the_sessions_that_move(store: MemoryStore) -> None:
    value = {"STORE": store, "MOVE_FROM": "django.contrib.sessions.backends.db"}
    serializer = "django.core.signing.JSONSerializer"
    assert found(COATCHECK=value, SESSION_SERIALIZER=serializer, DEBUG=True) == []


def test_djangos_own_middleware_is_noticed(store: MemoryStore) -> None:
    middleware = ["django.contrib.sessions.middleware.SessionMiddleware"]
    (message,) = found(MIDDLEWARE=middleware, DEBUG=True)
    assert message.id == "coatcheck.W002"
    assert "coatcheck_django.middleware.SessionMiddleware" in (message.hint or "")


def test_a_serializer_of_django_is_noticed(store: MemoryStore) -> None:
    (message,) = found(SESSION_SERIALIZER="django.core.signing.JSONSerializer", DEBUG=True)
    assert message.id == "coatcheck.W005"


def test_sessions_in_memory_are_noticed() -> None:
    (message,) = found(COATCHECK={"STORE": "memory:"})
    assert message.id == "coatcheck.W003"
    assert found(COATCHECK={"STORE": "memory:"}, DEBUG=True) == []


def test_a_store_without_an_owner_index_is_noticed() -> None:
    store = MemoryStore()
    store.capabilities = Capabilities(blocking=False)
    (message,) = found(COATCHECK={"STORE": store}, DEBUG=True)
    assert message.id == "coatcheck.W004"


def test_a_store_that_is_down_is_an_error_of_the_request() -> None:
    from coatcheck.errors import StoreUnavailable

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"
        with override_settings(COATCHECK={"STORE": url}), pytest.raises(StoreUnavailable):
            Client().get("/put?a=1")
