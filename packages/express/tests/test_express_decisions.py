"""The observed decisions of express-session, row by row, and those of coatcheck.

``express-decisions.json`` holds observations of express-session 1.19: options, the request and the
work of its handler; and which calls its store got, in order, and whether and which cookie was sent.
A row in which coatcheck decides differently must be one of the differences of
``docs/differences.md``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from webclient import Clock, SyncClient

from coatcheck import MemoryStore, Record
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import SessionGone
from coatcheck.wsgi import SessionMiddleware as WSGISessions
from coatcheck_express import express_options

ROWS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "express-decisions.json").read_text()
)
SECRET = "keyboard cat"
OLD_ID = "AZaz09-_AZaz09-_AZaz09-_AZaz09-_"
RECORD = b'{"cookie":{"originalMaxAge":%s,"expires":%s,"httpOnly":true,"path":"/"},"n":1}'
MAX_AGE_MS = 60_000


class Outcome(NamedTuple):
    """The outcome of a request, apart from the order in which things were done.

    :ivar cookie: none (``"-"``), the ``same-id`` or a ``new-id``, with ``+exp`` where it has an
        expiry, or ``removed``.
    :ivar old: the data of the record that the request presented, None where there is none.
    :ivar new: the data of another record, None where there is none.
    """

    cookie: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    status: int


# What Express did


def express_outcome(row: dict[str, Any]) -> Outcome:
    """Return the outcome of the calls that Express's store got."""
    calls, act, exists = row["ops"].split(","), row["act"], row["state"] == "existing"
    old: dict[str, Any] | None = {"n": 1} if exists else None
    data: dict[str, Any] = {"n": 1} if exists else {}
    regenerates = act.startswith("regenerate")
    if regenerates:
        data = {}
    if "modify" in act:
        data = {"n": data.get("n", 0) + 1}
    new = None
    for call in calls:
        if call == "destroy":
            old = new = None
        elif call == "set" and exists and not regenerates:
            old = data
        elif call == "set":
            new = data
    return Outcome(row["cookie"], old, new, row["status"])


# What coatcheck does


def act_plain(name: str, session: Any) -> None:
    """Do the actions that need no I/O."""
    if name == "modify":
        session["n"] = session.get("n", 0) + 1
    elif name == "set-same":
        if "n" in session:
            session["n"] = session["n"]
    elif name == "touch()":
        session.touch()
    elif name == "cookie.maxAge=5000":
        session.cookie.max_age = 5
    elif name in ("regenerate", "destroy"):
        getattr(session, name)()
    else:
        assert name == "none"


def asgi_request(act: str, headers: dict[str, str], options: Any) -> httpx.Response:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        for name in act.split("+"):
            if name == "save":
                await session.save()
            elif name == "reload":
                try:
                    await session.reload()
                except SessionGone:
                    assert session.is_new
            elif name == "null":
                scope["session"] = None
            else:
                act_plain(name, session)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return SyncClient(ASGISessions(app, options)).get("/", headers=headers)


def wsgi_request(act: str, headers: dict[str, str], options: Any) -> httpx.Response:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        session = environ["coatcheck.session"]
        for name in act.split("+"):
            if name == "save":
                session.save()
            elif name == "reload":
                try:
                    session.reload()
                except SessionGone:
                    assert session.is_new
            elif name == "null":
                environ["coatcheck.session"] = None
            else:
                act_plain(name, session)
        start_response("200 OK", [])
        return [b"ok"]

    return SyncClient(WSGISessions(app, options)).get("/", headers=headers)


Request = Callable[[str, dict[str, str], Any], httpx.Response]
REQUESTS: dict[str, Request] = {"asgi": asgi_request, "wsgi": wsgi_request}


def our_outcome(row: dict[str, Any], request: Request) -> Outcome:
    """Send a row's request to an application with its options, and return the outcome."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    options = express_options(
        secret=SECRET,
        store=store,
        resave=row["resave"],
        rolling=row["rolling"],
        save_uninitialized=row["saveUninitialized"],
        unset=row["unset"],
        cookie={"max_age_ms": MAX_AGE_MS} if row["maxAge"] else {},
        clock=clock,
        load="eager",
    )
    stored = RECORD % (
        (b"60000", b'"2023-11-14T22:14:20.000Z"') if row["maxAge"] else (b"null", b"null")
    )
    if row["state"] == "existing":
        store.set(OLD_ID, Record(stored, clock() + 60))
    elif row["state"] == "expired":
        store.set(OLD_ID, Record(stored, clock() + 60))
        clock.advance(61)
    headers = {}
    if row["state"] != "no-cookie":
        value = options.cookie_format.bind("connect.sid", options.secrets).sign(OLD_ID)
        if row["state"] == "bad-signature":
            value = value.replace("s%3AA", "s%3AB")
        headers["cookie"] = f"connect.sid={value}"
    response = request(row["act"], headers, options)
    old, new = None, None
    for key, record in store.all():
        data = options.codec.loads(record.data, key).data
        if key == OLD_ID:
            old = data
        else:
            assert new is None, "two new records"
            new = data
    return Outcome(kind_of_cookie(response), old, new, response.status_code)


def kind_of_cookie(response: httpx.Response) -> str:
    lines = response.headers.get_list("set-cookie")
    if not lines:
        return "-"
    assert len(lines) == 1
    assert "Max-Age" not in lines[0]
    value = lines[0].partition(";")[0].removeprefix("connect.sid=")
    if not value:
        assert "Expires=Thu, 01 Jan 1970 00:00:00 GMT" in lines[0]
        return "removed"
    kind = "same-id" if value.startswith(f"s%3A{OLD_ID}.") else "new-id"
    return kind + ("+exp" if "Expires=" in lines[0] else "")


# Where they differ


def verdict(row: dict[str, Any], ours: Outcome) -> str | None:
    """Return "equal", the difference that explains a row, or None."""
    express = express_outcome(row)
    if ours == express:
        return "equal"
    if ours._replace(cookie="") != express._replace(cookie="") or express.cookie != "-":
        return None
    act = row["act"]
    ends = act == "destroy" or (act == "null" and row["unset"] == "destroy")
    lifetime = "+exp" if row["maxAge"] else ""
    if ends and ours.cookie == "removed" and row["state"] != "no-cookie":
        return "D2"
    if act == "cookie.maxAge=5000" and row["state"] == "existing" and ours.cookie == "same-id+exp":
        return "D6"
    if act == "save" and not row["saveUninitialized"] and ours.cookie == f"new-id{lifetime}":
        return "D15"
    return None


def name_of(row: dict[str, Any]) -> str:
    options = [name for name in ("resave", "saveUninitialized", "rolling", "maxAge") if row[name]]
    return "-".join([row["state"], row["act"], f"unset={row['unset']}", *options])


@pytest.mark.parametrize("request_by", REQUESTS)
def test_coatcheck_decides_as_express_does_or_as_documented(
    request_by: str, record_property: Callable[[str, object], None]
) -> None:
    """Each row is decided alike, or a documented difference explains it.

    The end of the test run prints how many rows are equal, and how many each difference explains.
    The rows are not tests of their own, which would take twenty times as long.
    """
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for row in ROWS:
        try:
            ours = our_outcome(row, REQUESTS[request_by])
        except Exception as error:
            wrong.append(f"{name_of(row)}: {error!r}")
            continue
        found = verdict(row, ours)
        if found is None:
            wrong.append(f"{name_of(row)}: {ours}, Express {express_outcome(row)}")
        else:
            counts[found] += 1
    assert not wrong, "\n".join([f"{len(wrong)} of {len(ROWS)} rows", *wrong])
    assert counts["equal"]
    shown = ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
    record_property("summary", f"express-decisions.json over {request_by}: {shown}")
