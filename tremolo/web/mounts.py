"""Mounts: other applications that answer all below a prefix, `app.mount('/sub', other)`.

A `Mount` is a target of the router, as a handler is. It finds out what is behind its prefix, and
gives the request to the mounted service. Routes come first, then of mounts and folders of files the
one with the longest prefix.

What is mounted lives with its outer application: it is served on the same server, its start hooks
and its lifespan run after the outer ones, and its stop hooks before them.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterable, Sequence
from contextvars import Context

from ..errors import HookFailed, LifespanFailed
from ..loop import Reactor
from ..mistakes.registration import check_path
from ..pages import send_error
from ..server import Handle, HandlerError, Request, Response
from ..service import Service
from ..service.kinds import kind_of
from ..settings import Settings
from ..typed import Any, Callable, NamedTuple, NoReturn, Optional
from .redirect import redirect

# The end of a service: `Service.shutdown`.
Stop = Callable[[float], Optional[Coroutine[Any, Any, None]]]


class Place(NamedTuple):
    """Where a request is, in applications that are mounted: `request.kept['place']`."""

    root_path: str    # All prefixes up to here.
    rest: bytes    # The raw path behind them.
    service: Service    # What is mounted.


class Mount:
    """A service below a prefix."""

    sockets_only = False

    def __init__(self, prefix: str, service: Service) -> None:
        """Prepare; `prefix` is '' or '/sub'."""
        self.prefix = prefix
        self.name = f'the mount {prefix}'
        self.service = service
        self._depth = prefix.count('/') + 1
        self._handle: Handle
        self._root_path = ''

    def bind(self, reactor: Reactor, settings: Settings, mounted_at: str) -> None:
        """Prepare for a server; `mounted_at` is where the outer application is."""
        self._root_path = mounted_at + self.prefix
        self.service.check_free()
        self._handle = self.service.handle_on(reactor, settings, self._root_path)

    def run(self, request: Request, response: Response, context: Context | None = None) -> None:
        """Give a request to the service; what asks for the prefix itself is sent to `/sub/`."""
        parts = rest_of(request).split(b'/', self._depth)
        if len(parts) == self._depth:
            path, mark, query = request.target.partition(b'?')
            if path[:1] != b'/':
                path = request.raw_path
            send_error(response, redirect((path + b'/' + mark + query).decode('latin-1'), 308))
            return
        kept = request.kept = {} if request.kept is None else request.kept
        if response.layers:
            wrapped: Any = response
            wrapped.layers.append((self, kept.get('place')))
        kept['place'] = Place(self._root_path, b'/' + parts[-1], self.service)
        self._handle(request, response)

    # -- the way out, as a layer of the response, around what is inside ----------------------------

    def second(self, response: Response, place: Place | None, chunks: Iterable[bytes]) -> None:
        """Go out, as the head is about to be sent."""
        self._leave(response, place)

    def thrown(self, response: Response, place: Place | None, who: Any, error: BaseException
               ) -> NoReturn:
        """Go out, and pass an error on."""
        self._leave(response, place)
        raise error

    def _leave(self, response: Response, place: Place | None) -> None:
        if response.request.kept is not None:
            response.request.kept['place'] = place

    def startup(self, settings: Settings) -> Coroutine[Any, Any, None] | None:
        """Start the service. Raises `HookFailed` and `LifespanFailed`, which name the prefix."""
        try:
            rest = self.service.startup(settings)
        except (HookFailed, LifespanFailed) as error:
            raise self._named(error) from error
        return None if rest is None else self._start(rest)

    async def _start(self, rest: Coroutine[Any, Any, None]) -> None:
        try:
            await rest
        except (HookFailed, LifespanFailed) as error:
            raise self._named(error) from error

    def _named(self, error: Exception) -> Exception:
        return type(error)(f'mounted at {self.prefix or "/"}: {error}')


def rest_of(request: Request) -> bytes:
    """Return the raw path behind the prefixes of all applications that the request went through."""
    place: Place | None = request.kept.get('place') if request.kept is not None else None
    return request.raw_path if place is None else place.rest


def service_of(app: Any) -> Service:
    """Return an application of any kind as a Service. Raises `HandlerError` for none."""
    kind = kind_of(app)
    if kind == 'native':
        service: Service = app
        return service
    # Late: a process without asyncio, or without threads, starts faster and stays smaller.
    if kind == 'asgi':
        from ..asgi.application import AsgiApplication
        return AsgiApplication(app)
    if kind == 'wsgi':
        from ..wsgi.application import WsgiApplication
        return WsgiApplication(app)
    raise HandlerError(f'{app!r:.64} cannot be mounted: it is no Application, and no ASGI or WSGI '
                       'application, as far as can be seen; if it is one, write '
                       'AsgiApplication(it) or WsgiApplication(it)')


def check_prefix(prefix: Any) -> str:
    """Return a prefix without a slash at its end. Raises `ValueError` for what is none."""
    check_path(prefix)
    if prefix.startswith('^') or '<' in prefix:
        raise ValueError(f"the prefix of a mount is plain, not {prefix!r}: write '/sub'")
    if '//' in prefix:
        raise ValueError(f"the prefix {prefix!r} has an empty segment: write '/sub'")
    bare: str = prefix.rstrip('/')
    return bare


def check_mount(outer: Service, inner: Service) -> None:
    """Raise `ValueError` if one is in the other already."""
    above: Service | None = outer
    while above is not None:
        if above is inner:
            raise ValueError('an application cannot be mounted inside itself, also not through '
                             'another one: make a second one')
        above = above.outer
    if inner.outer is not None:
        raise ValueError('this application is mounted already: make one for each place')


def start_all(rest: Coroutine[Any, Any, None] | None, mounts: Sequence[Mount],
              settings: Settings) -> Coroutine[Any, Any, None] | None:
    """Start what is mounted, after what is left of the start of the outer one."""
    left = iter(mounts)
    while rest is None:
        mount = next(left, None)
        if mount is None:
            return None
        rest = mount.startup(settings)
    return _start_rest(rest, left, settings)


async def _start_rest(rest: Coroutine[Any, Any, None] | None, left: Iterable[Mount],
                      settings: Settings) -> None:
    if rest is not None:
        await rest
    for mount in left:
        rest = mount.startup(settings)
        if rest is not None:
            await rest


def stop_all(stops: Sequence[Stop], seconds: float) -> Coroutine[Any, Any, None] | None:
    """Call the ends of services, the last one first; each gets its share of the seconds (0: all).

    Return a coroutine for the rest if one has to wait.
    """
    left, until = list(stops), time.monotonic() + seconds
    while left:
        share = max(0.1, (until - time.monotonic()) / len(left)) if seconds else 0.0
        rest = left.pop()(share)
        if rest is not None:
            return _stop_rest(rest, left, until - time.monotonic() if seconds else 0.0)
    return None


async def _stop_rest(rest: Coroutine[Any, Any, None], left: list[Stop], seconds: float) -> None:
    begun = time.monotonic()
    await rest
    more = stop_all(left, max(0.1, seconds - time.monotonic() + begun) if seconds else 0.0)
    if more is not None:
        await more
