"""The address of `AsgiApplication` for programs: `from tremolo.asgi_app import AsgiApplication`."""

from .asgi import AsgiApplication

__all__ = ['AsgiApplication']
