"""Measure what failures of real servers do to sessions in use.

``python -m testing.faults`` prints the tables of docs/reliability.md.

Workers use sessions while a server is killed, stopped, filled or overrun. Each worker knows what
its session must be: an acknowledged write must be stored, and an ended session must stay ended.
"""
