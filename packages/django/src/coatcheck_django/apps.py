"""The application that INSTALLED_APPS names."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register


class CoatcheckConfig(AppConfig):
    """Register the system checks."""

    name = "coatcheck_django"
    label = "coatcheck"
    verbose_name: str = "Sessions"

    def ready(self) -> None:
        """Register the checks."""
        from . import _checks as checks

        register(checks.check_settings, "coatcheck")
        register(checks.check_store, "coatcheck", deploy=True)
