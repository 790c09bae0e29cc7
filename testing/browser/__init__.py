"""Chromium of the machine, driven by Playwright, with a certificate authority of its own."""
