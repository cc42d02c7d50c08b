"""What is parsed from a head is parsed once for each request, whoever asks and however often.

(tests/web/test_web_json_size.py has JSON.)
"""

from __future__ import annotations

import pytest
from server_support import request, virtual

import tremolo.http.accept
import tremolo.web.request
from tremolo import Tremolo
from tremolo.exceptions import BadRequest

CALLS = {
    'query': (tremolo.web.request, 'read_fields', lambda request: request.query),
    'cookies': (tremolo.web.request, 'read_cookies', lambda request: request.cookies),
    'accept': (tremolo.http.accept, 'read_elements', lambda request: request.accepts('a/b')),
}


@pytest.mark.parametrize('target', ['/?a=1&b=2', '/?' + 'a&' * 1001])
@pytest.mark.parametrize('part', sorted(CALLS))
def test_each_part_is_parsed_once(monkeypatch, part, target):
    module, name, ask = CALLS[part]
    parsed, read = [], getattr(module, name)

    def counted(value):
        if isinstance(value, bytes) or value != 'a/b':    # (An offer, of the program's own.)
            parsed.append(value)
        return read(value)

    monkeypatch.setattr(module, name, counted)
    app, faults = Tremolo(), []

    def asked(request):
        for _ in range(3):
            try:
                ask(request)
            except BadRequest as error:
                faults.append(error)

    @app.middleware
    def around(request):
        asked(request)
        yield

    @app.route('/')
    def handler(request):
        asked(request)
        return 'done'

    with virtual(app) as host:
        client = host.connect(request(target, 'GET', 'Cookie: a=b', 'Accept: a/*, c/d;q=0.1'))
        assert client.take().body == b'done'
    assert len(parsed) == 1
    assert len(faults) == (6 if part == 'query' and len(target) > 1000 else 0)
