"""Keep the state of one session."""
