"""Pages: what the client sees of an error; see README.md."""

from .answers import send_error, send_failure, send_page, tell_client

__all__ = ['send_error', 'send_failure', 'send_page', 'tell_client']
