"""PyMongo's log of commands has keys, data and owners in it: that of sessions' clients is dropped.

It is written at the level DEBUG, by the logger ``pymongo.command`` (PyMongo's documentation,
"Logging"). What it logs about connections and servers stays.
"""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakValueDictionary

_logger = logging.getLogger("pymongo.command")


class _WithoutSessions(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        # By identity: clients of the same servers are equal.
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
    """Have none of a client's commands logged from now on."""
    _filter.clients[id(client)] = client
    _logger.addFilter(_filter)  # once, however often
