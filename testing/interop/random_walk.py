"""A random walk through what sessions can do, on Express and coatcheck in turn."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import httpx

from coatcheck_express import as_node_has_it
from coatcheck_express.cookie import settings_of

from .applications import NAME, PATHS, Action, View

#: The name of the Express application among the servers.
EXPRESS: Final = "express"

#: How many steps an error shows.
_SHOWN: Final = 12
#: A short lifetime in milliseconds, and the seconds after which it has passed in every store.
_SHORT_MS, _WAIT = 300, 1.1

#: The lifetime of a session whose cookie ends with the browser, and the seconds by which a lifetime
#: may be shorter: Express's stores count whole seconds, and requests take time.
_DAY, _SLACK = 86400.0, 10.0

_EPOCH: Final = datetime(1970, 1, 1)  # both sides write UTC, without saying so

_TEXTS: Final = (
    "", "plain", "bób", "\U0001f9e5 coat", "\ud83e", "\ude00\ud83d", "\x00\x1f\u2028\u2029\\\"'",
    "s:\r\n;", "long " * 200,
)  # fmt: skip
_NUMBERS: Final = (
    0, -1, 7, 1.0, -0.0, 0.1, 1e-7, 5e-324, 1.7976931348623157e308, 2**53, -(2**53), 2**60, 1e20,
    1e21, 1234567.125,
)  # fmt: skip
_NAMES: Final = ("user", "cart", "n", "1", "0", "bób", "\U0001f9e5", "$", "a.b", "")
_INNER_NAMES: Final = (*_NAMES, "cookie", "save", "constructor", "id")

Step: TypeAlias = Callable[[], None]


class Difference(Exception):
    """The two sides do not see the same session; the message has the last steps."""


class RandomWalk:
    """One visitor, whose session lives in a store that all servers share.

    :param servers: their URLs; :data:`EXPRESS` is one of them.
    :param expire: lets a session expire in the store, by its id.
    :param remaining: returns the seconds that a session has left in the store, by its id.
    :param seed: the seed of random choices.
    :ivar counts: how often each step was taken.
    """

    def __init__(
        self,
        client: httpx.Client,
        servers: dict[str, str],
        expire: Callable[[str], None],
        remaining: Callable[[str], float],
        seed: int,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._client = client
        self._servers = servers
        self._expire, self._remaining = expire, remaining
        self._seed = seed
        self._random = random.Random(seed)
        self._recent: deque[str] = deque(maxlen=_SHOWN)
        #: The expected session: its data and lifetime in milliseconds, or None.
        self._data: dict[str, Any] | None = None
        self._max_age: float | None = None
        self._weights: dict[Step, float] = {
            self._read: 10, self._write: 30, self._write_inside: 15, self._write_date: 5,
            self._delete: 10, self._touch: 5, self._change_max_age: 8, self._save: 5,
            self._reload: 5, self._regenerate: 4, self._destroy: 3, self._forget: 2,
            self._expire_now: 2, self._expire_soon: 0.4,
        }  # fmt: skip

    def run(self, steps: int) -> None:
        """Take that many steps.

        :raises Difference: after a step the two sides differ, or differ from the expected session.
        """
        once = iter(self._weights)
        for _ in range(steps):
            # Each step is taken once before random ones follow.
            step = next(once, None) or self._chosen()
            self.counts[step.__name__.removeprefix("_")] += 1
            step()
            self._compare()

    # Steps

    def _chosen(self) -> Step:
        [step] = self._random.choices([*self._weights], [*self._weights.values()])
        return step

    def _read(self) -> None:
        self._do([])

    def _write(self) -> None:
        name, value = self._random.choice(_NAMES), self._value()
        self._do([["set", [name], value]])
        self._changed()[name] = as_node_has_it(value)

    def _write_inside(self) -> None:
        places = [[name] for name, value in (self._data or {}).items() if isinstance(value, dict)]
        if not places:
            self._do([["set", ["user"], {"name": "Ada", "more": {"x": [1]}}]])
            self._changed()["user"] = {"name": "Ada", "more": {"x": [1]}}
            return
        [outer], inner = self._random.choice(places), self._random.choice(_INNER_NAMES)
        value = self._value()
        self._do([["set", [outer, inner], value]])
        self._changed()[outer][inner] = as_node_has_it(value)

    def _write_date(self) -> None:
        milliseconds = self._random.randrange(-(10**12), 4 * 10**12)
        self._do([["set_date", "when", milliseconds]])
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
        self._changed()["when"] = f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z"

    def _delete(self) -> None:
        name = self._random.choice([*(self._data or ()), "nothing"])
        self._do([["delete", name]])
        if self._data is not None:
            self._data.pop(name, None)

    def _touch(self) -> None:
        self._do([["touch"]])

    def _change_max_age(self) -> None:
        """Change the lifetime together with data: alone it is a known difference (D6)."""
        max_age = self._random.choice([None, 60_000, 3_600_000, 86_400_000, 400 * 86_400_000])
        value = self._random.random()
        self._do([["max_age", max_age], ["set", ["n"], value]])
        self._changed()["n"] = value
        self._max_age = max_age

    def _save(self) -> None:
        value = self._value()
        actions: list[Action] = [["set", ["n"], value], ["save"]]
        if self._random.random() < 0.5:
            actions.append(["set", ["m"], value])
        if self._data is None:
            actions = actions[:1]
        self._do(actions)
        self._changed()["n"] = as_node_has_it(value)
        if len(actions) == 3:
            self._changed()["m"] = as_node_has_it(value)

    def _reload(self) -> None:
        if self._data is not None:
            self._do([["set", ["dropped"], 1], ["reload"]])

    def _regenerate(self) -> None:
        actions: list[Action] = [["regenerate"]]
        if self._random.random() < 0.5:
            actions += [["set", ["user"], {"id": 42}], ["save"]]
        self._data = None
        self._do(actions)
        self._changed()
        if len(actions) > 1:
            self._changed()["user"] = {"id": 42}

    def _destroy(self) -> None:
        self._do([["destroy"]])
        self._data = None

    def _forget(self) -> None:
        """Continue with another browser."""
        self._recent.append("the cookies are gone")
        self._client.cookies.clear()
        self._data = None

    def _expire_now(self) -> None:
        presented = self._presented()
        if self._data is not None and presented is not None:
            self._recent.append("the session expires")
            self._expire(presented)
            self._data = None

    def _expire_soon(self) -> None:
        self._do([["max_age", _SHORT_MS], ["set", ["n"], 1]])
        self._recent.append("waiting")
        time.sleep(_WAIT)  # the stores decide about the expiry by their own clocks
        self._data = None

    # The steps' requests and results

    def _do(self, actions: list[Action]) -> View:
        server = self._random.choice([*self._servers])
        self._path = self._random.choice([*PATHS])
        return self._send(server, self._path, actions)

    def _changed(self) -> dict[str, Any]:
        """Return the data of the session, after creating it if there is none."""
        if self._data is None:
            self._data = {}
            self._max_age = PATHS[self._path].get("cookie", {}).get("maxAge")
        return self._data

    def _send(self, server: str, path: str, actions: list[Action]) -> View:
        self._recent.append(f"{server}{path} {json.dumps(actions)[:300]}")
        response = self._client.post(
            self._servers[server] + path,
            content=json.dumps(actions),  # escaped, because UTF-8 has no lone surrogates
            headers={"content-type": "application/json"},
        )
        if response.status_code != 200:
            raise self._difference(f"status {response.status_code}: {response.text[:1000]}")
        view: View = json.loads(response.text, parse_int=_node_int)
        if server == EXPRESS and "cookie" in view:
            view["cookie"] = settings_of(view["cookie"])
        return view

    def _compare(self) -> None:
        ours = self._random.choice([name for name in self._servers if name != EXPRESS])
        servers = [EXPRESS, ours]
        self._random.shuffle(servers)
        for server in servers:
            view = self._seen_by(server)
            is_known = view["id"] is not None and view["id"] == self._presented()
            if is_known != (self._data is not None):
                seen = "sees a session" if is_known else "sees no session"
                raise self._difference(f"{server} {seen}")
            if self._data is None:
                continue
            if view["data"] != self._data:
                raise self._difference(f"{server} sees {view['data']!r}, not {self._data!r}")
            self._compare_cookie(server, view["cookie"])
            lifetime = _DAY if self._max_age is None else self._max_age / 1000
            remaining = self._remaining(view["id"])
            if abs(remaining - lifetime) > _SLACK:
                raise self._difference(f"{server} left {remaining} s, not {lifetime} s")

    def _compare_cookie(self, server: str, cookie: dict[str, Any]) -> None:
        expected = settings_of({})
        if self._max_age is not None:
            # Express reads its clock twice: the stored lifetime may be some milliseconds shorter.
            expected["max_age"] = self._max_age / 1000
            if cookie["max_age"] is not None and 0 <= expected["max_age"] - cookie["max_age"] < 0.1:
                cookie = {**cookie, "max_age": expected["max_age"]}
        if cookie != expected:
            raise self._difference(f"{server} sees {cookie!r}, not {expected!r}")

    def _seen_by(self, server: str) -> View:
        return self._send(server, "/plain", [])

    def _presented(self) -> str | None:
        """Return the id in the visitor's cookie."""
        value = self._client.cookies.get(NAME)
        if value is None:
            return None
        return unquote(value).removeprefix("s:").rpartition(".")[0]

    def _difference(self, what: str) -> Difference:
        steps = "\n  ".join(self._recent)
        return Difference(f"{what}\nseed {self._seed}, the last steps:\n  {steps}")

    # Values

    def _value(self, depth: int = 0) -> Any:
        draw = self._random.random()
        if depth == 0 and draw < 0.05:
            deep: Any = "bottom"
            for level in range(self._random.randrange(50, 200)):
                deep = [deep] if level % 2 else {"in": deep}
            return deep
        if draw < 0.3 and depth < 4:
            names = self._random.sample(_INNER_NAMES, self._random.randrange(4))
            return {name: self._value(depth + 1) for name in names}
        if draw < 0.45 and depth < 4:
            return [self._value(depth + 1) for _ in range(self._random.randrange(4))]
        if draw < 0.65:
            return self._random.choice(_NUMBERS)
        if draw < 0.85:
            return self._random.choice(_TEXTS)
        return self._random.choice([None, True, False])


def _node_int(text: str) -> int:
    return int(text) if len(text) < 16 else int(float(text))
