"""Django for the tests of this folder, with a database of users and a new store for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import djangosite
import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.test.utils import setup_test_environment

from coatcheck import MemoryStore

_FOLDER = tempfile.TemporaryDirectory(prefix="coatcheck-django-")
if not settings.configured:
    djangosite.configure(str(Path(_FOLDER.name) / "users.sqlite3"))
    django.setup()
    setup_test_environment()


@pytest.fixture(scope="session")
def _database() -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


@pytest.fixture(autouse=True)
def _nothing_meanwhile() -> Iterator[None]:
    yield
    djangosite.meanwhile.clear()


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """A store in memory, which the settings name."""
    made = MemoryStore()
    with override_settings(COATCHECK={"STORE": made}):
        yield made


@pytest.fixture
def users(_database: None) -> Iterator[Any]:
    """The model of users; those that a test makes are deleted after it."""
    from django.contrib.auth import get_user_model
    from django.db import connections

    model = get_user_model()
    yield model
    model.objects.all().delete()
    connections.close_all()


@pytest.fixture
def ann(users: Any) -> Any:
    """A user who may see the admin."""
    return users.objects.create_superuser("ann", "ann@example.org", "a good password")


@pytest.fixture
def client() -> Client:
    return Client()
