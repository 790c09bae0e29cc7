"""Turn values into JSON text and back, at any depth."""
