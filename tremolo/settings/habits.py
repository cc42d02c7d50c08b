"""Habits: what options of other servers are here, or why they are not here.

    told('--uds', as_flag=True)     # 'write --bind unix:PATH'
    told('daemon')                  # 'not here: a service manager does that (systemd, a container)'

Who comes from another server types what he knows. A mistyped option is answered with the nearest
one, but the nearest word to `--uds` has nothing to do with it. So the options of others are one
table. Each line of it says what to write here, or why there is nothing to write.

When an option comes that has the same name, its line is no longer used, and can be deleted.
"""

from __future__ import annotations

import re

from ..typed import NamedTuple
from .option import SHORT
from .options import OPTIONS

_LOG = 'messages go to stderr, unless that file gives the loggers `tremolo.*` handlers'
_STRICT = 'what breaks HTTP is refused'
_HTTP = 'it speaks HTTP/1.1, by one parser; a proxy in front speaks HTTP/2 and HTTP/3'
_MANAGER = 'a service manager does that (systemd, a container)'
_CONFIG = 'options are arguments, variables `TREMOLO_…`, or keywords of `run`'
_APP_DIR = 'it is where modules are looked for, and the current folder stays'


class Habit(NamedTuple):
    """A line: options of others, what is written here (or nothing), and a word about it."""

    theirs: tuple[str, ...]
    ours: str
    why: str


def _habit(theirs: str, ours: str, why: str = '') -> Habit:
    return Habit(tuple(theirs.split()), ours, why)


# Flags of ours stand in backquotes: for a program each is written as a keyword (see `told`).
HABITS = (
    _habit('--uds', '`--bind unix:PATH`'),
    _habit('--listen', '`--bind ADDRESS`'),
    _habit('--call', '`--factory`'),
    _habit('--insecure-bind', '`--bind ADDRESS?ssl_certfile=off`'),
    _habit('--quic-bind', '', _HTTP),
    _habit('--reuse-port', '', 'each worker has a socket of its own by default'),
    _habit('-p', '`--port PORT`',
           'the letter is a port with some servers, and a file for the process id with others'),
    _habit('--reload-include --reload-extra-file', '`--reload --reload-dir DIR`',
           'what the application imports is watched anyway'),
    _habit('--reload-exclude', '`--reload`', 'only what the application imports is watched'),
    _habit('--reload-delay --reload-engine', '`--reload`', 'a change is noticed within 0.5 s'),
    _habit('-k --worker-class', '`--loop asyncio` or `--loop uvloop`',
           'there is one kind of worker, for handlers, ASGI and WSGI, and it needs neither; the '
           'threads of WSGI are `--threads N`'),
    _habit('-t --timeout', '`--worker-timeout TIME` or `--handler-timeout TIME`',
           'the first replaces a worker whose loop stands still, the second ends a slow handler'),
    _habit('--max-requests-jitter --limit-max-requests-jitter', '`--max-requests N`',
           'up to a tenth more is added, by chance'),
    _habit('--worker-tmp-dir', '', 'a sign of life of a worker needs no file'),
    _habit('--dirty-app --dirty-workers --dirty-timeout --dirty-threads --dirty-graceful-timeout',
           '', 'use `run_in_thread`, or a queue with processes of its own'),
    _habit('-D --daemon --no-daemon -u --user -g --group --initgroups -n --name', '', _MANAGER),
    _habit('--pid', '', 'the log names the process id; ' + _MANAGER),
    _habit('-m --umask', '`--socket-mode MODE`', 'it is for UNIX sockets; no other file is made'),
    _habit('--chdir --pythonpath', '`--app-dir DIR`', _APP_DIR),
    _habit('-e --env --env-file', '', _MANAGER),
    _habit('-c --config --paste --paster --paste-global', '', _CONFIG),
    _habit('--check-config', '`--check`'),
    _habit('--print-config', '`--show-config`'),
    _habit('--spew', '', '`kill -USR2 PID` tells what each handler is doing'),
    _habit('--control-socket --control-socket-mode --no-control-socket', '`--control PATH`',
           'it shows what goes on; signals tell it what to do: HUP, TTIN, TTOU, USR1, TERM'),
    _habit('--no-sendfile', '',
           'files are sent by sendfile where the kernel can do it, and else read'),
    _habit('-v', '`--version`'),
    _habit('--log-config-json', '`--log-config PATH`'),
    _habit('--error-log --error-logfile --log-file --logger-class --log-syslog --log-syslog-to '
           '--log-syslog-prefix --log-syslog-facility', '`--log-config PATH`', _LOG),
    _habit('--log-fmt', '`--log-format json` or `--log-config PATH`', _LOG),
    _habit('--disable-redirect-access-to-syslog', '', 'nothing goes to syslog by itself'),
    _habit('--capture-output -R --enable-stdio-inheritance', '',
           'what is printed goes where stdout and stderr go'),
    _habit('--use-colors --no-use-colors', '', 'the log has no colours'),
    _habit('--statsd-host --statsd-prefix --dogstatsd-tags --enable-backlog-metric',
           '`--metrics ADDRESS`', 'Prometheus fetches them'),
    _habit('--proxy-headers', '`--trusted-proxies ADDRESSES`',
           'unless it names them, no proxy is believed, not even one on 127.0.0.1'),
    _habit('--no-proxy-headers', '', 'unless `--trusted-proxies` names them, no proxy is believed'),
    _habit('--proxy-allow-from', '`--trusted-proxies ADDRESSES`', 'it is for PROXY and for the '
           'header fields'),
    _habit('--forwarder-headers --header-map', '', 'to a WSGI application no name with an '
           'underscore is passed; SCRIPT_NAME is `--root-path PATH`'),
    _habit('--ssl', '`--ssl-certfile PATH` and `--ssl-keyfile PATH`',
           'the password of a key is `--ssl-keyfile-password TEXT`'),
    _habit('--ssl-version', '', 'TLS 1.2 and 1.3 are spoken; for more, or less, `run` takes an '
           '`ssl_context`'),
    _habit('--verify-mode', '`--ssl-cert-reqs WHEN`'),
    _habit('--suppress-ragged-eofs', '', 'a body that is cut off is an error for its handler'),
    _habit('--do-handshake-on-connect', '', 'a handshake never holds up other clients'),
    _habit('--http --http2 --http-parser --http-protocols --http2-cleartext '
           '--http2-max-concurrent-streams --http2-initial-window-size --http2-max-frame-size '
           '--http2-max-header-list-size --protocol --uwsgi-allow-from', '', _HTTP),
    _habit('--h11-max-incomplete-event-size --limit-request-line --limit-request-field-size '
           '--limit-request-field_size', '`--head-size SIZE`', 'it limits the whole head'),
    _habit('--limit-request-fields', '`--field-count N`'),
    _habit('--worker-connections --keepalive-connections', '`--connections N`',
           'it counts all that are open; idle ones are closed first when they are scarce'),
    _habit('--max-queue-size', '', 'a handler waits while its client is slow; nothing queues up'),
    _habit('--read-timeout', '`--head-timeout TIME` or `--stall-timeout TIME`',
           'the first is for a head, the second for a body or an answer'),
    _habit('--timeout-worker-healthcheck', '`--worker-timeout TIME`'),
    _habit('--app-close-timeout --asgi-disconnect-grace-period', '',
           'a handler is told at once that its client has left'),
    _habit('--permit-obsolete-folding --strip-header-spaces --permit-unconventional-http-method '
           '--permit-unconventional-http-version --casefold-http-method', '', _STRICT),
    _habit('--server-header --no-server-header', '`--server-name off`'),
    _habit('--date-header --no-date-header', '', 'RFC 9110 wants a Date of each server that has a '
           'clock'),
    _habit('--header --headers', '', 'a header field is set by the application, or by a proxy'),
    _habit('--reset-contextvars', '', 'each request runs in a context of its own'),
    _habit('--asgi-loop', '`--loop NAME`'),
    _habit('--asgi-lifespan', '`--lifespan MODE`'),
    _habit('--no-ws', '`--websocket off`'),
    _habit('--experimental', '', 'nothing is experimental'),
)
_BY_NAME = {name.lstrip('-').replace('_', '-'): each for each in HABITS for name in each.theirs}


def told(wrong: str, as_flag: bool = False) -> str:
    """Return what to write instead of an option of another server; '' if nobody has it.

    With `as_flag` it is written for the command line, else for a program: `bind='unix:PATH'`.
    """
    habit = _BY_NAME.get(wrong.lstrip('-').replace('_', '-'))
    if habit is None and as_flag and re.fullmatch('-[A-Za-z].+', wrong):
        # A letter with its value: `-t30`.
        habit = _BY_NAME.get(wrong[1])
    if habit is None:
        return ''
    text = f'write {habit.ours}' if habit.ours else f'not here: {habit.why}'
    if habit.ours and habit.why:
        text += f'; {habit.why}'
    if not as_flag:
        text = re.sub('`--([a-z-]+)(?: ([^`]+))?`', _as_keyword, text)
    return text.replace('`', '')


def _as_keyword(flag: re.Match[str]) -> str:
    name = flag[1].replace('-', '_')
    return f'{name}=…' if flag[2] is None else f'{name}={flag[2]!r}'


def habit_table() -> str:
    """Return the habits as the Markdown table of the README at the top."""
    lines = ['| theirs | here |', '| --- | --- |']
    lines += [f'| `-{letter}` | `--{name}`, the same |' for letter, name in SHORT.items()]
    flags = {'--' + name.replace('_', '-') for each in OPTIONS for name in each.names}
    for each in HABITS:
        names = ', '.join(f'`{name}`' for name in each.theirs if name not in flags)
        if names:
            here = f'{each.ours}: {each.why}' if each.ours and each.why else each.ours or each.why
            lines.append(f'| {names} | {here} |')
    return '\n'.join(lines) + '\n'
