"""Cookies: read what the client sends, and write what the application sets (RFC 6265).

Reading accepts anything, in a time that grows linearly with the size: any page of the domain may
set a cookie, and two other servers could be stopped because they took quadratic time. Names and
values stay as they were sent: an application that percent-encodes a value decodes it too.
Writing is strict: a `;` in a value would begin an attribute that the application did not mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from .errors import HeaderError, shown
from .grammar import COOKIE_ATTRIBUTE, COOKIE_VALUE, DOMAIN, TOKEN_STR
from .response import http_date, is_http_date

_MOST = 200     # cookies that are read; browsers keep at most 180 for a domain
_SIZE = 4096    # most bytes of name and value that browsers accept (RFC 6265bis section 5.6)


def parse_cookies(value: str) -> dict[str, str]:
    """Return names and values from the value of a Cookie field (RFC 6265 section 4.2.1).

    If a name is there twice, the first value counts: it has the longest path (section 5.4). A pair
    without `=` or without a name is left out, and so are all pairs after the first 200.
    """
    cookies: dict[str, str] = {}
    for pair in value.split(';', _MOST)[:_MOST]:
        name, equals, content = pair.partition('=')
        name = name.strip(' \t')
        if not equals or not name or name in cookies:
            continue
        content = content.strip(' \t')
        if len(content) > 1 and content[0] == content[-1] == '"':
            content = content[1:-1]
        cookies[name] = content
    return cookies


def read_cookies(fields: Iterable[bytes]) -> dict[str, str]:
    """Return names and values from all values of Cookie fields, as they came.

    They are text in UTF-8, as browsers send them; a name or value that is not UTF-8 is Latin-1.
    """
    raw = b'; '.join(fields).decode('latin-1')
    cookies = parse_cookies(raw)
    if raw.isascii():
        return cookies
    decoded: dict[str, str] = {}
    for name, value in cookies.items():
        # (The same name may be there in both ways: the first counts.)
        decoded.setdefault(_text(name), _text(value))
    return decoded


def _text(raw: str) -> str:
    try:
        return raw.encode('latin-1').decode('utf-8')
    except UnicodeDecodeError:
        return raw


def format_cookie(
    name: str, value: str, *, max_age: int | None = None,
    expires: datetime | float | str | None = None, path: str | None = '/',
    domain: str | None = None, secure: bool = False, httponly: bool = False,
    samesite: str | None = None, partitioned: bool = False
) -> str:
    """Return the value of a Set-Cookie field (RFC 6265 section 4.1).

    `max_age` is in seconds; 0 removes the cookie. `expires` is a datetime (UTC if it has no time
    zone), seconds since the epoch, or a text in the form of `http_date`. Without both the cookie
    lasts as long as the browser runs. `samesite` is Strict, Lax or None; None needs `secure`.
    Raises `HeaderError` for what RFC 6265 does not allow, or what browsers would drop.
    """
    if not isinstance(name, str) or TOKEN_STR.fullmatch(name) is None:
        raise HeaderError(f'malformed name of a cookie: {repr(name)[:64]}')
    if not isinstance(value, str):
        instead = ('value.decode()' if isinstance(value, bytes) else 'str(value)'
                   if isinstance(value, (int, float)) else 'quote(json.dumps(value))')
        raise HeaderError(f'the value of cookie {name} is str, not {type(value).__name__}: write '
                          f'{instead}')
    if COOKIE_VALUE.fullmatch(value) is None:
        raise HeaderError(f'malformed value of cookie {name}: {shown(value)}: write quote(value), '
                          'and unquote(...) where it is read (urllib.parse)')
    if len(name) + len(value) > _SIZE:
        raise HeaderError(f'cookie {shown(name)} exceeds {_SIZE} bytes')
    parts = [f'{name}={value}']
    if max_age is not None:
        if not isinstance(max_age, int) or isinstance(max_age, bool) or max_age < 0:
            raise HeaderError(f'max_age of cookie {name} is a whole number of seconds, not '
                              f'{repr(max_age)[:64]}{_whole(max_age)}')
        parts.append(f'Max-Age={max_age}')
    if expires is not None:
        parts.append(f'Expires={_date(name, expires)}')
    if domain is not None:
        match = DOMAIN.fullmatch(domain)
        if match is None or len(domain) > 254:
            raise HeaderError(f'malformed domain of cookie {name}: {shown(domain)}')
        parts.append(f'Domain={match[1]}')
    if path is not None:
        if not path.startswith('/') or COOKIE_ATTRIBUTE.fullmatch(path) is None:
            raise HeaderError(f'malformed path of cookie {name}: {shown(path)}')
        parts.append(f'Path={path}')
    if secure:
        parts.append('Secure')
    if httponly:
        parts.append('HttpOnly')
    if samesite is not None:
        mode = samesite.capitalize() if isinstance(samesite, str) else ''
        if mode not in ('Strict', 'Lax', 'None'):
            raise HeaderError(f"samesite of cookie {name} is 'Strict', 'Lax' or 'None', not "
                              f'{samesite!r:.64}')
        if mode == 'None' and not secure:
            raise HeaderError(f'cookie {name} has samesite None, so it has to be secure')
        parts.append(f'SameSite={mode}')
    if partitioned:
        if not secure:
            raise HeaderError(f'cookie {name} is partitioned, so it has to be secure')
        parts.append('Partitioned')
    _check_prefix(name, secure, path, domain)
    return '; '.join(parts)


def _whole(max_age: object) -> str:
    if isinstance(max_age, timedelta):
        max_age = max_age.total_seconds()
    return f': write {int(max_age)}' if isinstance(max_age, float) and 0 <= max_age < 1e15 else ''


def _date(name: str, expires: datetime | float | str) -> str:
    """Return `expires` in the form of `http_date`; a text is checked and stays as it is."""
    try:
        if isinstance(expires, str):
            # (The second form is the old one of Netscape: many programs delete a cookie with it.)
            if is_http_date(expires) or is_http_date(expires.replace('-', ' ', 2)):
                return expires
            # Late: few programs write another form. (It takes 8 ms.)
            from email.utils import parsedate_to_datetime
            parsedate_to_datetime(expires)
            if COOKIE_ATTRIBUTE.fullmatch(expires) is None:
                raise ValueError
            return expires
        if isinstance(expires, datetime):
            if expires.tzinfo is None:
                expires = expires.replace(tzinfo=timezone.utc)
            expires = expires.timestamp()
        return http_date(expires)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise HeaderError(f'malformed expires of cookie {name}: {repr(expires)[:64]}: write a '
                          'datetime, or max_age=3600') from error


def _check_prefix(name: str, secure: bool, path: str | None, domain: str | None) -> None:
    """Check the attributes that a prefix of the name demands (RFC 6265bis section 4.1.3)."""
    prefix = name.lower()
    if prefix.startswith(('__secure-', '__host-')) and not secure:
        raise HeaderError(f'cookie {name} has to be secure')
    if prefix.startswith('__host-') and (path != '/' or domain is not None):
        raise HeaderError(f'cookie {name} has to have the path / and no domain')
