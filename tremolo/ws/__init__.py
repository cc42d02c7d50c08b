"""ws: WebSocket as bytes in and messages out. No sockets, no clock, no tasks (see README.md)."""
