"""Measures what failures of real servers do to sessions in use.

``python -m testing.faults`` prints the tables of docs/reliability.md.

Workers use sessions while a server is killed, stopped, filled or overrun, and each of them knows
what it was promised: what a call acknowledged must be there, and what was ended must stay ended.
"""
