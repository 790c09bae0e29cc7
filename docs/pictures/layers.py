"""The layers of the package."""

from itertools import pairwise

from testing.pictures import Arrow, Box, Boxes

LAYERS = [
    ("application", "reads and changes a dict: `request.session`", "paper"),
    ("driver", "ASGI or WSGI: when headers and bodies pass", "plain"),
    ("request", "the cookie that came, what to do, the cookie that goes", "plain"),
    ("session", "the data, which record they belong to, what may still be saved", "plain"),
    ("lifecycle", "load, create, merge, touch, rotate, end: no HTTP", "accent"),
    ("runner", "executes operations on a sync or an async store", "plain"),
    ("store", "memory, files, Redis, SQL, MongoDB, DynamoDB, or yours", "paper"),
]
STEP = 68
PICTURE = Boxes(
    title="The layers of coatcheck",
    description="From top to bottom: "
    + "; ".join(f"{name}: {text.replace('`', '')}" for name, text, _ in LAYERS)
    + ". The lifecycle yields operations, for example Get(key), and the runner sends the results "
    "back.",
    height=14 + STEP * len(LAYERS) - 10,
    items=[
        *(
            Box(name, 90, 14 + order * STEP, 460, 46, name, text, tone)
            for order, (name, text, tone) in enumerate(LAYERS)
        ),
        *(
            Arrow(above[0], below[0])
            for above, below in pairwise(LAYERS)
            if above[0] != "lifecycle"
        ),
        Arrow("lifecycle", "runner", shift=(-90, -90), label="`Get(key)`", tone="accent"),
        Arrow(
            "runner", "lifecycle", ("top", "bottom"), shift=(60, 60), label="a record",
            dashed=True, tone="accent",
        ),
    ],
)  # fmt: skip
