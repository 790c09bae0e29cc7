"""coatcheck and express-session on the same sessions: the same steps, on real servers.

:mod:`interop.applications` has the Express application and coatcheck's;
:mod:`interop.random_walk` takes steps on all of them, at random, and compares what they show.
"""
