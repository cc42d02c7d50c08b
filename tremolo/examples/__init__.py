"""Small whole programs: `python -m tremolo.examples.hello`. The tour is in README.md."""
