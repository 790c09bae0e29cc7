"""Sessions in a stream and in a background task. Run it with `uvicorn streaming:app`."""

import os

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)


@app.get("/")
async def home(session: SessionDep):
    return session


@app.get("/export")
async def export(session: SessionDep):
    session["exports"] = session.get("exports", 0) + 1  # begins the session before the headers

    async def rows():
        for number in range(3):
            yield f"row {number}\n"
        session["exported_rows"] = 3  # stored before the last part of the body goes out

    return StreamingResponse(rows(), headers={"Cache-Control": "private"})


@app.post("/orders")
async def order(session: SessionDep, tasks: BackgroundTasks):
    session["order"] = "accepted"

    async def send_mail():
        # this takes a while; the response has gone out already
        session["order"] = "confirmed"  # stored when the task has ended

    tasks.add_task(send_mail)
    return {"order": "accepted"}
