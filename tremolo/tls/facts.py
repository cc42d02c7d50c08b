"""Facts: what is known of an encrypted connection, as handlers and the scopes of ASGI tell it.

    request.tls.client_name     # 'CN=alice,O=Example,C=NL'

They are found out once for each connection, when somebody asks.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from weakref import WeakKeyDictionary

from ..typed import TYPE_CHECKING, Any, NamedTuple
from .certificates import read_certificate

if TYPE_CHECKING:
    from ..loop import Stream

# (RFC 8446 section 4.2.1.)
_VERSIONS = {'TLSv1.2': 0x0303, 'TLSv1.3': 0x0304}

# By connection. (A value must not lead to its key, or neither would ever go.)
_known: WeakKeyDictionary[Any, TlsFacts] = WeakKeyDictionary()
# The number of each cipher that was met, by its name.
_numbers: dict[str, int] = {}


class TlsFacts(NamedTuple):
    """What is known of an encrypted connection. Certificates are texts in PEM.

    A client has a certificate only where `ssl_cert_reqs` asks for one, and it was verified then.
    """

    version: str                       # 'TLSv1.3'
    cipher: str                        # 'TLS_AES_256_GCM_SHA384'
    server_certificate: str | None     # Ours, as the client got it; None for an own `ssl_context`.
    client_certificate: str | None
    # With those that the client sent beside its own. (Only Python 3.13 tells them, and nobody
    # does where a session was resumed.)
    client_chain: tuple[str, ...]
    client_name: str | None            # Whom its certificate names, by RFC 4514.
    version_number: int | None         # 0x0304
    cipher_number: int | None          # 0x1302, as IANA numbers them.


def facts_of(stream: Stream) -> TlsFacts | None:
    """Return the facts of a connection; None if it is not encrypted."""
    tls = stream.tls
    if tls is None:
        return None
    facts = _known.get(tls)
    if facts is None:
        facts = _known[tls] = _found(tls)
    return facts


def _found(tls: Any) -> TlsFacts:
    der = tls.getpeercert(True)
    chain, name = [], None
    if der:
        chain = [der]
        if hasattr(tls, 'get_unverified_chain'):
            chain = tls.get_unverified_chain() or chain
        with suppress(ValueError):
            name = read_certificate(der).subject
    version, cipher = tls.version() or '', (tls.cipher() or ('',))[0]
    if cipher not in _numbers:
        # (The higher 16 bits of the `id` are OpenSSL's own.)
        _numbers.update((each['name'], each['id'] & 0xFFFF) for each in tls.context.get_ciphers())
    texts = tuple(map(ssl.DER_cert_to_PEM_cert, chain))
    return TlsFacts(
        version, cipher, getattr(tls.context, 'pem', None), texts[0] if texts else None, texts,
        name, _VERSIONS.get(version), _numbers.get(cipher))
