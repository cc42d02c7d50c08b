"""WrappedResponse: the answer of an application that has middleware or error handlers.

It has `layers`, the outermost first: each middleware at its bare `yield` (middleware.py), and the
error handlers of each application (error_handlers.py), which stand outside its middleware. Each is
taken from the end once, when

    the head is about to be sent    the second half of a middleware runs, and may replace the body
    an error is to be answered      it is thrown in, or goes to an error handler

so it is the response itself that knows where these moments are, for handlers of every kind, files,
ASGI and WSGI applications. Other responses (`Response.layers` is empty) know nothing of it.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextvars import Context

from ..http.encoder import Encoded
from ..http.replaced import replace_fields
from ..loop import Cancelled, Future, Stream, StreamClosed, Task
from ..loop.outbox import Piece, PieceFailed
from ..loop.shared_future import SharedFuture
from ..loop.signals import from_keyboard
from ..pages import send_failure
from ..server import HandlerError, HTTPError, Response
from ..server.bodiless import BODILESS
from ..server.notices import cancel, why
from ..server.response_head import HTML, OK
from ..typed import Any
from .failure import fail, forget_frames, log_error
from .flow import Chunks, Flow, Replaced, closed, whole

_log = logging.getLogger('tremolo.error')

# What `reset` drops, and a middleware may have set for every answer: who may keep it.
_OF_CACHES = 'Cache-Control', 'Expires'


class WrappedResponse(Response):
    """One answer, and what stands around it."""

    __slots__ = ('_body', '_flow', '_full', '_replaced', '_set_before', '_trailers', 'context',
                 'error', 'layers', 'may_handle', 'who')

    layers: list[Any]    # What stands around, the outermost first.
    context: Context    # All of them, and the handler, run in it.
    who: Any    # Who runs, or has failed: a middleware.
    error: BaseException | None    # That an error handler is called with.
    may_handle: bool    # False after an error handler has failed: no other one is called.
    _set_before: list[tuple[str, str]]    # Fields for caches that middleware has set.
    _flow: Flow | None    # The body on its way, if something may replace it.
    _body: Any    # The chunks that are sent; None when they have ended.
    _replaced: list[Replaced]    # What replaces the body, the innermost first.
    _full: SharedFuture | None    # Done when the client takes more, and all that came is sent.
    _trailers: bytes

    @staticmethod
    def of(response: Response) -> WrappedResponse:
        """Put one in the place of a response that has not begun."""
        wrapped = WrappedResponse()
        connection = wrapped.connection = response.connection
        wrapped.request = response.request
        wrapped._line = OK
        wrapped._content_type = HTML
        wrapped._chunked = True
        wrapped._headers = None
        wrapped.framing = ''
        wrapped.ended = response.live = False
        wrapped.live = wrapped.may_handle = True
        wrapped.layers = []
        wrapped.context = connection.server.new_context()
        wrapped.who = wrapped.error = wrapped._flow = wrapped._body = wrapped._full = None
        wrapped._set_before = []
        connection.response = wrapped
        return wrapped

    # -- the head ---------------------------------------------------------------------------------

    def keep_fields(self) -> None:
        """Note the fields that middleware has set: an error's answer has them, too."""
        self._set_before = [(name, value) for name in _OF_CACHES
                            for value in self.headers.get_all(name)]

    def reset(self, meant: bool = True) -> None:
        """Forget the status and what describes a body, but nothing that middleware has set."""
        super().reset(meant)
        for name, value in self._set_before:
            if name not in self.headers:
                self.headers[name] = value

    def set_encoded(self, status: int, fields: Encoded) -> None:
        """Set the status and the fields of an ASGI application, beside those of middleware."""
        lines, length, close, _, _ = fields
        pairs = [line.decode('latin-1').split(': ', 1) for line in lines.split(b'\r\n') if line]
        new = [(name, value) for name, value in pairs]
        if length is not None:
            new.append(('Content-Length', str(length)))
        if close:
            new.append(('Connection', 'close'))
        self.status = status
        self.content_type = ''
        replace_fields(self.headers, new)

    # -- sending ----------------------------------------------------------------------------------

    def send_body(self, body: bytes) -> None:
        """Send the whole answer; the second halves of all middleware run before."""
        if not self.layers or not self.live or self.framing:
            return super().send_body(body)
        replaced = False
        while self.layers:
            layer = self.layers.pop()
            hidden = self._is_hidden()
            try:
                value = layer.second(iter([body] if body and not hidden else []))
                if value is not None:
                    replaced = True
                    if self.request.method != 'HEAD':
                        body = whole(layer.name, value, self.encode)
            except BaseException as error:
                return self._break_off(layer, error)
        if replaced:
            self.headers.pop('Content-Length')
            if self.request.method == 'HEAD':
                # (How long the body of GET would be, nobody knows.)
                super().write_pieces(b'', b'')
                return super().finish()
            if self.status in BODILESS:
                body = b''
        return super().send_body(body)

    def write_pieces(self, before: bytes, data: bytes) -> Future | None:
        """Send a piece of the body; the second halves run before the first one."""
        if self.layers and self.live and not (self.framing or self.ended):
            self._open(before, data)
            if not self.live:
                return self._leave(data)    # One has failed, and its error is answered.
            if self._flow is None:
                return super().write_pieces(before, data)
        elif self._flow is None:
            return super().write_pieces(before, data)
        elif self._body is None or not self.live:
            return self._leave(data)    # (What replaces it has ended before it.)
        else:
            self._flow.add(before, data)
        wait = self._send_replaced()
        if wait is None and not self.framing and self.live:
            super().write_pieces(b'', b'')    # The head has to go now.
        return wait

    def finish(self, trailers: bytes = b'') -> None:
        """End a body that has begun, when all is sent that replaces it."""
        if self._flow is None or self.ended or not self.live:
            return super().finish(trailers)
        self._trailers = trailers
        self._flow.ended, self._flow.dry = True, False
        if self._body is None:
            return super().finish(trailers)
        self._send_replaced()
        return None

    def switch(self, protocol: str) -> Stream:
        """Answer 101; the second halves run before. Raises their errors."""
        while self.layers:
            layer = self.layers.pop()
            if layer.second(iter(())) is not None:
                raise HandlerError(f'{layer.name} returned a body after its `yield`, and the '
                                   'answer is 101, which has none: return None if '
                                   "'upgrade' in request.headers")
        return super().switch(protocol)

    # -- the body ---------------------------------------------------------------------------------

    def _is_hidden(self) -> bool:
        return self.request.method == 'HEAD' or self.status in BODILESS

    def _leave(self, data: Any) -> Future | None:
        if isinstance(data, Piece):
            data.close()
        return None

    def _open(self, before: bytes, data: bytes) -> None:
        """Run the second halves. If one of them takes or replaces chunks, there is a flow."""
        flow = Flow()
        if not self._is_hidden():
            flow.add(before, data)
        body: Any = None
        replaced: list[Replaced] = []
        self._replaced = replaced
        while self.layers:
            layer = self.layers.pop()
            chunks = Chunks(layer.name, flow, body)
            taken = _Taken(chunks)
            hidden = self._is_hidden()
            try:
                value = layer.second(iter(()) if hidden else taken)
                if value is not None:
                    body = Replaced(layer.name, value, chunks, flow, self.encode)
                    replaced.append(body)
                elif taken.chunks:
                    chunks.ahead.extend(filter(None, taken.chunks))
                    chunks.asked = False
                    body = Replaced(layer.name, chunks, chunks, flow, self.encode)
                    replaced.append(body)
                taken.chunks = None
            except BaseException as error:
                flow.close()
                self._close_replaced()
                return self._break_off(layer, error)
        if body is not None:
            self._flow = flow
            self._body = body
            flow.dry = False
            if any(not each.unchanged for each in replaced):
                self.headers.pop('Content-Length')
            if self._is_hidden():
                flow.close()
                self._body = None
                self._close_replaced()
                super().write_pieces(b'', b'')
        return None

    def _send_replaced(self) -> Future | None:
        """Send what has come; return a Future if the client takes no more at present."""
        if self._full is None:
            sending = self._sending()
            wait = next(sending, None)
            if wait is not None:
                reactor = self.connection.stream.reactor
                self._full = full = SharedFuture(reactor)
                task = Task(sending, reactor=reactor, yielded=wait)
                task.add_done_callback(lambda _: full.set_result())
        return self._full

    def _sending(self) -> Generator[Future, Any, None]:
        """Ask the outermost of the chunks for more, until it was told that no more has come."""
        flow, body = self._flow, self._body
        assert flow is not None
        try:
            while body is not None and not flow.dry:
                body.chunks.told = False
                while not body.chunks.told:
                    chunk = next(body, None)
                    if chunk is None:
                        self._body = body = None
                        flow.close()
                        self._close_replaced()
                        break
                    if chunk and (wait := super().write_pieces(b'', chunk)) is not None:
                        yield wait
            self._full = None
            if flow.ended and body is None:
                super().finish(self._trailers)
        except PieceFailed as error:
            error.piece.failed(str(error))
        except BaseException as error:
            if from_keyboard(error):
                raise
            self._full = None
            self._failed(flow, error)

    def _failed(self, flow: Flow, error: BaseException) -> None:
        """Answer an error of what replaces the body; if the head was sent, cut the connection."""
        self._body = None
        flow.close()
        self._close_replaced()
        if not self.live and isinstance(error, (Cancelled, StreamClosed)):
            return None    # The client is gone.
        who = _Named(flow.who or 'a middleware')
        if self.live and not self.head_sent:
            return self._break_off(who, error)
        log_error(who, self.request, error)
        if self.live:
            self.connection.abort('failed')
        return None

    def _close_replaced(self) -> None:
        for error in closed(reversed(self._replaced)):
            _log.error('a middleware failed while its chunks were closed', exc_info=error)
        self._replaced.clear()

    # -- errors -----------------------------------------------------------------------------------

    def _break_off(self, who: Any, error: BaseException) -> None:
        """Answer the error of a second half in place of what a handler is sending just now.

        The handler may still run, and must not write into that answer: so it finds its client gone,
        and the error is answered from the ready queue.
        """
        if from_keyboard(error):
            raise error
        connection, self.live = self.connection, False
        task, connection.task = connection.task, None
        if task is not None:
            cancel(task, 'the answer is complete')
        connection.stream.reactor.call_soon(self._answer_later, who, error)

    def _answer_later(self, who: Any, error: BaseException) -> None:
        if self.connection.response is self:
            self.live = True
            self.throw(who, error)

    def throw(self, who: Any, error: BaseException) -> None:
        """Give an error to what stands around it, the innermost first, or answer it.

        `who` has raised it, and a `name` for the log; None: it is in the log already.
        """
        self.reset(meant=isinstance(error, HTTPError))
        if getattr(who, 'of_errors', False):
            self.may_handle = False
        while self.layers:
            layer = self.layers.pop()
            before = error.__traceback__
            try:
                if layer.thrown(self, who, error):
                    return
            except BaseException as raised:
                if from_keyboard(raised):
                    raise
                if raised is error:
                    error.__traceback__ = before    # (Our own frames would be a cycle.)
                else:
                    who, error = layer, _without_ours(raised)
                    self.reset(meant=isinstance(error, HTTPError))
        if who is None:
            send_failure(self, error)
        else:
            fail(who, self.request, self, error)
        forget_frames(error)

    def let_go(self, reason: str) -> None:
        """Tell the middleware that waits for the head that there will be none."""
        if self._flow is not None:
            self._body = None
            self._flow.close()
            self._close_replaced()
        while self.layers:
            layer = self.layers.pop()
            try:
                layer.thrown(self, None, Cancelled(why(reason)))
            except (Cancelled, StreamClosed):
                pass
            except Exception as error:
                log_error(layer, self.request, error)


class _Taken:
    """Chunks, as long as a second half runs: what it takes is noted, to be put back."""

    def __init__(self, source: Chunks) -> None:
        self._source = source
        self.chunks: list[bytes] | None = []

    def __iter__(self) -> _Taken:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._source)
        if self.chunks is not None:
            self.chunks.append(chunk)
        return chunk


class _Named:
    """A name for the log."""

    def __init__(self, name: str) -> None:
        self.name = name


def _without_ours(error: BaseException) -> BaseException:
    """Drop our frames from the begin of a traceback: they would be a cycle."""
    place = error.__traceback__
    while place is not None and place.tb_frame.f_globals.get('__name__', '').startswith(
            'tremolo.'):
        place = place.tb_next
    return error.with_traceback(place)


def answer_ended(response: Response, reason: str) -> None:
    """Take the end of an answer (`Server.request_observers`): its middleware may still wait."""
    if reason and isinstance(response, WrappedResponse):
        # (Behind the handler, which is being cancelled.)
        response.connection.stream.reactor.call_soon(response.let_go, reason)
