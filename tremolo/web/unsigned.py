"""Unsigned: stands for a signer of cookies (signed.py) as long as an application has no keys."""

from __future__ import annotations

from ..server import HandlerError
from ..typed import Any, NoReturn


class NoSigner:
    """Tells whoever signs, or reads what was signed, that there are no keys."""

    def sign(self, *_: Any) -> NoReturn:
        """Raise `HandlerError`."""
        raise HandlerError('signed cookies need keys: write app.secret_keys = [key], with a key '
                           'that secrets.token_hex(32) has made once')

    read = sign
