"""Lifespan: an application's startup and shutdown, as one call that lasts as long as the server.

    https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

from __future__ import annotations

import asyncio
import contextvars
import logging

from ..errors import LifespanFailed
from ..loop.signals import from_keyboard
from ..typed import Any, Callable
from .exchange import Message
from .runner import Application

_log = logging.getLogger('tremolo.error')


class Lifespan:
    """`startup` before the first connection, `shutdown` after the last.

    `mode` is 'auto', 'on' or 'off'. With 'auto' an application that raises at once is taken for one
    that does not know lifespans, and is served without. With 'on' that is a failed start.
    """

    def __init__(self, app: Application, mode: str,
                 failed: Callable[[LifespanFailed], object] = lambda _: None) -> None:
        """Prepare. `failed` is called when the application ends itself while it is served."""
        self._app = app
        self._mode = mode
        self.state: dict[str, Any] = {}    # The application's values, for each request's scope.
        self._task: asyncio.Task[None] | None = None
        self._started = False
        self._failed = failed
        self._over = False    # Whether we have ended the task.
        self._asked = ''    # What the application was last asked for: startup or shutdown.
        # (`startup` makes both: before Python 3.10 a queue can only be made while the loop runs.)
        self._messages: asyncio.Queue[Message]
        # That of the application at the end of its startup; None if it knows no lifespan.
        self.context: contextvars.Context | None = None
        self._heard: asyncio.Future[str]    # The application's answer to the last message.

    async def startup(self, seconds: float) -> None:
        """Start the application. Raises `LifespanFailed`, also after `seconds` (0: no limit)."""
        if self._mode == 'off':
            return
        self._messages = asyncio.Queue()
        self._heard = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._run())
        try:
            if why := await self._ask('startup', seconds):
                raise LifespanFailed(why)
        except BaseException:
            self._end()
            raise
        self._started = not self._task.done()

    async def shutdown(self, seconds: float) -> str:
        """Let the application clean up; a failure is logged, and returned; '' for none."""
        why = ''
        if self._started and self._task is not None and not self._task.done():
            self._heard = asyncio.get_running_loop().create_future()
            if why := await self._ask('shutdown', seconds):
                _log.error('the shutdown of the application failed: %s', why)
        self._end()
        return why

    def _end(self) -> None:
        """End the application's call."""
        self._over = True
        if self._task is not None:
            self._task.cancel()

    async def _ask(self, what: str, seconds: float) -> str:
        """Send a message and wait for its answer; return the fault as a text, '' for none."""
        self._asked = what
        self._messages.put_nowait({'type': f'lifespan.{what}'})
        try:
            return await asyncio.wait_for(self._heard, seconds or None)
        except asyncio.TimeoutError:
            return f'the {what} took longer than {seconds:g} seconds'

    async def _run(self) -> None:
        """Call the application once, for its whole lifespan.

        Nothing but the user's Ctrl-C leaves it. An error is the answer to what it was asked for.
        `SystemExit` and a `CancelledError` that is not ours say more: the application has ended.
        """
        scope = {'type': 'lifespan', 'asgi': {'version': '3.0', 'spec_version': '2.0'},
                 'state': self.state}
        why = ''
        try:
            await self._app(scope, self._messages.get, self._send)
        except Exception as error:
            if self._mode == 'auto' and not self._started:
                _log.debug('the application has no lifespan: %r', error)
            else:
                _log.error('the lifespan of the application failed', exc_info=error)
                why = repr(error)
        except BaseException as error:
            if isinstance(error, GeneratorExit) or from_keyboard(error):
                raise
            if self._over:
                return
            why = f'the application has ended itself: {error!r}'
            if self._started and self._asked == 'startup':
                _log.error('the lifespan of the application failed: %s', why)
                self._started = False
                self._failed(LifespanFailed(why))
        self._hear(why)

    async def _send(self, message: Message) -> None:
        """Take the application's answer to `startup` or `shutdown`."""
        kind = message['type']
        if kind in ('lifespan.startup.complete', 'lifespan.shutdown.complete'):
            if kind == 'lifespan.startup.complete':
                self.context = contextvars.copy_context()
            self._hear('')
        elif kind in ('lifespan.startup.failed', 'lifespan.shutdown.failed'):
            self._hear(str(message.get('message') or 'the application gave no reason'))
        else:
            raise RuntimeError(f'unexpected message {kind}')

    def _hear(self, why: str) -> None:
        if not self._heard.done():
            self._heard.set_result(why)
