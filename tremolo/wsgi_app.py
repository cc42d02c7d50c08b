"""The address of `WsgiApplication` for programs: `from tremolo.wsgi_app import WsgiApplication`."""

from .wsgi import ClientGone, WsgiApplication

__all__ = ['ClientGone', 'WsgiApplication']
