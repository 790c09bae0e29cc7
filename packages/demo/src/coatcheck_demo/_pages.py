"""Render the templates. Jinja escapes all that a visitor typed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from ._glass import PLACE, Trace

#: Parts of the header User-Agent that name a browser, and those that name a system.
_BROWSERS: Final = {
    "Edg/": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
    "curl/": "curl",
    "python-httpx": "A Python program",
}
_SYSTEMS: Final = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


def browser_name(user_agent: str) -> str:
    """Return a name for a browser that its user recognizes: ``Firefox on Linux``."""
    browser = next((name for part, name in _BROWSERS.items() if part in user_agent), "A browser")
    system = next((name for part, name in _SYSTEMS.items() if part in user_agent), "")
    return f"{browser} on {system}" if system else browser


def render(name: str, **values: Any) -> str:
    """Return a page.

    :param values: the variables of the template.
    """
    return _TEMPLATES.get_template(name).render(**values)


def wall(traces: Iterable[Trace]) -> str:
    """Return the glass wall for the last requests of a visitor, the newest first."""
    return render("wall.html", traces=list(traces))


def _steps(trace: Trace) -> list[tuple[str, str, str]]:
    """Return what happened to a request: what it is called, the text, and a class of CSS."""
    steps = [("Cookie in", _cookie_in(trace), "")]
    if trace.cookie_in:
        steps.append(_verified(trace))
    if trace.kinds & _LOADED.keys():
        steps += [("Loaded", text, "") for kind, text in _LOADED.items() if kind in trace.kinds]
        if trace.session is not None:
            steps[-1] = ("Loaded", f"session {_number_of(trace.session)}, from the store", "")
    if trace.changed:
        steps.append(("Changed", ", ".join(trace.changed), ""))
    if "conflict" in trace.kinds:
        steps.append(("Conflict", "another request wrote first: read again", "warn"))
    if "merged" in trace.kinds:
        steps.append(("Merged", _merged(trace.merged_with), "good"))
        wrote = any(call.operation == "set" and call.outcome for call in trace.calls)
        steps.append(("Saved", "all changes" if wrote else "in one write with the others", ""))
    steps += [("Saved", text, tone) for kind, text, tone in _SAVED if kind in trace.kinds]
    calls = ", ".join(f"{call.operation} {_duration(call.seconds)}" for call in trace.calls)
    count = len(trace.calls)
    trips = f"{count} trip{'' if count == 1 else 's'}: {calls}" if calls else "not asked"
    steps.append(("Store", trips, ""))
    steps.append(("Cookie out", trace.cookie_out or "none: the browser keeps the one it has", ""))
    if not trace.cookie_out and not trace.cookie_in:
        steps[-1] = ("Cookie out", "none", "")
    return steps


def _outcome(trace: Trace) -> str:
    """Return what became of a request in a word or two, and how long the store took."""
    word = next((word for kind, word in _WORDS.items() if kind in trace.kinds), "no session")
    return f"{word}, {_duration(trace.store_seconds)}" if trace.calls else word


def _cookie_in(trace: Trace) -> str:
    return f"{trace.cookie_in} characters, not shown" if trace.cookie_in else "none came"


def _merged(numbers: list[int]) -> str:
    """Say with which requests a request was merged."""
    if not numbers:
        return "with another request"
    *first, last = map(str, numbers)
    return f"with {', '.join(first)} and {last}" if first else f"with request {last}"


def _verified(trace: Trace) -> tuple[str, str, str]:
    if "bad_cookie" in trace.kinds:
        return "Verified", "no: forged or damaged, and ignored", "warn"
    if not trace.is_signed:
        return "Verified", "by the store: this cookie has no signature", ""
    return "Verified", "yes" if trace.kinds else "not needed", ""


#: What became of the load, and of the session, by the kinds of events.
_LOADED: Final = {
    "loaded": "from the store",
    "unknown": "no such session: a new one begins",
    "expired": "expired: a new one begins",
}
#: The same in a word or two; the first that fits.
_WORDS: Final = {
    "store_error": "failed",
    "gone": "dropped",
    "merged": "merged",
    "destroyed": "ended",
    "regenerated": "new id",
    "created": "created",
    "updated": "saved",
    "touched": "touched",
    "loaded": "read",
    "bad_cookie": "refused",
}
_SAVED: Final = (
    ("created", "as a new session", ""),
    ("updated", "the change", ""),
    ("touched", "only the expiry, moved", ""),
    ("regenerated", "under a new id: the old one is dead", "good"),
    ("destroyed", "nothing: the session has ended", "good"),
    ("revoked", "another session was ended", "good"),
    ("gone", "nothing: another request has ended the session", "warn"),
    ("store_error", "nothing: the store failed", "warn"),
)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _duration(seconds: float) -> str:
    """Return a duration of the store, which is short."""
    micro = seconds * 1e6
    return (
        f"{micro:.0f}\N{NO-BREAK SPACE}µs"
        if micro < 1000
        else f"{micro / 1000:.1f}\N{NO-BREAK SPACE}ms"
    )


def _machine(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(seconds))


def _number_of(ref: str | None) -> str:
    """Return the number that a visitor sees: the first digits of the session's name."""
    return re.sub(r"(...)", r"\1 ", ref[:6]).strip().upper() if ref else "new"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("coatcheck_demo"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        date=_date,
        duration=_duration,
        machine=_machine,
        outcome=_outcome,
        steps=_steps,
        ticket_number=_number_of,
    )
    environment.globals.update(
        glass=PLACE, token="", user=None, count=0, messages=[], lists_sessions=False
    )
    return environment


_TEMPLATES: Final = _environment()
