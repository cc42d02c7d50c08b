"""Mistakes: what a developer wrote for another framework, and what to write. See README.md."""
