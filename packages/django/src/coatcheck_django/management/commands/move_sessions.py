"""Move the sessions of the former engine: ``manage.py move_sessions``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import _configuration as configuration
from ..._engine import SessionStore


class Command(BaseCommand):
    """Move all sessions that nobody has used since the engine was changed."""

    help: str = (
        "Moves the sessions of Django's database engine into the store of COATCHECK. Nobody is "
        "logged out. It can be interrupted and repeated."
    )

    def handle(self, *_: Any, **__: Any) -> None:
        """Move the sessions, and tell how many there were."""
        former = configuration.former()
        if former is None:
            raise CommandError(
                'COATCHECK["MOVE_FROM"] is not set: write the former SESSION_ENGINE, for example '
                '"MOVE_FROM": "django.contrib.sessions.backends.db"'
            )
        counts = former.move_all(configuration.lifecycle(SessionStore))
        if counts is None:
            raise CommandError(
                "sessions in a cache or in signed cookies cannot be listed: each of them moves "
                'when it is used. Remove "MOVE_FROM" from COATCHECK when SESSION_COOKIE_AGE has '
                "passed since the change"
            )
        moved, left = counts
        self.stdout.write(f"{moved} sessions were moved.")
        if not left:
            self.stdout.write('Remove "MOVE_FROM" from COATCHECK now.')
            return
        self.stdout.write(
            f"{left} sessions cannot be read or stored, and stay in the table. If these are all, "
            "SECRET_KEY, SECRET_KEY_FALLBACKS or SESSION_SERIALIZER are not those that they were "
            "stored with: correct the settings and repeat the command. Otherwise remove "
            '"MOVE_FROM" from COATCHECK, and these visitors log in again.'
        )
