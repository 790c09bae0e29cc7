"""A page of the admin that lists sessions and ends them. The data of sessions are not shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth import get_permission_codename, get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from coatcheck.errors import StoreError
from coatcheck.sessions import SessionEntry

from . import _configuration as configuration
from ._engine import SessionStore
from ._sessions import owner_of, sessions
from .models import Session

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Session]
else:
    _ModelAdmin = admin.ModelAdmin  # it takes no parameter at run time

_TEMPLATE: Final = "admin/coatcheck/sessions.html"
#: The most sessions, and the most users of a search, that a page shows.
_SESSIONS: Final = 200
_USERS: Final = 50
#: A day before the last moment that a datetime can be, so that each time zone can show it.
_LAST: Final = datetime(9999, 12, 30, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Row:
    """A session as the page shows it.

    :ivar user: the user, the id of one who was deleted or may not be seen, or None for a visitor.
    :ivar is_mine: whether the page itself was asked for with this session.
    """

    ref: str
    user: Any
    created_at: datetime
    expires_at: datetime
    is_mine: bool


@admin.register(Session)
class SessionAdmin(_ModelAdmin):
    """List sessions, find those of a user, and end them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Sessions begin with visitors, and not in the admin."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """Nobody changes a session of somebody else."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Return the address of the list. There are no pages of single sessions."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="coatcheck_session_changelist")]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show sessions, or end those that were chosen."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            if not self.has_delete_permission(request):
                raise PermissionDenied
            self._end(request)
            return HttpResponseRedirect(request.get_full_path())
        query = request.GET.get("q", "").strip()
        context = {
            **self.admin_site.each_context(request),
            "title": "Sessions",
            "opts": self.opts,
            "query": query,
            "rows": self._rows(request, query),
            "limit": _SESSIONS,
            "owner_is_user": configuration.owner_is_user(),
            "shows_names": _shows_names(request),
            "former": configuration.former(),
            "has_delete_permission": self.has_delete_permission(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, _TEMPLATE, context)

    def _rows(self, request: HttpRequest, query: str) -> list[Row]:
        try:
            entries = self._found(request, query) if query else self._all(request)
        except StoreError as error:
            self.message_user(request, f"The sessions cannot be listed: {error}", messages.ERROR)
            return []
        users = _users_of(entries) if _shows_names(request) else {}
        session = request.session
        mine = session.ref if isinstance(session, SessionStore) else None
        return [
            Row(
                entry.ref,
                users.get(entry.owner, entry.owner),
                _shown(entry.created_at),
                _shown(entry.expires_at),
                entry.ref == mine,
            )
            for entry in entries
        ]

    def _all(self, request: HttpRequest) -> list[SessionEntry]:
        if not configuration.store().capabilities.enumerable:
            text = "This store does not list all sessions. Search for a user."
            self.message_user(request, text, messages.INFO)
            return []
        return sessions().list_all(_SESSIONS)

    def _found(self, request: HttpRequest, query: str) -> list[SessionEntry]:
        """Return the sessions of the users whose name has a text in it.

        Where names are not shown the text is an owner.
        """
        if not _shows_names(request):
            return sessions().list(query)[:_SESSIONS]
        model = get_user_model()
        name = model.USERNAME_FIELD
        named = model._default_manager.filter(**{f"{name}__icontains": query})
        exact = named.filter(**{f"{name}__iexact": query}).order_by("pk")[:_USERS]
        others = named.order_by("pk")[: _USERS + 1]
        users = list({user.pk: user for user in (*exact, *others)}.values())
        if len(users) > _USERS:
            text = f"More than {_USERS} users have this text in their name. Some are left out."
            self.message_user(request, text, messages.WARNING)
        found = (each for user in users[:_USERS] for each in sessions().list(owner_of(user)))
        return sorted(found, key=lambda entry: entry.created_at)[:_SESSIONS]

    def _end(self, request: HttpRequest) -> None:
        """End the chosen sessions, or all others of the page, and note each in the admin's log."""
        count = 0
        refs = request.POST.getlist("listed" if "all" in request.POST else "ref")
        try:
            for ref in refs:
                entry = sessions().get(ref)
                # A session that is not found may have another key by now, which this ends.
                if sessions().revoke(ref):
                    count += 1
                    self._note(request, ref, entry)
        except StoreError as error:  # what was ended stays ended, and in the log
            text = f"Not all sessions were ended: {error}"
            self.message_user(request, text, messages.ERROR)
        text = "1 session was ended." if count == 1 else f"{count} sessions were ended."
        if not refs:
            text = "No session was chosen."
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    def _note(self, request: HttpRequest, ref: str, entry: SessionEntry | None) -> None:
        whose = "a session whose key has changed"
        if entry is not None:
            users = _users_of([entry]) if _shows_names(request) else {}
            user = users.get(entry.owner, entry.owner)
            whose = f"session of {user or 'a visitor'}"
        LogEntry.objects.create(
            user_id=request.user.pk,
            content_type_id=ContentType.objects.get_for_model(Session).pk,
            object_id=ref,
            object_repr=whose[:200],
            action_flag=DELETION,
        )


def _shows_names(request: HttpRequest) -> bool:
    """Tell whether owners are users whose names the staff may see, as on the page of users."""
    staff: Any = request.user
    of_users = get_user_model()._meta
    names = (get_permission_codename(action, of_users) for action in ("view", "change"))
    may_see = any(staff.has_perm(f"{of_users.app_label}.{name}") for name in names)
    return configuration.owner_is_user() and may_see


def _users_of(entries: list[SessionEntry]) -> dict[str | None, Any]:
    """Return the users of sessions by the owners' names; those who were deleted are left out."""
    model = get_user_model()
    keys = {}
    for owner in {entry.owner for entry in entries} - {None}:
        try:
            keys[owner] = model._meta.pk.to_python(owner)
        except ValidationError:  # an owner by another rule
            continue
    try:
        users = model._default_manager.in_bulk(list(keys.values()))
    except OverflowError:  # an id that no user can have, which somebody wrote into a session
        users = {}
    return {owner: users[key] for owner, key in keys.items() if key in users}


def _shown(moment: float) -> datetime:
    """Return a moment as templates show it, in the current time zone."""
    moment = min(moment, _LAST)
    if settings.USE_TZ:
        return datetime.fromtimestamp(moment, UTC)
    return datetime.fromtimestamp(moment)
