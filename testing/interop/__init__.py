"""coatcheck and express-session on the same sessions: the same steps, on real servers.

:mod:`interop.applications` has the Express application and coatcheck's applications;
:mod:`interop.random_walk` takes random steps on all of them, and compares the sessions.
"""
