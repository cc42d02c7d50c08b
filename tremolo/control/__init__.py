"""control: what a running server tells of its connections, and who reads it. See README.md."""
