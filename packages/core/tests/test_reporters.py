"""Error reporters that collect local variables learn nothing secret of a session."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import devtools
import pydantic
import pytest
import rich.console
import rich.pretty
import rich.traceback
import sentry_sdk
from pydantic import _internal
from webclient import Client, FragileStore, asgi_app, wsgi_app

from coatcheck.errors import SerializationError, StoreUnavailable

pytestmark = pytest.mark.anyio

SECRET_DATA = "what nobody else may read"


@pytest.fixture
def reports() -> Iterator[list[str]]:
    """Let Sentry report to a list: what each frame shows of its local variables, as JSON."""
    found: list[str] = []

    def keep(event: Any, hint: Any) -> None:
        for exception in event["exception"]["values"]:
            for frame in exception["stacktrace"]["frames"]:
                if frame["filename"].startswith("httpx/"):
                    continue  # the server's
                variables = frame["vars"]
                # The server's request has the cookie; Sentry and the application see to that.
                for name in ("scope", "environ", "self", "request", "headers", "c", "wsgi"):
                    variables.pop(name, None)
                found.append(f"{frame['filename']} {frame['function']} {json.dumps(variables)}")

    client = sentry_sdk.Client(
        "http://key@127.0.0.1:9/1", before_send=keep, default_integrations=False,
        max_value_length=100_000,
    )  # fmt: skip
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        yield found
    client.close(0)


FAILURES = {"/raise": RuntimeError, "/value": SerializationError, "/store": StoreUnavailable,
            "/login": StoreUnavailable}  # fmt: skip


@pytest.mark.parametrize("path", FAILURES)
@pytest.mark.parametrize("make", [asgi_app, wsgi_app])
async def test_reports_have_neither_id_nor_data(make: Any, path: str, reports: list[str]) -> None:
    """Neither frames of the application nor ours show them, whatever failed."""
    store = FragileStore()
    backwards: list[str] = []

    def handler(session: Any, request: Any) -> None:
        where = request.get("path", request.get("PATH_INFO"))
        if where == "/":
            session["user"] = SECRET_DATA
            session["cart"] = [{SECRET_DATA: 1}]
            return
        mine, views, sid = session, [session.items(), session.values()], session.id
        backwards.append("".join(reversed(sid)))  # a local variable, too
        if where == "/raise":
            raise RuntimeError(len(mine) + len(views))
        if where == "/value":
            session["value"] = object()
        if where == "/store":
            session["more"] = SECRET_DATA * 2
        if where == "/login":
            session.regenerate(keep_data=True)
        store.fail("set")

    visitor = Client(make(handler, store=store))
    await visitor.get("/")
    with pytest.raises(FAILURES[path]) as caught:
        await visitor.get(path)
    sentry_sdk.capture_exception(caught.value)
    assert any("handler" in frame or "context" in frame for frame in reports)
    for frame in reports:
        assert SECRET_DATA not in frame
        assert backwards[0][::-1] not in frame


async def test_rich_tracebacks_with_locals(reports: list[str]) -> None:
    """The session and its id are shown by their reprs."""
    shown = io.StringIO()

    def handler(session: Any, request: Any) -> None:
        del request
        session["user"] = SECRET_DATA
        mine, sid = session, session.id
        backwards.append("".join(reversed(sid)))
        raise RuntimeError(len(mine))

    backwards: list[str] = []
    with pytest.raises(RuntimeError) as caught:
        await Client(asgi_app(handler)).get("/")
    error = caught.value
    traceback = rich.traceback.Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_string=None,
        locals_max_length=None,
    )  # fmt: skip
    rich.console.Console(file=shown, width=200).print(traceback)
    assert "AsyncSession" in shown.getvalue()
    assert SECRET_DATA not in shown.getvalue()
    assert backwards[0][::-1] not in shown.getvalue()


class Model(pydantic.BaseModel):
    """Has a session among its fields."""

    session: Any


async def test_pretty_printers_show_no_data() -> None:
    """Those of rich, devtools and pydantic walk a dict, unless it tells them not to."""

    def handler(session: Any, request: Any) -> None:
        session["user"] = SECRET_DATA
        plain = "".join(session.id)
        for value in (session, session.id, [session], {"id": session.id}):
            texts = [
                rich.pretty.pretty_repr(value),
                devtools.pformat(value),
                repr(Model(session=value)),
                devtools.pformat(Model(session=value)),
                repr(_internal._repr.display_as_type(type(value))),
            ]
            for text in texts:
                assert SECRET_DATA not in text
                assert plain not in text

    for make in (asgi_app, wsgi_app):
        await Client(make(handler)).get("/")
