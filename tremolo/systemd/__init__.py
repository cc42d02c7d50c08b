"""systemd: sockets that are given, and what a service manager is told. README.md has the tour."""
