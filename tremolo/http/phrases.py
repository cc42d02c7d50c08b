"""Phrases: the standard reason phrase of each status (RFC 9110 section 15).

Python's `http.HTTPStatus` has old phrases for some, until 3.12 or still: 413 was "Request Entity
Too Large" in RFC 2616. So an answer would depend on the version of Python.
"""

from __future__ import annotations

from http import HTTPStatus

PHRASES: dict[int, str] = {
    **{int(status): status.phrase for status in HTTPStatus},
    413: 'Content Too Large',
    414: 'URI Too Long',
    416: 'Range Not Satisfiable',
    422: 'Unprocessable Content',
}
