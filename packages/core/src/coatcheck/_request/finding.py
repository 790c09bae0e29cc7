"""Find the session of a request, of whatever framework the request is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

from .._session.session_dict import core_of
from ..errors import SessionUnavailable
from ..session import AsyncSession, Session, SyncSession

if TYPE_CHECKING:
    import inspect

#: Where frameworks look for the session in an ASGI scope.
SCOPE_KEY: Final = "session"
#: Where the session is in a WSGI environ.
ENVIRON_KEY: Final = "coatcheck.session"
#: A request has the session of each middleware under this and the cookie's name.
_OWN: Final = "coatcheck.session."

S = TypeVar("S", bound=Session)

#: By class, how requests lead to the mapping that has their session.
_places: Final[dict[type, Callable[[Any], Mapping[str, Any] | None]]] = {}


class HasScope(Protocol):
    """A request of ASGI: Starlette's, FastAPI's, Litestar's, Quart's and Falcon's are such."""

    @property
    def scope(self) -> Any: ...


class HasMatchInfo(Protocol):
    """A request of aiohttp."""

    @property
    def match_info(self) -> Any: ...


class HasEnviron(Protocol):
    """A request of WSGI: Flask's, Django's, Bottle's and Pyramid's are such."""

    @property
    def environ(self) -> Any: ...


class HasEnv(Protocol):
    """A request of WSGI, as Falcon has it."""

    @property
    def env(self) -> Any: ...


def keep_sessions_in(kind: type, mapping_of: Callable[[Any], Mapping[str, Any] | None]) -> None:
    """Tell ``session_of`` where the requests of a framework have their sessions.

    It knows ASGI scopes, WSGI environs, and requests that have one.

    :param kind: the class of the requests.
    :param mapping_of: returns the mapping that the integration has opened the session in, or None
        if it does not serve the request.
    """
    _places[kind] = mapping_of


def own_key(name: str) -> str:
    """Return where a request has the session of a middleware, whatever is in its place."""
    return _OWN + name


class _SessionOf:
    """Returns the session of a request.

    A function, but for FastAPI, which asks for its signature: ``Depends(session_of)``.
    """

    __name__ = __qualname__ = "session_of"

    # A session is a dict, and a dict a mapping: the first overload that fits decides.
    @overload
    def __call__(self, request: S, name: str | None = None) -> S: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(
        self, request: HasScope | HasMatchInfo, name: str | None = None
    ) -> AsyncSession: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, request: dict[str, Any] | HasEnviron | HasEnv, name: str | None = None
    ) -> SyncSession: ...
    @overload
    def __call__(self, request: Mapping[str, Any], name: str | None = None) -> AsyncSession: ...
    @overload
    def __call__(self, request: object, name: str | None = None) -> Session: ...
    def __call__(self, request: Any, name: str | None = None) -> Session:
        """Return the session of a request.

        For type checkers, a ``dict[str, Any]`` is a WSGI environ, as ``wsgiref.types`` has it, and
        any other mapping an ASGI scope. The session of a request whose type tells neither, as that
        of Django does not, is a :class:`~coatcheck.Session`.

        WSGI code inside an ASGI middleware of the same name has the session of that one: an
        :class:`~coatcheck.AsyncSession`, which saves itself when the response goes out.

        :param request: a request object, an ASGI scope, a WSGI environ, or a session.
        :param name: the cookie's name, where several middlewares serve the request; otherwise
            the innermost.
        :raises SessionUnavailable: no such middleware serves this request.
        """
        if isinstance(request, Session):
            return request
        mapping = _mapping_of(request)
        found = None if mapping is None else _session_in(mapping, name)
        if found is None:
            raise SessionUnavailable(_advice(request, mapping, name))
        return found

    @property
    def __signature__(self) -> inspect.Signature:
        """The parameter that FastAPI passes: the request or the WebSocket."""
        import inspect

        try:
            from starlette.requests import HTTPConnection
        except ImportError:
            # For `inspect` and `hasattr`: without Starlette nobody needs more than `__call__` has.
            raise AttributeError("__signature__") from None

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature(
            [inspect.Parameter("request", kind, annotation=HTTPConnection)],
            return_annotation=AsyncSession,
        )


#: Returns the session of a request.
session_of: Final = _SessionOf()


def _mapping_of(request: object) -> Mapping[str, Any] | None:
    """Return the ASGI scope or the WSGI environ of a request object, or what it has instead."""
    for kind, mapping_of in _places.items():
        if isinstance(request, kind):
            return mapping_of(request)
    if isinstance(request, MutableMapping):
        return request
    for attribute in ("scope", "environ", "env"):
        mapping = getattr(request, attribute, None)
        if isinstance(mapping, Mapping):
            return mapping
    return None


def _session_in(request: Mapping[str, Any], name: str | None) -> Session | None:
    """Return a session of a request.

    :param name: the cookie's name; None for the innermost session.
    """
    if name is not None:
        named: Session | None = request.get(_OWN + name)
        return named
    for place in (SCOPE_KEY, ENVIRON_KEY):
        session = request.get(place)
        if isinstance(session, Session):
            return session
    ours = [value for key, value in request.items() if key.startswith(_OWN)]
    ours.sort(key=lambda each: not core_of(each).phase.is_over)  # what is over comes first
    return ours[-1] if ours else None


def _advice(request: object, mapping: Mapping[str, Any] | None, name: str | None) -> str:
    """Say why there is no session, and what to do.

    :param request: what was given.
    :param mapping: its scope or environ, if it has one.
    :param name: the cookie's name that was asked for, or None.
    """
    speaks = None if mapping is None else _interface_of(mapping)
    names = [key.removeprefix(_OWN) for key in mapping or () if key.startswith(_OWN)]
    there_are = f"there are sessions of the name {', '.join(map(repr, names))}"
    if mapping is not None and names and speaks is None:
        return f"this request has no session of the name {name!r}: {there_are}"
    if mapping is None or speaks is None:
        return _advice_on(type(request))
    named = "" if name is None else f" of the name {name!r}"
    problem = f"no coatcheck.{speaks}.SessionMiddleware{named} serves this request: "
    if names:
        return problem + there_are
    # A property of that name would look for the session of ASGI.
    if getattr(request, "__dict__", {}).get("session") is not None:
        return problem + "the session of the framework is `request.session`"
    if speaks == "wsgi":
        return problem + "put one around the application, and around all code that needs it"
    if any(map(_is_ours, getattr(mapping.get("app"), "user_middleware", ()))):
        return problem + (
            "this code runs outside it; `add_middleware` puts each middleware around those that "
            "were added before, so add the session middleware last"
        )
    return problem + (
        "put one around the application (with `add_middleware`, add it last, or this code runs "
        "outside it)"
    )


def _advice_on(kind: type) -> str:
    """Say what to do with requests that have neither a scope nor an environ."""
    library = kind.__module__.partition(".")[0]
    if library in ("aiohttp", "sanic"):
        return (
            f"there is no session in this request: call `coatcheck.{library}.setup(app, ...)` "
            "when the application is made"
        )
    return (
        "`session_of` takes a request of an ASGI or WSGI framework, a scope or an environ, not "
        f"{kind.__module__}.{kind.__qualname__}".replace("builtins.", "")
    )


def _interface_of(mapping: Mapping[str, Any]) -> str | None:
    if isinstance(mapping.get("type"), str):
        return "asgi"
    return "wsgi" if {"wsgi.version", "REQUEST_METHOD", "PATH_INFO"} & mapping.keys() else None


def _is_ours(middleware: object) -> bool:
    """Tell whether a middleware of a Starlette application is one of ours."""
    kind = getattr(middleware, "cls", None)
    return isinstance(kind, type) and any(
        base.__module__.startswith("coatcheck.") for base in kind.__mro__
    )
