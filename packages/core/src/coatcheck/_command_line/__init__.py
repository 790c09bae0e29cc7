"""The command line, `python -m coatcheck`, and its demo."""
