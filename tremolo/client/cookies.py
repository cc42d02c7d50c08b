"""Cookies: the jar of a client (RFC 6265, as browsers do it).

A cookie is sent where its domain, its path and its age allow it. One that is `Secure` is sent by
https only, and to localhost, which browsers trust as well. What a browser would drop is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

from ..http.conditions import parse_date
from ..typed import Callable, NamedTuple, Optional

_TRUSTED = ('localhost', '127.0.0.1', '::1')


class Cookie(NamedTuple):
    """One cookie, and where it is sent."""

    name: str
    value: str
    domain: str
    host_only: bool = True    # Whether it is not for the names below its domain.
    path: str = '/'
    secure: bool = False
    expires: Optional[float] = None    # In seconds since 1970; None: with the client.

    def goes_to(self, scheme: str, host: str, path: str) -> bool:
        """Return whether it is sent to this address."""
        below = self.path if self.path.endswith('/') else self.path + '/'
        return ((host == self.domain or (not self.host_only and _is_below(host, self.domain)))
                and (path == self.path or path.startswith(below))
                and (not self.secure or scheme == 'https' or host in _TRUSTED))


class Cookies(MutableMapping[str, str]):
    """The cookies of a client: a dictionary of names and values.

        client.cookies['theme'] = 'dark'       # for the client's own host, and all paths
        del client.cookies['session']
    """

    def __init__(self, host: str, now: Callable[[], float]) -> None:
        self._host = host
        self.now = now    # Seconds since 1970: the wall clock of the reactor.
        self._cookies: dict[tuple[str, str, str], Cookie] = {}

    def __getitem__(self, name: str) -> str:
        """Return the value of a cookie; of several with this name the one that was set last."""
        for cookie in reversed(self._alive()):
            if cookie.name == name:
                return cookie.value
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f'the value of cookie {name} is str, not {type(value).__name__}')
        self._put(Cookie(name, value, self._host))

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._cookies = {key: each for key, each in self._cookies.items() if key[2] != name}

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(each.name for each in self._alive()))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f'Cookies({dict(self)!r})'

    def _alive(self) -> list[Cookie]:
        """Return the cookies whose time is not over."""
        now = self.now()
        self._cookies = {key: each for key, each in self._cookies.items()
                         if each.expires is None or each.expires > now}
        return list(self._cookies.values())

    def _put(self, cookie: Cookie) -> None:
        self._cookies[cookie.domain, cookie.path, cookie.name] = cookie

    # -- what the wire says -----------------------------------------------------------------------

    def header(self, scheme: str, host: str, path: str, more: Mapping[str, str]) -> str:
        """Return the value of the Cookie field for an address; '' for none.

        Of two with one name the longer path is first (section 5.4). `more` goes in this request
        alone, and in the place of those with the same names.
        """
        sent = [each for each in self._alive()
                if each.name not in more and each.goes_to(scheme, host, path)]
        sent.sort(key=lambda each: -len(each.path))
        pairs = [(each.name, each.value) for each in sent]
        return '; '.join(f'{name}={value}' for name, value in (*pairs, *more.items()))

    def keep(self, value: str, host: str, path: str) -> None:
        """Take a Set-Cookie field of an answer (section 5.3)."""
        pair, *attributes = value.split(';')
        name, equals, content = (part.strip() for part in pair.partition('='))
        if not equals or not name:
            return
        given: dict[str, str] = {}    # (Of two the last one counts.)
        for attribute in attributes:
            key, _, text = attribute.partition('=')
            given[key.strip().lower()] = text.strip()
        domain = given.get('domain', '').lower().lstrip('.')
        if domain and host != domain and not _is_below(host, domain):
            return
        # (A path that it does not name is that of the address, section 5.1.4.)
        below = given.get('path', '')
        below = below if below.startswith('/') else path[:path.rfind('/')] or '/'
        # (If its time is over, the next look removes it.)
        self._put(Cookie(name, content, domain or host, not domain, below, 'secure' in given,
                         _end_of(given, self.now())))


def _end_of(given: dict[str, str], now: float) -> Optional[float]:
    """Return when a cookie ends: by Max-Age, or else by Expires."""
    age = given.get('max-age', '')
    if age.lstrip('-').isdecimal() and age.isascii() and not age.startswith('--'):
        return now + min(int(age[:10]), 1 << 33)
    date = given.get('expires', '')
    if not date:
        return None
    # (`Thu, 01-Jan-1970` is the old form, which many programs write.)
    for form in (date, date.replace('-', ' ', 2)):
        try:
            if (seconds := parse_date(form.encode('ascii', 'replace'), now)) is not None:
                return seconds
        except ValueError:
            break
    return None


def _is_below(host: str, domain: str) -> bool:
    return host.endswith(f'.{domain}') and not host.replace('.', '').isdecimal()
