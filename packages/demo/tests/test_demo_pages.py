"""The pages of the demo, in each framework, over HTTP."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from functools import partial
from html import unescape
from typing import Any

import anyio
import httpx
import pytest
from demoing import served

from coatcheck_demo._frameworks import Settings, make
from coatcheck_demo._races import SlowBody
from coatcheck_demo._serving import application
from coatcheck_demo._shop import HOOKS, ROUTES
from coatcheck_demo._visiting import Page

FRAMEWORKS = ("asgi", "flask", "django")


@pytest.fixture(scope="module", params=FRAMEWORKS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a running demo."""
    framework = f"--framework={request.param}"
    with served("--port=0", "--store=memory:", framework) as (_, at):
        yield at


class Visitor(httpx.Client):
    """A browser, and what it reads."""

    def page(self, path: str = "/") -> Page:
        response = self.get(path)
        assert response.status_code == 200
        return Page(response.text)

    def fill(self, path: str, **fields: str) -> httpx.Response:
        return self.post(path, data={"token": self.page("/login").token, **fields})

    def wall(self, path: str = "/login") -> list[str]:
        """Return what the glass wall tells of each request, the newest first."""
        html = self.page(path).html.partition('<ol class="traces"')[2].partition("</ol>")[0]
        return [
            " ".join(unescape(re.sub("<[^>]+>", " ", part)).split())
            for part in html.split("<summary>")[1:]
        ]


@pytest.fixture
def visitor(url: str) -> Iterator[Visitor]:
    with Visitor(base_url=url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def other(url: str) -> Iterator[Visitor]:
    with Visitor(base_url=url, trust_env=False, timeout=30) as client:
        yield client


def test_every_page_keeps_to_its_policy(visitor: Visitor) -> None:
    """Pages load their own files alone, and have no style or script in them."""
    visitor.fill("/login", name="ann")
    for path, route in ROUTES.items():
        if route.get is None or path == "/state":
            continue
        response = visitor.get(path)
        assert response.status_code == 200, path
        assert "'unsafe-inline'" not in response.headers["content-security-policy"]
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)|https?://", response.text)
        assert re.search(r"<h1[ >]", response.text), path
        for file in re.findall(r'(?:src|href)="(/static/[^"]+)"', response.text):
            assert visitor.get(file).status_code == 200
    assert visitor.head("/").status_code == 200
    assert visitor.get("/logout").status_code == 405


def test_page_that_does_not_exist(visitor: Visitor) -> None:
    response = visitor.get("/nothing")
    assert response.status_code == 404
    assert "There is no such page in this shop." in response.text


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/cart/add", {"item": "ring"}),
        ("/cart/quantity", {"item": "hat", "quantity": "-1"}),
        ("/cart/quantity", {"item": "hat", "quantity": "100"}),
        ("/cart/quantity", {"item": "hat", "quantity": "٣"}),
        ("/hooks", {"hook": str(HOOKS)}),
        ("/login", {"name": " "}),
        ("/login", {"name": "a" * 41}),
        ("/login", {"name": "a\nb"}),
    ],
)
def test_impossible_input(visitor: Visitor, path: str, fields: dict[str, str]) -> None:
    assert visitor.fill(path, **fields).status_code == 400


def test_message_is_shown_once(visitor: Visitor) -> None:
    visitor.fill("/cart/add", item="hat")
    assert "Felt hat: in your cart." not in visitor.page("/about").html
    first, second = (visitor.page("/cart").html for _ in range(2))
    # The page with the token of the form has shown it.
    assert "Felt hat: in your cart." not in second
    visitor.post("/cart/add", data={"token": Page(first).token, "item": "hat"})
    assert "Felt hat: in your cart." in visitor.page("/cart").html
    assert "Felt hat: in your cart." not in visitor.page("/cart").html


def test_another_user_does_not_get_the_cart(visitor: Visitor) -> None:
    visitor.fill("/cart/add", item="hat")
    visitor.fill("/login", name="ann")
    assert visitor.page("/cart").cart == {"hat": 1}
    visitor.fill("/login", name="bob")
    assert visitor.page().user == "bob"
    assert visitor.page("/cart").cart == {}


def refs(page: Page) -> list[str]:
    return re.findall(r'name="ref" value="([^"]+)"', page.html)


def test_devices(visitor: Visitor, other: Visitor, url: str) -> None:
    """A user ends one of the devices, and this one; nobody ends those of another user."""
    for client in (visitor, other):
        client.fill("/login", name="dora")
    this, that = refs(visitor.page("/devices"))
    assert refs(other.page("/devices")) == [that, this]
    with Visitor(base_url=url, trust_env=False) as stranger:
        stranger.fill("/login", name="eve")
        assert stranger.fill("/devices/end", ref=that).status_code == 404
    assert visitor.fill("/devices/end", ref=that).headers["location"] == "/devices"
    assert other.page().user == "stranger"
    assert refs(visitor.page("/devices")) == [this]
    assert visitor.fill("/devices/end", ref=this).headers["location"] == "/bye"
    assert visitor.page().user == "stranger"


def test_the_wall_tells_what_happened(visitor: Visitor) -> None:
    """A visit, a change, a login and a logout, each with what its session did."""
    [first] = visitor.wall("/")
    assert first.startswith("1 GET / created")
    assert "Cookie in none came Changed csrf, views Saved as a new session Store 1 trip" in first
    assert "Cookie out a new id, until the browser closes, HttpOnly, SameSite=Lax" in first
    token = visitor.page().token
    visitor.post("/cart/add", data={"token": token, "item": "hat"})
    added = visitor.wall()[1]
    assert re.match(r"3 POST /cart/add saved, [\d.]+ [µm]s Cookie in \d\d characters", added)
    assert re.search("Verified (yes|by the store: this cookie has no signature) Loaded", added)
    ref = re.search(
        r"Loaded session ([0-9A-F]{3} [0-9A-F]{3}), from the store Changed cart, flash", added
    )
    assert ref
    assert f"<dd>{ref[1]}</dd>" in visitor.page().html  # the number on the home page
    assert re.search(r"Store 2 trips: get [\d.]+ [µm]s, set [\d.]+ [µm]s", added)
    visitor.post("/login", data={"token": token, "name": "ann", "remember": "on"})
    login = visitor.wall()[1]
    assert "Saved under a new id: the old one is dead" in login
    assert "Cookie out a new id, for 30 days" in login
    assert f"Loaded session {ref[1]}," in login
    assert f"Loaded session {ref[1]}," not in visitor.wall()[0]
    visitor.fill("/logout")
    goodbye, logout = visitor.wall("/bye")[:2]
    assert "Saved nothing: the session has ended" in logout
    assert "Cookie out removed" in logout
    assert "Store not asked Cookie out none" in goodbye


def test_the_wall_shows_nothing_that_opens_a_session(visitor: Visitor, url: str) -> None:
    """Neither the id, nor a part of it, nor the cookie of the wall, nor a value."""
    visitor.fill("/login", name="Annabel")
    html = visitor.page("/about").html
    assert "/login" in html
    for value in visitor.cookies.values():
        assert not any(value[start : start + 8] in html for start in range(len(value) - 8))
    assert "Annabel" not in html
    with Visitor(base_url=url, trust_env=False) as stranger:
        assert "POST" not in stranger.page().html.partition('class="traces"')[2]


@pytest.mark.anyio
async def test_the_wall_names_the_requests_of_a_merge() -> None:
    """Of three requests that have read one session, the later writers name the earlier ones."""
    settings = Settings("memory:", "s" * 32, https=False)
    app: Any = application(make("asgi", settings), settings, "http://shop.test")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as http:
        token = Page((await http.get("/")).text).token
        bodies = [SlowBody({"token": token, "hook": str(hook)}) for hook in range(3)]
        async with anyio.create_task_group() as requests:
            for body in bodies:
                requests.start_soon(
                    partial(http.post, "/hooks", content=body, headers=body.headers)
                )
                await body.is_read.wait()
            for body in bodies:
                body.release()
        html = (await http.get("/cart")).text
    merged = re.findall(r"<dt>Merged</dt><dd>([^<]+)</dd>", html)
    assert merged == ["with 2 and 3", "with request 2"]


def test_forged_cookie_on_the_wall(visitor: Visitor) -> None:
    visitor.page()
    visitor.cookies.set("sid", "forged", domain="127.0.0.1", path="/")
    forged = visitor.wall()[0]
    assert re.search("Verified (no: forged or damaged, and ignored|by the store: this)", forged)
    assert "a new id" in forged


def test_races(visitor: Visitor) -> None:
    """Each experiment shows both runs step by step, and leaves the visitor's session alone."""
    visitor.fill("/login", name="ann")
    visitor.fill("/race")
    text = " ".join(unescape(re.sub("<[^>]+>", " ", visitor.page("/race").html)).split())
    ours, _, theirs = text.partition("The last write wins")
    steps = ("Tab A: writes the cart", "Tab B: must not write", "Tab B: writes both changes")
    places = [ours.find(step) for step in ("Both changes are there.", *steps)]
    assert -1 not in places
    assert places == sorted(places)
    assert "Tab B: writes the hook over all that is there" in theirs
    assert "Scarf lost" in theirs
    visitor.fill("/late-write")
    text = " ".join(unescape(re.sub("<[^>]+>", " ", visitor.page("/late-write").html)).split())
    ours, _, theirs = text.partition("The last write wins")
    assert "Slow request: drops its change: the session has ended" in ours
    assert "The old cookie opens nothing" in ours
    assert "The old cookie is logged in as Ann" in theirs
    assert visitor.page().user == "ann"
    assert visitor.page("/cart").cart == {}


def test_https() -> None:
    """The certificate is good for a client that trusts the CA, and the cookie is for https."""
    with served("--port=0", "--store=memory:", "--https") as (process, url):
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        ca = next(line.strip() for line in lines if line.strip().endswith("ca.pem"))
        context = ssl.create_default_context(cafile=ca)
        with httpx.Client(base_url=url, trust_env=False, verify=context) as browser:
            response = browser.get("/")
    session, wall = response.headers.get_list("set-cookie")
    assert re.match(r"__Host-sid=[^;]+; Path=/; (HttpOnly; )?Secure", session)
    assert re.fullmatch(r"__Host-glass=[^;]+; Path=/; HttpOnly; SameSite=Lax; Secure", wall)
