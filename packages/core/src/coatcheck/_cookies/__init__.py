"""Read, sign and write cookies, and check their settings."""
