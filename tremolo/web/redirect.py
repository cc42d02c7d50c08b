"""Redirect: an answer that sends the client to another place (RFC 9110 section 15.4)."""

from __future__ import annotations

from urllib.parse import quote

from ..http import HeaderError
from ..http.errors import shown
from ..late import expression
from ..server import HTTPError

_STATUSES = (301, 302, 303, 307, 308)
# A `%` that begins no escape.
_PERCENT = expression('%(?![0-9A-Fa-f]{2})')
_CONTROL = expression('[\x00-\x1f\x7f]')
# unreserved, gen-delims, sub-delims and "%": all else is percent-encoded     RFC 3986 section 2
_SAFE = "%-._~:/?#[]@!$&'()*+,;="


def redirect(url: str, status: int = 303) -> HTTPError:
    """Return the answer that sends the client to `url`; return it or raise it.

        return redirect('/done')

    303 lets the client ask with GET, whatever it had asked with; 307 and 308 let it repeat its
    method; 301 and 308 last for ever. What may not stand in a URL is percent-encoded as UTF-8, also
    a blank or a backslash; what is encoded stays as it is, and a relative URL stays relative.
    Raises `HeaderError` for a control character, and for a URL that begins with `//`: that names
    another host, and passes for a path where a caller looks at the first character. Raises
    `ValueError` for a status that is no redirect.
    """
    if not isinstance(url, str):
        raise TypeError(f'the url of a redirect is str, not {type(url).__name__}')
    if status not in _STATUSES:
        raise ValueError(f'{status!r:.64} is no status of a redirect: write one of '
                         f'{", ".join(map(str, _STATUSES))}')
    if not url or _CONTROL.search(url):
        raise HeaderError(f'a redirect to a URL that is empty, or has a control character: '
                          f'{shown(url)}')
    if url.startswith('//'):
        raise HeaderError(f"{shown(url)} names another host: write 'https:' before it")
    try:
        target = _PERCENT.sub('%25', quote(url, safe=_SAFE))
    except UnicodeEncodeError:
        raise HeaderError(f'a redirect to a URL with half of a surrogate pair: {shown(url)}'
                          ) from None
    return HTTPError(status, headers={'Location': target})
