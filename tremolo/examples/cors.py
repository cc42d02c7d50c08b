"""CORS: pages of another origin may use this interface, and only those of the list.

    python -m tremolo.examples.cors https://example.org http://localhost:3000

A browser asks first, by OPTIONS, whether a page may send what a plain form could not: a method such
as DELETE, or JSON (https://fetch.spec.whatwg.org/#http-cors-protocol). The fields are there on
errors, too: without them the page would not see what has failed.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Generator
from typing import Any

from tremolo import NotFound, Request, Response, Tremolo

app = Tremolo()
ORIGINS = frozenset(sys.argv[1:])
notes: dict[int, Any] = {}
numbers = itertools.count(1)


@app.middleware
def cors(request: Request, response: Response) -> Generator[None, Any, Any]:
    """Say to the browser which origin may read the answer, and what it may send."""
    origin, headers = request.headers.get('Origin'), response.headers
    allowed = origin in ORIGINS
    if allowed:
        headers['Access-Control-Allow-Origin'] = origin or ''
        headers['Access-Control-Expose-Headers'] = 'Location'
        # With cookies: headers['Access-Control-Allow-Credentials'] = 'true'
    try:
        if request.method == 'OPTIONS' and 'Access-Control-Request-Method' in request.headers:
            if allowed:
                headers['Access-Control-Allow-Methods'] = 'GET, POST, DELETE'
                headers['Access-Control-Allow-Headers'] = 'Content-Type'
                headers['Access-Control-Max-Age'] = '600'
            response.status = 204
            return ''
        yield
    finally:
        headers.add('Vary', 'Origin')    # A cache keeps an answer for each origin.


@app.route('/notes')
def listed() -> dict[str, Any]:
    """Return all notes."""
    return {'notes': notes}


@app.route('/notes', methods=['POST'])
def added(request: Request, response: Response) -> Generator[Any, Any, Any]:
    """Keep a note."""
    number = next(numbers)
    notes[number] = yield request.json()
    response.status = 201
    response.headers['Location'] = f'/notes/{number}'


@app.route('/notes/<int:number>', methods=['DELETE'])
def removed(number: int) -> None:
    """Forget a note."""
    if notes.pop(number, None) is None:
        raise NotFound


if __name__ == '__main__':
    app.run()
