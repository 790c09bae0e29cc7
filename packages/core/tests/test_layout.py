"""How the objects of a request are stored, which decides what a session costs."""

from __future__ import annotations

import gc
import inspect
import subprocess
import sys
import textwrap
from typing import Any

import pytest

import coatcheck.layout
from coatcheck.layout import lay_out


class Sample:
    """Has the attributes that a test gives it."""


def left_the_layout(instance: Any) -> bool:
    """Tell whether an instance's attributes had to be moved to a dictionary of their own."""
    before = gc.get_referents(instance)
    return any(each is vars(instance) for each in before)


def sample(kind: type, names: str) -> Any:
    instance = kind()
    for name in names.split():
        setattr(instance, name, 1)
    return instance


def run(script: str) -> str:
    """Return the output of a fresh interpreter."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


ATTRIBUTES = "a b c d e f g h i j k l m n o p q r s t"
CPYTHON_ONLY = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="the arrangement is CPython's"
)


@CPYTHON_ONLY
def test_room_is_kept_for_attributes_that_the_first_instances_lack() -> None:
    """After any number of small instances a large one has its attributes in place."""
    script = inspect.getsource(left_the_layout) + inspect.getsource(sample)
    script += textwrap.dedent(f"""
        class Plain: pass
        class Laid: pass
        lay_out(Laid, {ATTRIBUTES!r})
        for kind in (Plain, Laid):
            for _ in range(100):
                sample(kind, "a")
            print(left_the_layout(sample(kind, {ATTRIBUTES!r})))
    """)
    source = inspect.getsource(coatcheck.layout.lay_out)
    script = "import gc\nfrom typing import Any\n" + source + script
    output = run(script)
    assert output.split() == ["True", "False"]


def test_laying_out_leaves_the_class_as_it_was() -> None:
    """No attribute is left behind, and no initialiser runs."""
    lay_out(Sample, ATTRIBUTES)
    assert not vars(Sample())


REQUESTS = """
import asyncio, gc
from typing import Any
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.wsgi import SessionMiddleware as WSGISessions

used = False

def serve(request, key):
    if used:
        request[key]["cart"] = [1]
        request[key]["cart"].append(2)
        core = request[key]._core
        objects.extend([core, core.backend])

async def asgi_app(scope, receive, send):
    serve(scope, "session")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})

def wsgi_app(environ, start_response):
    serve(environ, "coatcheck.session")
    start_response("200 OK", [])
    return []

async def send(message):
    pass

asgi = ASGISessions(asgi_app, secret="x" * 32)
wsgi = WSGISessions(wsgi_app, secret="x" * 32)

def request():
    scope = {"type": "http", "path": "/", "scheme": "http", "headers": []}
    asyncio.run(asgi(scope, None, send))
    wsgi({"PATH_INFO": "/", "wsgi.url_scheme": "http"}, lambda *_: None)

for _ in range(50):
    request()
used, objects = True, []
request()
print([type(each).__name__ for each in objects if left_the_layout(each)], len(objects))
"""


@CPYTHON_ONLY
def test_sessions_keep_their_layout_whatever_requests_came_first() -> None:
    """After public pages a session that is used has its attributes in place, and so its request."""
    script = inspect.getsource(left_the_layout) + REQUESTS
    output = run("import gc\nfrom typing import Any\n" + script)
    assert output.strip() == "[] 4"
