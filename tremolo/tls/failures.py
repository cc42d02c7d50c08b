"""Failures: why a handshake failed, in words that help.

OpenSSL names its errors for those who know it (`TLSV1_ALERT_UNKNOWN_CA`). Those that the owner of a
server can do something about have a sentence here. The others come from scanners all the time, and
from clients that speak no TLS.
"""

from __future__ import annotations

import ssl

_TOO_OLD = 'the client speaks no version of TLS that is taken here (TLS 1.2 and later are)'
_DISTRUSTED = 'the client does not trust our certificate (ssl_certfile)'
_SHOWN = "the client's certificate"

# What OpenSSL finds itself, and alerts that a client sends (RFC 8446 section 6.2), by its names.
_SENTENCES = {
    'UNSUPPORTED_PROTOCOL': _TOO_OLD,
    'VERSION_TOO_LOW': _TOO_OLD,
    'TLSV1_ALERT_PROTOCOL_VERSION': 'the client wants another version of TLS',
    'NO_SHARED_CIPHER': 'the client has no cipher in common with us (ssl_ciphers)',
    'NO_SUITABLE_SIGNATURE_ALGORITHM':
        'the client cannot verify a key of that kind (ssl_keyfile)',
    'PEER_DID_NOT_RETURN_A_CERTIFICATE':
        f'{_SHOWN} is required, and it showed none (ssl_cert_reqs)',
    'TLSV1_ALERT_UNKNOWN_CA': _DISTRUSTED,
    'SSLV3_ALERT_BAD_CERTIFICATE': _DISTRUSTED,
    'SSLV3_ALERT_CERTIFICATE_UNKNOWN': _DISTRUSTED,
    'SSLV3_ALERT_UNSUPPORTED_CERTIFICATE': _DISTRUSTED,
    'SSLV3_ALERT_CERTIFICATE_EXPIRED': 'for the client our certificate has expired (ssl_certfile)',
    'SSLV3_ALERT_CERTIFICATE_REVOKED': 'for the client our certificate is revoked (ssl_certfile)',
    'TLSV1_UNRECOGNIZED_NAME': 'the client asked for a name that is not served',
}


def why_failed(error: ssl.SSLError) -> tuple[str, bool]:
    """Return a sentence, and whether it is noise: nothing that the owner of a server can change."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = str(getattr(error, 'verify_message', '') or 'it is not valid')
        return f'{_SHOWN} was refused: {said[:100]} (ssl_ca_certs)', False
    reason = str(getattr(error, 'reason', '') or '')
    if reason in _SENTENCES:
        return _SENTENCES[reason], False
    return f'OpenSSL: {(reason or str(error)).lower().replace("_", " ")[:100]}', True
