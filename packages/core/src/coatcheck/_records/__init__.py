"""Decide what happens to records: load, create, change, touch, end and rotate them."""
