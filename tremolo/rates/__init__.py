"""Rates: how slow a client may be, and when that matters. The tour is in README.md."""
