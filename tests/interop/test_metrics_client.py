"""The page of metrics, read by Prometheus' own client library: each name with its type."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request

from tremolo.metrics.exposition import FAMILIES

# Reads a page, and writes what the library makes of it.
READER = '''
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps([[each.name, each.type, each.documentation,
                   [[s.name, s.labels, s.value] for s in each.samples]]
                  for each in text_string_to_metric_families(sys.stdin.read())]))
'''


def test_the_library_of_prometheus_reads_the_page(serve, frameworks_python, tmp_path):
    with serve('--metrics', '127.0.0.1:0', '--workers', '2', folder=tmp_path) as server:
        for _ in range(20):
            urllib.request.urlopen(server.url, timeout=60).close()
        address = re.search(r'metrics: (http\S+)', server.logged('metrics:'))[1]
        page = b''
        # (The second worker may still start: the first one serves its slot meanwhile.)
        while b'worker_memory_bytes{worker="2"}' not in page:
            with urllib.request.urlopen(address, timeout=60) as answer:
                page = answer.read()
    done = subprocess.run([frameworks_python, '-c', READER], input=page, stdout=subprocess.PIPE,
                          check=True, timeout=60)
    families = {name: (kind, text, samples) for name, kind, text, samples in
                json.loads(done.stdout)}
    assert len(families) == len(FAMILIES)
    for family in FAMILIES:
        # (The library leaves `_total` out of the name of a counter.)
        name = family.name
        kind, text, samples = families[name[:-6] if family.kind == 'counter' else name]
        assert (kind, text) == (family.kind, family.help)
        assert all(set(labels) <= set(family.labels) for _, labels, _ in samples)
    requests = families['tremolo_requests'][2]
    assert ['tremolo_requests_total', {'method': 'GET', 'status': '200'}, 20.0] in requests
    assert {sample[1]['worker'] for sample in families['tremolo_worker_memory_bytes'][2]} == {
        '1', '2'}
