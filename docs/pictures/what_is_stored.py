"""The browser, the process and the database: which part of a session each has."""

from testing.pictures import Arrow, Box, Boxes, Label

COLUMNS = (16, 232, 448)
ROWS = (40, 112, 196)
HEIGHTS = (64, 76, 76)
HEADINGS = ("Browser", "Server process", "Database")
BOXES = [
    (0, 0, "id", "`dGhlIGlkIG9m…`\n192 random bits", "plain"),
    (0, 1, "signature", "`UXMmCKfLHn…`\nHMAC-SHA256", "plain"),
    (0, 2, "attributes", "HttpOnly, Secure, SameSite=Lax, Path=/", "paper"),
    (1, 0, "SHA-256", "one way: nobody can make the id from it", "plain"),
    (1, 1, "secret", "makes and checks signatures", "plain"),
    (1, 2, "session", "id and data, while a request runs", "paper"),
    (2, 0, "key", "`9d84bc4633cd…`\nthe hash of the id", "plain"),
    (2, 1, "expiry and owner", "for timeouts, and to end all sessions of a user", "paper"),
    (2, 2, "record", '`{"v":1,"t":…,`\n`"d":{"user":42}}`', "plain"),
]
STOLEN = [
    ("cookie", "It is a session until that ends: make it hard to steal.", "bad"),
    ("secret", "It signs any id, but knows no id. Replace it at once.", "bad"),
    ("database", "It shows the data, and logs nobody in: a key is not an id.", "good"),
]
PICTURE = Boxes(
    title="What is where",
    description=(
        "The browser has a cookie with the id and its signature. The server process has the "
        "secret, and checks the signature with it. The database has a record whose key is the "
        "SHA-256 of the id, with data, expiry and owner. A stolen cookie is a session until it "
        "ends. A stolen secret signs ids, but knows none. A stolen database shows the data, and "
        "logs nobody in."
    ),
    height=444,
    items=[
        *(
            Label(x, 12, text, "ink", strong=True)
            for x, text in zip(COLUMNS, HEADINGS, strict=True)
        ),
        *(
            Box(name, COLUMNS[column], ROWS[row], 176, HEIGHTS[row], name, text, tone)
            for column, row, name, text, tone in BOXES
        ),
        Arrow("id", "SHA-256", ("right", "left")),
        Arrow("signature", "secret", ("right", "left")),
        Arrow("SHA-256", "key", ("right", "left")),
        Arrow("record", "session", ("left", "right"), both=True),
        Label(16, 294, "If somebody steals it", "ink", strong=True),
        *(
            Box(f"stolen-{column}", COLUMNS[column], 322, 176, 106, heading, text, tone)
            for column, (heading, text, tone) in enumerate(STOLEN)
        ),
    ],
)
