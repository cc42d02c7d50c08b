"""Places: how much may go on at a time, and who takes it. The tour is in README.md."""
