"""Plain ASGI. Run it with `uvicorn plain_asgi:app`."""

import json
import os

from coatcheck.asgi import SessionMiddleware


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    session = scope["session"]
    match scope["method"], scope["path"]:
        case "POST", "/login":
            session.regenerate(keep_data=True)
            session["user"] = "ann"
        case "POST", "/logout":
            session.destroy()
        case _:
            session["visits"] = session.get("visits", 0) + 1
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(session).encode()})


async def live(receive, send):
    """Tell the server that nothing has to be done when it starts and stops."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


app = SessionMiddleware(
    application,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)
