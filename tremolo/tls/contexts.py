"""Contexts: what the settings say of TLS, as an `ssl.SSLContext`.

    context = contexts.of(settings)     # one that was made before the fork, or a new one

Several pairs of a certificate and its key are several contexts. A handshake begins with the first,
which takes another for the name that the client asks for (SNI, RFC 6066 section 3).

A supervisor makes the contexts before it forks (`prepare`), and its workers find them here. The
keys by which OpenSSL seals a session are a context's own: so a client that comes back to another
worker resumes its session there.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
import time
from collections.abc import Iterable
from functools import partial

from ..errors import SettingError, TlsError
from ..settings import Settings
from ..typed import Any
from .certificates import Certificate, first_certificate, read_certificate

_log = logging.getLogger('tremolo')

# For TLS 1.2: forward secrecy, and encryption that authenticates (RFC 9325 section 4.2). The lists
# of Python differ: those of 3.9 and PyPy have more. (The ciphers of TLS 1.3 cannot be chosen here.)
_CIPHERS = 'ECDHE+AESGCM:ECDHE+CHACHA20'
# By their values: not each Python names them.
_NO_RENEGOTIATION = 0x40000000
_IGNORE_UNEXPECTED_EOF = 0x80    # (3.9 and PyPy set it: a body that is cut off would look whole.)
# Seconds before the end of a certificate from which a start warns of it.
_SOON = 14 * 86400
_MODES = {'none': ssl.CERT_NONE, 'optional': ssl.CERT_OPTIONAL, 'required': ssl.CERT_REQUIRED}

# The contexts that were made before a fork, by what the settings say (see `_asked`).
_prepared: dict[Any, ssl.SSLContext] = {}


class Context(ssl.SSLContext):
    """A context with the certificate that it shows: as PEM, and read."""

    pem = ''
    certificate: Certificate


def of(settings: Settings) -> ssl.SSLContext:
    """Return the context for these settings. Raises `TlsError` and `SettingError`."""
    return _prepared.get(_asked(settings)) or server_context(settings)


def prepare(each: Iterable[Settings]) -> None:
    """Make the contexts for these settings anew; if one cannot be made, all stay as they were.

    Raises `TlsError` and `SettingError`.
    """
    made: dict[Any, ssl.SSLContext] = {}
    for settings in each:
        if _asked(settings) not in made:
            made[_asked(settings)] = server_context(settings)
    forget()
    _prepared.update(made)


def forget() -> None:
    """Forget the contexts that were made before a fork."""
    _prepared.clear()


def server_context(settings: Settings) -> ssl.SSLContext:
    """Make a context. Warns of a certificate that is not valid now, or not for long.

    Raises `TlsError` for a file that cannot be used, `SettingError` for what can be no context.
    """
    own = settings.ssl_context
    if own is not None:
        if own.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise SettingError('ssl_context: is one for clients, make it with PROTOCOL_TLS_SERVER')
        return own    # type: ignore[no-any-return]
    keys: list[str | None] = [*settings.ssl_keyfile]
    keys += [None] * (len(settings.ssl_certfile) - len(keys))
    made = [_context(settings, *pair) for pair in zip(settings.ssl_certfile, keys)]
    if len(made) > 1:
        by_name: dict[str, Context] = {}
        for context in made:
            for name in context.certificate.names:
                by_name.setdefault(name, context)
        _outlive_bad_names()
        made[0].sni_callback = partial(_choose, by_name)
    return made[0]


def _asked(settings: Settings) -> Any:
    return (settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_keyfile_password,
            settings.ssl_ca_certs, settings.ssl_cert_reqs, settings.ssl_ciphers,
            settings.ssl_context)


def _context(settings: Settings, certfile: str, keyfile: str | None) -> Context:
    """Make the context of one pair; all pairs ask the same of a client."""
    context = Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    options: int = context.options | ssl.OP_NO_COMPRESSION | _NO_RENEGOTIATION
    context.options = options & ~_IGNORE_UNEXPECTED_EOF    # type: ignore[assignment]
    context.set_ciphers(settings.ssl_ciphers or _CIPHERS)
    # (A client that offers other protocols alone gets none: OpenSSL goes on without ALPN.)
    context.set_alpn_protocols(['http/1.1'])
    # One ticket of TLS 1.3, not two: 5 % less of each full handshake (measured), and 250 bytes. Who
    # comes back has a new one each time; only who comes back twice at once shakes hands in full.
    context.num_tickets = 1
    _load(context, certfile, keyfile, settings.ssl_keyfile_password)
    _look_at(context, certfile)
    if settings.ssl_ca_certs:
        try:
            context.load_verify_locations(settings.ssl_ca_certs)
        except OSError as error:    # (An SSLError is one.)
            raise TlsError(f'ssl_ca_certs: {settings.ssl_ca_certs} '
                           + (_unreadable(settings.ssl_ca_certs)
                              or f'has no certificate in PEM{_reason(error)}')) from None
    context.verify_mode = _MODES[settings.ssl_cert_reqs]
    # (As browsers do it, for those who look for a fault on the wire.)
    log = '' if sys.flags.ignore_environment else os.environ.get('SSLKEYLOGFILE', '')
    if log and hasattr(context, 'keylog_filename'):
        try:
            context.keylog_filename = log
        except OSError as error:
            raise TlsError(f'SSLKEYLOGFILE: {log}: {os.strerror(error.errno or 0)}') from None
        _log.warning('SSLKEYLOGFILE: who reads %s can read all connections', log)
    return context


def _load(context: Context, certfile: str, keyfile: str | None, password: str) -> None:
    """Load a certificate with its key, and say what is wrong if that fails."""
    encrypted = False

    def ask(*_: object) -> str:
        # (With a function OpenSSL never asks on the terminal.)
        nonlocal encrypted
        encrypted = True
        if not password:
            raise TlsError(f'ssl_keyfile: {keyfile or certfile} is encrypted, and there is no '
                           'ssl_keyfile_password')
        return password

    try:
        context.load_cert_chain(certfile, keyfile, ask)
    except OSError as error:    # (An SSLError is one.)
        reason = getattr(error, 'reason', None) or ''
        key = keyfile or certfile
        if problem := _unreadable(certfile):
            told = f'ssl_certfile: {certfile} {problem}'
        elif problem := _unreadable(key):
            told = f'ssl_keyfile: {key} {problem}'
        elif _no_certificate(certfile):
            told = f'ssl_certfile: {certfile} has no certificate in PEM'
        elif 'MISMATCH' in reason or reason == 'NO_CERTIFICATE_ASSIGNED':
            told = f'ssl_keyfile: {key} does not belong to the certificate {certfile}'
        elif encrypted:
            told = f'ssl_keyfile_password: is not the password of {key}'
        elif b'PRIVATE KEY-----' not in _beginning(key):
            told = (f'ssl_keyfile: {key} has no private key in PEM' if keyfile else
                    f'ssl_certfile: {key} has no private key in PEM: name its file by ssl_keyfile')
        else:
            told = f'ssl_certfile: {certfile} with {key} cannot be used{_reason(error)}'
        raise TlsError(told) from None


def _look_at(context: Context, certfile: str) -> None:
    """Read the certificate that was loaded: its names, and whether it is valid now."""
    try:
        der = first_certificate(_beginning(certfile))
        context.pem = ssl.DER_cert_to_PEM_cert(der)
        context.certificate = read_certificate(der)
    except ValueError as error:
        raise TlsError(f'ssl_certfile: {certfile}: {error}') from None
    now, (_, begins, ends, _) = time.time(), context.certificate
    if now > ends:
        _log.warning('ssl_certfile: %s has expired, on %s', certfile, _date(ends))
    elif now < begins:
        _log.warning('ssl_certfile: %s is not valid before %s', certfile, _date(begins))
    elif now > ends - _SOON:
        _log.warning('ssl_certfile: %s expires soon, on %s', certfile, _date(ends))


def _date(seconds: float) -> str:
    return time.strftime('%Y-%m-%d %H:%M:%S GMT', time.gmtime(seconds))


def _beginning(path: str) -> bytes:
    with open(path, 'rb') as file:
        return file.read(1 << 20)


def _unreadable(path: str) -> str:
    """Return why a file cannot be read; '' if it can."""
    try:
        _beginning(path)
    except OSError as error:
        return f'cannot be read: {error.strerror}'
    return ''


def _no_certificate(path: str) -> bool:
    try:
        first_certificate(_beginning(path))
    except ValueError:
        return True
    return False


def _reason(error: OSError) -> str:
    reason = getattr(error, 'reason', None) or error.strerror or ''
    return f': {reason.lower().replace("_", " ")}' if reason else ''


# -- the name that a client asks for ----------------------------------------------------------

def _choose(by_name: dict[str, Context], tls: Any, name: str | None, _: object) -> None:
    """Take the context for a name; the first one stays for no name and for an unknown one.

    A wildcard stands for one label (RFC 6125 section 6.4.3), and an exact name is before it.
    """
    if name:
        name = name.lower()
        context = by_name.get(name) or by_name.get('*.' + name.partition('.')[2])
        if context is not None:
            tls.context = context


def _outlive_bad_names() -> None:
    """Let no client write into our log: a name that is not ASCII ends its handshake, no more.

    Python reports such a name as an error that nobody can catch, with a traceback on stderr, and a
    client could send one again and again.
    """
    before = sys.unraisablehook
    if getattr(before, 'func', None) is not _report:
        sys.unraisablehook = partial(_report, before)


def _report(before: Any, error: Any) -> None:
    # (CPython 3.15 gives the name in the message, older ones as the object.)
    bad_name = error.exc_type is UnicodeDecodeError and (
        isinstance(error.object, bytes) or 'servername' in (error.err_msg or ''))
    # (PyPy has an error of its own there.)
    if not (bad_name or 'servername_str' in str(error.exc_value)):
        before(error)
