"""When the stored end of a session moves."""

from testing.pictures import Bar, Mark, Row, Timeline

PICTURE = Timeline(
    title="When a touch moves the end of a session",
    description=(
        "A session has an idle timeout of 30 minutes and was stored at 9:00:00. Six requests "
        "read it. The one after 70 seconds touches the record, because the end can move by more "
        "than a minute, and so does the one after 140 seconds. The other four leave it alone. If "
        "the cookie has a lifetime, the responses that move the end set the cookie again."
    ),
    ticks=[(0, "9:00:00"), (60, "9:01:00"), (120, "9:02:00"), (180, "9:03:00")],
    rows=[
        Row(
            "Requests that only read",
            [
                Mark(0, "stored"),
                Mark(20, "get", "plain"),
                Mark(45, "get", "plain"),
                Mark(70, "get, touch"),
                Mark(100, "get", "plain"),
                Mark(140, "get, touch"),
                Mark(165, "get", "plain"),
            ],
        ),
        Row(
            "The end that the record has",
            [
                Bar(0, 70, "9:30:00"),
                Bar(70, 140, "9:31:10", "accent"),
                Bar(140, 180, "9:32:20", "accent"),
            ],
        ),
        Row(
            "Responses that set the cookie, if it has a lifetime (`max_age`)",
            [Mark(0, "Set-Cookie"), Mark(70, "Set-Cookie"), Mark(140, "Set-Cookie")],
        ),
    ],
)
