"""The admin's entry for sessions. It has no table: the sessions are in the store."""

from __future__ import annotations

from typing import Any

from django.db import models


class NoRows(models.Manager["Session"]):
    """Find nothing, because there is no table: ``dumpdata`` asks every model."""

    def get_queryset(self) -> models.QuerySet[Session]:
        """Return no rows, without a query."""
        return super().get_queryset().none()


class Session(models.Model):
    """Give the admin a name, an address and the permissions "view" and "delete" for sessions."""

    ref: models.CharField[Any, Any] = models.CharField(primary_key=True, max_length=64)

    objects: NoRows = NoRows()

    class Meta:
        """Make no table."""

        app_label = "coatcheck"
        managed = False
        default_permissions: tuple[str, ...] = ("view", "delete")
        base_manager_name = "objects"
        verbose_name = "session"

    def __str__(self) -> str:
        return str(self.ref)
