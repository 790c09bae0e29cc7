"""Idle timeout and absolute timeout on a time line."""

from testing.pictures import Bar, Mark, Row, Timeline

PICTURE = Timeline(
    title="Idle timeout and absolute timeout",
    description=(
        "With an idle timeout of 30 minutes and an absolute timeout of two hours: Ann logs in at "
        "9:00 and uses the session all the time. Each request moves its end to 30 minutes later, "
        "but not beyond 11:00, when the session ends. Bob logs in at 9:00, too. His last request "
        "is at 9:20, so his session ends at 9:50, and a request at 10:20 finds none."
    ),
    ticks=[
        (0, "9:00"),
        (30, "9:30"),
        (60, "10:00"),
        (90, "10:30"),
        (120, "11:00"),
        (145, "11:25"),
    ],
    rows=[
        Row(
            "Requests of Ann",
            [
                Mark(0, "login"),
                Mark(25, ""),
                Mark(50, ""),
                Mark(75, ""),
                Mark(95, ""),
                Mark(135, "no session", "bad"),
            ],
        ),
        Row(
            "How long each of them keeps the session: idle timeout, 30 minutes",
            [
                Bar(0, 30, "until 9:30"),
                Bar(25, 55, "until 9:55"),
                Bar(50, 80, "until 10:20"),
                Bar(75, 105, "until 10:45"),
                Bar(95, 120, "until 11:00", "bad"),
            ],
        ),
        Row(
            "Absolute timeout, two hours from the login",
            [Bar(0, 120, "nothing moves this end", "accent")],
        ),
        Row(
            "Requests of Bob",
            [Mark(0, "login"), Mark(20, "the last request"), Mark(80, "no session", "bad")],
        ),
        Row(
            "His session",
            [Bar(0, 50, "alive until 9:50", "accent"), Bar(50, 145, "ended", "bad")],
        ),
    ],
)
