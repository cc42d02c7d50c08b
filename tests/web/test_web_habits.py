"""What is written out of habit, for other frameworks or tremolo 0.5: each is told what to write."""

from __future__ import annotations

import asyncio
import gc
import io
import json
from pathlib import Path

import pytest
from server_support import request, serving, virtual

from tremolo import Tremolo, redirect, send_file, sleep

FORM = request(
    '/', 'POST', 'Content-Type: multipart/form-data; boundary=x',
    body=b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.txt"\r\n\r\n'
         b'hello\r\n--x--\r\n')


def app_of(function):
    app = Tremolo()
    app.route('/', methods=['POST'])(function)
    return app


def ask(function):
    with virtual(app_of(function)) as host:
        return host.connect(FORM).take('POST')


# -- attributes and arguments that are not here ---------------------------------------------------


@pytest.mark.parametrize(('owner', 'name', 'said'), [
    ('request', 'args', 'write request.query.first(name)'),
    ('request', 'query_params', 'write request.query.first(name)'),
    ('request', 'POST', 'write `form = yield request.form()`'),
    ('request', 'FILES', 'write `files = request.files()`'),
    ('request', 'get_json', 'write `yield request.json()`'),
    ('request', 'data', 'write `yield request.body()`'),
    ('request', 'session', 'write request.signed_cookie(name)'),
    ('request', 'get_signed_cookie', 'write request.signed_cookie(name)'),
    ('request', 'path_params', 'write request.groups'),
    ('request', 'params', 'write request.groups'),
    ('request', 'server', 'write `app` in the signature: app.spawn(job())'),
    ('request', 'remote_addr', 'write request.client'),
    ('request', 'url_for', 'write app.url_for(name)'),
    ('request', 'is_disconnected', 'write request.disconnected.done()'),
    ('request', 'accept_mimetypes', "write request.accepts('text/html', 'application/json')"),
    ('response', 'sendfile', 'write `return send_file(path)`'),
    ('response', 'redirect', 'write `return redirect(url)`'),
    ('response', 'set_signed_cookie', 'write response.set_cookie(name, value, signed=True)'),
    ('response', 'delete_cookie', 'write response.set_cookie(name, max_age=0)'),
    ('response', 'status_code', 'write response.status'),
    ('response', 'media_type', 'write response.content_type'),
    ('response', 'set_header', 'write response.headers[name] = value'),
])
def test_an_attribute_of_another_framework_is_told_what_to_write(owner, name, said, logged):
    def handler(request, response):
        return getattr({'request': request, 'response': response}[owner], name)

    assert ask(handler).status == 500
    assert f"has no attribute '{name}': {said}" in logged.text


def test_it_is_told_in_an_application_with_error_handlers_too(logged):
    def handler(response):
        return response.redirect('/')

    app = app_of(handler)
    app.error(404)(lambda: 'lost')
    with virtual(app) as host:
        assert host.connect(FORM).take('POST').status == 500
    assert "has no attribute 'redirect': write `return redirect(url)`" in logged.text


def test_an_attribute_that_is_set_is_told_what_to_write(logged):
    def handler(response):
        response.status_code = 404

    assert ask(handler).status == 500
    assert ': write response.status' in logged.text


@pytest.mark.parametrize(('call', 'said'), [
    (lambda request: send_file(__file__, as_attachment=True), "write download_name='...'"),
    (lambda request: send_file(__file__, attachment_filename='x'), "write download_name='...'"),
    (lambda request: send_file(__file__, mimetype='text/plain'), "write content_type='...'"),
    (lambda request: send_file(__file__, True), 'download_name is str, not bool'),
    (lambda request: redirect('/', code=301), 'write status='),
    (lambda request: redirect('/', permanent=True), 'write status=308'),
    (lambda request: request.form(max_fields=3), 'options: form_size, form_fields'),
    (lambda request: request.files(max_files=3), 'options: form_size, form_fields'),
    (lambda request: request.accepts(['text/html']), "is no media type: write 'text/html'"),
])
def test_an_argument_of_another_framework_is_told_what_to_write(call, said, logged):
    def handler(request):
        return call(request)

    assert ask(handler).status == 500
    assert said in logged.text


@pytest.mark.parametrize(('use', 'said'), [
    (lambda sse: sse.last_event_id, 'write sse.last_id'),
    (lambda sse: sse.comment('x'), 'sse_heartbeat sends comments'),
    (lambda sse: sse.send('x', 'news'), 'write event=, id= or retry='),
    (lambda sse: sse.send(json={}), r'write sse.send(json.dumps(...))'),
    (lambda sse: sse, 'write `yield sse.send(...)`, and return nothing'),
    (lambda sse: asyncio.get_running_loop(), 'write app.spawn(job()), or `async def`'),
])
def test_a_habit_of_events_is_told_what_to_write(use, said, logged):
    def handler(sse):
        yield sleep(0)
        return use(sse)

    assert ask(handler).status == 500
    # (The text of the log has this line of ours, too.)
    assert any(said in str(record.exc_info[1]) for record in logged.records)


# -- a `yield`, or a call, that is missing --------------------------------------------------------


@pytest.mark.parametrize(('use', 'said'), [
    (lambda request: request.form['name'], 'write `(yield request.form())` in a generator'),
    (lambda request: request.files['x'], 'write `files = request.files()`'),
    (lambda request: request.files()['x'], 'write `part = yield files.next()`'),
    (lambda request: request.files().get('x'), 'write `part = yield files.next()`'),
    (lambda request: len(request.files()), 'write `part = yield files.next()`'),
    (lambda request: 'x' in request.form(), 'write `yield request.form()`'),
    (lambda request: dict(request.form()), 'write `yield request.form()`'),
    (lambda request: request.form().__enter__(), 'write `yield request.form()`'),
    (lambda request: json.loads(request.form()), '`.result()` in a thread, is missing'),
    (lambda request: 1 if request.disconnected else 2, 'write `if request.disconnected.done():`'),
    (lambda request: request.disconnected(), 'write `if request.disconnected.done():`'),
    (lambda request: request.form, 'returned method, which is none of'),
    (lambda request: request.form, ': write `yield request.form()`, which calls it'),
    (lambda request: io.BytesIO(b'x'), ': write `return send_file(...)`'),
    (lambda request: Path(__file__), ': write `return send_file(...)`'),
])
def test_what_is_missing_is_told(use, said, logged):
    def handler(request):
        return use(request)

    assert ask(handler).status == 500
    assert said in logged.text


@pytest.mark.parametrize(('name', 'said'), [
    ('data', 'write `yield part.read()`'), ('size', 'write `size = yield part.save(path)`')])
def test_a_part_is_read_by_calls(name, said, logged):
    def handler(request):
        part = yield request.files().next()
        yield getattr(part, name)

    assert ask(handler).status == 500
    assert said in logged.text


@pytest.mark.parametrize(('name', 'said'), [
    ('getlist', 'write .get(name, [])'), ('name', 'write .first(name)')])
def test_the_values_of_a_field_are_a_list(name, said, logged):
    def handler(request):
        form = yield request.form()
        yield getattr(form, name)

    assert ask(handler).status == 500
    assert f"'Fields' object has no attribute '{name}': {said}" in logged.text


@pytest.mark.parametrize(('value', 'said'), [
    (lambda request: request.form, ': write `yield request.form()`, which calls it'),
    (lambda request: redirect('/'), ': return it, or raise it'),
    (lambda request: io.StringIO('x'), ': write `return send_file(...)`')])
def test_what_is_yielded_and_is_no_chunk_is_told_what_to_write(value, said, logged):
    def handler(request):
        yield value(request)

    assert ask(handler).status == 500
    assert said in logged.text


def test_what_is_awaited_and_is_to_be_returned_is_told(logged):
    async def handler(request):
        await (redirect('/') if request.query else request.files())

    with serving(app_of(handler)) as host:
        assert host.connect(FORM).take('POST').status == 500
        assert '`async for part in files:`' in logged.text
        assert host.connect(request('/?x', 'POST')).take('POST').status == 500
        assert ': return it' in logged.text


def test_a_future_that_a_generator_returns_is_told(logged):
    def handler(request):
        yield sleep(0)
        return request.body()

    assert ask(handler).status == 500
    assert ': write `yield` before it' in logged.text


def test_a_class_of_the_program_with_such_a_name_is_left_alone(logged):
    class Request:
        pass

    def handler():
        return Request().args

    assert ask(handler).status == 500
    assert "'Request' object has no attribute 'args'" in logged.text




def test_a_saved_part_that_nobody_waits_for_is_told(logged, tmp_path):
    def handler(request):
        part = yield request.files().next()
        part.save(tmp_path / 'x')

    with serving(app_of(handler)) as host:
        assert host.connect(FORM).take('POST').status == 204
        host.wait_for(lambda: 'is a `yield`' in (gc.collect(), logged.text)[1])
