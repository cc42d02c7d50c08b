"""proxies: what a proxy in front says of its clients. README.md has the tour."""
