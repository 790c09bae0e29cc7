"""Use sessions in FastAPI: as a dependency, and in its OpenAPI schema.

::

    from coatcheck.fastapi import SessionDep, require_fresh

    @app.post("/login")
    async def login(session: SessionDep) -> None:
        record_login(session)
        session["user_id"] = 42

    @app.post("/password", dependencies=[Depends(require_fresh(timedelta(minutes=10)))])
    async def change_password(session: SessionDep) -> None: ...

This module needs FastAPI 0.163 or later; nothing else of coatcheck imports it. The middleware is
that of :mod:`coatcheck.asgi`.
"""

# FastAPI evaluates annotations of inner functions: they must not be strings.

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, HTTPException, Security, params
from fastapi.openapi.models import APIKey
from fastapi.security import APIKeyCookie
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from . import session_of
from .errors import ConfigurationError
from .integration import require_version
from .logins import login_age
from .session import AsyncSession
from .typed import SessionView

__all__ = ["SessionDep", "SessionKey", "SessionSecurity", "require_fresh"]


def __dir__() -> list[str]:
    return __all__


require_version("fastapi", "0.163")


async def _current_session(connection: HTTPConnection) -> AsyncSession:
    return session_of(connection)


#: The session of the request or the WebSocket, as the type of a parameter.
SessionDep: TypeAlias = Annotated[AsyncSession, Depends(_current_session)]


class SessionSecurity(SecurityBase):
    """The session's cookie as a security scheme of OpenAPI, and a dependency that is the session.

    A route with ``Security(SessionSecurity())`` shows in the schema that it needs the cookie. The
    dependency itself refuses nobody: :func:`require_fresh` does.

    :param name: the cookie's name, as the middleware has it.
    :param scheme_name: the name of the scheme in the schema.
    :param description: its description there.
    """

    def __init__(
        self,
        name: str = "sid",
        *,
        scheme_name: str = "session",
        description: str | None = None,
    ) -> None:
        self.name = name
        self.model: APIKey = APIKeyCookie(name=name, description=description).model
        self.scheme_name = scheme_name

    async def __call__(self, connection: HTTPConnection) -> AsyncSession:
        """Return the session of a request.

        :raises SessionUnavailable: no middleware whose cookie has this name serves the request.
        """
        return session_of(connection, self.name)


def require_fresh(
    max_age: float | timedelta, security: SessionSecurity | None = None
) -> Callable[..., Awaitable[AsyncSession]]:
    """Return a dependency that is the session, and answers 401 unless its login is recent.

    :func:`coatcheck.logins.record_login` notes a login. A visitor without one is refused with the
    detail "not logged in", and one whose login is too old with "log in again". The session is
    loaded, also with ``load="lazy"``.

    :param max_age: the age that a login may have, in seconds or as a timedelta.
    :param security: the scheme that the routes show; by default that of a cookie named ``sid``.
    :raises ConfigurationError: ``max_age`` is not above zero.
    """
    seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
    if not seconds > 0:
        raise ConfigurationError(
            f"`max_age` of `require_fresh` must be above zero seconds, not {max_age!r}"
        )

    async def fresh_session(
        session: Annotated[AsyncSession, Security(security or SessionSecurity())],
    ) -> AsyncSession:
        await session.load()
        age = login_age(session)
        if age is None or age > seconds:
            raise HTTPException(
                401,
                "not logged in" if age is None else "log in again",
                {"WWW-Authenticate": "Cookie"},
            )
        return session

    return fresh_session


@dataclass(frozen=True)
class _ViewDependency:
    """Give a route the value of a view, and save what the route has changed in it.

    Equal ones are one dependency, so all parts of a request that ask for it have one value.
    """

    view: SessionView[Any]

    def __hash__(self) -> int:
        return hash(self.view.key)  # annotations inside the type may have no hash

    async def __call__(self, session: SessionDep) -> AsyncIterator[Any]:
        await session.load()
        with self.view.edit(session) as value:
            yield value


@dataclass(frozen=True, init=False, kw_only=True)
class SessionKey(params.Depends):
    """A typed part of the session, in the annotation of a parameter.

    ::

        CartDep = Annotated[Cart, SessionKey("cart")]

        @app.post("/cart/{item}")
        async def add(item: str, cart: CartDep) -> None:
            cart.lines.append(item)

    The type is that of the annotation: see :class:`~coatcheck.typed.SessionView`, also for the
    parameters. Changes are saved when the route returns, and not if it raises. In a WebSocket that
    is after the headers: take ``session.change()`` there.

    :param key: the session's key; None for the whole session.
    """

    key: str | None
    default: Callable[[], Any] | None
    version: int
    migrate: Callable[[Any, int], Any] | None

    def __init__(
        self,
        key: str | None,
        *,
        default: Callable[[], Any] | None = None,
        version: int = 1,
        migrate: Callable[[Any, int], Any] | None = None,
        **fields: Any,
    ) -> None:
        # FastAPI makes a copy whose dependency is the annotated type, with its own fields.
        kind = fields.pop("dependency", None)
        if kind is not None and not isinstance(kind, _ViewDependency):
            view = SessionView(kind, key, default=default, version=version, migrate=migrate)
            kind = _ViewDependency(view)
        # Changes have to be in the session before the response is sent.
        super().__init__(kind, **{**fields, "scope": "function"})
        for name, value in (("key", key), ("default", default), ("version", version),
                            ("migrate", migrate)):  # fmt: skip
            object.__setattr__(self, name, value)
