"""WebSockets behind nginx and HAProxy: they echo, and our pings keep silent ones open.

Both proxies end a connection on which nothing was sent for some time. Here that is SILENCE
seconds, and the pings come more often; with PROXY_TIMEOUT=60 it is what nginx has by default, and
the pings have their default, too.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
from fronts import running_haproxy, running_nginx
from test_nginx import no_errors
from websocket_peer import Closed, Peer, Refused

PROGRAMS = Path(__file__).resolve().parent / 'clients'
PATIENCE = 60.0
SILENCE = int(os.environ.get('PROXY_TIMEOUT', 2))
PINGS = () if SILENCE == 60 else ('--ws-ping-interval', str(SILENCE / 4))
NO_PINGS = ('--ws-ping-interval', '0')

NGINX = '''
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ''      '';
    }}
    upstream tremolo {{
        server 127.0.0.1:{upstream};
        keepalive 4;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://tremolo;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
            proxy_read_timeout {silence}s;
            proxy_send_timeout {silence}s;
        }}
    }}
'''

HAPROXY = '''
defaults
    mode http
    timeout connect {silence}s
    timeout client {silence}s
    timeout server {silence}s
    timeout tunnel {silence}s
frontend all
    bind fd@{descriptor}
    default_backend tremolo
backend tremolo
    server tremolo 127.0.0.1:{upstream}
'''


@contextlib.contextmanager
def running(name, upstream, tool, folder):
    """Run a proxy in front of a port; give its own port.

    It inherits a socket that listens already: no port can be taken by another in between, and no
    client comes too early.
    """
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        config, run = (NGINX, running_nginx) if name == 'nginx' else (HAPROXY, running_haproxy)
        with run(tool(name), folder, config.format(
                port=port, descriptor=descriptor, upstream=upstream, silence=SILENCE), listener):
            yield port


@pytest.fixture
def proxied(serve, tool, tmp_path):
    """Run a site behind a proxy; give the port of the proxy, and the server."""
    @contextlib.contextmanager
    def run(name, kind, *arguments):
        # (A proxy that has ended a connection looks like one that still reads, until this is over.)
        with serve(str(PROGRAMS / f'websocket_{kind}.py'), '--log-level', 'warning',
                   '--half-close-timeout=0.5', *arguments,
                   folder=tmp_path) as server:
            with running(name, server.port, tool, tmp_path) as port:
                yield port
            assert server.log == ''
        if name == 'nginx':
            assert no_errors(tmp_path)

    return run


@pytest.mark.parametrize('kind', ['native', 'asgi'])
@pytest.mark.parametrize('name', ['nginx', 'haproxy'])
def test_a_socket_behind_a_proxy_echoes_and_closes(name, kind, proxied):
    with proxied(name, kind) as port:
        with Peer(port, '/run/echo', 'tremolo') as peer:
            assert peer.subprotocol == 'tremolo'
            for message in 'hello', 'é' * 40_000, bytes(1 << 20):
                peer.send(message)
                assert peer.receive() == message
            assert peer.close(4001)[0] == 4001
        with Peer(port, '/run/echo') as peer:
            peer.send('close 4002 that is énough')
            assert peer.closed() == (4002, 'that is énough')
        with Peer(port, '/run/large') as peer:
            peer.send(bytes((1 << 20) + 1))
            assert peer.closed()[0] == 1009
        for _ in range(3):
            with pytest.raises(Refused) as caught:
                Peer(port, '/run/refuse')
            assert caught.value.status == 403


@pytest.mark.parametrize('kind', ['native', 'asgi'])
@pytest.mark.parametrize('name', ['nginx', 'haproxy'])
def test_a_silent_socket_lives_longer_than_the_proxy_s_timeout(name, kind, proxied):
    with proxied(name, kind, *PINGS) as port, Peer(port, '/run/echo') as peer:
        # It answers pings, and waits for a message that does not come.
        with pytest.raises(TimeoutError):
            peer.receive(2.5 * SILENCE)
        assert peer.pings >= 3
        peer.send('still here')
        assert peer.receive() == 'still here'
        assert peer.close() == (1000, '')


@pytest.mark.parametrize('name', ['nginx', 'haproxy'])
def test_without_pings_the_proxy_does_end_it(name, proxied):
    with proxied(name, 'native', *NO_PINGS) as port, Peer(port, '/run/echo') as peer, \
            pytest.raises(Closed) as caught:
        peer.receive(SILENCE + PATIENCE)
    # Nobody has closed the socket: the connection is gone.
    assert caught.value.code == 1006
