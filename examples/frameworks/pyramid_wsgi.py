"""Pyramid. Run it with `waitress-serve pyramid_wsgi:app`."""

import os

from pyramid.config import Configurator

from coatcheck.pyramid import SessionFactory


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return dict(request.session)


def login(request):
    request.session.regenerate(keep_data=True)
    request.session["user"] = "ann"
    return dict(request.session)


def logout(request):
    request.session.invalidate()
    return {}


with Configurator() as config:
    config.set_session_factory(
        SessionFactory(
            secret=os.environ["SESSION_SECRET"],
            store=os.environ["SESSION_STORE"],
        )
    )
    config.add_route("visit", "/")
    config.add_route("login", "/login")
    config.add_route("logout", "/logout")
    for view, route in ((visit, "visit"), (login, "login"), (logout, "logout")):
        config.add_view(view, route_name=route, renderer="json")
    app = config.make_wsgi_app()
