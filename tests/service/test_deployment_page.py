"""tremolo/deployment.md: each block of it has a test, and its numbers belong together."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
from deployment import (
    PAGE,
    ROOT,
    block,
    blocks,
    dockerfile,
    table,
    unit_file,
    variables,
    yaml_line,
    yaml_value,
    yaml_variables,
)

from tremolo import Tremolo
from tremolo.settings import Settings
from tremolo.settings.limits import memory_of, shown_size

TESTS = ROOT / 'tests'
LIMITS = table('Sizes of limits')


def seconds(text: str) -> float:
    """Read a time of HAProxy, of nginx or of an option."""
    number, unit = re.fullmatch(r'([\d.]+)(ms|s|m|h|)', text).groups()
    return float(number) * {'ms': 0.001, 'm': 60, 'h': 3600}.get(unit, 1)


def value(text: str, words: str) -> str:
    """Return what follows these words, the same at each place where they are."""
    found, = set(re.findall(rf'(?m)^ *{re.escape(words)}[ =]([^;\s]+)', text))
    return found


def settings(given: dict[str, str]) -> Settings:
    """Return the options that these variables give; each of them is an option."""
    assert all(name.startswith('TREMOLO_') for name in given)
    return Settings.load({}, given)


def test_each_block_has_a_test_that_starts_it_and_each_test_a_block():
    used = set()
    for path in TESTS.rglob('test_*.py'):
        if path != Path(__file__):    # (Nothing is started here.)
            used |= set(re.findall(r"\b(?:block\(|in_front\(\s*tool, \w+, )'([\w.-]+)'",
                                   path.read_text(encoding='utf-8')))
    assert used == set(blocks())


def test_each_block_is_fenced_and_has_a_name():
    assert PAGE.count('\n```') == 2 * len(blocks())


def test_each_link_leads_to_a_chapter():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    chapters = {re.sub(r'[^\w -]', '', each.lower()).replace(' ', '-')
                for each in re.findall(r'(?m)^#+ (.*)$', text)}
    links = re.findall(r'\]\((.*?)\)', PAGE)
    assert links
    for link in links:
        path, _, chapter = link.partition('#')
        assert path == '../README.md' and (not chapter or chapter in chapters), link


def test_the_reader_of_blocks_wants_what_it_replaces():
    with pytest.raises(AssertionError, match="has no 'listen 8080'"):
        block('shop.conf', {'listen 8080': 'listen 80'})


# -- three numbers that belong together -----------------------------------------------------------


def until_it_is_killed() -> dict[str, tuple[Settings, float]]:
    """Return the options of each way to run it, and how long its manager waits before SIGKILL."""
    service = unit_file(block('shop.service'))['Service']
    image = dockerfile(block('Dockerfile'))
    pods = block('shop.yaml')
    stop, = re.findall(r'--stop-timeout (\d+)', block('run.sh'))
    return {
        'shop.service': (settings(variables(block('shop.env'))), int(service['TimeoutStopSec'])),
        'shop-tls.env': (settings(variables(block('shop-tls.env'))),
                         int(service['TimeoutStopSec'])),
        'run.sh': (settings(variables(image['ENV'][0])), int(stop)),
        'shop.yaml': (settings(yaml_variables(pods)),
                      int(yaml_value(pods, 'terminationGracePeriodSeconds'))),
    }


def test_a_manager_waits_until_a_stop_is_over():
    for name, (options, patience) in until_it_is_killed().items():
        assert options.health == '/healthz', name
        assert patience >= options.drain_delay + options.shutdown_timeout + 10, name


def test_a_delay_is_longer_than_a_proxy_needs_to_see_it():
    for name in 'haproxy.cfg', 'passes-tls-on.cfg':
        text = block(name)
        checks = re.search(r'inter (\w+) fall (\d+)', text)
        late = seconds(checks[1]) * int(checks[2]) + seconds(value(text, 'timeout check'))
        for options, _ in until_it_is_killed().values():
            assert options.drain_delay > late
    probe = yaml_line(block('shop.yaml'), 'readinessProbe')
    late = int(yaml_value(probe, 'periodSeconds')) * int(yaml_value(probe, 'failureThreshold'))
    assert settings(yaml_variables(block('shop.yaml'))).drain_delay > late


def test_the_proxy_ends_an_idle_connection_first():
    idle = Settings().idle_timeout
    assert seconds(value(block('shop.conf'), 'keepalive_timeout')) < idle
    assert seconds(value(block('haproxy.cfg'), 'timeout http-keep-alive')) < idle
    # Where it passes bytes on, the clients' connections are ours, and we end them.
    text = block('passes-tls-on.cfg')
    assert seconds(value(text, 'timeout client')) > idle
    assert seconds(value(text, 'timeout server')) > idle


def test_what_is_silent_is_heard_of_in_time():
    silent = max(Settings().sse_heartbeat, Settings().ws_ping_interval)
    for each in 'client', 'server', 'tunnel':
        assert seconds(value(block('haproxy.cfg'), f'timeout {each}')) > silent
    # (nginx: 60 s unless set.)
    assert 'proxy_read_timeout' not in block('shop.conf') and silent < 60


def test_the_probes_of_kubernetes():
    text = block('shop.yaml')
    options = settings(yaml_variables(text))
    ready, alive, start = (yaml_line(text, f'{each}Probe')
                           for each in ('readiness', 'liveness', 'startup'))
    for each in ready, start:
        assert f'httpGet: {{path: {options.health}, port: {options.port}}}' in each
    # A pod that drains is no dead one: liveness asks for no health, and not sooner than the end.
    assert options.health not in alive
    patience = int(yaml_value(alive, 'periodSeconds')) * int(yaml_value(alive, 'failureThreshold'))
    assert patience >= int(yaml_value(text, 'terminationGracePeriodSeconds'))
    patience = int(yaml_value(start, 'periodSeconds')) * int(yaml_value(start, 'failureThreshold'))
    assert patience > options.startup_timeout
    assert options.workers == 1    # (Who hangs is replaced by the supervisor.)
    assert (yaml_value(text, 'maxUnavailable'), yaml_value(text, 'maxSurge')) == ('0', '1')
    assert options.host == '0.0.0.0'
    assert f'containerPort: {options.port}' in text
    assert 'preStop' not in text


def test_a_scrape_of_metrics_asks_each_machine():
    targets = re.search(r'targets: \[(.*)\]', block('prometheus.yml'))[1]
    machines = re.findall(r'server \w+ ([\d.]+):', block('haproxy.cfg'))
    assert [each.strip(' "').partition(':')[0] for each in targets.split(',')] == machines
    port, = {each.strip(' "').partition(':')[2] for each in targets.split(',')}
    assert settings(variables(block('shop.env'))).metrics.port == int(port)


# -- limits ---------------------------------------------------------------------------------------


def columns() -> dict[str, dict[str, str]]:
    names = LIMITS[0][1:]
    return {name: {row[0]: row[number] for row in LIMITS[1:-1]}
            for number, name in enumerate(names, 1)}


@pytest.mark.parametrize('name', columns())
def test_a_column_of_limits_is_served_and_its_memory_is_as_the_page_says(name):
    given = columns()[name]
    app = Tremolo()
    app.route('/')(lambda: 'Hello world!')
    with app.start(**given) as server, urllib.request.urlopen(server.url) as answer:
        assert answer.read() == b'Hello world!'
    options = Settings(**given)
    memory = memory_of([options], 'native', websockets=name == 'WebSockets')
    most = memory.total(options.connections, options.limit_concurrency or options.connections)
    assert LIMITS[-1][list(columns()).index(name) + 1] == shown_size(most)
    unit = unit_file(block('shop.service'))['Service']
    assert options.connections + 64 < int(unit['LimitNOFILE'])
