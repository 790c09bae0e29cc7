"""The shop: its goods, pages and rules, as functions of a session and a form.

No framework is imported here. :data:`ROUTES` has the handlers. A handler gets a :class:`Visit`, and
returns an :class:`Answer`; one that lists or ends sessions yields what it asks of
:class:`~coatcheck.Sessions`, so the same code serves sync and async frameworks.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Generator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from . import _pages as pages
from ._glass import result_of, watching

IDLE_TIMEOUT: Final = timedelta(hours=1)
REMEMBER_ME: Final = timedelta(days=30)
HOOKS: Final = 20


class Item(NamedTuple):
    """Hold an article of the shop. The price is in euros."""

    name: str
    text: str
    price: int


CATALOGUE: Final[Mapping[str, Item]] = {
    "coat": Item("Loden coat", "Boiled wool, horn buttons", 320),
    "scarf": Item("Wool scarf", "Two metres, brushed", 45),
    "umbrella": Item("Umbrella", "Ash handle, eight ribs", 68),
    "hat": Item("Felt hat", "Soft brim, packs flat", 89),
    "gloves": Item("Leather gloves", "Lined, hand-sewn", 74),
    "boots": Item("Rain boots", "Natural rubber", 96),
}


class Controls(Protocol):
    """Name what frameworks call by different names: the life of the session."""

    @property
    def ref(self) -> str | None:
        """The name under which ``Sessions`` lists it; None until it is stored."""

    def rotate(self, *, keep_data: bool) -> None:
        """Give the session a new id, with or without what it holds."""

    def remember(self, lifetime: timedelta) -> None:
        """Keep the session when the browser is closed."""

    def end(self) -> None:
        """End the session, and remove its cookie."""

    def note_changes(self) -> None:
        """Tell the framework that something inside a value was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Hold what a handler knows of a request.

    :ivar read_form: returns the fields of the form. It is called after the session was read.
    :ivar browser: the header User-Agent.
    :ivar lists_sessions: whether the store can list the sessions of a user.
    """

    session: MutableMapping[str, Any]
    controls: Controls
    read_form: Callable[[], Mapping[str, str]]
    browser: str = ""
    lists_sessions: bool = True


class Answer(NamedTuple):
    """Hold a response: a page, or the path of the next one.

    :ivar is_public: whether it is the same for all visitors.
    """

    body: str = ""
    status: int = 200
    location: str | None = None
    kind: str = "text/html; charset=utf-8"
    is_public: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers. After a logout, a browser must not show a page that it has kept."""
        headers = {} if self.is_public else {"Cache-Control": "no-store"}
        return {**headers, "Location": self.location} if self.location else headers


class Ask(NamedTuple):
    """Name a method of :class:`~coatcheck.Sessions`, and its arguments."""

    method: str
    arguments: tuple[Any, ...]
    keep: str | None = None


class Refused(Exception):
    """The request cannot be answered; the message tells the visitor why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


Asking: TypeAlias = Generator[Ask, Any, Answer]
Handler: TypeAlias = Callable[[Visit], Answer | Asking]


class Route(NamedTuple):
    """Hold the handlers of a path.

    :ivar uses_session: False keeps the session out of its requests.
    """

    get: Handler | None = None
    post: Handler | None = None
    uses_session: bool = True

    @property
    def methods(self) -> list[str]:
        """The HTTP methods that it has handlers for."""
        return [*(["GET", "HEAD"] if self.get else []), *(["POST"] if self.post else [])]


def answer(route: Route, method: str, visit: Visit) -> Asking:
    """Handle a request: check its form, run the handler, and note which keys it changed."""
    handler = route.post if method == "POST" else route.get
    assert handler is not None
    try:
        if not route.uses_session:
            return (yield from _handled(handler, visit))
        with watching(visit.session, lambda: visit.controls.ref) as changed:
            if method == "POST":
                _check_token(visit)
            result = yield from _handled(handler, visit)
        if changed and visit.session:
            visit.controls.note_changes()
        return result
    except Refused as refused:
        return failed(refused.status, str(refused))


def _handled(handler: Handler, visit: Visit) -> Asking:
    result = handler(visit)
    return (yield from result) if isinstance(result, Generator) else result


def _check_token(visit: Visit) -> None:
    """Check that a page of this visitor sent the form. The session is read before the form."""
    expected = str(visit.session.get("csrf", ""))
    given = visit.read_form().get("token", "")
    if not (expected and secrets.compare_digest(given.encode(), expected.encode())):
        raise Refused(
            403, "This form is too old, or no cookie came with it. Go back and try again."
        )


def failed(status: int, reason: str) -> Answer:
    """Return an error page."""
    return Answer(pages.render("failed.html", status=status, reason=reason), status)


def not_found() -> Answer:
    """Return the page for addresses that do not exist."""
    return failed(404, "There is no such page in this shop.")


def _page(visit: Visit, name: str, **values: Any) -> Answer:
    """Return a page for a visitor, with the messages that wait for it."""
    session = visit.session
    token = session.setdefault("csrf", secrets.token_urlsafe(24))
    shared = {
        "token": token,
        "user": session.get("user"),
        "count": sum(line["quantity"] for line in session.get("cart", [])),
        "messages": session.pop("flash", []),
        "lists_sessions": visit.lists_sessions,
    }
    return Answer(pages.render(name, **shared, **values))


def _see(path: str) -> Answer:
    return Answer(status=303, location=path)


def _flash(session: MutableMapping[str, Any], text: str) -> None:
    """Leave a message for the next page."""
    session["flash"] = [*session.get("flash", []), text]


def home(visit: Visit) -> Answer:
    """Count the view, and show the goods and the rack."""
    session = visit.session
    session["views"] = session.get("views", 0) + 1
    return _page(
        visit,
        "home.html",
        views=session["views"],
        ref=visit.controls.ref,
        catalogue=CATALOGUE,
        hooks=[f"hook:{number}" in session for number in range(HOOKS)],
    )


def add_to_cart(visit: Visit) -> Answer:
    """Change a list in the session in place."""
    item = _item(visit)
    cart = visit.session.setdefault("cart", [])
    for line in cart:
        if line["item"] == item:
            line["quantity"] = min(line["quantity"] + 1, 99)
            break
    else:
        cart.append({"item": item, "quantity": 1})
    _flash(visit.session, f"{CATALOGUE[item].name}: in your cart.")
    return _see("/")


def change_quantity(visit: Visit) -> Answer:
    """Change a dictionary in a list in the session in place."""
    item, quantity = _item(visit), _number(visit, "quantity", 100)
    cart = visit.session.get("cart", [])
    for line in cart:
        if line["item"] == item:
            line["quantity"] = quantity
            _flash(visit.session, f"{CATALOGUE[item].name}: {quantity or 'none'} in your cart.")
    cart[:] = [line for line in cart if line["quantity"]]
    return _see("/cart")


def cart(visit: Visit) -> Answer:
    """Show the cart."""
    lines = [
        (line["item"], CATALOGUE[line["item"]], line["quantity"])
        for line in visit.session.get("cart", [])
    ]
    total = sum(item.price * quantity for _, item, quantity in lines)
    return _page(visit, "cart.html", lines=lines, total=total)


def use_hook(visit: Visit) -> Answer:
    """Hang something on a hook, or take it off.

    Each hook is a key of its own, so parallel requests that use different ones are merged.
    """
    key = f"hook:{_number(visit, 'hook', HOOKS)}"
    if key in visit.session:
        del visit.session[key]
    else:
        visit.session[key] = True
    return _see("/")


def show_login(visit: Visit) -> Answer:
    """Show the form for the login."""
    return _page(visit, "login.html")


def log_in(visit: Visit) -> Answer:
    """Log a user in under a new session id, so that an attacker cannot have chosen it."""
    form, session = visit.read_form(), visit.session
    name = form.get("name", "").strip()
    if not (0 < len(name) <= 40 and name.isprintable()):
        raise Refused(400, "Please give a name of 1 to 40 characters that can be seen.")
    # The visitor's own cart is kept. The data of another user are not.
    visit.controls.rotate(keep_data="user" not in session)
    session.pop("csrf", None)
    session["user"] = name
    session["browser"] = pages.browser_name(visit.browser)
    if "remember" in form:
        visit.controls.remember(REMEMBER_ME)
    _flash(session, f"Welcome, {name}. Your session has a new id, and your cart is still there.")
    return _see("/")


def log_out(visit: Visit) -> Answer:
    """End the session: remove its record, and let its cookie expire."""
    visit.controls.end()
    return _see("/bye")


def devices(visit: Visit) -> Asking:
    """List where the user is logged in."""
    user = visit.session.get("user")
    if user is None:
        return _see("/login")
    entries = (yield Ask("list", (user,))) if visit.lists_sessions else []
    found = [
        {
            "ref": entry.ref,
            "name": entry.data.get("browser") or "A browser",
            "since": entry.created_at,
            "until": entry.expires_at,
            "is_this": entry.ref == visit.controls.ref,
        }
        for entry in entries
    ]
    found.sort(key=lambda device: (not device["is_this"], -device["since"]))
    return _page(visit, "devices.html", devices=found)


def end_device(visit: Visit) -> Asking:
    """End one session of the user."""
    user, ref = visit.session.get("user"), visit.read_form().get("ref", "")
    if user is None:
        return _see("/login")
    entries = yield Ask("list", (user,))
    if ref not in {entry.ref for entry in entries}:
        raise Refused(404, "That device is not logged in any more.")
    if ref == visit.controls.ref:
        return log_out(visit)
    yield Ask("revoke", (ref,))
    _flash(visit.session, "That device is logged out.")
    return _see("/devices")


def end_other_devices(visit: Visit) -> Asking:
    """Log the user out everywhere else."""
    user = visit.session.get("user")
    if user is None:
        return _see("/login")
    ended = yield Ask("revoke_all", (user,), visit.controls.ref)
    _flash(visit.session, f"Logged out elsewhere: {ended}.")
    return _see("/devices")


def state(visit: Visit) -> Answer:
    """Return what the session holds, for the experiments."""
    session = visit.session
    session.setdefault("csrf", secrets.token_urlsafe(24))
    values = {
        "token": session["csrf"],
        "user": session.get("user"),
        "cart": {line["item"]: line["quantity"] for line in session.get("cart", [])},
        "hooks": [number for number in range(HOOKS) if f"hook:{number}" in session],
    }
    return Answer(json.dumps(values), kind="application/json")


def about(_: Visit) -> Answer:
    """Show a page that does not use the session, without a cookie or a call of the store."""
    return Answer(pages.render("about.html"), is_public=True)


def bye(_: Visit) -> Answer:
    """Show that there is no session left."""
    return Answer(pages.render("bye.html"), is_public=True)


def race(visit: Visit) -> Answer:
    """Show what two tabs did to one session."""
    return _page(visit, "race.html", result=result_of("/race"))


def late_write(visit: Visit) -> Answer:
    """Show what a slow request did to a session that was ended meanwhile."""
    return _page(visit, "late-write.html", result=result_of("/late-write"))


def _item(visit: Visit) -> str:
    item = visit.read_form().get("item", "")
    if item not in CATALOGUE:
        raise Refused(400, "The shop does not have this.")
    return item


def _number(visit: Visit, name: str, limit: int) -> int:
    text = visit.read_form().get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < limit):
        raise Refused(400, f"Please give a number from 0 to {limit - 1}.")
    return int(text)


ROUTES: Final[Mapping[str, Route]] = {
    "/": Route(get=home),
    "/cart": Route(get=cart),
    "/cart/add": Route(post=add_to_cart),
    "/cart/quantity": Route(post=change_quantity),
    "/hooks": Route(post=use_hook),
    "/login": Route(get=show_login, post=log_in),
    "/logout": Route(post=log_out),
    "/devices": Route(get=devices),
    "/devices/end": Route(post=end_device),
    "/devices/end-others": Route(post=end_other_devices),
    "/state": Route(get=state),
    # The experiments run after these have accepted the form.
    "/race": Route(get=race, post=lambda _: _see("/race")),
    "/late-write": Route(get=late_write, post=lambda _: _see("/late-write")),
    "/about": Route(get=about, uses_session=False),
    "/bye": Route(get=bye, uses_session=False),
}
