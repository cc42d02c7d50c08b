"""Form: the fields of a form, all of them in memory. File parts are passed over, and not kept."""

from __future__ import annotations

from ..http.errors import FormError
from ..http.form import PIECE, Fields, fields_in_turns, read_fields
from ..http.multipart import EndOfForm, PartHead
from ..http.parameters import decode_text
from ..loop import Future, LimitExceeded, Lock
from ..server import Request
from ..server.errors import PayloadTooLarge
from .errors import answer_of
from .later import Later
from .upload import Steps, Upload, answer_to, upload_of


class Form:
    """The fields of one form, as far as they were read: a call that is cancelled loses none."""

    __slots__ = ('_count', '_field', '_size', '_value', 'fields', 'lock', 'whole')

    def __init__(self) -> None:
        self.lock = Lock()    # Held by the call that reads.
        self.whole = False
        self.fields = Fields()
        self._count = 0    # The fields so far.
        self._size = 0    # Bytes of names and values.
        self._field: PartHead | None = None    # The field that is being read; None in a file.
        self._value = bytearray()

    def read(self, upload: Upload, length: int | None) -> Steps:
        """Read to the end; `length` is that of the body, if it is known."""
        if upload.parser is None:
            self.fields = yield from _urlencoded(upload, length)
            upload.forget()
        else:
            event = None
            while type(event) is not EndOfForm:
                event = yield from upload.event()
                self._take(upload, event)
        self.whole = True

    def _take(self, upload: Upload, event: object) -> None:
        """Take an event of a form in parts. Raises `PayloadTooLarge` and `BadRequest`."""
        settings, field = upload.settings, self._field
        if isinstance(event, PartHead):
            if event.filename is None:
                self._field = event
                self._grow(upload, len(event.name))
                self._count += 1
                if self._count > settings.form_fields:
                    raise upload.refused(_too_many(settings.form_fields))
        elif field is None:
            pass    # Contents of a file, or the end of one.
        elif isinstance(event, bytes):
            self._grow(upload, len(event))
            self._value += event
        else:
            try:
                text = decode_text(bytes(self._value), field.charset)
            except FormError as error:
                raise upload.refused(answer_of(error)) from None
            self.fields.setdefault(field.name, []).append(text)
            self._field = None
            self._value.clear()

    def _grow(self, upload: Upload, size: int) -> None:
        self._size += size
        if self._size > upload.settings.form_size:
            raise upload.refused(_too_large(upload.settings.form_size))


def _urlencoded(upload: Upload, length: int | None) -> Steps:
    settings = upload.settings
    if (length or 0) > settings.form_size:
        raise _too_large(settings.form_size)    # Before a byte of it is asked for.
    try:
        data = yield from upload.whole(settings.form_size)
    except LimitExceeded:
        raise _too_large(settings.form_size) from None
    try:
        if len(data) <= PIECE:
            return read_fields(data, settings.form_fields)
        # (Not on a thread: what computes there holds up each system call of the loop by 5 ms.)
        return (yield from fields_in_turns(data, settings.form_fields))
    except ValueError:
        raise _too_many(settings.form_fields) from None


def _too_large(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f'the fields of the form exceed {most} bytes (form_size)')


def _too_many(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f'more than {most} fields in the form (form_fields)')


def form_of(request: Request) -> Future:
    """Return a Future of the fields of a request's form; see `Request.form` of the room `web`."""
    reactor = request.connection.stream.reactor
    return Later(_form(request), reactor, 'request.form()')


def _form(request: Request) -> Steps:
    kept = request.kept
    form: Form | None = None if kept is None else kept.get('form')
    if form is not None and form.whole:
        return form.fields
    response = answer_to(request)
    upload = upload_of(request, 'form')
    if form is None:
        # (`upload_of` has made the dictionary.)
        form = (request.kept or {}).setdefault('form', Form())
    with (yield form.lock.acquire()):
        if not form.whole:
            yield from upload.alone(response, form.read(upload, request.content_length))
    return form.fields
