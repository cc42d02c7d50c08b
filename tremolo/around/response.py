"""WrappedResponse: the answer of an application that has middleware or error handlers.

It has `layers`, the outermost first: each middleware at its bare `yield` (middleware.py), and the
error handlers of each application, which stand outside its middleware. Each is taken from the end
once, when

    the head is about to be sent    the second half of a middleware runs, and may replace the body
    an error is to be answered      it is thrown in, or goes to an error handler

so it is the response itself that knows where these moments are, for handlers of every kind, files,
ASGI and WSGI applications. Other responses (`Response.layers` is empty) know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import Context

from ..http.encoder import Encoded
from ..http.replaced import replace_fields
from ..loop import Cancelled, Future, Stream, StreamClosed
from ..loop.signals import caught
from ..pages import send_failure
from ..server import HandlerError, HTTPError, Response
from ..server.bodiless import BODILESS
from ..server.notices import cancel, why
from ..server.response_head import HTML, OK
from ..typed import Any
from .flow import Taken, leave, whole
from .replacing import ReplacedBody

# What `reset` drops, and a middleware may have set for every answer: who may keep it.
_OF_CACHES = 'Cache-Control', 'Expires'


class WrappedResponse(Response):
    """One answer, and what stands around it."""

    __slots__ = ('_replaced', '_set_before', 'context', 'error', 'layers', 'may_handle', 'who')

    # What stands around, the outermost first, each with what it keeps for this answer. (Pairs: an
    # object for each would take 2,300 instructions, measured.)
    layers: list[tuple[Any, Any]]
    context: Context    # All of them, and the handler, run in it.
    who: Any    # Who runs, or has failed: a middleware.
    error: BaseException | None    # That an error handler is called with.
    may_handle: bool    # False after an error handler has failed: no other one is called.
    _set_before: Iterable[tuple[str, str]]    # Fields for caches that middleware has set.
    _replaced: ReplacedBody | None    # The body on its way, if something replaces it.

    @classmethod
    def of(cls, response: Response) -> WrappedResponse:
        """Put one in the place of a response that has not begun."""
        wrapped = cls()
        connection = wrapped.connection = response.connection
        wrapped.request = response.request
        wrapped.line = OK
        wrapped._content_type = HTML
        wrapped._chunked = True
        wrapped._headers = None
        wrapped.framing = ''
        wrapped.handler_timeout = response.handler_timeout
        wrapped.ended = response.live = False
        wrapped.live = wrapped.may_handle = True
        wrapped.layers = []
        wrapped.context = connection.server.new_context()
        wrapped.who = wrapped.error = wrapped._replaced = None
        wrapped._set_before = ()
        connection.response = wrapped
        return wrapped

    # -- what the room `web` knows ----------------------------------------------------------------

    def answer_with(self, who: Any, value: Any) -> None:
        """Send what a middleware, `who`, has returned as the answer, as if a handler had."""
        raise NotImplementedError

    def answer_error(self, who: Any, error: BaseException) -> None:
        """Answer an error that nobody has caught."""
        raise NotImplementedError

    def log_error(self, who: Any, error: BaseException) -> None:
        """Log an error with its traceback."""
        raise NotImplementedError

    # -- the head ---------------------------------------------------------------------------------

    def keep_fields(self) -> None:
        """Note the fields that middleware has set: an error's answer has them, too."""
        if self._headers is not None:
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
        layers, replaced = self.layers, False
        head = self.request.method == 'HEAD'
        while layers:
            layer, kept = layers.pop()
            hidden = not body or head or self.line[0] in BODILESS
            try:
                value = layer.second(self, kept, iter(() if hidden else (body,)))
                if self.framing:
                    raise _sent_by(layer)
                if value is not None:
                    replaced = True
                    if not head:
                        body = whole(layer.name, value, self.encode)
            except BaseException as error:
                return self.break_off(layer, error)
        if replaced:
            self.headers.pop('Content-Length')
            if head:
                # (How long the body of GET would be, nobody knows.)
                super().write_pieces(b'', b'')
                return super().finish()
            if self.line[0] in BODILESS:
                body = b''
        return Response.send_body(self, body)

    def write_pieces(self, before: bytes, data: bytes) -> Future | None:
        """Send a piece of the body; the second halves run before the first one."""
        if self.layers and self.live and not (self.framing or self.ended):
            self._open(before, data)
            if not self.live:
                leave(data)    # One has failed, and its error is answered.
                return None
        elif self._replaced is not None:
            self._replaced.add(before, data)
        if self._replaced is None:
            return super().write_pieces(before, data)
        wait = self._replaced.send()
        if wait is None and not self.framing and self.live:
            super().write_pieces(b'', b'')    # The head has to go now.
        return wait

    def finish(self, trailers: bytes = b'') -> None:
        """End a body that has begun, when all is sent that replaces it."""
        if self._replaced is None or self.ended or not self.live:
            super().finish(trailers)
        else:
            self._replaced.end(trailers)

    def switch(self, protocol: str) -> Stream:
        """Answer 101; the second halves run before. Raises their errors."""
        while self.layers:
            layer, kept = self.layers.pop()
            if layer.second(self, kept, iter(())) is not None:
                raise HandlerError(f'{layer.name} returned a body after its `yield`, and the '
                                   'answer is 101, which has none: return None if '
                                   "'upgrade' in request.headers")
        return super().switch(protocol)

    # -- the body ---------------------------------------------------------------------------------

    def _is_hidden(self) -> bool:
        return self.request.method == 'HEAD' or self.status in BODILESS

    def _open(self, before: bytes, data: bytes) -> None:
        """Run the second halves; what they take or replace is sent as a `ReplacedBody`."""
        body = ReplacedBody(self)
        if not self._is_hidden():
            body.add(before, data)
        while self.layers:
            layer, kept = self.layers.pop()
            chunks = body.chunks_for(layer.name)
            taken = Taken(chunks)
            try:
                value = layer.second(self, kept, iter(()) if self._is_hidden() else taken)
                if self.framing:
                    raise _sent_by(layer)
                body.replace(layer.name, value, taken)
            except BaseException as error:
                body.close()
                return self.break_off(layer, error)
        if body.replaced:
            self._replaced = body
            if not body.unchanged:
                self.headers.pop('Content-Length')
            if self._is_hidden():
                body.close()
        return None

    # -- errors -----------------------------------------------------------------------------------

    def break_off(self, who: Any, error: BaseException) -> None:
        """Answer the error of a second half in place of what a handler is sending just now.

        The handler may still run, and must not write into that answer: so it finds its client gone,
        and the error is answered from the ready queue.
        """
        error = caught(error)
        connection, self.live, self._replaced = self.connection, False, None
        task, connection.task = connection.task, None
        if task is not None:
            cancel(task, 'the answer is complete')
        connection.stream.reactor.call_soon(self._answer_later, who, error)

    def _answer_later(self, who: Any, error: BaseException) -> None:
        if self.connection.response is self:
            self.live = True
            self.throw(who, error)
        elif not isinstance(error, (Cancelled, StreamClosed)):
            self.log_error(who, error)    # The client is gone, or has an answer already.

    def throw(self, who: Any, error: BaseException) -> None:
        """Give an error to what stands around it, the innermost first, or answer it.

        `who` has raised it, and a `name` for the log; None: it is in the log already.
        """
        self.reset(meant=isinstance(error, HTTPError))
        if getattr(who, 'of_errors', False):
            self.may_handle = False
        while self.layers:
            layer, kept = self.layers.pop()
            before = error.__traceback__
            try:
                if layer.thrown(self, kept, who, error):
                    return
            except BaseException as raised:
                raised = caught(raised)
                if raised is error:
                    error.with_traceback(before)    # (Our own frames would be a cycle.)
                else:
                    who, error = layer, _without_ours(raised)
                    self.reset(meant=isinstance(error, HTTPError))
        if who is None:
            send_failure(self, error)
        else:
            self.answer_error(who, error)

    def cut(self, reason: str) -> None:
        """Take the end of an answer that is not complete: its middleware may still wait."""
        if self.layers or self._replaced is not None:
            # (Behind the handler, which is being cancelled.)
            self.connection.stream.reactor.call_soon(self.let_go, reason)

    def let_go(self, reason: str) -> None:
        """Tell the middleware that waits for the head that there will be none."""
        if self._replaced is not None:
            self._replaced.close()
        while self.layers:
            layer, kept = self.layers.pop()
            try:
                layer.thrown(self, kept, None, Cancelled(why(reason)))
            except (Cancelled, StreamClosed):
                pass
            except BaseException as error:
                self.log_error(layer, caught(error))


def _sent_by(layer: Any) -> HandlerError:
    return HandlerError(f'{layer.name} sends an answer by itself, while one is about to be sent: '
                        'set its fields, or return what replaces the body')


def _without_ours(error: BaseException) -> BaseException:
    """Drop our frames from the begin of a traceback: they would be a cycle."""
    place = error.__traceback__
    while place is not None and place.tb_frame.f_globals.get('__name__', '').startswith(
            'tremolo.'):
        place = place.tb_next
    return error.with_traceback(place)
