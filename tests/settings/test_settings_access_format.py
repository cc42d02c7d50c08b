"""The template of the access log: its names, and what is said of one that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tremolo.errors import SettingError
from tremolo.settings import Settings
from tremolo.settings.access_format import COMBINED, JSON, NAMES, read_format

README = (Path(__file__).resolve().parents[2] / 'README.md').read_text(encoding='utf-8')


@pytest.mark.parametrize('given, kept', [
    ('combined', 'combined'), ('JSON', 'json'), ('{client}', '{client}'), (COMBINED, COMBINED)])
def test_formats_that_can_be_used(given, kept):
    assert Settings(access_logformat=given).access_logformat == kept


def test_a_template_becomes_a_text_with_places():
    assert read_format('{{{client}}} 100% {ms}') == ('{%s} 100%% %s', ('client', 'ms'))
    assert {*read_format(COMBINED)[1], *JSON} <= {*NAMES}


@pytest.mark.parametrize('given, said', [
    ('{client.x}', "'{client.x}': names stand alone; did you mean {client}?"),
    ('{client[0]}', 'names stand alone; did you mean {client}?'),
    ('{status!r}', 'names stand alone; did you mean {status}?'),
    ('{ms:.2f}', 'names stand alone; did you mean {ms}?'),
    ('{ client }', 'did you mean {client}?'),
    ('{0}', 'there is no such name; the names are time, client'),
    ('{}', 'there is no such name; the names are time, client'),
    ('{user-agent}', 'did you mean {user_agent}?'),
    ('{statsu}', 'did you mean {status}?'),
    ('{client', 'a { alone: write {{'), ('client}', 'a } alone: write }}'),
    ('{client}}', 'a } alone'), ('{{client}', 'a } alone'), ('{a{client}}', 'a { alone'),
    ('common', 'is not combined, json, or a template'), ('', 'is not combined, json'),
    ('{{client}}', 'is not combined, json, or a template'),
    ('{client}\n', 'is not combined, json, or a template'),
    ('{client}\x1b[2J', 'is not combined, json, or a template'),
    (7, 'is not combined, json, or a template'),
])
def test_a_wrong_template_is_told_in_one_line(given, said):
    with pytest.raises(SettingError) as raised:
        Settings(access_logformat=given)
    text = str(raised.value)
    assert text.startswith('access_logformat: ') and said in text and '\n' not in text


@pytest.mark.parametrize('theirs, ours', [
    ('%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"', 'combined'),
    ('%(h)s %(D)s', '{client} {ms}'),
    ('%(m)s %(U)s?%(q)s %(H)s', '{method} {path}?{query} {protocol}'),
    ('%({x-request-id}i)s %({Referer}i)s', '{request_id} {referer}'),
    ('{%(p)s}', '{{{pid}}}'),
    ('%(R)s %(st)s %(S)s', '{method} {path} {protocol} {status} {scheme}'),
    ('%(client_addr)s - "%(request_line)s" %(status_code)s',
     '{client} - "{method} {target} {protocol}" {status}'),
])
def test_the_atoms_of_other_servers_are_answered_with_the_names(theirs, ours):
    with pytest.raises(SettingError, match=re.escape(f"braces here: write '{ours}' instead of")):
        Settings(access_logformat=theirs)
    assert ours == 'combined' or read_format(ours)


@pytest.mark.parametrize('atom', ['%({cookie}i)s', '%({x}o)s', '%({path}e)s', '%(z)s'])
def test_an_atom_without_a_name_is_told(atom):
    with pytest.raises(SettingError, match='has nothing in its place here; the names are time'):
        Settings(access_logformat=f'%(h)s {atom}')


def test_the_readme_has_the_table_of_names():
    for name, what in NAMES.items():
        assert f'| `{name}` | {what} |\n' in README
