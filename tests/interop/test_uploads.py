"""Forms and files of a browser, of curl, of Node and of Python's clients: they arrive right."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from chromium import Browser

HERE = Path(__file__).resolve().parent
NOTE = 'a note: ü, €, 😀, "quoted"'
# What people call their files; a browser escapes the quote and the line end.
NAMES = ['plain.txt', 'ü 文件 😀.bin', 'a "quoted" name; semi.txt', "it's 100%.txt", 'empty']


@pytest.fixture
def files(tmp_path) -> list[Path]:
    folder = tmp_path / 'files'
    folder.mkdir()
    contents = [b'text\r\n--', os.urandom(3_000_000), b'\r\n' * 70_000, b'x' * 65536, b'']
    for name, content in zip(NAMES, contents):
        (folder / name).write_bytes(content)
    return [folder / name for name in NAMES]


@pytest.fixture
def server(serve, tmp_path):
    with serve(str(HERE / 'clients' / 'upload_site.py'), '--log-level', 'warning',
               folder=tmp_path) as server:
        yield server
    assert server.log == ''


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / 'profile') as browser:
        yield browser


def expected(files: list[Path]) -> list[list]:
    return [['note é', None, len(NOTE.encode()), digest(NOTE.encode())],
            *(['files', file.name, file.stat().st_size, digest(file.read_bytes())]
              for file in files)]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def output(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                          encoding='utf-8', check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_form_of_chromium_with_several_files_arrives_right(server, browser, files):
    page = browser.open(server.url)
    document = page.command('DOM.getDocument')['root']['nodeId']
    chosen = page.command('DOM.querySelector', nodeId=document, selector='[name=files]')
    page.command('DOM.setFileInputFiles', nodeId=chosen['nodeId'],
                 files=[str(file) for file in files])
    page.evaluate(f'document.forms[0].elements[0].value = {json.dumps(NOTE)}')
    page.evaluate('document.forms[0].submit()')
    page.wait('document.contentType === "text/plain" && document.readyState === "complete"')
    found = json.loads(page.evaluate('document.body.innerText'))
    # (An input of files in which nothing is chosen is sent, too.)
    assert found == [*expected(files), ['none', '', 0, digest(b'')]]


def test_an_urlencoded_form_of_chromium_arrives_right(server, browser):
    page = browser.open(server.url)
    page.evaluate(f'''document.forms[1].elements[0].value = {json.dumps(NOTE)}
                      document.forms[1].elements[1].value = 'two\\nlines & + %41;'
                      document.forms[1].submit()''')
    page.wait('document.contentType === "text/plain" && document.readyState === "complete"')
    assert json.loads(page.evaluate('document.body.innerText')) == {
        'note é': [NOTE], 'text': ['two\r\nlines & + %41;']}


def test_fetch_of_chromium_sees_413_while_it_uploads(server, browser):
    page = browser.open(server.url)
    assert page.evaluate('''(async () => {
        const form = new FormData()
        form.append('a', 'x'.repeat(3e6))
        form.append('f', new Blob([new Uint8Array(20e6)]), 'f')
        const answer = await fetch('limited', { method: 'POST', body: form })
        return [answer.status, await answer.text()]
    })()''') == [413, 'the fields of the form exceed 524288 bytes (form_size)']


def test_files_of_curl_arrive_right(server, tool, files):
    arguments = [f'-Ffiles=@"{escaped(str(file))}"' for file in files]
    found = output(tool('curl'), '-sS', '--noproxy', '*', '--form-string', f'note é={NOTE}',
                   *arguments, server.url)
    assert json.loads(found) == expected(files)


def escaped(name: str) -> str:
    return name.replace('\\', '\\\\').replace('"', '\\"')


def test_curl_sees_413_while_it_uploads(server, tool, files):
    # (A file as a field, which is too much, and then as a file.)
    found = output(tool('curl'), '-sS', '--noproxy', '*', '-m', '30', '-H', 'Expect:',
                   f'-Fa=<{files[1]}', f'-Fb=@{files[1]}', '-w', ' %{http_code}',
                   server.url + '/limited')
    assert found == 'the fields of the form exceed 524288 bytes (form_size) 413'


@pytest.mark.parametrize('client', ['requests', 'httpx', 'aiohttp'])
def test_files_of_pythons_clients_arrive_right(server, frameworks_python, client, files):
    found = output(frameworks_python, str(HERE / 'clients' / 'upload.py'), client, server.url, NOTE,
                   *map(str, files))
    assert json.loads(found) == expected(files)


def test_files_of_node_arrive_right(server, tool, files):
    found = output(tool('node'), str(HERE / 'clients' / 'upload.mjs'), server.url, NOTE,
                   *map(str, files))
    assert json.loads(found) == expected(files)
