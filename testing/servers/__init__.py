"""Real servers for the tests: found, started on a free port of 127.0.0.1, and stopped by pid.

``python -m testing.servers redis`` starts one by hand and prints its URL. The programs come from
PATH, from an installed wheel that contains them, or from a ``node_modules`` folder. Each module
says where it looks.
"""
