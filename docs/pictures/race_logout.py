"""A logout meets a slow request that writes."""

from testing.pictures import Conversation, Lane, Message, Note

PICTURE = Conversation(
    title="A logout against a slow request",
    description=(
        "A slow request reads the session. Meanwhile another request logs out and removes the "
        "record. Then the slow request writes, with the condition that the record is still the "
        "one that was read. The store refuses, the slow request reads again and finds no record. "
        "It drops its changes, and its response carries no cookie."
    ),
    width=480,
    lanes=[
        Lane("slow request", "POST /report"),
        Lane("store"),
        Lane("logout", "POST /logout"),
    ],
    steps=[
        Message("slow request", "store", "`get`"),
        Message("store", "slow request", "record A", reply=True),
        Message("logout", "store", "`get`"),
        Message("store", "logout", "record A", reply=True),
        Message("logout", "store", "`destroy`", tone="bad"),
        Message("store", "logout", "removed", reply=True, tone="bad"),
        Note(("logout",), "Logged out: the cookie is removed."),
        Note(("slow request",), '`session["report"] = ...`'),
        Message("slow request", "store", "`set`, if it is still record A"),
        Message("store", "slow request", "refused", reply=True, tone="bad"),
        Message("slow request", "store", "`get`"),
        Message("store", "slow request", "nothing", reply=True, tone="bad"),
        Note(
            ("slow request", "store"),
            "The session is gone. The changes are dropped, and no cookie goes out.",
            "good",
        ),
    ],
)
