"""Find, open and call stores, in threads and on event loops."""
