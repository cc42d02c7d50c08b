"""Options of other servers: each is one of ours too, or is answered with what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tremolo import SettingError, cli
from tremolo.settings import OPTIONS, Settings
from tremolo.settings.habits import HABITS, habit_table, told
from tremolo.settings.option import SHORT

README = (Path(__file__).resolve().parents[2] / 'README.md').read_text(encoding='utf-8')
FLAGS = {'--' + name.replace('_', '-') for each in OPTIONS for name in each.names}
FINDING = {'--help', '-h', '--version', '--factory', '--app-dir', '--interface', '--check',
           '--show-config'}

# The options in the `--help` of each (uvicorn 0.54.0, gunicorn 27.0.1, hypercorn 0.18.0, tremolo
# 0.5.3).
THEIRS = {
    'uvicorn': '''
        --host --port --uds --fd --reload --reload-dir --reload-include --reload-exclude
        --reload-delay --workers --loop --http --http2 --ws --ws-max-size --ws-max-queue
        --ws-ping-interval --ws-ping-timeout --ws-per-message-deflate --lifespan --interface
        --env-file --log-config --log-level --access-log --no-access-log --use-colors
        --no-use-colors --proxy-headers --no-proxy-headers --server-header --no-server-header
        --date-header --no-date-header --forwarded-allow-ips --root-path --limit-concurrency
        --backlog --limit-max-requests --limit-max-requests-jitter --timeout-keep-alive
        --timeout-graceful-shutdown --timeout-worker-healthcheck --ssl-keyfile --ssl-certfile
        --ssl-keyfile-password --ssl-version --ssl-cert-reqs --ssl-ca-certs --ssl-ciphers --header
        --version --app-dir --h11-max-incomplete-event-size --reset-contextvars --factory --help''',
    'gunicorn': '''
        -h --help -v --version -c --config -b --bind --backlog -w --workers -k --worker-class
        --threads --worker-connections --max-requests --max-requests-jitter -t --timeout
        --graceful-timeout --keep-alive --limit-request-line --limit-request-fields
        --limit-request-field_size --reload --reload-engine --reload-extra-file --spew
        --check-config --print-config --preload --no-sendfile --reuse-port --chdir -D --daemon -e
        --env -p --pid --worker-tmp-dir -u --user -g --group -m --umask --initgroups
        --forwarded-allow-ips --access-logfile --disable-redirect-access-to-syslog
        --access-logformat --error-logfile --log-file --log-level --capture-output --logger-class
        --log-config --log-config-json --log-syslog-to --log-syslog --log-syslog-prefix
        --log-syslog-facility -R --enable-stdio-inheritance --statsd-host --dogstatsd-tags
        --statsd-prefix --enable-backlog-metric -n --name --pythonpath --paste --paster
        --proxy-protocol --proxy-allow-from --protocol --uwsgi-allow-from --keyfile --certfile
        --ssl-version --cert-reqs --ca-certs --suppress-ragged-eofs --do-handshake-on-connect
        --ciphers --http-protocols --http2-cleartext --http2-max-concurrent-streams
        --http2-initial-window-size --http2-max-frame-size --http2-max-header-list-size
        --paste-global --permit-obsolete-folding --strip-header-spaces
        --permit-unconventional-http-method --permit-unconventional-http-version
        --casefold-http-method --forwarder-headers --header-map --asgi-loop --asgi-lifespan
        --asgi-disconnect-grace-period --websocket-max-message-size --http-parser --root-path
        --dirty-app --dirty-workers --dirty-timeout --dirty-threads --dirty-graceful-timeout
        --control-socket --control-socket-mode --no-control-socket''',
    'hypercorn': '''
        -h --help --access-log --access-logfile --access-logformat --backlog -b --bind --ca-certs
        --certfile --cert-reqs --ciphers -c --config -D --daemon --debug --error-log
        --error-logfile --log-file --graceful-timeout --read-timeout --max-requests
        --max-requests-jitter -g --group -k --worker-class --keep-alive --keyfile
        --keyfile-password --insecure-bind --log-config --log-level -p --pid --quic-bind --reload
        --root-path --server-name --statsd-host --statsd-prefix -m --umask -u --user --verify-mode
        --websocket-ping-interval -w --workers''',
    'tremolo 0.5': '''
        --host --port --bind --worker-num --thread-pool-size --limit-memory --backlog --ssl-cert
        --ssl-key --debug --experimental --reload --no-ws --ws-max-payload-size --log-level
        --log-fmt --loop --download-rate --upload-rate --buffer-size --client-max-body-size
        --client-max-header-size --max-queue-size --request-timeout --keepalive-timeout
        --keepalive-connections --app-handler-timeout --app-close-timeout --shutdown-timeout
        --server-name --root-path --version --help''',
}


@pytest.mark.parametrize('server', THEIRS)
def test_every_option_of_others_is_known(server):
    ours = FLAGS | FINDING | {'-' + letter for letter in SHORT} | {'--no-access-log'}
    assert [each for each in THEIRS[server].split() if each not in ours and not told(each, True)] \
        == []


def test_every_line_names_options_that_there_are():
    for habit in HABITS:
        assert habit.ours or habit.why
        for flag in re.findall('`(--[a-z-]+)', habit.ours + habit.why):
            assert flag in FLAGS | FINDING, habit
        assert habit.ours == '' or habit.ours.count('`--') >= 1
    names = [name for each in HABITS for name in each.theirs]
    assert len(names) == len(set(names))
    # What is an option here is told by nobody.
    assert not FLAGS & set(names)
    assert all(name in FLAGS for name in (f'--{each}' for each in SHORT.values()))


@pytest.mark.parametrize('wrong, words', [
    ('uds', "uds: write bind='unix:PATH'"),
    ('listen', "listen: write bind='ADDRESS'"),
    ('reload_delay', 'reload_delay: write reload=…; a change is noticed'),
    ('print_config', 'print_config: write show_config=…'),
    ('timeout', "timeout: write worker_timeout='TIME' or handler_timeout='TIME'; "),
    ('ssl', "ssl: write ssl_certfile='PATH' and ssl_keyfile='PATH'; the password of a key is "
     "ssl_keyfile_password='TEXT'"),
    ('ssl_version', 'ssl_version: not here: TLS 1.2 and 1.3 are spoken; '),
    ('statsd_host', "statsd_host: write metrics='ADDRESS'; Prometheus"),
    ('limit_request_field_size', "limit_request_field_size: write head_size='SIZE'"),
    ('idel_timeout', 'idel_timeout: no such option, did you mean idle_timeout'),
])
def test_a_keyword_of_others_is_answered(wrong, words):
    with pytest.raises(SettingError) as caught:
        Settings(**{wrong: True})
    assert str(caught.value).startswith(words)
    assert '`' not in str(caught.value)


def test_a_letter_is_no_keyword():
    with pytest.raises(SettingError, match='thirty: no such option'):
        Settings(thirty=1)


def test_uvicorns_word_for_max_requests_works():
    assert Settings(limit_max_requests=7).max_requests == 7


def test_the_first_page_has_the_table():
    assert habit_table().strip() in README


@pytest.mark.parametrize('word', ['auto', 'websockets', 'websockets-sansio', 'wsproto', 'none'])
def test_uvicorns_choice_of_a_websocket_library_is_on_or_off(word):
    assert Settings(ws=word).websocket is (word != 'none')


@pytest.mark.parametrize('flag', ['--no-ws', '--no-websocket', '--no-ws-compression'])
def test_what_is_on_by_itself_has_a_flag_to_turn_it_off(flag, monkeypatch):
    seen = {}
    monkeypatch.setattr('tremolo.cli.arguments.serve', lambda **given: seen.update(given) or 0)
    assert cli.main([flag]) == 0
    settings = Settings.load({name: value for name, value in seen.items() if name != 'app'}, {})
    assert [settings.websocket, settings.ws_compression].count(False) == 1


def test_a_program_is_told_how_no_ws_is_written():
    with pytest.raises(SettingError, match="no_ws: write websocket='off'"):
        Settings(no_ws=True)
