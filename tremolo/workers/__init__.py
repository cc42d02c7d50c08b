"""Workers: several processes that serve the same addresses. The tour is in README.md."""
