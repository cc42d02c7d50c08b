"""Sockets: what is below a stream, and what the kernel knows of its peer. See README.md."""
