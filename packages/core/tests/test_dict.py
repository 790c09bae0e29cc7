"""A session is a dict, for all that use it: Python code, C code, templates, error reporters."""

from __future__ import annotations

import collections
import copy
import json
import pickle
import pprint
from collections.abc import Callable, MutableMapping
from typing import Any

import django.conf
import django.template
import jinja2
import msgspec
import orjson
import pydantic
import pytest
from starlette.responses import JSONResponse
from webclient import Client, CountingStore, asgi_app, wsgi_app

from coatcheck.errors import SessionUnavailable

pytestmark = pytest.mark.anyio

DATA = {"user": "ada", "cart": [{"sku": 1}], "n": 1}
Handler = Callable[[Any], Any]

pure_encoder = json.JSONEncoder()
pure_encoder.iterencode = lambda value, **_: json.encoder._make_iterencode(  # type: ignore[attr-defined,method-assign]
    {}, pure_encoder.default, json.encoder.py_encode_basestring_ascii, None, float.__repr__,  # type: ignore[attr-defined]
    ": ", ", ", False, False, True,
)(value, 0)  # fmt: skip


class Model(pydantic.BaseModel):
    """A value that an application makes of its session."""

    user: str = "nobody"
    n: int = 0


class ScriptedClient:
    """A client of an application that does what the test says."""

    def __init__(self, mode: str, data: dict[str, Any]) -> None:
        self.store = CountingStore()
        self._handler: Handler = lambda session: session.update(data)
        self._loads = mode in ("lazy asgi", "eager asgi")
        driver = wsgi_app if mode == "wsgi" else asgi_app
        load = {"lazy asgi": "lazy", "asgi": "eager"}.get(mode, "auto")
        self.client = Client(driver(self._serve, store=self.store, load=load))

    def _serve(self, session: Any, request: Any) -> Any:
        return self._load_and_serve(session) if self._loads else self._handler(session)

    async def _load_and_serve(self, session: Any) -> Any:
        await session.load()
        return self._handler(session)

    async def run(self, handler: Handler) -> Any:
        """Let one request do something, and return what it came to."""
        results: list[Any] = []
        self._handler = lambda session: results.append(handler(session))
        response = await self.client.get("/")
        response.raise_for_status()
        self.headers = response.headers
        return results[0]


@pytest.fixture(params=["asgi", "lazy asgi", "wsgi"])
def mode(request: pytest.FixtureRequest) -> str:
    """Sessions are loaded before the application runs, by it, or at their first use."""
    return request.param


async def client_with(mode: str, data: dict[str, Any] = DATA) -> ScriptedClient:
    """Return a client whose session has data."""
    made = ScriptedClient(mode, data)
    await made.client.get("/")
    return made


def match(mapping: Any) -> Any:
    """Return what pattern matching finds."""
    match mapping:
        case {"user": str(user), **rest}:
            return user, rest
        case dict():
            return "a dict"
    return None


READS: dict[str, Handler] = {
    "json": json.dumps,
    "json with indent, in Python": lambda session: json.dumps(session, indent=1),
    "json in Python": pure_encoder.encode,
    "json, sorted": lambda session: json.dumps(session, sort_keys=True),
    "JSONResponse": lambda session: JSONResponse(session).body,
    "|": lambda session: session | {"n": 2, "x": 3},
    "| from the right": lambda session: {"n": 2, "x": 3} | session,
    "| in a plain dict": lambda session: {"n": 2, **session},
    "update of a plain dict": lambda session: (plain := {"n": 2}).update(session) or plain,
    "copy": lambda session: session.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "dict": dict,
    "unpacked": lambda session: {**session},
    "as arguments": lambda session: (lambda **values: values)(**session),
    "OrderedDict": collections.OrderedDict,
    "ChainMap": lambda session: dict(collections.ChainMap({"x": 1}, session)),
    "list": list,
    "sorted": sorted,
    "set": set,
    "reversed": lambda session: list(reversed(session)),
    "reversed views": lambda session: [
        list(reversed(view)) for view in (session.keys(), session.values(), session.items())
    ],
    "len": len,
    "bool": bool,
    "in": lambda session: ["user" in session, "x" in session, 5 in session],
    "get": lambda session: [session.get("user"), session.get("x"), session.get("x", 1)],
    "==": lambda session: [session == DATA, DATA == session, session == {}, {} == session],  # noqa: SIM300
    "!=": lambda session: [session != DATA, DATA != session, session != {}, {} != session],  # noqa: SIM300
    "== of an OrderedDict": lambda session: session == collections.OrderedDict(DATA),
    "isinstance": lambda session: [isinstance(session, dict), isinstance(session, MutableMapping)],
    "match": match,
    "keys as sets": lambda session: [
        session.keys() & {"user", "x"},
        {"user", "x"} & session.keys(),
        session.keys() | {"x"},
        session.keys() - {"user"},
        session.keys() ^ {"user", "x"},
        session.keys() == DATA.keys(),
        DATA.keys() == session.keys(),
        session.keys().isdisjoint({"x"}),
        session.keys() >= {"user"},
    ],
    "items": lambda session: [("user", "ada") in session.items(), list(session.items())],
    "values": lambda session: [
        1 in session.values(),
        list(session.values()),
        len(session.values()),
    ],
    "mapping of a view": lambda session: session.keys().mapping["user"],
    "setdefault of a key": lambda session: session.setdefault("user", "x"),
    "setdefault of a new key": lambda session: session.setdefault("x", "x"),
    "fromkeys": lambda session: session.fromkeys(["a"], 1),
    "format_map": lambda session: "{user}".format_map(session),
    "%": lambda session: "%(user)s" % session,  # noqa: UP031
    "pydantic model": lambda session: Model.model_validate(session),
    "pydantic": pydantic.TypeAdapter(dict[str, Any]).validate_python,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_a_session_is_read_as_a_dict(mode: str, read: Handler) -> None:
    """Code that reads a dict gets the same from a session, as the first thing in a request."""
    made = await client_with(mode)
    result = await made.run(read)
    assert result == read(copy.deepcopy(DATA))
    if isinstance(result, dict):
        assert [*result] == [*read(copy.deepcopy(DATA))]
    if read is not READS["isinstance"] and read is not READS["fromkeys"]:
        assert made.headers["vary"] == "Cookie"


@pytest.mark.parametrize("encode", [orjson.dumps, msgspec.json.encode, msgspec.msgpack.encode])
async def test_encoders_in_c_find_a_loaded_session(mode: str, encode: Handler) -> None:
    """These read the dict itself, without asking it."""

    def handler(session: Any) -> Any:
        if mode == "wsgi":
            session.load()
        return encode(session)

    assert await (await client_with(mode)).run(handler) == encode(DATA)
    assert await (await client_with(mode, {"a": 1})).run(handler) == encode({"a": 1})
    assert await ScriptedClient(mode, {}).run(handler) == encode({})


def swallow(value: Any) -> str:
    """Act as a careless function that encodes values which an encoder does not know."""
    return "swallowed"


NOT_ASKING: dict[str, Handler] = {
    "orjson": orjson.dumps,
    "orjson with any keys": lambda session: orjson.dumps(
        session, default=swallow, option=orjson.OPT_NON_STR_KEYS
    ),
    "orjson with default": lambda session: orjson.dumps(session, default=swallow),
    "orjson with str": lambda session: orjson.dumps(session, default=str),
    "orjson, sorted": lambda session: orjson.dumps(
        session, default=swallow, option=orjson.OPT_SORT_KEYS
    ),
    "msgspec": msgspec.json.encode,
    "msgspec with enc_hook": lambda session: msgspec.json.encode(session, enc_hook=swallow),
    "MessagePack": lambda session: msgspec.msgpack.encode(session, enc_hook=str),
    "marshal": lambda session: __import__("marshal").dumps(session),
    "values": lambda session: repr(list(dict.values(session))),
}


@pytest.mark.parametrize("encode", NOT_ASKING.values(), ids=NOT_ASKING)
async def test_encoders_in_c_fail_where_nothing_is_loaded(encode: Handler) -> None:
    """A session that was not loaded is never taken for an empty dict."""

    def handler(session: Any) -> None:
        with pytest.raises((TypeError, ValueError, SessionUnavailable)):
            encode(session)

    made = await client_with("wsgi")
    made.store.taken()
    await made.run(handler)
    assert made.store.taken() == []


@pytest.mark.parametrize(
    "encode", [json.dumps, orjson.dumps, pure_encoder.encode, dict, lambda session: session | {}]
)
async def test_what_was_not_awaited_is_no_empty_dict(encode: Handler) -> None:
    """With `load="lazy"` under ASGI nothing but `await session.load()` can load a session."""
    made = await client_with("lazy asgi")
    made._loads = False

    def handler(session: Any) -> None:
        with pytest.raises((TypeError, SessionUnavailable)):
            encode(session)

    await made.run(handler)


@pytest.mark.parametrize("encode", [json.dumps, orjson.dumps])
async def test_a_session_that_could_not_be_loaded_is_no_empty_dict(
    mode: str, encode: Handler
) -> None:
    """Neither is one that does not exist here, outside the cookie's path."""
    from coatcheck import CookieOptions

    found: list[str] = []

    def handler(session: Any, request: Any) -> None:
        with pytest.raises((TypeError, SessionUnavailable)):
            encode(session)
        found.append("raised")

    app = (wsgi_app if mode == "wsgi" else asgi_app)(handler, cookie=CookieOptions(path="/admin"))
    await Client(app).get("/")
    assert found == ["raised"]


WRITES: dict[str, Handler] = {
    "|=": lambda session: session.__ior__({"n": 2, "x": 3}),
    "|= with pairs": lambda session: session.__ior__([("x", 3)]),
    "popitem takes the last": lambda session: session.popitem(),
    "pop": lambda session: [session.pop("n"), session.pop("x", 5)],
    "setdefault": lambda session: session.setdefault("x", []).append(1),
    "update with a session": lambda session: session.update(dict(session), x=1),
    "clear": lambda session: session.clear(),
    "del": lambda session: session.__delitem__("cart"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_session_is_written_as_a_dict(mode: str, write: Handler) -> None:
    """Code that changes a dict changes a session, and the next request sees it."""
    expected = copy.deepcopy(DATA)
    result = write(expected)
    made = await client_with(mode)
    assert await made.run(lambda session: [write(session), session == expected]) == [result, True]
    assert await made.run(lambda session: repr(dict(session))) == repr(expected)


async def test_ior_gives_the_session_itself(mode: str) -> None:
    """`session |= {...}` leaves the name with the session."""

    def handler(session: Any) -> bool:
        same = session
        same |= {"x": 1}
        return same is session

    assert await (await client_with(mode)).run(handler)


async def test_other_types_are_no_operands_of_unions(mode: str) -> None:
    """As with a dict."""

    def handler(session: Any) -> None:
        with pytest.raises(TypeError, match="unsupported operand"):
            session | [("a", 1)]
        with pytest.raises(TypeError, match="unsupported operand"):
            [("a", 1)] | session
        with pytest.raises(TypeError, match="must be strings, not int"):
            session |= {1: 1}
        with pytest.raises(KeyError):
            session.pop("x")
        session.clear()
        with pytest.raises(KeyError):
            session.popitem()

    await (await client_with(mode)).run(handler)


async def test_a_finished_session_is_read_as_a_dict(mode: str) -> None:
    """After the request it shows what it held."""
    made = await client_with(mode)
    session = await made.run(lambda session: (len(session), session)[1])
    for name, read in READS.items():
        if name != "setdefault of a new key":
            assert read(session) == read(dict(DATA)), name


@pytest.mark.parametrize("make", [dict, copy.copy, lambda session: session.copy()])
async def test_a_copy_is_a_plain_dict(mode: str, make: Handler) -> None:
    """Keys of a copy are its own; values are shared, as with copies of a dict."""

    def handler(session: Any) -> None:
        made = make(session)
        assert type(made) is dict
        made["x"] = 1
        assert "x" not in session
        assert type(session | {}) is dict

    await (await client_with(mode)).run(handler)


async def test_a_deep_copy_shares_nothing(mode: str) -> None:
    """Changes of it are not saved."""
    made = await client_with(mode)
    await made.run(lambda session: copy.deepcopy(session)["cart"].append(1))
    assert await made.run(dict) == DATA


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
async def test_a_session_cannot_be_pickled(mode: str, protocol: int) -> None:
    """It belongs to a request; a plain dict of its data does not."""

    def handler(session: Any) -> None:
        with pytest.raises(TypeError, match=r"dict\(session\)"):
            pickle.dumps(session, protocol)
        assert pickle.loads(pickle.dumps(dict(session), protocol)) == DATA

    await (await client_with(mode)).run(handler)


@pytest.mark.parametrize(
    "show",
    [
        repr, str, pprint.pformat, "{}".format, lambda session: repr([session]),
        lambda session: repr(session.items()), lambda session: repr(session.values()),
        lambda session: repr(session.keys()), lambda session: pprint.pformat({"s": session}),
        lambda session: repr(session.id), lambda session: pprint.pformat([session.id]),
    ],
)  # fmt: skip
async def test_what_is_shown_has_neither_id_nor_data(mode: str, show: Handler) -> None:
    """`pprint` shows a dict's data by itself, and a session's by its repr."""
    made = await client_with(mode)
    shown, secret = await made.run(lambda session: (show(session), str(session.id)))
    assert secret not in shown
    assert "ada" not in shown
    assert "user" not in shown


TAKEN: dict[str, Callable[[Any], list[Any]]] = {
    "dict": lambda session: dict(session)["cart"],
    "unpacked": lambda session: {**session}["cart"],
    "copy": lambda session: session.copy()["cart"],
    "|": lambda session: (session | {})["cart"],
    "reversed items": lambda session: dict(reversed(session.items()))["cart"],
    "match": lambda session: match(session)[1]["cart"],
    "values": lambda session: [*session.values()][1],
    "popped": lambda session: session.setdefault("cart", session.pop("cart")),
}


@pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)
async def test_a_change_is_noticed_however_the_value_was_reached(
    mode: str, take: Callable[[Any], list[Any]]
) -> None:
    """Each way out of a dict is watched."""
    made = await client_with(mode)
    await made.run(lambda session: take(session).append("new"))
    expected = {**DATA, "cart": [*DATA["cart"], "new"]}  # type: ignore[misc]
    assert await made.run(dict) == expected


IN_C: dict[str, Handler] = {
    "dict.get": lambda session: dict.get(session, "tags").add(2),
    "dict.values": lambda session: next(iter(dict.values(session))).add(2),
    "orjson": lambda session: orjson.dumps(session, default=lambda tags: tags.add(2)),
}


@pytest.mark.parametrize("change", IN_C.values(), ids=IN_C)
@pytest.mark.parametrize("mode", ["lazy asgi", "eager asgi", "wsgi"])
async def test_after_load_changes_through_code_in_c_are_noticed(mode: str, change: Handler) -> None:
    """It hands out values without a word to the session; `load()` is the word."""

    def handler(session: Any) -> None:
        if mode == "wsgi":
            session.load()
        change(session)

    made = await client_with(mode, {"tags": {1}})
    await made.run(handler)
    assert await made.run(dict) == {"tags": {1, 2}}
    assert made.headers["vary"] == "Cookie"


async def test_what_is_only_read_is_not_written(mode: str) -> None:
    """Handing out everything is no change."""
    made = await client_with(mode)
    made.store.taken()
    await made.run(lambda session: [json.dumps(session), dict(session), session.copy()])
    assert made.store.taken() == ["get"]


TEMPLATES = ["{{ session.id }}", "{{ session.items }}", "{{ session }}", "{{ session.cookie }}"]


@pytest.fixture(scope="module")
def django_engine() -> django.template.Engine:
    """Django's templates, without a project."""
    if not django.conf.settings.configured:
        django.conf.settings.configure()
    return django.template.Engine()


@pytest.mark.parametrize("template", TEMPLATES)
async def test_templates_do_not_show_the_secret(
    mode: str, template: str, django_engine: django.template.Engine
) -> None:
    """Jinja prefers attributes to keys, and Django calls what it finds."""

    def handler(session: Any) -> list[str]:
        environment = jinja2.Environment(autoescape=True)
        shown = [
            environment.from_string(template).render(session=session),
            environment.from_string("{{ session.items() }}").render(session=session),
            django_engine.from_string(template).render(
                django.template.Context({"session": session})
            ),
        ]
        return [*shown, str(session.id)]

    *shown, secret = await (await client_with(mode)).run(handler)
    for text in shown:
        assert secret not in text
        assert "ada" not in text


async def test_templates_find_keys_and_loop_over_items(
    mode: str, django_engine: django.template.Engine
) -> None:
    """The names of data, and a loop over all, work as with a dict."""
    text = "{{ session.user }}{% for k, v in PAIRS %} {{ k }}{% endfor %}"

    def handler(session: Any) -> list[str]:
        return [
            jinja2.Environment(autoescape=True)
            .from_string(text.replace("PAIRS", "session.items()"))
            .render(session=session),
            django_engine.from_string(text.replace("PAIRS", "session.items")).render(
                django.template.Context({"session": session})
            ),
        ]

    assert await (await client_with(mode)).run(handler) == ["ada user cart n"] * 2


async def test_django_looks_up_keys_first(mode: str, django_engine: django.template.Engine) -> None:
    """There `id` of the data is what `{{ session.id }}` shows."""

    def handler(session: Any) -> str:
        session["id"] = "mine"
        context = django.template.Context({"session": session})
        return django_engine.from_string("{{ session.id }}").render(context)

    assert await (await client_with(mode)).run(handler) == "mine"


async def test_the_id_is_a_string(mode: str) -> None:
    """It works wherever a string does: comparing, formatting, encoding, storing, pickling."""

    def handler(session: Any) -> None:
        secret = session.id
        plain = "".join(secret)
        assert isinstance(secret, str)
        assert (secret, hash(secret), f"{secret}", str(secret), "%s" % secret) == (  # noqa: UP031
            plain, hash(plain), plain, plain, plain,
        )  # fmt: skip
        assert json.dumps(secret) == json.dumps(plain)
        assert type(pickle.loads(pickle.dumps(secret))) is str
        assert pickle.loads(pickle.dumps(secret)) == plain
        session["kept"] = [secret]

    made = await client_with(mode)
    await made.run(handler)
    assert await made.run(lambda session: session["kept"] == [session.id])


@pytest.mark.parametrize("name", ["user", "usr", "_private", "items", "get"])
async def test_attributes_cannot_be_assigned(mode: str, name: str) -> None:
    """A value that is meant for the data is not lost in silence."""

    def handler(session: Any) -> None:
        is_method = hasattr(dict, name)
        advice = "not yours to set" if is_method else rf'session\["{name}"\] = '
        with pytest.raises(AttributeError, match=advice):
            setattr(session, name, 1)
        with pytest.raises(AttributeError, match=rf'del session\["{name}"\]'):
            delattr(session, name)
        if not is_method:
            with pytest.raises(AttributeError, match=rf'session\["{name}"\]'):
                getattr(session, name)
        assert not hasattr(session, "anything")

    made = await client_with(mode)
    await made.run(handler)
    assert await made.run(dict) == DATA


async def test_what_is_read_only_says_so(mode: str) -> None:
    """And the settings of the cookie have their own place."""

    def handler(session: Any) -> None:
        with pytest.raises(AttributeError, match="not yours to set"):
            session.id = "x" * 32
        with pytest.raises(AttributeError, match=r"session\.cookie\.max_age = "):
            session.cookie = {"max_age": 5}
        with pytest.raises(AttributeError, match="it has path, domain, max_age"):
            session.cookie.maxAge = 5
        with pytest.raises(AttributeError, match="no setting `maxAge`"):
            session.cookie.maxAge  # noqa: B018
        with pytest.raises(AttributeError, match="assign None"):
            del session.cookie.max_age
        session.owner = "ada"
        assert session.owner == "ada"

    await (await client_with(mode)).run(handler)


METHODS = ["destroy", "regenerate", "clear", "popitem", "touch", "save", "reload", "load"]


@pytest.mark.parametrize("name", [*METHODS, "pop", "update", "setdefault", "change"])
async def test_a_django_template_changes_nothing(
    mode: str, name: str, django_engine: django.template.Engine
) -> None:
    """Its templates call what they find, unless that says that it alters data."""

    def handler(session: Any) -> str:
        context = django.template.Context({"session": session})
        return django_engine.from_string("{{ session.%s }}" % name).render(context)  # noqa: UP031

    made = await client_with(mode)
    made.store.taken()
    assert await made.run(handler) == ""
    assert made.store.taken() == ["get"]
    assert await made.run(dict) == DATA


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("flush", "session.destroy"),
        ("regnerate", "session.regenerate"),
        ("permanent", "session.cookie.max_age"),
        ("max_age", "session.cookie.max_age"),
        ("modified", "changes are noticed"),
    ],
)
async def test_names_of_other_libraries_lead_to_ours(mode: str, name: str, advice: str) -> None:
    """The names of Flask and Django lead to the names that they have here."""

    def handler(session: Any) -> None:
        with pytest.raises(AttributeError, match=advice):
            getattr(session, name)
        with pytest.raises(AttributeError, match=advice):
            setattr(session, name, True)

    await (await client_with(mode)).run(handler)
