"""`session_of` of the core, called with requests of Django."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from coatcheck import MemoryStore, session_of
from coatcheck.errors import SessionUnavailable
from coatcheck.typed import SessionView
from coatcheck_django import SessionStore


@pytest.mark.parametrize("factory", [RequestFactory, AsyncRequestFactory])
def test_the_session_of_django_is_in_its_request(factory: Any, store: MemoryStore) -> None:
    """With the engine there is no middleware of ours, and the error names Django's place."""
    request = factory().get("/")
    with pytest.raises(SessionUnavailable, match="put one around the application"):
        session_of(request)
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    with pytest.raises(SessionUnavailable, match=r"the framework is `request\.session`"):
        session_of(request)


@pytest.mark.parametrize("key", ["cart", None])
def test_a_typed_view_of_the_session(key: str | None, store: MemoryStore) -> None:
    """Django's session has what a view needs, for one key and for the whole."""

    @dataclass
    class Cart:
        lines: list[str] = field(default_factory=list)

    view = SessionView(Cart, key)
    session = SessionStore()
    session["csrf"] = "x"
    with view.edit(session) as cart:
        cart.lines.append("hat")
    session.save()
    again = SessionStore(session.session_key)
    assert view.read(again) == Cart(["hat"])
    assert {*again.keys()} == {"csrf", key or "lines"}
