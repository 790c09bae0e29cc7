"""A logout in one application ends the sessions in all of them."""

from testing.pictures import Conversation, Lane, Message, Note

PICTURE = Conversation(
    title="Log in once, log out everywhere",
    description=(
        "The laptop logs in at the shop, which creates session A of the owner ann. The laptop "
        "then changes the cart at the API, with the same session. The phone logs in at the shop "
        "and gets session B. On the phone, ann logs out everywhere at the account application, "
        "which ends all of her sessions. The next request of the laptop finds no session."
    ),
    lanes=[
        Lane("laptop", width=1.0),
        Lane("phone", width=1.0),
        Lane("shop", "Flask", width=0.8),
        Lane("API", "FastAPI", width=0.9),
        Lane("account", "Django", width=0.95),
        Lane("store", width=0.9),
    ],
    steps=[
        Message("laptop", "shop", "POST /login"),
        Message("shop", "store", "create session A, owner ann"),
        Message("shop", "laptop", "`Set-Cookie: sid=A`", reply=True),
        Message("laptop", "API", "POST /cart/umbrella, `Cookie: sid=A`"),
        Message("API", "store", "read and change session A"),
        Message("phone", "shop", "POST /login"),
        Message("shop", "store", "create session B, owner ann"),
        Message("phone", "account", "POST /log-out-everywhere, `Cookie: sid=B`", tone="bad"),
        Message("account", "store", "end all of ann's", tone="bad"),
        Note(("store",), "no session of ann", "bad"),
        Message("laptop", "shop", "GET /, `Cookie: sid=A`"),
        Message("shop", "store", "read session A: there is none"),
        Message("shop", "laptop", "a page for a visitor who is not logged in", reply=True),
    ],
)
