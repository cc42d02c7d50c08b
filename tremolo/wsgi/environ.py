"""Environ: what an application is told of a request (PEP 3333, RFC 3875).

Each str has one byte in each character (Latin-1), so an application gets the bytes back by
`.encode('latin-1')`. PATH_INFO is percent-decoded, which loses the difference between `%2F` and
`/`. So REQUEST_URI (as of Apache and uWSGI) and RAW_URI (as of gunicorn) have the target as it was
sent: Werkzeug and others look at them.

A field `X-User` and a field `X_User` would both be HTTP_X_USER. Proxies set the first, and know
nothing of the second: so a name with an underscore is left out.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from ..server import Request
from ..settings import Settings
from ..typed import Any

# The keys of fields that were seen before, '' for those that are left out: at most so many, of at
# most so many bytes. A full dictionary is emptied.
_MOST_NAMES = 1024
_LONGEST_NAME = 64
_FIRST_NAMES = {
    b'content-type': 'CONTENT_TYPE', b'content-length': 'CONTENT_LENGTH',
    # (The body comes without it; and `wsgi.input` ends by itself.)
    b'transfer-encoding': ''}
_keys = _FIRST_NAMES.copy()


class Environ:
    """Makes the environ of each request of one application."""

    def __init__(self, settings: Settings, mounted_at: str, file_wrapper: Any) -> None:
        """`mounted_at` is what each path begins with, and `root_path` what a proxy took away."""
        self._depth = mounted_at.count('/')
        script_name = (settings.root_path + mounted_at).encode('utf-8').decode('latin-1')
        # What all have alike; what else is there stands here for its place in the order.
        self._common: dict[str, Any] = {
            'REQUEST_METHOD': '', 'SCRIPT_NAME': script_name, 'PATH_INFO': '/', 'QUERY_STRING': '',
            'REQUEST_URI': '', 'RAW_URI': '', 'SERVER_PROTOCOL': 'HTTP/1.1',
            'SERVER_SOFTWARE': settings.server_name or 'tremolo', 'SERVER_NAME': '',
            'SERVER_PORT': '', 'REMOTE_ADDR': '', 'REMOTE_PORT': '',
            'wsgi.version': (1, 0), 'wsgi.url_scheme': 'http', 'wsgi.input': None,
            'wsgi.errors': None, 'wsgi.multithread': True,
            'wsgi.multiprocess': bool(settings.workers), 'wsgi.run_once': False,
            'wsgi.input_terminated': True, 'wsgi.file_wrapper': file_wrapper}

    def of(self, request: Request, addresses: Any) -> dict[str, Any]:
        """Return the environ of a request, without its input and errors. Hot: once per request."""
        environ = self._common.copy()
        environ['REQUEST_METHOD'] = request.method
        target = request.target
        path, mark, query = target.partition(b'?')
        environ['REQUEST_URI'] = environ['RAW_URI'] = uri = target.decode('latin-1')
        if path[:1] != b'/':
            path = request.raw_path if path != b'*' else b'/'
        if self._depth:
            # (Segments are counted, since the prefix may be percent-encoded in another way.)
            path = (b'/' + path.split(b'/', self._depth + 1)[-1] if path.count(b'/') > self._depth
                    else b'')
        if path.find(b'%') >= 0:
            environ['PATH_INFO'] = unquote_to_bytes(path).decode('latin-1')
        elif path is target:
            environ['PATH_INFO'] = uri
        else:
            environ['PATH_INFO'] = path.decode('latin-1')
        if mark:
            environ['QUERY_STRING'] = query.decode('latin-1')
        if not request.minor:
            environ['SERVER_PROTOCOL'] = 'HTTP/1.0'
        client, server, scheme = addresses
        if client is not None:
            environ['REMOTE_ADDR'] = client[0]
            environ['REMOTE_PORT'] = str(client[1])
        if server is not None and server[1] is not None:
            environ['SERVER_NAME'] = server[0]
            environ['SERVER_PORT'] = str(server[1])
        else:
            # A UNIX socket has neither: they are those of the host that the client asks for.
            host, _, port = request.host.rpartition(':') if not request.host.endswith(']') else (
                request.host, '', '')
            environ['SERVER_NAME'] = host or port or 'localhost'
            environ['SERVER_PORT'] = port if host and port else '443' if scheme == 'https' else '80'
        if scheme != 'http':
            environ['wsgi.url_scheme'] = scheme
            environ['HTTPS'] = 'on'
        self._add_fields(environ, request)
        return environ

    def _add_fields(self, environ: dict[str, Any], request: Request) -> None:
        """Add the fields; those that were sent in several lines are joined."""
        keys, block = _keys, request.block
        # (As in asgi/runner.py: of most heads that is what the property `fields` returns.)
        for name, value in block if type(block) is list else request.fields:
            try:
                key = keys[name]
            except KeyError:
                key = _key_of(name)
            if not key:
                continue
            if key in environ:
                # (RFC 6265 section 5.4 for cookies, RFC 9110 section 5.3 for all others.)
                join = '; ' if key == 'HTTP_COOKIE' else ', '
                environ[key] = environ[key] + join + value.decode('latin-1')
            else:
                environ[key] = value.decode('latin-1')
        if request.target[:1] != b'/' and request.authority:
            # The target names the host, and wins over the field (RFC 9112 section 3.2.2).
            environ['HTTP_HOST'] = request.host


def _key_of(name: bytes) -> str:
    """Return the key of a field; '' if it is left out."""
    key = '' if b'_' in name else 'HTTP_' + name.decode('latin-1').upper().replace('-', '_')
    if len(name) <= _LONGEST_NAME:
        # (`>=`: threads may each add a name at once.)
        if len(_keys) >= _MOST_NAMES:
            for old in list(_keys):
                if old not in _FIRST_NAMES:
                    _keys.pop(old, None)
        _keys[name] = key
    return key
