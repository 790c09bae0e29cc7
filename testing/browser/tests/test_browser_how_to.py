"""What the how-to pages say about browsers: their examples, visited from other sites."""

from __future__ import annotations

import hashlib
import hmac
import runpy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import BrowserContext, Page
from serving import uvicorn_server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from testing.browser.chromium import Authority

pytestmark = pytest.mark.integration("chromium")

EXAMPLES = Path(__file__).parents[3] / "examples" / "how-to"
KEY = "the key of the provider"

#: Serves an example and returns its port.
Example: TypeAlias = Callable[..., int]


async def form(request: Request) -> HTMLResponse:
    """Show a form that sends the query elsewhere, as a page of somebody else may do."""
    fields = dict(request.query_params)
    target = fields.pop("target")
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    return HTMLResponse(f'<form method="post" action="{target}">{inputs}<button>Go</button></form>')


@pytest.fixture
def example(
    authority: Authority, visitors: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Example]:
    """Serve examples over https; /elsewhere is a page of each host that it is read from."""
    with ExitStack() as servers:

        def serve(name: str, **environment: str) -> int:
            apps: list[Any] = []

            async def app(scope: Any, receive: Any, send: Any) -> None:
                await apps[scope.get("path") == "/elsewhere"](scope, receive, send)

            certificate = {"ssl_keyfile": authority.key, "ssl_certfile": authority.certificate}
            server = uvicorn_server(app, lifespan="off", **certificate)
            port = servers.enter_context(server).rpartition(":")[2]
            values = {
                "SESSION_SECRET": "a-secret-of-thirty-two-bytes-without-a-comma",
                "SESSION_STORE": f"file://{tmp_path}/sessions",
                **environment,
            }
            for variable, value in values.items():
                monkeypatch.setenv(variable, value.replace("PORT", port))
            apps.append(runpy.run_path(str(EXAMPLES / f"{name}.py"))["app"])
            apps.append(Starlette(routes=[Route("/elsewhere", form)]))
            return int(port)

        yield serve
        visitors.close()  # they keep connections


def test_a_payment_keeps_the_login(example: Example, visitor: Callable[[], BrowserContext]) -> None:
    """The POST of the provider's page comes without the cookie, and the page after it has it."""
    port = example("callbacks", PAYMENT_KEY=KEY)
    shop = f"https://www.shop.test:{port}"
    context = visitor()
    page = context.new_page()
    page.goto(f"{shop}/elsewhere?target=/")
    page.evaluate("fetch('/orders/7', {method: 'POST', redirect: 'manual'})")
    [before] = context.cookies()
    signature = hmac.new(KEY.encode(), b"7", hashlib.sha256).hexdigest()
    page.goto(
        f"https://other.test:{port}/elsewhere?target={shop}/paid&order=7&signature={signature}"
    )
    with page.expect_request(f"{shop}/paid") as posted:
        page.click("button")
    page.wait_for_url(f"{shop}/orders/7")
    assert '"paid":true' in page.inner_text("body")
    assert "cookie" not in posted.value.all_headers()
    [after] = context.cookies()
    assert after["value"] == before["value"]


def test_a_form_of_a_subdomain_has_the_cookie_and_no_token(
    example: Example, visitor: Callable[[], BrowserContext]
) -> None:
    """`SameSite=Lax` does not keep it away, and the token does."""
    port = example("csrf")
    shop = f"https://www.shop.test:{port}"
    page = visitor().new_page()
    page.goto(f"{shop}/email")
    page.fill("[name=address]", "ann@shop.test")
    page.click("button")
    assert "changed to ann@shop.test" in page.inner_text("body")
    page.goto(f"https://blog.shop.test:{port}/elsewhere?target={shop}/email&address=eve@shop.test")
    with page.expect_request(f"{shop}/email") as posted:
        page.click("button")
    assert "sid=" in posted.value.all_headers()["cookie"]
    response = posted.value.response()
    assert response is not None
    assert response.status == 403


SAY = """([url, text]) => new Promise(resolve => {
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send(text);
    socket.onmessage = event => { resolve(event.data); socket.close(); };
    socket.onclose = () => resolve("refused");
})"""


def test_a_websocket_is_for_pages_of_the_site(
    example: Example, visitor: Callable[[], BrowserContext]
) -> None:
    port = example("websocket", SITE_ORIGINS="https://www.shop.test:PORT")
    page = visitor().new_page()

    def said_from(host: str) -> Any:
        page.goto(f"https://{host}:{port}/elsewhere?target=/")
        return page.evaluate(SAY, [f"wss://www.shop.test:{port}/chat", "hello"])

    assert said_from("www.shop.test") == "refused"
    page.evaluate("fetch('/login', {method: 'POST'})")
    assert said_from("www.shop.test") == "1: hello"
    assert said_from("blog.shop.test") == "refused"
    assert said_from("other.test") == "refused"
    assert said_from("www.shop.test") == "2: hello"


def test_subdomains_have_one_session(
    example: Example, visitor: Callable[[], BrowserContext]
) -> None:
    port = example("subdomains", COOKIE_DOMAIN="shop.test")
    page: Page = visitor().new_page()
    shown = []
    for host in ("www.shop.test", "blog.shop.test", "shop.test", "other.test", "other.test"):
        page.goto(f"https://{host}:{port}/")
        shown.append(page.inner_text("body"))
    assert [text.partition("}")[0] for text in shown] == [
        f'{{"visits":{number}' for number in (1, 2, 3, 1, 1)
    ]
