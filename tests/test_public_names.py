"""The public names: README.md lists them all, and those that were public before are still there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tremolo.settings import OPTIONS, Settings

README = (Path(__file__).resolve().parent.parent / 'README.md').read_text(encoding='utf-8')

# What could be imported before the package was divided into rooms.
BEFORE = {
    'tremolo': '''
        Application BadRequest Cancelled Event Forbidden Future HTTPError HandlerError Lock
        MethodNotAllowed NotFound PayloadTooLarge Queue Reactor Request Response Semaphore
        SettingError StreamClosed Tremolo TremoloError __version__ connect exceptions gather run
        run_in_thread sleep spawn timeout''',
    'tremolo.exceptions': '''
        BadRequest Cancelled Forbidden HTTPError HandlerError HeaderError InvalidState
        LimitExceeded ListenError MethodNotAllowed NotFound PayloadTooLarge ProtocolError
        SettingError StreamClosed TremoloError''',
    'tremolo.asgi_app': 'AsgiApplication',
    'tremolo.loop': '''
        Cancelled Event Future Inbox InvalidState LimitExceeded ListenError Listener Lock Queue
        Reactor Semaphore Stream StreamClosed Task Timer bind bind_unix connect current_reactor
        gather run_in_thread sleep spawn timeout''',
    'tremolo.loop.bridge': '''
        Bridge ReactorEventLoop ReactorSelector Starter awaiting bridge_to future_of''',
    'tremolo.http': '''
        CONTINUE EndOfBody HeaderError Headers Limits ProtocolError RequestHead RequestParser
        chunk encode_fields format_cookie http_date parse_cookies status_line''',
    'tremolo.server': '''
        REASONS Connection Context Encoded HTTPError HandlerError Request Response Server announce
        phrase''',
    'tremolo.settings': '''
        OPTIONS Address Option Settings option_table parse_bind part_options''',
}


def public_section(readme: str) -> str:
    found = re.search(r'(?ms)^## Public names$.*?(?=^## |\Z)', readme)
    return found[0] if found else ''


def listed_names(readme: str) -> dict[str, set[str]]:
    """Return the names that the table lists for each module."""
    rows = re.findall(r'(?m)^\| `(tremolo[\w.]*)` \| (.*) \|$', public_section(readme))
    return {module: set(re.findall(r'`(\w+)`', names)) for module, names in rows}


def listed_aliases(readme: str) -> list[tuple[str, str, str]]:
    """Return the rows of the table of old names: what it is, the old name, the new one."""
    section = public_section(readme)
    return [*re.findall(r'(?m)^\| ()`([A-Z]\w*\.\w+)` \| `([A-Z]\w*\.\w+)` \|$', section),
            *re.findall(r'(?m)^\| (option) `(\w+)` \| option `(\w+)` \|$', section)]


def names_differ(listed: dict[str, set[str]]) -> list[str]:
    """Compare what is listed with each module's `__all__`, both ways."""
    complaints = []
    for module, names in listed.items():
        exported = set(importlib.import_module(module).__all__)
        complaints += [f'README.md does not list {module}.{name}'
                       for name in sorted(exported - names)]
        complaints += [f'README.md lists {module}.{name}, which `__all__` does not have'
                       for name in sorted(names - exported)]
    return complaints


def names_gone(before: dict[str, str]) -> list[str]:
    return [f'{module}.{name} has gone' for module, names in before.items()
            for name in names.split() if not hasattr(importlib.import_module(module), name)]


def aliases_gone(aliases: list[tuple[str, str, str]]) -> list[str]:
    """Look for both names of each attribute, in the class, and of each option, in the table."""
    complaints = []
    options = {name: option.name for option in OPTIONS
               for name in (option.name, *option.synonyms)}
    for kind, old, new in aliases:
        if kind:
            good = options.get(old) == new and old != new
        else:
            good = all(hasattr(class_of(name), name.split('.')[1]) for name in (old, new))
        if not good:
            complaints.append(f'{old} is no old name of {new}')
    return complaints


def class_of(attribute: str) -> object:
    """Return the class of `Class.attribute`, by the modules that README.md lists."""
    name = attribute.split('.')[0]
    for module in map(importlib.import_module, BEFORE):
        if hasattr(module, name):
            return getattr(module, name)
    return None


def test_the_list_of_public_names_is_that_of_the_modules():
    listed = listed_names(README)
    assert set(BEFORE) | {'tremolo.bridge', 'tremolo.wsgi_app'} == set(listed)
    assert names_differ(listed) == []


def test_what_was_public_before_can_still_be_imported():
    assert names_gone(BEFORE) == []


def test_the_old_address_of_the_bridge_leads_to_the_same_things():
    old, new = map(importlib.import_module, ('tremolo.loop.bridge', 'tremolo.bridge'))
    assert all(getattr(old, name) is getattr(new, name) for name in old.__all__)


def test_the_old_names_of_attributes_and_options_are_there():
    aliases = listed_aliases(README)
    assert aliases
    assert aliases_gone(aliases) == []


@pytest.mark.parametrize('old, new', [
    (old, new) for kind, old, new in listed_aliases(README) if kind])
def test_the_old_name_of_an_option_works_everywhere(old, new):
    settings = Settings(**{old: 77})
    assert getattr(settings, new) == getattr(settings, old) == 77
    assert settings.by_all_names()[old] == 77
    assert getattr(Settings.load({}, {f'TREMOLO_{old.upper()}': '78'}), new) == 78


def test_every_old_name_in_the_source_is_listed():
    listed = [old.split('.')[1] for kind, old, _ in listed_aliases(README) if not kind]
    package = Path(importlib.import_module('tremolo').__file__).parent
    noted = []
    for path in package.rglob('*.py'):
        text = path.read_text(encoding='utf-8')
        noted += re.findall(r'(\w+) = \w+ +# The old name\.', text)
        noted += re.findall(r'def (\w+)\(self.*\n +"""The old name of', text)
    assert sorted(noted) == sorted(listed)


def test_a_list_that_is_wrong_is_found_out():
    text = '## Public names\n| `tremolo.asgi_app` | {} |\n## More\n| `tremolo.http` | `x` |'
    assert listed_names(text.format('`AsgiApplication`')) == {
        'tremolo.asgi_app': {'AsgiApplication'}}
    assert names_differ(listed_names(text.format('`AsgiApplication`'))) == []
    assert len(names_differ(listed_names(text.format('`AsgiApplication`, `Gone`')))) == 1
    assert len(names_differ(listed_names(text.format('nothing')))) == 1
    assert names_gone({'tremolo.loop': 'Reactor Vanished'}) == ['tremolo.loop.Vanished has gone']


def test_an_old_name_that_is_gone_is_found_out():
    text = ('## Public names\n| `Reactor.{}` | `Reactor.in_loop_thread` |\n'
            '| option `body_rate` | option `{}` |')
    wrong = listed_aliases(text.format('vanished', 'body_size'))
    assert len(wrong) == len(aliases_gone(wrong)) == 2
    right = listed_aliases(text.format('in_thread', 'min_upload_rate'))
    assert len(right) == 2
    assert aliases_gone(right) == []
