"""Drive: puts a load on a server, by wrk, or by load.py, download.py or echo_load.c.

Whichever it is, it runs on its own core and gives the same figures: requests, bytes, seconds,
errors, p50 and p99 in milliseconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from echo_build import build
from workloads import Workload

HERE = Path(__file__).resolve().parent

# wrk's Lua runs on the load generator's core: requests are made beforehand and only picked here,
# and no Lua runs at all for requests that are all the same.
LUA_SAME = """
wrk.method = %s
wrk.headers = {%s}
wrk.body = %s
"""
LUA_CYCLE = """
local requests, i = {%s}, 0
function request()
  i = i %% #requests + 1
  return requests[i]
end
"""
LUA_DONE = """
function done(summary, latency)
  local e = summary.errors
  print(string.format('\\n{"requests": %d, "bytes": %d, "seconds": %f, "errors": %d, "p50": %f, '
    .. '"p99": %f}', summary.requests, summary.bytes, summary.duration / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


def lua_of(workload: Workload) -> str:
    requests = workload.requests()
    if len(requests) > 1:
        return LUA_CYCLE % ','.join(map(json.dumps, requests)) + LUA_DONE
    asked = workload.asked
    fields = ','.join(f'[{json.dumps(name)}]={json.dumps(value)}'
                      for name, value in workload.fields)
    body = json.dumps(asked.body.decode()) if asked.body else 'nil'
    return LUA_SAME % (json.dumps(asked.method), fields, body) + LUA_DONE


class Load:
    """A load generator, pinned to its core unless the server may use all of them."""

    def __init__(self, workload: Workload, connections: int, core: int, builtin: bool) -> None:
        self.workload = workload
        self.connections = connections or workload.asked.connections
        self.core = core
        self.requests = workload.requests()
        self.script = ''
        self.name = 'download.py'
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        if workload.asked.load == 'echo':
            self.name = 'echo_load'
            self.folder = tempfile.TemporaryDirectory(prefix='race')
            try:
                self.program = build(Path(self.folder.name), workload.asked.deflate)
            except BaseException:
                self.folder.cleanup()
                raise
        if workload.asked.load == 'wrk':
            wrk = None if builtin else shutil.which('wrk')
            self.name = 'wrk' if wrk else 'load.py'
            if wrk:
                with tempfile.NamedTemporaryFile('w', suffix='.lua', delete=False) as file:
                    file.write(lua_of(workload))
                self.script = file.name
            elif workload.asked.size > 1000:
                raise SystemExit('race: only wrk can read answers this long')

    def run(self, port: int, seconds: float, pinned: bool = True) -> dict[str, float]:
        """Load the server; answers that are too short are errors as well."""
        command = [sys.executable, str(HERE / self.name), str(port), str(self.connections),
                   str(seconds)]
        if self.name == 'wrk':
            command = ['wrk', '-t1', f'-c{self.connections}', f'-d{max(1, round(seconds))}s',
                       '-s', self.script, f'http://127.0.0.1:{port}{self.workload.asked.path}']
        elif self.name == 'echo_load':
            command = [str(self.program), *command[2:], str(self.workload.asked.size), 'text',
                       'deflate' if self.workload.asked.deflate else 'plain']
        cores = {self.core} if pinned else os.sched_getaffinity(0)
        done = subprocess.run(
            command, input=json.dumps(self.requests), capture_output=True, text=True, check=False,
            timeout=seconds + 300, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        if done.returncode:
            raise SystemExit(f'race: {self.name}: {(done.stderr or done.stdout).strip()[-500:]}')
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        if result['bytes'] < result['requests'] * self.workload.asked.size:
            result['errors'] += 1
        return result

    def close(self) -> None:
        if self.script:
            os.unlink(self.script)
        if self.folder:
            self.folder.cleanup()
