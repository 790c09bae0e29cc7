"""The command line, `python -m coatcheck`."""
