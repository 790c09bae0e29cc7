"""Keep sessions out of PyMongo's log.

The logger ``pymongo.command`` logs each command at the level DEBUG, with keys, data and owners
(PyMongo's documentation, "Logging"). A filter drops the commands of clients that stores use.
PyMongo's log of connections and servers stays.
"""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakValueDictionary

_logger = logging.getLogger("pymongo.command")


class _WithoutSessions(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        # The keys are identities, because clients of the same servers are equal.
        self.clients: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def filter(self, record: logging.LogRecord) -> bool:
        fields: dict[str, Any] = getattr(record.msg, "_kwargs", {})
        named = fields.get("clientId")
        return all(
            named != client._topology_settings._topology_id
            for client in list(self.clients.values())
        )


_filter = _WithoutSessions()


def keep_out(client: object) -> None:
    """Keep the commands of a client out of the log from now on."""
    _filter.clients[id(client)] = client
    _logger.addFilter(_filter)  # adding it again changes nothing
