"""Django in one file. Run it with `python django_app.py runserver`."""

import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

settings.configure(
    DEBUG=True,
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["SESSION_SECRET"],
    INSTALLED_APPS=["django.contrib.sessions", "coatcheck_django"],
    MIDDLEWARE=["coatcheck_django.middleware.SessionMiddleware"],
    SESSION_ENGINE="coatcheck_django",
    COATCHECK={"STORE": os.environ["SESSION_STORE"]},
)


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse(dict(request.session))


@require_POST
def login(request):
    request.session.cycle_key()
    request.session["user"] = "ann"
    return JsonResponse(dict(request.session))


@require_POST
def logout(request):
    request.session.flush()
    return JsonResponse({})


urlpatterns = [path("", visit), path("login", login), path("logout", logout)]
app = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
