"""The account pages, with Django. Here a user logs out on all devices."""

import os

import django
from common import OPTIONS
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from coatcheck import Sessions, session_of
from coatcheck.wsgi import SessionMiddleware

settings.configure(
    SECRET_KEY=os.environ["SESSION_SECRET"], ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"]
)
django.setup()


def home(request):
    session = session_of(request)
    return JsonResponse(
        {"seen_by": "Django", "user": session.get("user"), "cart": session.get("cart", [])}
    )


@csrf_exempt  # an example without a form; your page has one
@require_POST
def log_out_everywhere(request):
    session = session_of(request)
    ended = sessions.revoke_all(session["user"])
    session.destroy()
    return JsonResponse({"ended": ended})


urlpatterns = [path("", home), path("log-out-everywhere", log_out_everywhere)]

application = SessionMiddleware(get_wsgi_application(), options=OPTIONS)
sessions = Sessions(application.store, application.options)
