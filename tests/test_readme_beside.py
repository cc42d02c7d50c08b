"""What other frameworks show first, and the same here: each piece runs, and none is longer."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tremolo import HTTPError, Tremolo, sleep

README = (Path(__file__).resolve().parent.parent / 'README.md').read_text(encoding='utf-8')
SECTION = README[README.index('## Beside Starlette'):README.index('## Coming from uvicorn')]
FRAMEWORKS = 'Starlette', 'Flask', 'aiohttp'
PIECES = {
    title: code for program in re.findall(r'```py\n(.*?)```', SECTION, re.DOTALL)
    for title, code in re.findall(r'^# (.*?)\n(.*?)(?=^# |\Z)', program, re.DOTALL | re.MULTILINE)}


def run(title: str, **names: Any) -> dict[str, Any]:
    """Run a piece with the names that it takes for granted; give its names."""
    exec(compile(PIECES[title], f'README, {title}', 'exec'), names)
    return names


def greeting(text: str = 'hello') -> Tremolo:
    """Make an application that greets."""
    app = Tremolo()
    app.route('/')(lambda request: text)
    return app


def module(monkeypatch: pytest.MonkeyPatch, name: str, **names: Any) -> None:
    made = ModuleType(name)
    vars(made).update(names)
    monkeypatch.setitem(sys.modules, name, made)


def test_none_is_longer_than_theirs():
    rows = re.findall(r'^\| \[(.*?)\]\(.*?\):.*?\|(.*)\|$', SECTION, re.MULTILINE)
    assert len(rows) == 5
    for what, cells in rows:
        numbers = [int(cell) for cell in cells.split('|')]
        for framework, theirs, ours in zip(FRAMEWORKS, numbers[::2], numbers[1::2]):
            lines = PIECES[f'{what}: {framework}'].splitlines()
            assert sum(bool(line.strip()) for line in lines) == ours <= theirs, (what, framework)
    assert len(PIECES) == 15


def test_the_middleware():
    app = run('middleware: Starlette')['app']
    app.route('/')(lambda: 'hello')
    assert app.client().get('/').headers['Custom'] == 'Example'
    app = greeting()
    run('middleware: Flask', app=app, guess_language=lambda request: 'da')
    client = app.client()
    client.get('/')
    assert client.cookies == {'user_lang': 'da'}
    app = run('middleware: aiohttp')['app']

    @app.route('/streamed')
    def streamed():
        yield 'eye'
        yield sleep(0)
        yield 'lid'

    app.route('/')(lambda: 'eye')
    assert app.client().get('/').text == 'eye wink'
    assert app.client().get('/streamed').text == 'eyelid wink'


def test_the_mounts(monkeypatch):
    names = run('mounts: Starlette', Tremolo=Tremolo, homepage=lambda: 'home',
                users=lambda: 'all', user=lambda username: username)
    client = names['app'].client()
    assert [client.get(path).text for path in ('/', '/users/', '/users/ada')] == [
        'home', 'all', 'ada']
    assert client.post('/users/').text == 'all'
    module(monkeypatch, 'frontend_app', application=greeting('front'))
    module(monkeypatch, 'backend_app', application=greeting('back'))
    client = run('mounts: Flask')['frontend'].client()
    assert (client.get('/').text, client.get('/backend/').text) == ('front', 'back')
    app = greeting()
    admin = run('mounts: aiohttp', Tremolo=Tremolo, app=app)['admin']
    admin.route('/')(lambda: 'admin')
    assert app.client().get('/admin/').text == 'admin'


class Users:
    """A model of one user, as a library for databases would give it."""

    def __init__(self) -> None:
        self.name = 'Ada'

    def get_or_404(self, id: int) -> Users:
        if id != 1:
            raise HTTPError(404)
        return self

    def all(self) -> list[Users]:
        return [self]

    def update(self, changes: dict[str, str]) -> Users:
        self.name = changes['name']
        return self

    add = update

    def delete(self) -> None:
        self.name = ''

    def to_json(self) -> dict[str, str]:
        return {'name': self.name}


def test_the_views():
    client = run('views: Starlette')['app'].client()
    assert client.get('/').text == 'Hello, world!'
    assert client.get('/Ada').text == 'Hello, Ada'
    app = Tremolo()
    validator = SimpleNamespace(validate=lambda new: '' if 'name' in new else 'no name')
    run('views: Flask', app=app, HTTPError=HTTPError, User=Users(),
        generate_validator=lambda model: validator)
    client = app.client()
    assert client.get('/users/1').json() == {'name': 'Ada'}
    assert client.patch('/users/1', json={'name': 'Bob'}).json() == {'name': 'Bob'}
    refused = client.patch('/users/1', json={})
    assert (refused.status, refused.text) == (400, 'no name')
    assert client.get('/users/').json() == [{'name': 'Bob'}]
    assert client.post('/users/', json={'name': 'Eve'}).json() == {'name': 'Eve'}
    assert client.delete('/users/1').status == 204
    assert client.get('/users/2').status == 404
    assert app.url_for('users-item', id=1) == '/users/1'
    app = Tremolo()
    run('views: aiohttp', app=app, get_resp=lambda request: 'got',
        post_resp=lambda request: 'posted')
    client = app.client()
    assert (client.get('/path/to').text, client.post('/path/to').text) == ('got', 'posted')


def test_the_work_in_the_background(monkeypatch):
    mails: list[str] = []

    async def send_welcome_email(address: str) -> None:
        await asyncio.sleep(0)
        mails.append(address)

    app = run('background: Starlette', send_welcome_email=send_welcome_email)['app']
    with app.client() as client:
        assert client.post('/user/signup', json={'email': 'a@b.c'}).json() == {
            'status': 'Signup successful'}
    assert mails == ['a@b.c']

    sums: list[int] = []
    names = run('background: Flask')
    wait = names['run_in_thread']
    names['run_in_thread'] = lambda add: wait(lambda: sums.append(add()))
    with names['app'].client() as client:
        assert client.post('/add', data={'a': '2', 'b': '3'}).text == 'begun'
    assert sums == [5]


class Channel:
    """What a library for Redis gives: the messages of a channel, then nothing for ever."""

    def __init__(self) -> None:
        self.messages = ['tea']

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(self, *given: Any) -> None:
        pass

    async def subscribe(self, name: str) -> None:
        assert name == 'news'

    async def get_message(self, ignore_subscribe_messages: bool, timeout: float) -> str | None:
        await asyncio.sleep(0)
        return self.messages.pop() if self.messages else None


def test_the_news_of_another_server(monkeypatch):
    redis = SimpleNamespace(from_url=lambda url: SimpleNamespace(pubsub=Channel))
    module(monkeypatch, 'redis', asyncio=redis)
    app = run('background: aiohttp')['app']
    told: list[str] = []
    monkeypatch.setattr(app, 'group', lambda name: SimpleNamespace(send=told.append))
    app.route('/')(lambda: told)
    with app.client() as client:
        while not client.get('/').json():
            pass
    assert told == ['news: tea']


def test_the_tests(monkeypatch):
    run('test client: Starlette')['test_app']()
    run('test client: aiohttp')['test_hello']()
    app = Tremolo()
    app.route('/posts')(lambda: '<h2>Hello, World!</h2>')
    module(monkeypatch, 'my_project', create_app=lambda: app)
    module(monkeypatch, 'pytest', fixture=lambda function: function)
    names = run('test client: Flask')
    for client in names['client']():
        names['test_request_example'](client)
