"""Contexts: names, client certificates, sessions, and what cannot be used.

Both ends of a connection are on memory: no socket, and no server.
"""

from __future__ import annotations

import os
import shutil
import ssl
import sys
import time

import pytest
from certificates import (
    CA,
    CHAIN,
    CLIENT,
    CLIENT_CHAIN,
    CLIENT_EXPIRED,
    COMBINED,
    COMMON_NAME,
    ENCRYPTED_KEY,
    EXPIRED,
    FOLDER,
    FUTURE,
    INTERMEDIATE,
    LOCALHOST,
    OTHER_KEY,
    PASSWORD,
    PUNYCODE,
    RSA,
    STRANGER,
    WILDCARD,
    A,
    B,
    client_context,
)

from tremolo.errors import SettingError, TlsError, TremoloError
from tremolo.settings import Settings, part_options
from tremolo.tls import contexts
from tremolo.tls.contexts import server_context

NAMES = A, B, WILDCARD, PUNYCODE, COMMON_NAME


def of(*pairs, **options):
    settings = Settings(ssl_certfile=[each.cert for each in pairs],
                        ssl_keyfile=[each.key for each in pairs], **options)
    settings.check()
    return server_context(settings)


class Ends:
    """A client and a server that have shaken hands, or the error of one of them."""

    def __init__(self, server, client=None, name=None, session=None, change=lambda hello: hello):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(incoming, outgoing, server_side=True)
        self.client = (client or client_context()).wrap_bio(
            outgoing, incoming, server_hostname=name, session=session)
        self.error = None
        left = [self.client, self.server]
        for turn in range(8):
            for end in left[:]:
                try:
                    end.do_handshake()
                    left.remove(end)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as error:
                    self.error = self.error or error
                    left.remove(end)
                if not turn and end is self.client:
                    incoming.write(change(incoming.read()))
        if self.error is None:
            # The tickets of TLS 1.3 come before the first bytes.
            self.server.write(b'x')
            try:
                self.client.read(1)
            except ssl.SSLError as error:
                self.error = error

    @property
    def shown(self):
        """The first name of the certificate that the server has shown."""
        return self.client.getpeercert()['subjectAltName'][0][1]


# -- the name that a client asks for ------------------------------------------------------------

@pytest.fixture(scope='module')
def named():
    return of(*NAMES)


@pytest.mark.parametrize('name, shown', [
    ('a.example', A), ('b.example', B), ('www.b.example', B), ('B.Example', B),
    ('x.w.example', WILDCARD), ('X.W.EXAMPLE', WILDCARD), ('y.x.w.example', A), ('w.example', A),
    ('xn--bcher-kva.example', PUNYCODE), ('bücher.example', PUNYCODE), ('c.example', A),
    (None, A), ('127.0.0.1', A), ('xn--bcher-kva.w.example', WILDCARD),
])
def test_a_client_gets_the_certificate_of_the_name_it_asks_for_or_the_first(named, name, shown):
    ends = Ends(named, name=name)
    assert ends.error is None
    expected = contexts.read_certificate(contexts.first_certificate(
        open_and_read(shown.cert))).names[0]
    assert ends.shown == expected


def open_and_read(path):
    with open(path, 'rb') as file:
        return file.read()


def test_a_common_name_counts_where_there_is_nothing_else(named):
    assert dict(map(lambda each: each[0], Ends(named, name='cn.example').client.getpeercert()[
        'subject']))['commonName'] == 'cn.example'


def test_of_two_pairs_with_the_same_name_the_first_is_shown(logged):
    assert Ends(of(B, A, EXPIRED), name='a.example').error is None
    assert Ends(of(B, EXPIRED, A), name='a.example').error.reason == 'CERTIFICATE_VERIFY_FAILED'
    assert logged.count('has expired') == 2


def test_the_address_of_an_ip_in_the_name_of_a_client_is_an_unknown_name(named):
    ends = Ends(named, name='aaaaaaaaa', change=lambda hello: hello.replace(
        b'aaaaaaaaa', b'127.0.0.1'))
    # (The client notices that its own bytes were changed; the server took the first one.)
    assert ends.server.context.certificate.names == ('a.example',)


@pytest.mark.parametrize('name', [b'\xff\xfe.example', b'\xc3\xa9.example1', b'.........1.1'])
def test_a_name_that_is_no_ascii_writes_nothing_on_stderr(named, name, capfd):
    """A hostile client: CPython would write a traceback for each such handshake."""
    context = of(*NAMES)    # (pytest has set its own hook since.)
    plain = b'x' * len(name)
    ends = Ends(context, name=plain.decode(), change=lambda hello: hello.replace(plain, name))
    assert ends.error is not None
    assert capfd.readouterr() == ('', '')


def test_a_wildcard_is_for_one_label_alone(named):
    assert Ends(named, name='x.w.example').shown == '*.w.example'
    for name in ('w.example', 'x.y.w.example', 'xw.example', '*.w.example.x'):
        assert Ends(named, name=name).shown == 'a.example', name


# -- what is spoken -----------------------------------------------------------------------------

@pytest.mark.parametrize('offered, chosen', [
    (['http/1.1'], 'http/1.1'), (['h2', 'http/1.1'], 'http/1.1'), (['h2'], None), ([], None)])
def test_alpn_is_http_1_1_and_a_client_with_h2_alone_completes_without(offered, chosen):
    client = client_context()
    if offered:
        client.set_alpn_protocols(offered)
    ends = Ends(of(A), client)
    assert (ends.error, ends.client.selected_alpn_protocol()) == (None, chosen)


@pytest.mark.filterwarnings('ignore:.*TLSVersion:DeprecationWarning')
def test_tls_1_2_and_later_alone():
    for version, spoken in ((ssl.TLSVersion.TLSv1_1, None), (ssl.TLSVersion.TLSv1_2, 'TLSv1.2'),
                            (ssl.TLSVersion.TLSv1_3, 'TLSv1.3')):
        client = client_context()
        client.set_ciphers('ALL:@SECLEVEL=0')
        client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        client.maximum_version = version
        ends = Ends(of(A), client)
        assert (ends.client.version() if ends.error is None else None) == spoken


def test_a_client_of_tls_1_2_gets_forward_secrecy():
    for pair in (A, RSA):
        for each in of(pair).get_ciphers():
            assert each['name'].startswith(('ECDHE-', 'TLS_')), each['name']
            assert each['aead']


def test_the_options_are_the_same_with_each_python():
    options = of(A).options
    assert options & 0x40000000 and options & ssl.OP_NO_COMPRESSION
    # A body that is cut off is no whole one (Python 3.9 and PyPy set this by themselves).
    assert not options & 0x80


def test_ciphers_are_those_that_are_given():
    context = of(A, ssl_ciphers='ECDHE-ECDSA-AES128-GCM-SHA256')
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert Ends(context, client).client.cipher()[0] == 'ECDHE-ECDSA-AES128-GCM-SHA256'


def test_a_chain_is_sent_as_it_is_in_the_file():
    assert Ends(of(CHAIN), name='chain.example').shown == 'chain.example'


# -- certificates of clients ----------------------------------------------------------------------

@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize('reqs', ['none', 'optional', 'required'])
@pytest.mark.parametrize('client, good', [
    (None, None), (CLIENT, True), (STRANGER, False), (CLIENT_EXPIRED, False)])
def test_clients_are_verified_as_asked(reqs, client, good, version):
    options = {} if reqs == 'none' else {'ssl_ca_certs': CA, 'ssl_cert_reqs': reqs}
    context = client_context(client)
    context.maximum_version = version
    ends = Ends(of(A, B, **options), context, name='b.example')
    passes = reqs == 'none' or good or (client is None and reqs == 'optional')
    assert (ends.error is None) == passes
    if passes:
        assert bool(ends.server.getpeercert(True)) == (reqs != 'none' and client is not None)
        assert ends.shown == 'b.example'


def test_a_client_of_an_intermediate_is_verified_by_what_it_sends():
    context = of(A, ssl_ca_certs=CA, ssl_cert_reqs='required')
    assert Ends(context, client_context(CLIENT_CHAIN)).error is None


@pytest.mark.parametrize('value, reqs', [
    (0, 'none'), (1, 'optional'), (2, 'required'), ('2', 'required'), ('CERT_NONE', 'none'),
    (ssl.CERT_REQUIRED, 'required'), ('cert_optional', 'optional'), ('Required', 'required')])
def test_numbers_and_names_of_ssl_say_whether_a_client_has_to_show_one(value, reqs):
    assert Settings(ssl_cert_reqs=value).ssl_cert_reqs == reqs


@pytest.mark.parametrize('value', [3, -1, True, 'maybe', ''])
def test_others_do_not(value):
    with pytest.raises(SettingError, match=r'^ssl_cert_reqs: .* is not none, optional, required'):
        Settings(ssl_cert_reqs=value)


# -- sessions -------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize('options', [{}, {'ssl_ca_certs': CA, 'ssl_cert_reqs': 'required'}])
def test_a_session_is_resumed_by_the_same_context_and_not_by_another(version, options):
    context, client = of(A, B, **options), client_context(CLIENT)
    client.maximum_version = version
    session = Ends(context, client, 'b.example').client.session
    ends = Ends(context, client, 'b.example', session)
    assert (ends.error, ends.client.session_reused) == (None, True)
    # (Who has a certificate keeps it.)
    assert bool(ends.server.getpeercert(True)) == bool(options)
    # Made afresh, it shakes hands in full, and no error comes of it.
    ends = Ends(of(A, B, **options), client, 'b.example', session)
    assert (ends.error, ends.client.session_reused) == (None, False)


# -- what cannot be used --------------------------------------------------------------------------

def complaint(**options):
    with pytest.raises(TremoloError) as caught:
        settings = Settings(**options)
        settings.check()
        server_context(settings)
    assert PASSWORD not in str(caught.value).replace('ssl_keyfile_password', '')
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize('options, line', [
    ({'ssl_certfile': 'nothing.pem', 'ssl_keyfile': A.key},
     'ssl_certfile: {0}/nothing.pem cannot be read: No such file or directory'),
    ({'ssl_certfile': A.cert, 'ssl_keyfile': 'nothing.key'},
     'ssl_keyfile: {0}/nothing.key cannot be read: No such file or directory'),
    ({'ssl_certfile': str(FOLDER), 'ssl_keyfile': A.key},
     f'ssl_certfile: {FOLDER} cannot be read: Is a directory'),
    ({'ssl_certfile': A.cert, 'ssl_keyfile': str(FOLDER)},
     f'ssl_keyfile: {FOLDER} cannot be read: Is a directory'),
    ({'ssl_certfile': A.key, 'ssl_keyfile': A.key},
     f'ssl_certfile: {A.key} has no certificate in PEM'),
    ({'ssl_certfile': A.cert},
     f'ssl_certfile: {A.cert} has no private key in PEM: name its file by ssl_keyfile'),
    ({'ssl_certfile': A.cert, 'ssl_keyfile': B.cert},
     f'ssl_keyfile: {B.cert} has no private key in PEM'),
    ({'ssl_certfile': A.cert, 'ssl_keyfile': OTHER_KEY},
     f'ssl_keyfile: {OTHER_KEY} does not belong to the certificate {A.cert}'),
    ({'ssl_certfile': A.cert, 'ssl_keyfile': RSA.key},
     f'ssl_keyfile: {RSA.key} does not belong to the certificate {A.cert}'),
    ({'ssl_certfile': A.cert, 'ssl_keyfile': ENCRYPTED_KEY},
     f'ssl_keyfile: {ENCRYPTED_KEY} is encrypted, and there is no ssl_keyfile_password'),
    ({'ssl_certfile': A.cert, 'ssl_keyfile': ENCRYPTED_KEY, 'ssl_keyfile_password': 'public'},
     f'ssl_keyfile_password: is not the password of {ENCRYPTED_KEY}'),
    ({'ssl_certfile': [A.cert, B.cert], 'ssl_keyfile': [A.key, A.key]},
     f'ssl_keyfile: {A.key} does not belong to the certificate {B.cert}'),
    ({'ssl_certfile': [COMBINED, B.cert]},
     f'ssl_certfile: {B.cert} has no private key in PEM: name its file by ssl_keyfile'),
    ({'ssl_certfile': COMBINED, 'ssl_ca_certs': 'no.pem', 'ssl_cert_reqs': 'required'},
     'ssl_ca_certs: {0}/no.pem cannot be read: No such file or directory'),
    ({'ssl_certfile': COMBINED, 'ssl_ca_certs': A.key, 'ssl_cert_reqs': 'required'},
     f'ssl_ca_certs: {A.key} has no certificate in PEM: no certificate or crl found'),
])
def test_a_file_that_cannot_be_used_is_one_clear_line(options, line):
    assert complaint(**options) == (TlsError, line.format(os.getcwd()))


@pytest.mark.parametrize('options, line', [
    ({'ssl_keyfile': A.key}, 'ssl_keyfile: has no effect without ssl_certfile'),
    ({'ssl_keyfile_password': 'x'}, 'ssl_keyfile_password: has no effect without ssl_certfile'),
    ({'ssl_ca_certs': CA}, 'ssl_ca_certs: has no effect without ssl_certfile'),
    ({'ssl_cert_reqs': 2}, 'ssl_cert_reqs: has no effect without ssl_certfile'),
    ({'ssl_ciphers': 'ECDHE'}, 'ssl_ciphers: has no effect without ssl_certfile'),
    ({'ssl_certfile': A.cert, 'ssl_keyfile': [A.key, B.key]},
     'ssl_keyfile: 2 keys and 1 certificates (ssl_certfile): each key belongs to one of them'),
    ({'ssl_certfile': A.cert, 'ssl_ca_certs': CA},
     'ssl_ca_certs: needs ssl_cert_reqs, optional or required'),
    ({'ssl_certfile': A.cert, 'ssl_cert_reqs': 'optional'},
     'ssl_cert_reqs: optional needs ssl_ca_certs'),
    ({'ssl_certfile': A.cert, 'ssl_ciphers': 'rot13'},
     "ssl_ciphers: 'rot13' is not a list of ciphers that OpenSSL knows, or off"),
    ({'ssl_certfile': A.cert, 'ssl_context': ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)},
     'ssl_certfile: ssl_context has that in itself, give one of them'),
    ({'ssl_context': ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
     'ssl_context: is one for clients, make it with PROTOCOL_TLS_SERVER'),
    ({'ssl_context': 'x'}, "ssl_context: 'x' is not an ssl.SSLContext, or off"),
    ({'ssl_certfile': ''}, "ssl_certfile: '' is not paths, or off"),
])
def test_options_that_do_not_fit_together_are_a_setting_error(options, line):
    assert complaint(**options) == (SettingError, line)


@pytest.mark.skipif(sys.platform == 'win32', reason='modes of files are those of POSIX')
def test_a_file_that_may_not_be_read_is_told(tmp_path):
    shutil.copy(COMBINED, tmp_path / 'private')
    (tmp_path / 'private').chmod(0)
    if not os.getuid():    # (Nothing is forbidden to root.)
        os.seteuid(65534)
    try:
        kind, line = complaint(ssl_certfile=tmp_path / 'private')
    finally:
        if not os.getuid():
            os.seteuid(0)
    assert (kind, line) == (
        TlsError, f'ssl_certfile: {tmp_path / "private"} cannot be read: Permission denied')


def test_an_encrypted_key_with_its_password_works():
    context = server_context(Settings(ssl_certfile=A.cert, ssl_keyfile=ENCRYPTED_KEY,
                                      ssl_keyfile_password=PASSWORD))
    assert Ends(context).shown == 'a.example'


def test_a_key_may_be_in_the_file_of_its_certificate():
    """The last certificates have no key of their own: it is in the same file."""
    context = server_context(Settings(ssl_certfile=[B.cert, COMBINED], ssl_keyfile=B.key))
    assert Ends(context, name='a.example').shown == 'a.example'
    assert Ends(context).shown == 'b.example'


def test_a_context_of_ones_own_is_used_as_it_is():
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    before = own.options
    assert server_context(Settings(ssl_context=own)) is own
    assert own.options == before


# -- dates ----------------------------------------------------------------------------------------

@pytest.mark.parametrize('pair, line', [
    (EXPIRED, 'has expired, on 2021-01-01 00:00:00 GMT'),
    (FUTURE, 'is not valid before 2119-01-01 00:00:00 GMT')])
def test_a_certificate_that_is_not_valid_now_is_a_warning(pair, line, logged):
    of(pair)
    record, = logged.records
    assert (record.levelname, record.getMessage()) == (
        'WARNING', f'ssl_certfile: {pair.cert} {line}')


@pytest.mark.parametrize('days, warned', [(13.9, True), (14.1, False)])
def test_a_certificate_that_expires_soon_is_a_warning(days, warned, logged, monkeypatch):
    ends = ssl.cert_time_to_seconds('Jan  1 00:00:00 2120 GMT')
    monkeypatch.setattr(time, 'time', lambda: ends - days * 86400)
    of(LOCALHOST)
    line = f'ssl_certfile: {LOCALHOST.cert} expires soon, on 2120-01-01 00:00:00 GMT'
    assert logged.messages == [line] * warned


# -- before the fork, and anew --------------------------------------------------------------------

def test_what_was_prepared_is_found_by_what_the_settings_say():
    one, other = (Settings(ssl_certfile=each.cert, ssl_keyfile=each.key) for each in (A, B))
    try:
        contexts.prepare([one])
        found = contexts.of(one)
        assert contexts.of(one.replace(port=1, idle_timeout=3)) is found
        assert contexts.of(other) is not contexts.of(other)
        # One that cannot be made leaves those that are there.
        with pytest.raises(TlsError):
            contexts.prepare([one, one.replace(ssl_keyfile=OTHER_KEY)])
        assert contexts.of(one) is found
        contexts.prepare([one])
        assert contexts.of(one) is not found
    finally:
        contexts.forget()
    assert contexts.of(one) is not contexts.of(one)


def test_a_link_that_was_swapped_counts(tmp_path):
    for name, pair in (('one', A), ('two', B)):
        (tmp_path / name).mkdir()
        shutil.copy(pair.cert, tmp_path / name / 'cert.pem')
        shutil.copy(pair.key, tmp_path / name / 'key.pem')
    (tmp_path / 'live').symlink_to('one')
    settings = Settings(ssl_certfile=tmp_path / 'live/cert.pem',
                        ssl_keyfile=tmp_path / 'live/key.pem')
    assert Ends(server_context(settings)).shown == 'a.example'
    (tmp_path / 'new').symlink_to('two')
    os.replace(tmp_path / 'new', tmp_path / 'live')
    assert Ends(server_context(settings)).shown == 'b.example'


def test_relative_paths_are_those_of_the_folder_at_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(FOLDER)
    settings = Settings(ssl_certfile='a.pem', ssl_keyfile='a.key')
    monkeypatch.chdir(tmp_path)
    assert Ends(server_context(settings)).shown == 'a.example'


# -- one address ----------------------------------------------------------------------------------

def test_an_address_with_a_certificate_of_its_own_has_nothing_of_the_servers():
    whole = Settings(ssl_certfile=A.cert, ssl_keyfile=ENCRYPTED_KEY, ssl_keyfile_password=PASSWORD,
                     ssl_ca_certs=CA, ssl_cert_reqs='required')
    part = whole.replace(**part_options({'certfile': COMBINED}))
    assert (part.ssl_keyfile, part.ssl_keyfile_password) == ((), '')
    assert part.ssl_cert_reqs == 'required'
    part.check()
    plain = whole.replace(**part_options({'ssl_certfile': 'off'}))
    plain.check()
    assert not plain.secure
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    other = whole.replace(**part_options({'ssl_context': own}))
    other.check()
    assert server_context(other) is own


# -- keys for those who look for a fault ----------------------------------------------------------

def test_keys_are_written_only_where_the_variable_says(tmp_path, monkeypatch, logged):
    if not hasattr(ssl.SSLContext, 'keylog_filename'):
        return    # (PyPy 3.9 writes none.)
    monkeypatch.delenv('SSLKEYLOGFILE', raising=False)
    assert of(A).keylog_filename is None
    monkeypatch.setenv('SSLKEYLOGFILE', str(tmp_path / 'keys'))
    ends = Ends(of(A))
    assert ends.error is None
    assert b'TRAFFIC_SECRET' in (tmp_path / 'keys').read_bytes()
    assert logged.messages == [
        f'SSLKEYLOGFILE: who reads {tmp_path / "keys"} can read all connections']
    monkeypatch.setenv('SSLKEYLOGFILE', str(tmp_path))
    with pytest.raises(TlsError, match=f'SSLKEYLOGFILE: {tmp_path}: Is a directory'):
        of(A)


def test_the_intermediate_of_the_tests_is_no_root():
    assert Ends(of(CHAIN), client_context(ca=INTERMEDIATE)).error is not None
