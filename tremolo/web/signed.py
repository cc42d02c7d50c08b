"""Signed cookies: a value that the client can read and send back, and cannot change.

    signer = Signer([new_key, old_key])
    signer.sign('user', 'anna', now)    # 'YW5uYQ.1700000000.pZ3k...': value, time, signature
    signer.read('user', signed, now)    # 'anna', or None

The signature is an HMAC with SHA-256 (RFC 2104) over name, value and time: so a value cannot be
moved to a cookie of another name, nor made younger. The value is in base64url (RFC 4648 section 5),
so it may be any text; it is no secret. The first key signs, and each of them is tried for what
comes back: with `[new, old]` no session ends because the key changes.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable

from ..http import HeaderError
from ..late import expression

# An HMAC is weaker with a key that is shorter than the hash (RFC 2104 section 3).
_SHORTEST = 32
# Seconds by which the clock of another server that signs may be ahead of ours.
_AHEAD = 60

_SIGNED = expression(r'([A-Za-z0-9_-]*)\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})')


class Signer:
    """Signs values, and reads what it has signed."""

    def __init__(self, keys: Iterable[str | bytes]) -> None:
        """Take the keys, the one that signs first. Raises `ValueError` for none or a short one."""
        if isinstance(keys, (str, bytes, type(None))):
            raise ValueError('secret_keys is a list of keys: write [key]')
        self._keys: list[bytes] = []
        for number, key in enumerate(keys, 1):
            raw = key.encode() if isinstance(key, str) else key
            # (No error shows a key: it would be in the log.)
            if not isinstance(raw, bytes):
                raise ValueError(f'secret key {number} is {type(key).__name__}, not str or bytes')
            if len(raw) < _SHORTEST:
                raise ValueError(f'secret key {number} has {len(raw)} bytes, and {_SHORTEST} are '
                                 'needed: make one with secrets.token_hex(32), and keep it')
            self._keys.append(raw)
        if not self._keys:
            raise ValueError('secret_keys is empty: write [key]')

    def sign(self, name: str, value: str, now: float) -> str:
        """Return a value as a cookie of this name may have it, signed at `now` (seconds)."""
        if not isinstance(value, str):
            raise HeaderError(f'the value of cookie {name} is str, not {type(value).__name__}: '
                              'write json.dumps(value)')
        try:
            raw = value.encode()
        except UnicodeEncodeError as error:
            raise HeaderError(f'the value of cookie {name} has half of a surrogate pair') from error
        text = f'{_base64(raw)}.{int(now)}'
        return f'{text}.{_signature(self._keys[0], name, text)}'

    def read(self, name: str, signed: str, now: float, max_age: float | None = None) -> str | None:
        """Return the value that was signed; None if it was not, or more than `max_age` seconds ago.

        Its time may be a minute ahead of `now`, and no more.
        """
        match = _SIGNED.fullmatch(signed)
        if match is None:
            return None
        value, time, signature = match.groups()
        text = f'{value}.{time}'
        # (All keys are tried, and each comparison takes the same time whatever it finds.)
        found = [hmac.compare_digest(_signature(key, name, text), signature) for key in self._keys]
        age = now - int(time)
        if not any(found) or age < -_AHEAD or (max_age is not None and age > max_age):
            return None
        return base64.urlsafe_b64decode(value + '=' * (-len(value) % 4)).decode()


def _signature(key: bytes, name: str, text: str) -> str:
    # (The name is a token, and has no `=`: so no two pairs of name and text are the same message.)
    return _base64(hmac.digest(key, f'tremolo cookie {name}={text}'.encode(), 'sha256'))


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b'=').decode()
