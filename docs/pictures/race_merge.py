"""Two requests change one session."""

from testing.pictures import Conversation, Lane, Message, Note

PICTURE = Conversation(
    title="Two requests change one session",
    description=(
        "Two requests read the same record. The second one puts a theme into it and stores it. "
        "The first one puts a cart into it, and its write is refused, because the record is not "
        "the one that it has read. It reads again, merges both changes and writes once more: "
        "the record now has the cart and the theme."
    ),
    width=480,
    lanes=[
        Lane("first request", "POST /cart"),
        Lane("store"),
        Lane("second request", "POST /theme"),
    ],
    steps=[
        Message("first request", "store", "`get`"),
        Message("store", "first request", "record A", reply=True),
        Message("second request", "store", "`get`"),
        Message("store", "second request", "record A", reply=True),
        Note(("second request",), '`session["theme"] = "dark"`', "accent"),
        Message("second request", "store", "`set` record B, if it is still A"),
        Message("store", "second request", "stored", reply=True, tone="good"),
        Note(("first request",), '`session["cart"] = 1`', "accent"),
        Message("first request", "store", "`set` record C, if it is still A"),
        Message("store", "first request", "refused", reply=True, tone="bad"),
        Message("first request", "store", "`get`"),
        Message("store", "first request", "record B", reply=True),
        Note(("first request",), "Merge, key by key: A to B is the theme, A to C is the cart."),
        Message("first request", "store", "`set` record D, if it is still B"),
        Message("store", "first request", "stored", reply=True, tone="good"),
        Note(("store",), "Record D has the cart and the theme.", "good"),
    ],
)
