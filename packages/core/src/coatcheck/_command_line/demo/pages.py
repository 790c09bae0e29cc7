"""Write the demo's HTML. Text that a visitor typed goes through :func:`html.escape`."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, TypedDict

CATALOGUE: Final[Mapping[str, str]] = {
    "scarf": "Wool scarf",
    "umbrella": "Umbrella",
    "gloves": "Leather gloves",
    "hat": "Felt hat",
}
HOOKS: Final = 20


class Line(TypedDict):
    """Hold one line of a cart."""

    item: str
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Hold the data that the home page shows.

    :ivar token: is sent with each form.
    :ivar hooks: the numbers of the hooks that are in use.
    :ivar ref: a name for the session that cannot be used to log in; None until it is stored.
    :ivar created_at: POSIX seconds.
    :ivar expires_in: seconds.
    """

    token: str
    views: int
    user: str | None
    cart: Sequence[Line]
    hooks: Collection[int]
    ref: str | None
    created_at: float
    expires_in: float
    lists_sessions: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """Hold one of a user's sessions. Times are POSIX seconds."""

    ref: str
    name: str
    created_at: float
    expires_at: float
    is_this: bool


def home(visit: Visit) -> str:
    """Return the shop."""
    return _layout(
        "The cloakroom shop",
        _greeting(visit),
        f'<div class="grid">{_cart(visit)}{_hooks(visit)}{_account(visit)}{_facts(visit)}</div>',
    )


def about() -> str:
    """Return the page that uses no session."""
    return _layout(
        "A page without a session",
        "<p>This page does not use the session. Visitors who have only seen this page got no "
        "cookie, and the store was not asked for anything. Your browser's developer tools show "
        "it: look for <code>Set-Cookie</code> in the response.</p>",
    )


def bye() -> str:
    """Return the page after the logout."""
    return _layout(
        "You are logged out",
        "<p>The session's record is gone from the store, and the cookie from your browser. A copy "
        "of the cookie no longer works.</p>"
        '<p><a class="button" href="/">Start again</a></p>',
    )


def my_sessions(token: str, user: str, browsers: Iterable[Browser]) -> str:
    """Return the list of a user's sessions."""
    rows = "".join(map(_browser, browsers))
    return _layout(
        f"Where {escape(user)} is logged in",
        '<div class="card"><table><thead><tr><th>Browser</th><th>Session</th><th>Since</th>'
        f"<th>Until</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
        + _form(token, "/sessions/end-others", "<button>Log out everywhere else</button>")
        + "</div><p>Log in with the same name in a second browser or a private window, reload "
        "this page, then log the other one out.</p>",
    )


def failed(status: int, detail: str) -> str:
    """Return an error page."""
    return _layout(
        f"{status}", f'<p>{escape(detail)}</p><p><a class="button" href="/">To the shop</a></p>'
    )


def _greeting(visit: Visit) -> str:
    who = "stranger" if visit.user is None else escape(visit.user)
    return (
        f'<p class="lead">Hello, <strong id="user">{who}</strong>. You have seen this page '
        f'<strong id="views">{visit.views}</strong>&nbsp;&times;.</p>'
    )


def _cart(visit: Visit) -> str:
    lines = "".join(_line(visit.token, line) for line in visit.cart)
    buttons = "".join(
        f'<button name="item" value="{item}">+ {name}</button>' for item, name in CATALOGUE.items()
    )
    return _card(
        "Your cart",
        f"<ul>{lines}</ul>" if lines else '<p class="faint">Nothing in it yet.</p>',
        _form(visit.token, "/cart/add", buttons),
        "A list of dictionaries, changed in place: <code>session[&quot;cart&quot;].append(…)</code>"
        " and <code>line[&quot;quantity&quot;] = 3</code> are noticed.",
    )


def _line(token: str, line: Line) -> str:
    item, quantity = escape(line["item"]), line["quantity"]
    fields = (
        f'<input type="hidden" name="item" value="{item}">'
        f'<input type="number" name="quantity" value="{quantity}" min="0" max="99"'
        ' aria-label="Quantity"><button class="quiet">Change</button>'
    )
    return (
        f'<li data-item="{item}" data-quantity="{quantity}">'
        f"<span>{CATALOGUE[line['item']]}</span>{_form(token, '/cart/quantity', fields)}</li>"
    )


def _hooks(visit: Visit) -> str:
    buttons = "".join(_hook(number, number in visit.hooks) for number in range(HOOKS))
    return _card(
        "The coat rack",  # prose: the shop of the demo has a coat rack
        _form(visit.token, "/hooks", f'<div class="rack">{buttons}</div>'),
        "Hang coats up. Each hook is a key of the session: click in two tabs at the same moment, "
        "and both coats hang, because parallel changes are merged.",
    )


def _hook(number: int, used: bool) -> str:
    pressed = "true" if used else "false"
    sign = "&#129509;" if used else number + 1
    return (
        f'<button name="hook" value="{number}" aria-pressed="{pressed}"'
        f' aria-label="Hook {number + 1}">{sign}</button>'
    )


def _account(visit: Visit) -> str:
    if visit.user is None:
        fields = (
            '<label>Name <input name="name" required maxlength="40" autocomplete="off"></label>'
            '<label><input type="checkbox" name="remember"> Remember me for 30 days</label>'
            "<button>Log in</button>"
        )
        return _card(
            "Log in",
            _form(visit.token, "/login", fields),
            "Any name will do. The login gives your session a new id and keeps the cart. The "
            "old id is dead.",
        )
    link = '<p><a class="button" href="/sessions">My sessions</a></p>'
    return _card(
        f"Logged in as {escape(visit.user)}",
        link if visit.lists_sessions else "",
        _form(visit.token, "/logout", "<button>Log out</button>"),
        "The logout removes the session from the store: a copied cookie no longer works.",
    )


def _facts(visit: Visit) -> str:
    ref = "not stored yet: reload" if visit.ref is None else f"<code>{visit.ref[:12]}</code>"
    return _card(
        "This session",
        f"<dl><dt>Reference</dt><dd>{ref}</dd>"
        f"<dt>Began</dt><dd>{_when(visit.created_at)}</dd>"
        f"<dt>Ends</dt><dd>{_duration(visit.expires_in)} after your last visit</dd></dl>",
        "The reference names the session. It cannot be used to log in, because the cookie's id "
        "cannot be computed from it.",
    )


def _browser(browser: Browser) -> str:
    return (
        f"<tr><td>{escape(browser.name) or 'unknown'}</td>"
        f"<td><code>{escape(browser.ref[:12])}</code></td><td>{_when(browser.created_at)}</td>"
        f"<td>{_when(browser.expires_at)}</td><td>{'this one' if browser.is_this else ''}</td></tr>"
    )


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if (count := round(seconds / size)) >= 1:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "less than a minute"


def _card(title: str, *content: str) -> str:
    *body, explanation = content
    return (
        f"<section class='card'><h2>{title}</h2>{''.join(body)}"
        f"<p class='faint'>{explanation}</p></section>"
    )


def _form(token: str, action: str, fields: str) -> str:
    hidden = f'<input type="hidden" name="token" value="{escape(token)}">'
    return f'<form method="post" action="{action}">{hidden}{fields}</form>'


def _layout(title: str, *content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} &middot; coatcheck</title><style>{_CSS}</style></head><body>"
        '<nav><strong>coatcheck</strong><a href="/">Shop</a><a href="/about">About</a></nav>'
        f"<main><h1>{title}</h1>{''.join(content)}</main></body></html>"
    )


_CSS: Final = """
:root { color-scheme: light dark; --ink: light-dark(#26211d, #ece5dc);
  --faint: light-dark(#6f665d, #a79d91); --paper: light-dark(#f6f2ec, #1d1a17);
  --card: light-dark(#fff, #292521); --line: light-dark(#e2d9cd, #403a34);
  --accent: light-dark(#8c2f39, #e58b8b); --on-accent: light-dark(#fff, #1d1a17) }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif }
nav { display: flex; gap: 1.25rem; padding: .9rem 1.5rem; border-bottom: 1px solid var(--line) }
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1.5rem 4rem }
h1 { font-size: 1.7rem; margin: 1rem 0 .25rem } h2 { font-size: 1.05rem; margin: 0 0 .6rem }
a { color: var(--accent) } nav a { text-decoration: none }
.lead { font-size: 1.1rem; margin: 0 0 1.25rem }
.faint { color: var(--faint); font-size: .875rem; margin: .8rem 0 0 }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)) }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 1.1rem 1.25rem; overflow-x: auto }
button, .button { font: inherit; padding: .35rem .8rem; border: 1px solid var(--accent);
  border-radius: .5rem; background: var(--accent); color: var(--on-accent); cursor: pointer;
  text-decoration: none; display: inline-block; margin: .15rem .15rem .15rem 0 }
button:hover, .button:hover { filter: brightness(1.1) }
.quiet, .rack button { background: none; color: var(--ink); border-color: var(--line) }
.rack { display: grid; grid-template-columns: repeat(5, 1fr); gap: .4rem }
.rack button { height: 2.6rem; margin: 0; padding: 0 }
.rack [aria-pressed=true] { border-color: var(--accent); font-size: 1.2rem }
input { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line);
  border-radius: .5rem; padding: .3rem .6rem; accent-color: var(--accent) }
input[type=number] { width: 4.5rem; margin-right: .4rem }
label { display: block; margin-bottom: .6rem }
ul { list-style: none; margin: 0 0 .6rem; padding: 0 }
li { display: flex; justify-content: space-between; align-items: center }
dl { display: grid; grid-template-columns: auto 1fr; gap: .2rem 1rem; margin: 0 }
dt { color: var(--faint) } dd { margin: 0 } code { font-size: .875em }
table { width: 100%; border-collapse: collapse; margin-bottom: .8rem; font-size: .925rem }
th, td { text-align: left; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line) }
"""
