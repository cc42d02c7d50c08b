"""Request: what a handler of an application with routes reads: the server's, and what is decoded.

The server makes its requests of this class (`Server.request_class`). An application for ASGI reads
the server's own, which knows nothing of forms.
"""

from __future__ import annotations

from .. import server
from ..loop import Future
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..uploads import Files


class Request(server.Request):
    """One request. Body reads are Futures: `data = yield request.read(65536)`."""

    __slots__ = ()

    # (The room `uploads` is imported late: few programs have forms. `Application.route` imports it
    # with the first route that takes a body, so that no request does.)

    def form(self) -> Future:
        """Read the fields of a form, each with all its values; the same dictionary each time.

        They are those of an urlencoded body, or the text parts of a multipart one, whose files are
        passed over: see `files`. The Future raises `UnsupportedMediaType` for another Content-Type,
        `BadRequest` for a malformed form, `PayloadTooLarge` beyond the options `form_size` and
        `form_fields`, and `HandlerError` if the body is read in another way, too.
        """
        from ..uploads import form_of
        return form_of(self)

    def files(self) -> Files:
        """Return the parts of an upload, to be read as they arrive: files and fields, in order.

            files = request.files()
            while part := (yield files.next()):
                yield part.save(path)

        Raises `UnsupportedMediaType` for what is no multipart/form-data, `BadRequest` without a
        usable boundary, and `HandlerError` if the body is read in another way, too.
        """
        from ..uploads import files_of
        return files_of(self)
