"""Typed views of the session: dataclasses, TypedDicts, Structs and models."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import re
import subprocess
import sys
import types
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import fastapi
import fastapi.testclient
import msgspec
import pydantic
import pytest
import typing_extensions
from webclient import SECRET, Client, SyncClient, YieldingStore, asgi_app, sessions_in, wsgi_app

from coatcheck import MemoryStore
from coatcheck.asgi import SessionMiddleware
from coatcheck.errors import (
    ConfigurationError,
    InvalidSessionData,
    LateWriteError,
    SessionUnavailable,
)
from coatcheck.fastapi import SessionDep, SessionKey
from coatcheck.typed import VERSION_KEY, SessionView

pytestmark = pytest.mark.anyio

NOON = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


# One cart in each way.


@dataclass
class DataclassLine:
    item: str
    size: Size = Size.SMALL


@dataclass
class DataclassCart:
    lines: list[DataclassLine] = field(default_factory=list)
    since: dt.datetime | None = None


class StructLine(msgspec.Struct):
    item: str
    size: Size = Size.SMALL


class StructCart(msgspec.Struct):
    lines: list[StructLine] = []
    since: dt.datetime | None = None


class ModelLine(pydantic.BaseModel):
    item: str
    size: Size = Size.SMALL


class ModelCart(pydantic.BaseModel):
    lines: list[ModelLine] = []
    since: dt.datetime | None = None


class DictLine(typing_extensions.TypedDict):
    item: str
    size: typing_extensions.NotRequired[Size]


class DictCart(typing_extensions.TypedDict, total=False):
    lines: list[DictLine]
    since: dt.datetime | None


class StandardLine(TypedDict):
    item: str
    size: NotRequired[Size]


class StandardCart(TypedDict, total=False):
    """Pydantic reads such a one on Python 3.12 and later alone, msgspec anywhere."""

    lines: list[StandardLine]
    since: dt.datetime | None


def is_dict(cart: Any) -> bool:
    return isinstance(cart, dict)


def add(cart: Any, line: Any, item: str) -> None:
    """Add a large one, at noon."""
    if isinstance(cart, dict):
        cart.setdefault("lines", []).append({"item": item, "size": Size.LARGE})
        cart["since"] = NOON
    else:
        cart.lines.append(line(item=item, size=Size.LARGE))
        cart.since = NOON


KINDS = {
    "dataclass": (DataclassCart, DataclassLine),
    "struct": (StructCart, StructLine),
    "model": (ModelCart, ModelLine),
    "typed dict": (DictCart, DictLine),
    "standard typed dict": (StandardCart, StandardLine),
}
kinds = pytest.mark.parametrize(("cart", "line"), KINDS.values(), ids=KINDS)

#: The cart as it is stored.
STORED = {"lines": [{"item": "hat", "size": "l"}], "since": "2026-11-30T12:00:00Z"}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


# Reading and changing


@kinds
@pytest.mark.parametrize("app", [asgi_app, wsgi_app])
async def test_changes_are_saved(app: Any, cart: Any, line: Any, store: MemoryStore) -> None:
    """And come back as the type, in applications of both interfaces."""
    view = SessionView(cart, "cart")
    seen: list[Any] = []

    def visit(session: Any, request: Any) -> str:
        with view.edit(session) as value:
            add(value, line, "hat")
        seen.append(session["cart"])
        return ""

    def visit_again(session: Any, request: Any) -> str:
        value = view.read(session)
        assert is_dict(value) or isinstance(value, cart)
        lines, since = (
            (value["lines"], value["since"]) if is_dict(value) else (value.lines, value.since)
        )
        seen.append((lines[0], since))
        return ""

    first = Client(app(visit, store=store))
    await first.get("/")
    second = Client(app(visit_again, store=store), cookies=first.cookies)
    await second.get("/")
    large = {"item": "hat", "size": Size.LARGE}
    assert seen == [STORED, (large if is_dict(seen[1][0]) else line(**large), NOON)]


@kinds
def test_what_does_not_change_is_not_stored(cart: Any, line: Any, store: MemoryStore) -> None:
    """A visitor who has no cart gets no session."""
    view = SessionView(cart, "cart")

    def visit(session: Any, request: Any) -> str:
        with view.edit(session):
            pass
        add(view.read(session), line, "hat")
        return str(dict(session))

    visitor = SyncClient(wsgi_app(visit, store=store))
    assert visitor.get("/").text == "{}"
    assert not visitor.cookies
    assert not sessions_in(store)


@kinds
def test_a_block_that_raises_changes_nothing(cart: Any, line: Any) -> None:
    """Also where there is a cart."""
    view, data = SessionView(cart, "cart"), {"cart": STORED}
    with pytest.raises(ZeroDivisionError), view.edit(data) as value:
        add(value, line, "coat")
        1 / 0  # noqa: B018
    assert data == {"cart": STORED}
    assert len(STORED["lines"]) == 1


@kinds
def test_a_value_is_written_as_a_whole(cart: Any, line: Any) -> None:
    """For types that cannot be changed in place."""
    view = SessionView(cart, "cart")
    data: dict[str, Any] = {}
    value = view.read({"cart": STORED})
    view.write(data, value)
    assert data == {"cart": STORED}


async def test_many_requests_change_one_cart(store: MemoryStore) -> None:
    """A view takes what `session.change()` hands to its function, so no change is lost."""
    view = SessionView(ModelCart, "cart")

    def add_one(data: MutableMapping[str, Any]) -> int:
        with view.edit(data) as cart:
            cart.lines.append(ModelLine(item="hat"))
        return len(cart.lines)

    async def visit(session: Any, scope: Any) -> int:
        return int(await session.change(add_one))

    visitor = Client(asgi_app(visit, store=YieldingStore(store)))
    await visitor.get("/")
    await asyncio.gather(*(visitor.tab().get("/") for _ in range(5)))
    assert (await visitor.get("/")).text == "7"


# The whole session


@dataclass
class Shop:
    user_id: int | None = None
    theme: str = "light"
    basket: list[str] = field(default_factory=list)


def test_the_whole_session() -> None:
    """Only what has changed is written, and foreign keys stay."""
    view = SessionView(Shop)
    data: dict[str, Any] = {"user_id": 42, "csrf": "x"}
    with view.edit(data) as shop:
        assert shop == Shop(42)
        shop.basket.append("hat")
    assert data == {"user_id": 42, "csrf": "x", "basket": ["hat"]}
    view.write(data, Shop())
    assert data == {"user_id": None, "csrf": "x", "basket": [], "theme": "light"}


async def test_parallel_requests_change_fields_of_their_own(store: MemoryStore) -> None:
    """They are keys of the session, so both changes are kept."""
    view = SessionView(Shop)

    async def visit(session: Any, scope: Any) -> Any:
        with view.edit(session) as shop:
            if scope["path"] == "/theme":
                shop.theme = "dark"
            else:
                shop.basket.append("hat")
        return dict(session)

    visitor = Client(asgi_app(visit, store=YieldingStore(store)))
    await visitor.get("/cart")
    await asyncio.gather(*(visitor.tab().get(path) for path in ("/theme", "/cart")))
    assert (await visitor.get("/theme")).text == "{'basket': ['hat', 'hat'], 'theme': 'dark'}"


def test_a_key_of_a_typed_dict_can_go() -> None:
    view = SessionView(DictCart)
    data: dict[str, Any] = {"since": None, "csrf": "x"}
    with view.edit(data) as cart:
        del cart["since"]
    assert data == {"csrf": "x"}


# What the block does to the session itself


@kinds
@pytest.mark.parametrize("app", [asgi_app, wsgi_app])
@pytest.mark.parametrize("end", ["destroy", "regenerate", "clear", "pop"])
async def test_a_logout_in_the_block_is_not_undone(
    app: Any, cart: Any, line: Any, end: str, store: MemoryStore
) -> None:
    """Whatever the view has changed, of a value that was there and of one that was not."""
    present, absent = SessionView(cart, "cart"), SessionView(cart, "other")

    def visit(session: Any, request: Any) -> str:
        session["cart"] = STORED
        return ""

    def leave(session: Any, request: Any) -> str:
        with present.edit(session) as value, absent.edit(session) as other:
            add(value, line, "coat")
            if end in ("destroy", "regenerate"):
                add(other, line, "coat")
                getattr(session, end)()
            elif end == "clear":
                session.clear()
            else:
                session.pop("cart")
        return str(dict(session))

    visitor = Client(app(visit, store=store))
    await visitor.get("/")
    visitor = Client(app(leave, store=store), cookies=visitor.cookies)
    assert (await visitor.get("/")).text == "{}"
    assert bool(visitor.cookies) is (end != "destroy")


@pytest.mark.parametrize("key", ["cart", None])
@pytest.mark.parametrize("change", ["nothing", "a field"])
def test_a_migration_does_not_undo_a_logout(key: str | None, change: str) -> None:
    """Neither for one key nor for the whole session, whose old keys are gone then."""
    view = SessionView(ModelCart, key, version=3, migrate=upgrade)
    old = {"lines": [{"item": "hat"}], "at": None, VERSION_KEY: 2}
    for logout in (dict.clear, dict.popitem):
        data: dict[str, Any] = {"csrf": "x", **({"cart": old} if key else old)}
        with view.edit(data) as cart:
            if change == "a field":
                cart.lines.append(ModelLine(item="coat"))
            if key is None and logout is dict.popitem:
                del data["at"]
            else:
                logout(data)
            left = dict(data)
        assert data == left


def test_what_the_block_assigns_itself_wins() -> None:
    """Over a migration and over a change. Of the whole session, that is decided for each key."""
    view = SessionView(ModelCart, "cart", version=3, migrate=upgrade)
    for stored in (["hat"], None):
        data: dict[str, Any] = {} if stored is None else {"cart": stored}
        with view.edit(data) as cart:
            cart.lines.clear()
            cart.since = NOON
            data["cart"] = STORED
        assert data == {"cart": STORED}
    whole, data = SessionView(Shop), {"theme": "light", "basket": ["hat"]}
    with whole.edit(data) as shop:
        shop.theme, shop.user_id = "dark", 42
        shop.basket.append("coat")
        del data["theme"]
        data["user_id"] = 43
    assert data == {"basket": ["hat", "coat"], "user_id": 43}


def test_a_block_after_a_logout_is_stored() -> None:
    """As anything that is written after `destroy()` begins a new session."""
    view = SessionView(ModelCart, "cart")

    def visit(session: Any, request: Any) -> str:
        session["cart"] = STORED
        session.destroy()
        with view.edit(session) as cart:
            cart.lines.append(ModelLine(item="coat"))
        with view.edit(session) as cart:
            session.regenerate(keep_data=True)
            cart.lines.append(ModelLine(item="cap"))
        return str(len(session["cart"]["lines"]))

    visitor = SyncClient(wsgi_app(visit))
    assert [visitor.get("/").text for _ in range(2)] == ["2", "2"]


# Data that do not fit

MISFITS: dict[str, tuple[Any, str]] = {
    "no mapping": ("secret", ""),
    "no list": ({"lines": "secret"}, "['lines']"),
    "a number": ({"lines": [{"item": "hat"}, {"item": 4711}]}, "['lines'][1]['item']"),
    "an unknown choice": ({"lines": [{"item": "hat", "size": "secret"}]}, "['lines'][0]['size']"),
    "no date": ({"since": "secret"}, "['since']"),
    "missing": ({"lines": [{"size": "s"}]}, "['lines'][0]['item']"),
}


@kinds
@pytest.mark.parametrize(("stored", "path"), MISFITS.values(), ids=MISFITS)
def test_data_that_do_not_fit(cart: Any, line: Any, stored: Any, path: str) -> None:
    """The error says where, and shows no data."""
    view, data = SessionView(cart, "cart"), {"cart": stored}
    with pytest.raises(InvalidSessionData) as caught:
        view.read(data)
    assert caught.value.path == f"session['cart']{path}"
    assert str(caught.value).startswith(f"{caught.value.path} does not fit {cart.__qualname__}: ")
    assert "`migrate`" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "4711" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    with pytest.raises(InvalidSessionData), view.edit(data):
        raise AssertionError("nobody gets here")
    assert data == {"cart": stored}


def test_validators_of_the_application_show_nothing() -> None:
    """Their messages may have data in them."""

    class Even(pydantic.BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def check(cls, number: int) -> int:
            raise ValueError(f"{number} is odd")

    class Odd(msgspec.Struct):
        number: int

        def __post_init__(self) -> None:
            raise ValueError(f"{self.number} is even")

    for kind in (Even, Odd):
        with pytest.raises(InvalidSessionData) as caught:
            SessionView(kind).read({"number": 4711})
        assert "4711" not in str(caught.value)
        assert str(caught.value).startswith("session")


@pytest.mark.parametrize(
    ("cart", "line"), [each for name, each in KINDS.items() if "dict" not in name]
)
def test_changes_that_do_not_fit_are_not_stored(cart: Any, line: Any) -> None:
    """Nothing is written that could not be read again."""
    view = SessionView(cart, "cart")
    for wrong in ([5], "hat", object()):
        data: dict[str, Any] = {"cart": STORED}
        with pytest.raises(InvalidSessionData, match="it is not stored"), view.edit(data) as value:
            value.lines = wrong
        assert data == {"cart": STORED}
        with pytest.raises(InvalidSessionData, match="it is not stored"):
            view.write(data, value)


# Data of older releases


@kinds
def test_old_data_get_the_defaults(cart: Any, line: Any) -> None:
    """Reading them changes nothing, and what nobody asks for stays away."""
    view, data = SessionView(cart, "cart"), {"cart": {"gone": 1, "since": None}}
    with view.edit(data) as value:
        assert is_dict(value) or value == cart()
    assert data == {"cart": {"gone": 1, "since": None}}


def upgrade(stored: Any, version: int) -> Any:
    """Version 1 was a list of names, and version 2 called the time `at`."""
    if version == 1:
        stored = {"lines": [{"item": item} for item in stored], "at": None}
    stored["since"] = stored.pop("at")
    return stored


@kinds
@pytest.mark.parametrize(
    "stored",
    [["hat"], {"lines": [{"item": "hat"}], "at": None, VERSION_KEY: 2}],
    ids=["version 1", "version 2"],
)
def test_old_data_are_migrated(cart: Any, line: Any, stored: Any) -> None:
    """Reading leaves them, and the next edit stores them with their version."""
    view = SessionView(cart, "cart", version=3, migrate=upgrade)
    data = {"cart": stored}
    value = view.read(data)
    lines = value["lines"] if is_dict(value) else value.lines
    assert len(lines) == 1
    assert data["cart"] is stored
    with view.edit(data):
        pass
    assert data["cart"][VERSION_KEY] == 3
    assert "at" not in data["cart"]
    migrated = dict(data["cart"])
    with view.edit(data) as value:
        add(value, line, "coat")
    assert data["cart"][VERSION_KEY] == 3
    assert len(data["cart"]["lines"]) == 2
    assert migrated != data["cart"]


def test_the_whole_session_is_migrated() -> None:
    """Keys that the migration drops go, and foreign ones stay."""
    versions: list[int] = []

    def to_theme(data: Any, version: int) -> Any:
        versions.append(version)
        data["theme"] = data.pop("look", "light")
        return data

    view = SessionView(Shop, version=2, migrate=to_theme)
    data: dict[str, Any] = {"look": "dark", "csrf": "x"}
    for _ in range(2):
        with view.edit(data) as shop:
            assert shop.theme == "dark"
    assert versions == [1]
    assert (data["theme"], data["csrf"], data[VERSION_KEY]) == ("dark", "x", 2)
    assert "look" not in data
    assert view.read({}) == Shop()
    assert versions == [1]


def test_a_migration_of_the_whole_session_returns_what_it_knows() -> None:
    """Keys that it does not return stay, because they may be those of a library."""

    def renamed(data: Any, version: int) -> Any:
        return {"user_id": data.pop("uid", None), "theme": data["theme"].upper()}

    view = SessionView(Shop, version=2, migrate=renamed)
    data: dict[str, Any] = {"uid": 42, "theme": "dark", "logged_in_at": 1.0, "csrf": "x"}
    with view.edit(data):
        data["csrf"] = "y"
    assert data == {
        "user_id": 42, "theme": "DARK", "basket": [], "logged_in_at": 1.0, "csrf": "y",
        VERSION_KEY: 2,
    }  # fmt: skip
    view = SessionView(Shop, version=2, migrate=lambda data, version: {"user_id": data["uid"]})
    data = {"uid": 42}
    with view.edit(data):
        data.clear()  # a logout
    assert data == {}
    data = {"uid": 42}
    with view.edit(data):
        pass
    assert data == {"uid": 42, "user_id": 42, "theme": "light", "basket": [], VERSION_KEY: 2}


def test_the_whole_session_has_one_version() -> None:
    """A second view of it says so, instead of a text about its type."""
    data = {"theme": "dark", VERSION_KEY: 2}
    with pytest.raises(InvalidSessionData, match="there can be no second view of the whole"):
        SessionView(Shop).read(data)


def test_data_of_a_newer_release() -> None:
    """After a deployment was taken back: `migrate` decides, and without one it is an error."""
    data = {"cart": {"lines": [], VERSION_KEY: 4}}
    with pytest.raises(InvalidSessionData, match=r"session\['cart'\] has version 4, and ModelCart"):
        SessionView(ModelCart, "cart").read(data)
    versions: list[int] = []

    def migrate(stored: Any, version: int) -> Any:
        versions.append(version)
        return stored

    view = SessionView(ModelCart, "cart", version=3, migrate=migrate)
    assert view.read(data) == ModelCart()
    assert versions == [4]


def test_a_missing_value() -> None:
    """It is the type with its defaults, or what `default` makes."""
    with pytest.raises(InvalidSessionData, match=r"session\['line'\]\['item'\]"):
        SessionView(ModelLine, "line").read({})
    view = SessionView(ModelLine, "line", default=lambda: ModelLine(item="hat"))
    assert view.read({}).item == "hat"
    lines: SessionView[list[ModelLine]] = SessionView(list[ModelLine], "lines", default=list)
    data: dict[str, Any] = {}
    with lines.edit(data) as value:
        value.append(ModelLine(item="hat"))
    assert data == {"lines": [{"item": "hat", "size": "s"}]}


class Aliased(pydantic.BaseModel):
    """Has another name in JSON, and refuses unknown ones."""

    model_config = pydantic.ConfigDict(extra="forbid", ser_json_bytes="base64",
                                       val_json_bytes="base64", strict=True)  # fmt: skip
    user_name: str = pydantic.Field("ann", alias="userName")
    seen: dict[int, bytes] = {}


class Renamed(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    user_name: str = "ann"
    seen: dict[int, bytes] = {}


@pytest.mark.parametrize("kind", [Aliased, Renamed])
def test_what_is_stored_is_json(kind: Any) -> None:
    """With the names and forms that the type gives to JSON, and it comes back equal."""
    view, data = SessionView(kind, "user"), {}
    with view.edit(data) as user:
        user.user_name = "bob"
        user.seen[1] = b"\x01"
    assert data == {"user": {"userName": "bob", "seen": {"1": "AQ=="}}}
    assert view.read(data) == user


# Views that cannot be made


def test_versions_need_a_migration() -> None:
    for version in (0, 2):
        with pytest.raises(ConfigurationError, match="versions begin at 1"):
            SessionView(ModelCart, "cart", version=version)


def test_a_list_has_no_version_and_is_no_session() -> None:
    lines: Any = [ModelLine(item="hat")]
    for view in (
        SessionView(list[ModelLine]),
        SessionView(list[ModelLine], "lines", version=2, migrate=upgrade),
    ):
        with pytest.raises(ConfigurationError, match="has no fields"):
            view.write({}, lines)


def test_a_type_that_no_library_reads() -> None:
    """The error names what each library says."""

    class Plain:
        total: int = 0

    with pytest.raises(
        ConfigurationError, match=r"Plain'> cannot be made: Pydantic: .*; msgspec: "
    ):
        SessionView(Plain)


@pytest.mark.parametrize(
    ("missing", "made"),
    [
        ("pydantic", "dataclass TypedDict Struct"),
        ("msgspec", "dataclass"),
        ("pydantic msgspec", ""),
    ],
)
def test_one_library_is_enough(missing: str, made: str) -> None:
    """With neither of them the error names both."""
    program = f"""
import sys
for name in {missing.split()}:
    sys.modules[name] = None  # as where it is not installed
from dataclasses import dataclass
from typing import TypedDict
from coatcheck.errors import ConfigurationError
from coatcheck.typed import SessionView

@dataclass
class Cart:
    total: int = 0

class Dict(TypedDict, total=False):
    total: int

kinds = dict(dataclass=Cart)
if sys.version_info >= (3, 12) or "pydantic" in {missing!r}:
    kinds["TypedDict"] = Dict
if "msgspec" not in {missing!r}:
    import msgspec
    kinds["Struct"] = msgspec.defstruct("Struct", [("total", int, 0)])
for name, kind in kinds.items():
    data = {{"cart": {{"total": 5}}}}
    try:
        view = SessionView(kind, "cart")
    except ConfigurationError as error:
        assert "Pydantic is not installed; msgspec is not installed" in str(error)
        continue
    value = view.read(data)
    view.write(data, value)
    assert data == {{"cart": {{"total": 5}}}}
    print(name)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    printed = done.stdout.split()
    if "TypedDict" in printed and "TypedDict" not in made:
        assert sys.version_info >= (3, 12)
        printed.remove("TypedDict")
    assert printed == made.split()


# FastAPI

CartDep = Annotated[ModelCart, SessionKey("cart")]
ShopDep = Annotated[Shop, SessionKey(None)]
StructDep = Annotated[StructCart, SessionKey("struct")]


def count(cart: CartDep) -> int:
    """Return how many lines there are, as a dependency."""
    return len(cart.lines)


@pytest.fixture
def shop() -> Callable[..., Client]:
    """Return a function that makes a visitor of a shop with typed carts."""
    app = fastapi.FastAPI()

    @app.post("/cart/{item}")
    async def add_to_cart(
        item: str, cart: CartDep, before: Annotated[int, fastapi.Depends(count)]
    ) -> int:
        cart.lines.append(ModelLine(item=item))
        return before

    @app.post("/fail")
    def fail(cart: CartDep) -> None:
        cart.lines.append(ModelLine(item="never"))
        raise fastapi.HTTPException(409)

    @app.post("/struct")
    def struct(cart: StructDep) -> None:
        cart.lines.append(StructLine("hat"))

    @app.post("/theme")
    def theme(shop: ShopDep) -> None:
        shop.theme = "dark"

    @app.get("/")
    def page(session: SessionDep, cart: CartDep) -> Any:
        return dict(session)

    @app.websocket("/")
    async def socket(socket: fastapi.WebSocket, cart: CartDep) -> None:
        await socket.accept()
        cart.lines.append(ModelLine(item="by socket"))
        await socket.send_json(len(cart.lines))
        await socket.close()

    def visitor(**options: Any) -> Client:
        return Client(SessionMiddleware(app, secret=SECRET, store=MemoryStore(), **options))

    return visitor


@pytest.mark.parametrize("options", [{}, {"load": "lazy"}], ids=["eager", "lazy"])
async def test_a_typed_parameter(shop: Callable[..., Client], options: Any) -> None:
    """All parts of a request have one value, and its changes are in the response's session."""
    visitor = shop(**options)
    assert (await visitor.get("/")).json() == {}
    assert not visitor.cookies
    assert [(await visitor.post(f"/cart/{item}")).json() for item in ("hat", "coat")] == [0, 1]
    await visitor.post("/struct")
    await visitor.post("/theme")
    data = (await visitor.get("/")).json()
    assert [line["item"] for line in data["cart"]["lines"]] == ["hat", "coat"]
    assert data["struct"] == {"lines": [{"item": "hat", "size": "s"}], "since": None}
    assert data["theme"] == "dark"


async def test_a_route_that_raises_changes_nothing(shop: Callable[..., Client]) -> None:
    visitor = shop()
    await visitor.post("/cart/hat")
    assert (await visitor.post("/fail")).status_code == 409
    assert len((await visitor.get("/")).json()["cart"]["lines"]) == 1


@pytest.mark.parametrize("end", ["destroy", "clear"])
async def test_a_route_that_logs_out_gets_nothing_back(end: str, store: MemoryStore) -> None:
    """From parameters that have changed, or that have to migrate."""
    app = fastapi.FastAPI()

    @app.post("/in")
    async def enter(session: SessionDep) -> None:
        session.update(cart=STORED, old=["hat"])

    @app.post("/out")
    async def leave(
        session: SessionDep,
        cart: CartDep,
        old: Annotated[ModelCart, SessionKey("old", version=3, migrate=upgrade)],
    ) -> None:
        cart.lines.append(ModelLine(item="coat"))
        getattr(session, end)()

    @app.get("/")
    async def page(session: SessionDep) -> Any:
        return session

    visitor = Client(SessionMiddleware(app, secret=SECRET, store=store))
    await visitor.post("/in")
    assert set((await visitor.get("/")).json()) == {"cart", "old"}
    await visitor.post("/out")
    assert (await visitor.get("/")).json() == {}
    assert bool(visitor.cookies) is (end == "clear")


def test_a_socket_saves_at_its_end(shop: Callable[..., Client]) -> None:
    """The session has to exist before."""
    client = fastapi.testclient.TestClient(shop()._app)
    client.post("/cart/hat")
    for number in (2, 3):
        with client.websocket_connect("/") as connection:
            assert connection.receive_json() == number


def test_what_a_socket_writes_into_a_typed_key() -> None:
    """A typed parameter is too late for a new visitor, and for what pages do meanwhile."""
    app = fastapi.FastAPI()

    @app.websocket("/typed")
    async def typed(socket: fastapi.WebSocket, cart: CartDep) -> None:
        cart.lines.append(ModelLine(item="socket"))
        await socket.accept()
        await socket.receive_text()
        await socket.close()

    def add(data: dict[str, Any]) -> None:
        with SessionView(ModelCart, "cart").edit(data) as cart:
            cart.lines.append(ModelLine(item="socket"))

    @app.websocket("/exact")
    async def exact(socket: fastapi.WebSocket, session: SessionDep) -> None:
        await socket.accept()
        await socket.receive_text()
        await session.change(add)
        await socket.close()

    @app.get("/")
    async def page(cart: CartDep) -> list[str]:
        cart.lines.append(ModelLine(item="page"))
        return [line.item for line in cart.lines]

    app.add_middleware(SessionMiddleware, secret=SECRET, store=MemoryStore())

    def talk(client: Any, path: str) -> list[str]:
        with client.websocket_connect(path) as connection:
            client.get("/")
            connection.send_text("go")
            connection.receive()
        return client.get("/").json()  # type: ignore[no-any-return]

    with pytest.raises(LateWriteError):
        talk(fastapi.testclient.TestClient(app), "/typed")
    for path, kept in (("/typed", ["page", "socket"]), ("/exact", ["page", "page", "socket"])):
        client = fastapi.testclient.TestClient(app)
        client.get("/")
        assert talk(client, path) == [*kept, "page"]


async def test_a_dependency_with_an_end_of_its_own_says_its_scope(store: MemoryStore) -> None:
    """FastAPI refuses one that ends after the response, because the cart is stored before."""
    app = fastapi.FastAPI()

    async def unit_of_work(cart: CartDep) -> Any:
        yield cart

    with pytest.raises(fastapi.exceptions.DependencyScopeError):

        @app.get("/late")
        async def late(cart: Any = fastapi.Depends(unit_of_work)) -> None: ...  # noqa: B008

    @app.get("/")
    async def page(
        cart: Any = fastapi.Depends(unit_of_work, scope="function"),  # noqa: B008
    ) -> int:
        cart.lines.append(ModelLine(item="hat"))
        return len(cart.lines)

    visitor = Client(SessionMiddleware(app, secret=SECRET, store=store))
    assert [(await visitor.get("/")).json() for _ in range(2)] == [1, 2]


async def test_the_schema_shows_no_typed_part(shop: Callable[..., Client]) -> None:
    """It is no parameter and no body."""
    operation = (await shop().get("/openapi.json")).json()["paths"]["/cart/{item}"]["post"]
    assert [each["name"] for each in operation["parameters"]] == ["item"]
    assert "requestBody" not in operation


def test_a_view_needs_a_middleware() -> None:
    app = fastapi.FastAPI()

    @app.get("/")
    def page(cart: CartDep) -> None: ...

    with pytest.raises(SessionUnavailable, match="put one around the application"):
        fastapi.testclient.TestClient(app).get("/")


def test_a_wrong_annotation_fails_when_the_route_is_made() -> None:
    """Not at the first request."""
    with pytest.raises(ConfigurationError, match="versions begin at 1"):

        @fastapi.FastAPI().get("/")
        def page(cart: Annotated[ModelCart, SessionKey("cart", version=2)]) -> None: ...


async def test_the_page_for_users(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks are one program, which does what the page says."""
    page = (Path(__file__).parents[3] / "docs" / "typed-sessions.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    module = types.ModuleType("typed_shop")
    monkeypatch.setitem(sys.modules, "typed_shop", module)  # dataclasses look there
    names = vars(module)
    for block in blocks[:-1]:
        exec(compile(block, "typed-sessions.md", "exec", dont_inherit=True), names)

    @names["app"].get("/{name}")
    async def call(name: str, request: fastapi.Request, session: SessionDep) -> Any:
        session["cart"] = ["hat"]  # as other pages have it
        if name == "exactly":
            await names["add_hat_exactly"](session)
        elif name == "add":
            names["add_to_basket"](request, "coat")
        elif name == "wrong":
            session["basket"]["lines"][0]["quantity"] = "many"
        return names["show_basket"](request)

    visitor = Client(SessionMiddleware(names["app"], secret=SECRET, store=store))
    assert (await visitor.post("/basket/umbrella")).json() == 1
    await visitor.get("/exactly")
    lines = (await visitor.get("/add")).json()
    assert [line["item"] for line in lines] == ["umbrella", "hat", "coat"]
    with pytest.raises(InvalidSessionData) as caught:
        await visitor.get("/wrong")
    assert f"\n{caught.value}\n" in page
    exec(compile(blocks[-1], "typed-sessions.md", "exec", dont_inherit=True), names)
    assert names["BASKET"].read({"basket": ["hat"]}).lines == [names["Line"]("hat")]
