"""Warn of mistakes in a deployment that nobody would notice, each once and with what to do."""

from __future__ import annotations

from typing import Final
from weakref import WeakSet

from ..events import logger
from ..options import SessionOptions
from ..store import AsyncStore, Store

#: How many cookies of our name with unknown signatures are no accident.
_UNSIGNED: Final = 5

INSECURE: Final = (
    "the session is not stored: its cookie is Secure and the request came over http; behind a "
    "proxy that ends TLS, set `trust_proxy=True` (`proxy=True` of `express_options`), or "
    "`https=True` where the proxy sends no header"
)
SHARED: Final = (
    "a response that sets the session cookie says that caches may share it (`public`, `s-maxage`, "
    "`max-age` or `Expires` without `private`): they are told `no-store` instead; do not write to "
    "the session on pages that are for everybody"
)
UNTRUSTED: Final = (
    "the session cookie goes out without Secure, but a proxy says that the client came over https "
    "(X-Forwarded-Proto or Forwarded): set `trust_proxy=True` (`proxy=True` of `express_options`) "
    "if each request passes a proxy that replaces this header, `https=True` if TLS always ends "
    "before this server, or let the server set the scheme"
)
CROSS_SITE: Final = (
    "a request from another site began a session: with such a request browsers send no cookie that "
    "has SameSite=%s, so the new cookie logs a user out who was logged in; do not write to the "
    "session in callbacks of other sites, but in the page that they redirect to: see "
    '"Callbacks from other sites" in the guide'
)
_WORKERS: Final = (
    "several processes serve this application, and each keeps sessions of its own: visitors lose "
    "theirs from request to request; give all processes one `store` that they share, for "
    'example "file:///var/lib/shop/sessions" or "redis://localhost:6379/0"'
)
_FOREIGN: Final = (
    "%d cookies named `%s` have come that no `secret` of this application signs: either another "
    "application of this host uses the same cookie name (give one of them another `name`), or "
    "processes have different secrets (give all of them the same list; the first one signs)"
)
_ONE_STORE: Final = (
    "the session middlewares with the cookies `%s` and `%s` keep sessions with owners in one "
    "store: listing or revoking those of an owner finds both kinds; give each a store of its own, "
    "for example another prefix, collection, table or folder in the URL"
)

#: The middlewares of this process that have owners and may share a store.
_sharing: Final[WeakSet[Notices]] = WeakSet()


class Notices:
    """Give the warnings of one middleware, each once.

    :param options: the options of the middleware.
    """

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._given: set[str] = set()
        self._unsigned = 0
        #: Whether the store keeps its sessions in one process. The number of processes is checked
        #: later.
        self.one_process = False

    def __contains__(self, warning: str) -> bool:
        """Tell whether a warning was given."""
        return warning in self._given

    def give(self, warning: str, *args: object) -> None:
        """Log a warning, unless it was given before."""
        if warning not in self._given:
            self._given.add(warning)
            logger.warning(warning, *args)

    def uses(self, store: Store | AsyncStore) -> None:
        """Note the middleware's store, and warn if another one has owners in the same store.

        Middlewares with the same cookie name are ignored, because they serve one application.
        """
        options = self._options
        self.one_process = not store.capabilities.multi_process
        if options.owner is None or options.store is None:
            return
        if self.one_process and isinstance(options.store, str):
            return  # each URL of such a store opens another one
        for other in tuple(_sharing):
            theirs = other._options
            same = theirs.store is options.store or (
                isinstance(options.store, str) and theirs.store == options.store
            )
            if same and theirs.name != options.name:
                self.give(_ONE_STORE, theirs.name, options.name)
        _sharing.add(self)

    def unsigned_cookie(self) -> None:
        """Note a cookie of our name that no secret signs."""
        self._unsigned += 1
        if self._unsigned >= _UNSIGNED:
            self.give(_FOREIGN, self._unsigned, self._options.name)

    def check_processes(self, told: bool | None) -> None:
        """Warn if there are several processes, each with sessions of its own.

        :param told: whether the server says that there are several; None if it does not say.
        """
        self.one_process = False
        from .sibling_processes import is_one_of_several  # not before there is a session

        if is_one_of_several() if told is None else told:
            self.give(_WORKERS)
