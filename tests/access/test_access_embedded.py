"""The log of a server inside another program, whose signals and logging stay as they are."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import urllib.request

import pytest

from tremolo import Tremolo
from tremolo.errors import LogError, SettingError
from tremolo.loop import Reactor

app = Tremolo()


@app.route('/')
def index():
    return 'hello'


def ask(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def in_a_thread(options):
    with app.start(**options) as server:
        assert ask(server.url) == b'hello'


def on_a_reactor_of_the_program(options):
    with Reactor() as reactor:
        asking = None
        with app.start(reactor=reactor, thread=False, **options) as server:
            asking = threading.Thread(target=ask, args=(server.url,))
            asking.start()
            while asking.is_alive():
                server.step(0.01)
        assert not any(each.name == 'tremolo log' for each in threading.enumerate())


def in_asyncio(options):
    async def main():
        async with app.serve(**options) as server:
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, ask, server.url) == b'hello'

    asyncio.run(main())


def state():
    """The program's signals and logging."""
    names = ('', 'tremolo', 'tremolo.access', 'tremolo.app', 'tremolo.error')
    return ([signal.getsignal(each) for each in signal.valid_signals()],
            [(each.level, each.handlers[:], each.propagate, each.disabled)
             for each in map(logging.getLogger, names)])


@pytest.mark.parametrize('run', [in_a_thread, on_a_reactor_of_the_program, in_asyncio])
def test_the_lines_are_there_at_the_end_and_the_program_is_left_alone(tmp_path, run):
    path, before = tmp_path / 'log', state()
    for times in (1, 2):
        run({'access_logfile': path, 'access_logformat': '{method} {target} {status}'})
        assert path.read_text() == 'GET / 200\n' * times
    assert state() == before
    assert not any(each.name == 'tremolo log' for each in threading.enumerate())


@pytest.mark.parametrize('run', [in_a_thread, on_a_reactor_of_the_program, in_asyncio])
def test_a_log_that_cannot_be_written_is_raised(tmp_path, run):
    with pytest.raises(LogError, match='cannot be written: Is a directory'):
        run({'access_logfile': tmp_path})


@pytest.mark.parametrize('options', [{'log_config': 'log.json'}, {'log_format': 'json'}])
def test_how_the_program_logs_is_no_option_of_a_server_inside_it(options):
    with pytest.raises(SettingError, match=f'{next(iter(options))}: has no effect inside another'):
        app.start(**options)
