"""edge: what comes between a socket that was accepted and its first request. README.md has more."""
