"""service: what stands below every kind of application."""
