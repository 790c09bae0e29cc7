"""The options of all three applications: one secret, one store, one cookie."""

import os

from coatcheck import SessionOptions

OPTIONS = SessionOptions(
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
    owner="user",
)
