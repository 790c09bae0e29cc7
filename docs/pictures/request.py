"""The way of a request that changes a session."""

from testing.pictures import Conversation, Lane, Message, Note

PICTURE = Conversation(
    title="The way of a request",
    description=(
        "A browser sends a request with a cookie. The middleware verifies the cookie, gets the "
        "record from the store, checks its expiry, and calls the application, which changes the "
        "session. The middleware holds the response back, writes the session with the condition "
        "that the record is still the one that was read, and only then sends the response."
    ),
    lanes=[
        Lane("browser", width=0.8),
        Lane("middleware", width=1.35),
        Lane("application", width=1.1),
        Lane("store", width=0.9),
    ],
    steps=[
        Message("browser", "middleware", "POST /cart with cookie `sid`", numbered=True),
        Note(("middleware",), "Is the signature good? Has the id the right form?", numbered=True),
        Message("middleware", "store", "`get`, with the hash of the id", numbered=True),
        Message("store", "middleware", "the record", reply=True),
        Note(("middleware",), "Decode it, and look at its expiry.", numbered=True),
        Message("middleware", "application", "the request, with its session"),
        Note(("application",), '`session["cart"]` `.append(...)`', "accent", numbered=True),
        Message("application", "middleware", "the response", reply=True),
        Note(("middleware",), "Hold it back. What has changed?", numbered=True),
        Message(
            "middleware",
            "store",
            "`set`, if the record is still the one that was read",
            numbered=True,
        ),
        Message("store", "middleware", "stored", reply=True, tone="good"),
        Message("middleware", "browser", "the response", reply=True, tone="good", numbered=True),
    ],
)
