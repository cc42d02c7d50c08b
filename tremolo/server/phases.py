"""Phases: the names of what a connection does, and of why it ended. connection.py explains them."""

from __future__ import annotations

NEW, IDLE, HEAD, BUSY, DISCARD, CLOSING, LINGER, UPGRADED, OFFERED, CLOSED = (
    'new', 'idle', 'head', 'busy', 'discard', 'closing', 'linger', 'upgraded',
    'offered', 'closed')

# Why connections end; `Server.closed` counts each reason.
REASONS = {
    'done': 'the last answer was given',
    'client': 'the client ended it between requests',
    'first_byte_timeout': 'nothing came',
    'idle_timeout': 'no further request came',
    'head_timeout': 'a head did not become whole in time (408)',
    'truncated': 'the client ended it within a head',
    'refused': 'the client broke HTTP',
    'limit_concurrency': 'more requests were in hand than may be (503)',
    'connections_per_client': 'one client had as many connections as it may have',
    'unread': "the answer came before the body's end: the rest is too long, too slow, or of no "
              'known length',
    'stall_timeout': 'nothing was taken or sent for too long',
    'min_upload_rate': 'a body came too slowly (408)',
    'min_download_rate': 'an answer was taken too slowly',
    'half_closed': 'the client had ended its side and took nothing',
    'vanished': 'the client answered nothing any more',
    'hang-up': 'the client hung up',
    'reset': 'the connection broke',
    'failed': 'the handler failed after the head was sent',
    'handler_timeout': 'the handler took too long',
    'upgraded': 'the upgraded stream ended',
    'websocket': 'the client broke the WebSocket protocol',
    'ws_slow': 'a WebSocket message came too slowly (1008)',
    'ws_ping_timeout': 'a WebSocket client answered no ping (1011)',
    'ws_close_timeout': 'a WebSocket client did not answer a close',
    'tls_handshake': 'the TLS handshake failed',
    'tls_timeout': 'the TLS handshake took too long',
    'tls_plain': 'plain HTTP came to a TLS port (400)',
    'proxy_header': 'the PROXY header was missing, broken or late',
    'stranger': 'PROXY: the peer is no trusted proxy',
    'handed over': 'another worker goes on with it',
    'shutdown': 'the server stopped',
}
