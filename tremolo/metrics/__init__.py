"""Metrics: what a server counts for Prometheus, and the page that shows it (see README.md)."""
