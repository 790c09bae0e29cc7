"""Sessions that Python creates outside a request, as Express would have begun them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from webclient import SECRET, SyncClient, wsgi_app

from coatcheck import MemoryStore, Sessions
from coatcheck_express import express_options


@pytest.mark.parametrize("max_age", [None, 60_000])
def test_a_session_is_created_and_found_in_express_s_form(max_age: int | None) -> None:
    """The cookie is signed and escaped as Express does it, and the record has its members."""
    store = MemoryStore()
    options = express_options(secret=SECRET, cookie={"max_age_ms": max_age}, store=store)
    sessions = Sessions(store, options)
    made = sessions.create({"user": "ann"})
    assert made.cookie_name == "connect.sid"
    session_id = unquote(made.cookie_value).removeprefix("s:").partition(".")[0]
    record = store.get(session_id)
    assert record is not None
    stored = json.loads(record.data)
    assert stored["user"] == "ann"
    assert stored["cookie"]["originalMaxAge"] == max_age
    found = sessions.find(f"connect.sid={made.cookie_value}")
    assert found is not None
    assert (found.ref, found.data) == (made.ref, {"user": "ann"})

    def show(session: Any, environ: Any) -> str:
        return str(session["user"])

    browser = SyncClient(wsgi_app(show, options=options))
    assert browser.present(f"connect.sid={made.cookie_value}").text == "ann"
