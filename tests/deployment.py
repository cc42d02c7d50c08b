"""The blocks of tremolo/deployment.md, for the tests that start them.

A block is a whole file, or a list of commands, and its first line is a comment with its name. A
test takes it by the last part of that name, and says what it replaces, its ports and its folders
for those of the page: `block('shop.conf', {'443': port})`. What is to be replaced must be there.
`tests/service/test_deployment_page.py` looks whether each block has such a call.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / 'tremolo' / 'deployment.md').read_text(encoding='utf-8')

APPLICATION = '''
import os, time
import tremolo

app = tremolo.Tremolo()
born = f'{os.getpid()} {time.monotonic_ns()}'

@app.route('/')
def index(request):
    return born

@app.route('/who')
def who(request):
    return {'client': request.client, 'scheme': request.scheme, 'host': request.host,
            'secure': request.is_secure, 'pid': os.getpid()}

@app.route('/late')
def late():
    yield tremolo.sleep(0.02)
    yield born

@app.route('/in', methods=['POST'])
async def upload(request):
    return f'{born} {len(await request.body())}'

@app.route('/uploads/first', methods=['PUT'])
def first(request):
    yield (yield request.read(3))

@app.route('/events')
def events(sse):
    yield sse.send('first')
    yield app.stopping

@app.route('/echo')
async def echo(websocket):
    await websocket.accept()
    async for message in websocket:
        await websocket.send(message)
'''


def blocks() -> dict[str, str]:
    """Return each block by its name."""
    found = {}
    for text in re.findall(r'(?ms)^```\w+\n(.*?)^```$', PAGE):
        named = re.match(r'# (\S+)\n', text)
        assert named, f'a block of deployment.md begins with no name: {text[:60]!r}'
        name = named[1].rpartition('/')[2]
        assert name not in found, name
        found[name] = text
    return found


def block(name: str, replaced: Mapping[str, object] | None = None) -> str:
    """Return a block with these words replaced by others."""
    text = blocks()[name]
    for old, new in (replaced or {}).items():
        assert old in text, f'{name} has no {old!r}'
        text = text.replace(old, str(new))
    return text


def unit_file(text: str) -> dict[str, dict[str, str]]:
    """Read a unit of systemd: its sections, and the values of their keys (systemd.syntax(7))."""
    sections: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line and line[0] not in '#;':
            head = re.fullmatch(r'\[(\w+)\]', line)
            if head:
                section = sections.setdefault(head[1], {})
            else:
                key, sign, value = line.partition('=')
                assert sign and key not in section, line
                section[key] = value
    return sections


def variables(text: str) -> dict[str, str]:
    """Read a file of variables as `EnvironmentFile=` does."""
    words = shlex.split(text, comments=True)
    return dict(each.split('=', 1) for each in words)


def dockerfile(text: str) -> dict[str, list[str]]:
    """Return what follows each instruction of a Dockerfile."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith('#'):
            instruction, _, rest = line.partition(' ')
            found.setdefault(instruction, []).append(rest)
    return found


def yaml_value(text: str, name: str) -> str:
    """Return the only value of a key in YAML: a plain scalar, or what is quoted."""
    value, = re.findall(rf'(?m)\b{re.escape(name)}: *([^,{{}}\n]+)', text)
    return value.strip('"\'')


def yaml_variables(text: str) -> dict[str, str]:
    """Return the variables of a container in Kubernetes."""
    return dict(re.findall(r'- \{name: (\w+), value: "([^"]*)"\}', text))


def yaml_line(text: str, name: str) -> str:
    """Return the mapping that a key has on its line, in YAML."""
    found, = re.findall(rf'(?m)^ *{re.escape(name)}: (\{{.*\}})$', text)
    return found


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table of a chapter, without its ruler."""
    chapter = re.search(rf'(?ms)^## {re.escape(heading)}$(.*?)(?=^## |\Z)', PAGE)
    assert chapter, heading
    rows = [[cell.strip().strip('`') for cell in line.strip('| ').split('|')]
            for line in chapter[1].splitlines() if line.startswith('|')]
    return [row for row in rows if set(row[0]) != {'-'}]
