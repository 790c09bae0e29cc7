"""Log in with an identity provider by Authlib. Run it with `uvicorn oauth:app`."""

import os

from authlib.integrations.base_client import FrameworkIntegration
from authlib.integrations.starlette_client import OAuth, OAuthError, StarletteIntegration
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep
from coatcheck.logins import record_login


class EachTab(StarletteIntegration):
    """Keep the states of all tabs: Authlib keeps that of the last one alone."""

    async def set_state_data(self, session, state, data):
        FrameworkIntegration.set_state_data(self, session, state, data)


oauth = OAuth()
oauth.framework_integration_cls = EachTab
oauth.register(
    "idp",
    client_id=os.environ["OAUTH_CLIENT_ID"],
    client_secret=os.environ["OAUTH_CLIENT_SECRET"],
    authorize_url=os.environ["OAUTH_URL"] + "/authorize",
    access_token_url=os.environ["OAUTH_URL"] + "/token",
    userinfo_endpoint=os.environ["OAUTH_URL"] + "/userinfo",
)

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)


@app.get("/")
async def home(session: SessionDep):
    return {"user": session.get("user")}


@app.get("/login")
async def login(request: Request):
    return await oauth.idp.authorize_redirect(request, request.url_for("callback"))


@app.get("/callback")
async def callback(request: Request, session: SessionDep):
    try:
        token = await oauth.idp.authorize_access_token(request)
    except OAuthError as error:  # a state that is not this visitor's, or a refusal
        raise HTTPException(401, "the login did not succeed") from error
    user = await oauth.idp.userinfo(token=token)
    record_login(session)  # a new id: this is the login
    session["user"] = user["sub"]
    return RedirectResponse("/", 303)
