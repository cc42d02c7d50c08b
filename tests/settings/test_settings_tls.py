"""The password of a key is shown nowhere; the options of TLS that do not fit together are told."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from certificates import ENCRYPTED_KEY, OTHER_KEY, PASSWORD, A
from server_support import serving
from tls_support import TlsClient

from tremolo import SettingError, Tremolo, cli
from tremolo.exceptions import TlsError
from tremolo.settings import Settings, option_table

SECRET = 'tr0ub4dor&3'
KEPT = {'ssl_certfile': A.cert, 'ssl_keyfile': ENCRYPTED_KEY, 'ssl_keyfile_password': PASSWORD}


def test_the_repr_of_settings_shows_no_password():
    """Fault 27 of the earlier tremolo."""
    settings = Settings(ssl_certfile='a.pem', ssl_keyfile_password=SECRET)
    assert 'ssl_keyfile_password=***' in repr(settings) and SECRET not in repr(settings)
    assert settings.ssl_keyfile_password == SECRET
    assert settings.replace(port=1).ssl_keyfile_password == SECRET
    assert settings == Settings(ssl_certfile='a.pem', keyfile_password=SECRET)
    assert settings != Settings(ssl_certfile='a.pem', keyfile_password='other')


def test_the_options_that_handlers_see_show_no_password():
    """Fault 27 of the earlier tremolo."""
    app = Tremolo()

    @app.route('/')
    def index(request, **server):
        names = ('ssl_keyfile_password', 'keyfile_password')
        options = server['context'].options
        assert dict(options) == dict(request.context.options)
        return repr([[options[each] for each in names], dict(options)])

    with serving(app, **KEPT) as host:
        client = TlsClient(host)
        client.send(b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        answer = client.read_all()
    assert b"[['***', '***'], {" in answer
    assert PASSWORD.encode() not in answer
    assert Settings(ssl_certfile='a.pem').by_all_names()['ssl_keyfile_password'] == ''


@pytest.mark.parametrize('debug', [True, False])
def test_the_page_of_an_error_shows_no_password(debug, logged):
    """Fault 27 of the earlier tremolo."""
    app = Tremolo()

    @app.route('/')
    def index(request, **server):
        settings, options = request.connection.server.settings, server['context'].options
        raise RuntimeError(f'{settings} {dict(options)}')

    with serving(app, debug=debug, **KEPT) as host:
        client = TlsClient(host)
        client.send(b'GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n')
        answer = client.read_all()
    assert b' 500 ' in answer.partition(b'\r\n')[0]
    assert f"'{PASSWORD}'" not in answer.decode() and f'&#x27;{PASSWORD}' not in answer.decode()
    assert f"'{PASSWORD}'" not in logged.text and 'ssl_keyfile_password=***' in logged.text
    logged.records.clear()


@pytest.mark.parametrize('value', [1025 * 'p', 5, b'bytes'])
def test_an_error_line_shows_no_password(value):
    """Fault 27 of the earlier tremolo."""
    with pytest.raises(SettingError) as caught:
        Settings(ssl_keyfile_password=value)
    assert str(caught.value) == (
        'ssl_keyfile_password: *** is not text of at most 1,024 bytes')
    with pytest.raises(SettingError, match=r'^TREMOLO_SSL_KEYFILE_PASSWORD: \*\*\* is not'):
        Settings.load({}, {'TREMOLO_SSL_KEYFILE_PASSWORD': 1025 * 'p'})


def test_the_help_and_the_table_show_no_password(monkeypatch, capsys):
    """Fault 27 of the earlier tremolo."""
    monkeypatch.setenv('TREMOLO_SSL_KEYFILE_PASSWORD', SECRET)
    with pytest.raises(SystemExit):
        cli.main(['--ssl-keyfile-password', SECRET, '--help'])
    assert SECRET not in capsys.readouterr().out
    assert SECRET not in option_table()
    assert cli.main(['--ssl-keyfile-password', SECRET, '--prot', '1']) == 2
    assert SECRET not in capsys.readouterr().err


def test_a_mistyped_option_does_not_show_its_value(capsys):
    assert cli.main([f'--ssl-keyfile-pasword={SECRET}']) == 2
    assert capsys.readouterr().err == (
        'tremolo: error: --ssl-keyfile-pasword: no such option, did you mean '
        '--ssl-keyfile-password or --keyfile-password?\n')


def test_a_context_is_nothing_for_the_command_line(capsys):
    assert cli.main(['--ssl-context=x']) == 2
    assert '--ssl-context: no such option' in capsys.readouterr().err


@pytest.mark.parametrize('word', ['off', 'none', 'None', 'with, comma', 'ünïcode'])
def test_any_word_may_be_a_password(word):
    assert Settings(ssl_keyfile_password=word).ssl_keyfile_password == word


def test_none_is_no_password():
    assert Settings(ssl_keyfile_password=None).ssl_keyfile_password == ''


def test_pairs_are_repeated_on_the_command_line_and_stand_in_one_variable(monkeypatch):
    seen = {}
    monkeypatch.setattr('tremolo.cli.arguments.serve', lambda **given: seen.update(given) or 0)
    assert cli.main(['--ssl-certfile', '/a.pem', '--certfile=/x.pem']) == 2
    assert cli.main(['--ssl-certfile', '/a.pem', '--ssl-certfile', '/b,c.pem']) == 0
    assert seen['ssl_certfile'] == ['/a.pem', '/b,c.pem']
    environ = {'TREMOLO_SSL_CERTFILE': '/a.pem, /b.pem', 'TREMOLO_SSL_KEYFILE': '/a.key'}
    settings = Settings.load({}, environ)
    assert (settings.ssl_certfile, settings.ssl_keyfile) == (('/a.pem', '/b.pem'), ('/a.key',))
    seen.clear()
    assert cli.main(['--ssl-certfile', 'off', '--ssl-keyfile', 'none']) == 0
    del seen['app']
    assert not Settings.load(seen, environ).secure


def test_an_embedded_server_raises_what_is_wrong_and_leaves_nothing(tmp_path):
    app = Tremolo()
    app.listen(f'unix:{tmp_path}/app.sock')
    for options, error in (
            ({'ssl_certfile': A.cert, 'ssl_keyfile': OTHER_KEY}, TlsError),
            ({'ssl_keyfile': A.key}, SettingError),
            ({'ssl_context': ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, SettingError)):
        with pytest.raises(error):
            app.start(**options)
        assert not (tmp_path / 'app.sock').exists()
    with app.start(ssl_certfile=A.cert, ssl_keyfile=A.key) as server:
        assert server.url.startswith('https://127.0.0.1:')


def test_a_served_program_raises_what_is_wrong():
    app = Tremolo()

    async def serve():
        await app.serve(ssl_certfile=A.cert, ssl_keyfile=OTHER_KEY)

    with pytest.raises(TlsError, match='does not belong to the certificate'):
        asyncio.run(serve())


@pytest.mark.parametrize('arguments, line', [
    (['--ssl-keyfile', A.key], 'ssl_keyfile: has no effect without ssl_certfile'),
    (['--ssl-certfile', A.cert, '--ssl-cert-reqs', 'required'],
     'ssl_cert_reqs: required needs ssl_ca_certs'),
    (['--ssl-certfile', A.cert, '--ssl-ciphers', 'rot13'],
     "--ssl-ciphers: 'rot13' is not a list of ciphers that OpenSSL knows, or off"),
    (['--ssl-certfile', A.cert, '--ssl-cert-reqs', 'perhaps'],
     "--ssl-cert-reqs: 'perhaps' is not none, optional, required"),
])
def test_what_cannot_be_meant_is_status_2_before_any_code_is_imported(arguments, line, capsys):
    assert cli.main([*arguments, 'no_such_module:app']) == 2
    assert capsys.readouterr().err == f'tremolo: error: {line}\n'
