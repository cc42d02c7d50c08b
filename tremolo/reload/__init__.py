"""reload: new code is served as soon as it is saved. The tour is in README.md."""
