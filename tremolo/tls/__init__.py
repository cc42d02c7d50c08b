"""tls: encrypted connections, by the standard library's ssl. README.md has the tour."""
