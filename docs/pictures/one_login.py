"""Three applications, two devices and one store."""

from testing.pictures import Arrow, Box, Boxes

APPLICATIONS = ["shop", "api", "account"]
PICTURE = Boxes(
    title="One login for several applications",
    description=(
        "A laptop with the cookie sid=A and a phone with the cookie sid=B use three applications: "
        "www.shop.example with Flask, api.shop.example with FastAPI and account.shop.example with "
        "Django. All three use one store, which has session A and session B, both of the owner "
        "ann."
    ),
    height=318,
    items=[
        Box("laptop", 90, 16, 190, 50, "laptop", "`Cookie: sid=A`", "paper"),
        Box("phone", 360, 16, 190, 50, "phone", "`Cookie: sid=B`", "paper"),
        Box("shop", 16, 116, 190, 50, "www.shop.example", "Flask"),
        Box("api", 225, 116, 190, 50, "api.shop.example", "FastAPI"),
        Box("account", 434, 116, 190, 50, "account.shop.example", "Django"),
        Box("store", 16, 216, 608, 86, "one store", "", "plain", "start"),
        Box("a", 130, 236, 220, 50, "session A", "owner: ann", "accent"),
        Box("b", 380, 236, 220, 50, "session B", "owner: ann", "accent"),
        *(Arrow("laptop", name, shift=(-20, -12)) for name in APPLICATIONS),
        *(Arrow("phone", name, shift=(20, 12)) for name in APPLICATIONS),
        Arrow("shop", "store", shift=(0, -209), both=True),
        Arrow("api", "store", both=True),
        Arrow("account", "store", shift=(0, 209), both=True),
    ],
)
