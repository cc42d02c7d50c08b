"""Client: asks an application in the same process, without a port and without a thread.

    client = app.client()
    assert client.get('/hello').text == 'Hello world!'

    with app.client() as client:              # with the hooks of the start and the stop
        ...

    async with app.client() as client:        # inside a running asyncio loop
        answer = await client.get('/hello')

There are two faces for one `Session`. A `Client` runs the reactor until its answer is there. An
`AsyncClient` returns what can be awaited: its server is a guest of the loop that runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager as ContextManager
from contextlib import nullcontext

from ..loop import InvalidState, Reactor, Task
from ..server import Server
from ..typed import Any, Callable, Generic, Protocol, TypeVar
from .answer import Answer, StreamedAnswer
from .cookies import Cookies
from .each import Run
from .failures import Failures
from .request import GivenHeaders
from .session import Session
from .socket import ClientSocket

T = TypeVar('T')
Opened = TypeVar('Opened')
_MISSING: Any = object()
# What other clients call what is here.
_INSTEAD = {'content': 'data=', 'body': 'data=', 'query_string': 'params=', 'query': 'params=',
            'allow_redirects': 'follow_redirects=', 'form': 'data=', 'content_type': 'headers=',
            'auth': "headers={'Authorization': ...}", 'timeout_seconds': 'timeout='}
_METHODS = {'websocket_connect': 'client.websocket(url)', 'open': 'client.request(method, url)',
            'session_transaction': 'client.cookies', 'close': 'with app.client() as client'}


class Door(Protocol):
    """Where clients find the server of their application (room `service`)."""

    def enter(self, hooks: bool, failures: Any) -> Server:
        """Return the server, which begins with the first client; with its hooks, or without."""

    def leave(self, good: bool) -> None:
        """End the server, if this was the last client; if all was good, raise what fails then."""

    async def enter_loop(self, failures: Any) -> Server:
        """Do as `enter` in a running asyncio loop, with hooks."""

    async def leave_loop(self, good: bool) -> None:
        """Do as `leave` there."""

    def check(self) -> None:
        """Raise `InvalidState` where the server cannot be run."""


class _Face(Generic[T]):
    """The methods of HTTP; T is an answer, or what is awaited for one."""

    def __init__(self, door: Door, session: Session) -> None:
        self._door = door
        self._session = session

    @property
    def cookies(self) -> Cookies:
        """The cookies that the client has: names and values."""
        return self._session.cookies

    def __getattr__(self, name: str) -> Any:
        hint = f': write {_METHODS[name]}' if name in _METHODS else ''
        raise AttributeError(f'a client has no attribute {name!r}{hint}')

    def _run(self, generator: Generator[Any, Any, Any]) -> Any:
        raise NotImplementedError

    def _held(self) -> ContextManager[Any]:
        """Return the context manager that has a server for a while."""
        return nullcontext()

    def request(
        self, method: str, url: str, *, params: Any = None, json: Any = None, data: Any = None,
        files: Any = None, headers: GivenHeaders = None,
        cookies: Mapping[str, str] | None = None, follow_redirects: bool | None = None,
        timeout: float | None = _MISSING, **unknown: Any
    ) -> T:
        """Send a request; return the whole answer.

        `params` are added to the query. The body is one of: `json`; `data`, which is a dictionary
        of a form's fields, bytes, str, an open file, or an iterable that is sent in chunks;
        `files`, a dictionary of names with bytes, an open file or `(filename, content[, type])`,
        with the fields in `data`. A header of None is not sent. `timeout` is in seconds, for all
        of it; None: without end. Raises the error of the handler that is answered by a 500,
        `TimeoutError`, and `AnswerError` for an answer that breaks HTTP.
        """
        _refuse(unknown)
        session = self._session
        request = session.request(method, url, params, json=json, data=data, files=files,
                                  headers=headers, cookies=cookies)
        seconds = session.timeout if timeout is _MISSING else timeout
        with self._held():
            answer: T = self._run(session.fetch(request, follow_redirects, seconds))
            return answer

    def get(self, url: str, **options: Any) -> T:
        """Send a GET; the options are those of `request`."""
        return self.request('GET', url, **options)

    def head(self, url: str, **options: Any) -> T:
        """Send a HEAD."""
        return self.request('HEAD', url, **options)

    def post(self, url: str, **options: Any) -> T:
        """Send a POST."""
        return self.request('POST', url, **options)

    def put(self, url: str, **options: Any) -> T:
        """Send a PUT."""
        return self.request('PUT', url, **options)

    def patch(self, url: str, **options: Any) -> T:
        """Send a PATCH."""
        return self.request('PATCH', url, **options)

    def delete(self, url: str, **options: Any) -> T:
        """Send a DELETE."""
        return self.request('DELETE', url, **options)

    def options(self, url: str, **options: Any) -> T:
        """Send an OPTIONS; the url may be `*`."""
        return self.request('OPTIONS', url, **options)

    def stream(self, method: str, url: str, *, params: Any = None,
               follow_redirects: bool | None = None, timeout: float | None = _MISSING,
               **body: Any) -> Opening[StreamedAnswer]:
        """Send a request; in a `with` block its answer comes piece by piece.

            with client.stream('GET', '/events') as answer:
                for event in answer.events():

        The arguments are those of `request`; `timeout` is for each wait.
        """
        _refuse(body, ('json', 'data', 'files', 'headers', 'cookies'))
        session = self._session
        request = session.request(method, url, params, **body)
        seconds = session.timeout if timeout is _MISSING else timeout
        begin = session.stream(request, follow_redirects, seconds, self._run)
        return Opening(session, begin, self._held(), self._run, 'stream')

    def websocket(self, url: str, *, protocols: Iterable[str] = (), headers: GivenHeaders = None,
                  cookies: Mapping[str, str] | None = None,
                  timeout: float | None = _MISSING) -> Opening[ClientSocket]:
        """Open a WebSocket for a `with` block. The block raises `WebSocketRefused`.

            with client.websocket('/chat', protocols=['v1']) as ws:
                ws.send('hello')
                assert ws.receive() == 'hello'
        """
        seconds = self._session.timeout if timeout is _MISSING else timeout
        begin = self._session.connect(url, protocols, headers, cookies, seconds, self._run)
        return Opening(self._session, begin, self._held(), self._run, 'websocket')


class Client(_Face[Answer]):
    """A client for tests that are plain functions; see `app.client`."""

    def __init__(self, door: Door, session: Session) -> None:
        super().__init__(door, session)
        self._users = 0    # The `with` blocks and the calls that are going on.

    def __enter__(self) -> Client:
        self._enter(True)
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self._leave(kind is None)

    def _enter(self, hooks: bool) -> None:
        if self._users and hooks:
            raise InvalidState('client: it is in use already; the `with` block comes first')
        if not self._users:
            self._session.server = self._door.enter(hooks, Failures())
        self._users += 1

    def _leave(self, good: bool) -> None:
        self._users -= 1
        if not self._users:
            self._session.close()
            try:
                self._door.leave(good and self._session.raise_errors)
            finally:
                self._session.server = None

    def _held(self) -> ContextManager[Any]:
        return _Held(self._enter, self._leave)

    def _run(self, generator: Generator[Any, Any, Any]) -> Any:
        """Run the reactor until the generator has ended; return its value."""
        self._door.check()
        server = self._session.server
        if server is None:
            raise RuntimeError('the block of this answer or WebSocket has ended')
        reactor = server.reactor
        task = [Task(generator, reactor=reactor, later=True)]

        def stop(_: object) -> None:
            reactor.stop()

        task[0].add_done_callback(stop)
        try:
            while not task[0].done():
                reactor.run()
        except BaseException:    # Ctrl-C.
            task[0].withdraw(stop)    # (It is cancelled, and stops no later run of the loop.)
            raise
        # (With a name for the task, this frame, which is in the traceback, would be a cycle.)
        return task.pop().result()

    async def __aenter__(self) -> AsyncClient:
        self._session.server = await self._door.enter_loop(Failures())
        return AsyncClient(self._door, self._session)

    async def __aexit__(self, kind: object, *error: object) -> None:
        self._session.close()
        try:
            await self._door.leave_loop(kind is None and self._session.raise_errors)
        finally:
            self._session.server = None


class AsyncClient(_Face[Awaitable[Answer]]):
    """A client for tests that are coroutines: its methods are awaited."""

    def _run(self, generator: Generator[Any, Any, Any]) -> Any:
        server = self._session.server
        if server is None:
            raise RuntimeError('the block of this client has ended')
        return _Call(generator, server.reactor)


class _Call(Task):
    """What the methods of an `AsyncClient` return."""

    def __init__(self, generator: Generator[Any, Any, Any], reactor: Reactor) -> None:
        super().__init__(generator, reactor=reactor, later=True)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f'no attribute {name!r} yet: write `await client.get(...)`')


class _Held:
    """A client in use. (`contextmanager` sets `__traceback__`; a frozen dataclass refuses it.)"""

    def __init__(self, enter: Callable[[bool], None], leave: Callable[[bool], None]) -> None:
        self._enter = enter
        self._leave = leave

    def __enter__(self) -> None:
        self._enter(False)

    def __exit__(self, kind: Any, *error: Any) -> None:
        self._leave(kind is None)


class Opening(Generic[Opened]):
    """What is open in a `with` block, or in an `async with` block of an `AsyncClient`."""

    def __init__(self, session: Session, begin: Generator[Any, Any, Opened],
                 held: ContextManager[Any], run: Run, name: str) -> None:
        self._begin = begin
        self._held = held
        self._run = run
        self._name = name
        self._session = session

    def __enter__(self) -> Opened:
        if isinstance(self._held, nullcontext):
            raise InvalidState(f'client: write `async with client.{self._name}(...)`')
        self._held.__enter__()
        try:
            self._opened: Any = self._run(self._begin)
        except BaseException as error:
            self._held.__exit__(type(error), error, error.__traceback__)
            raise
        opened: Opened = self._opened
        return opened

    def __exit__(self, kind: Any, *error: Any) -> None:
        try:
            if kind is None:
                self._run(self._opened.leaving())
        finally:
            self._session.release(self._opened.exchange)
            self._held.__exit__(kind, *error)

    async def __aenter__(self) -> Opened:
        if not isinstance(self._held, nullcontext):
            raise InvalidState(f'client: write `with client.{self._name}(...)`, or first `async '
                               'with app.client() as client:`')
        self._opened = await self._run(self._begin)
        opened: Opened = self._opened
        return opened

    async def __aexit__(self, kind: Any, *error: Any) -> None:
        try:
            if kind is None:
                await self._run(self._opened.leaving())
        finally:
            self._session.release(self._opened.exchange)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f'no attribute {name!r} yet: write `with client.{self._name}(...) as '
                             '...:`, or `async with`')


def _refuse(unknown: Mapping[str, Any], known: Iterable[str] = ()) -> None:
    """Raise `TypeError` for an argument that there is not, and say what is meant."""
    for name in unknown:
        if name not in known:
            hint = f': write {_INSTEAD[name]}' if name in _INSTEAD else ''
            raise TypeError(f'a request has no argument {name!r}{hint}')
