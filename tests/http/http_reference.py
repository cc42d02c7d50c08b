"""A second parser: slow, obvious, without regular expressions, and written from the RFC alone.

It reads a whole connection's bytes at once and says what `http_runner.run` says, but for the words
of the reason: events, then the status if the bytes are refused, else None.
"""

from __future__ import annotations

ALPHA = b'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
DIGIT = b'0123456789'
HEX = frozenset(b'0123456789abcdefABCDEF')
TCHAR = frozenset(b"!#$%&'*+-.^_`|~" + DIGIT + ALPHA)
HOST_CHARS = frozenset(b"-._~!$&'()*+,;=" + DIGIT + ALPHA)
CONTROLS = frozenset([*range(9), 11, 12, *range(14, 32), 127])
SINGLE = {
    b'authorization', b'content-length', b'content-location', b'content-range', b'content-type',
    b'host', b'if-range', b'max-forwards', b'origin', b'proxy-authorization', b'range',
    b'sec-websocket-key', b'sec-websocket-version', b'transfer-encoding'}
FIRST_COUNTS = {b'date', b'from', b'if-modified-since', b'if-unmodified-since', b'referer'}
NOT_TRAILERS = SINGLE | FIRST_COUNTS | {
    b'accept', b'accept-charset', b'accept-encoding', b'accept-language', b'age', b'cache-control',
    b'connection', b'cookie', b'expect', b'expires', b'forwarded', b'if-match', b'if-none-match',
    b'keep-alive', b'pragma', b'proxy-authenticate', b'proxy-connection', b'set-cookie', b'te',
    b'trailer', b'upgrade', b'user-agent', b'vary', b'via', b'warning', b'www-authenticate',
    b'x-forwarded-for', b'x-forwarded-host', b'x-forwarded-proto', b'x-real-ip'}


class Refused(Exception):
    """The bytes break HTTP; the status is its argument."""


class Incomplete(Exception):
    """More bytes are needed."""


def reference(data, limits):
    events = []
    try:
        while data:
            data = message(data, limits, events)
    except Refused as refused:
        return events, refused.args[0]
    except Incomplete:
        pass
    return events, None


def message(data, limits, events):
    """Read one message and return what follows it."""
    empty = 0
    while data.startswith(b'\r\n'):
        if empty == 8:
            raise Refused(400)
        empty += 1
        data = data[2:]
    lines, data = block(data, limits.head_size)
    method, target, minor = request_line(lines[0])
    headers = fields(lines[1:], limits)
    authority = check_target(method, target)
    by_name = {}
    kept = []
    for name, value in headers:
        if name in by_name and name in SINGLE:
            raise Refused(400)
        if name in by_name and name in FIRST_COUNTS:
            continue
        kept.append((name, value))
        by_name.setdefault(name, []).append(value)
    host = None
    if b'host' in by_name:
        host = by_name[b'host'][0].lower()
        check_host(host)
    elif minor == 1:
        raise Refused(400)
    length = None
    chunked = False
    if b'content-length' in by_name:
        if b'transfer-encoding' in by_name:
            raise Refused(400)
        digits = by_name[b'content-length'][0]
        if not 1 <= len(digits) <= 19 or any(octet not in DIGIT for octet in digits):
            raise Refused(400)
        length = int(digits)
    elif b'transfer-encoding' in by_name:
        if minor == 0:
            raise Refused(400)
        check_coding(by_name[b'transfer-encoding'][0].lower())
        chunked = True
    options = [option.strip(b' \t').lower()
               for value in by_name.get(b'connection', []) for option in value.split(b',')]
    expect = False
    upgrade = None
    keep_alive = minor == 1 or b'keep-alive' in options
    if b'close' in options:
        keep_alive = False
    if minor == 1:
        if b'expect' in by_name:
            for value in by_name[b'expect']:
                for expectation in value.split(b','):
                    if expectation.strip(b' \t').lower() != b'100-continue':
                        raise Refused(417)
            expect = True
        if b'upgrade' in by_name and b'upgrade' in options:
            upgrade = by_name[b'upgrade']
    if length is not None and limits.body_size is not None and length > limits.body_size:
        raise Refused(413)
    events.append((
        'head', method.decode(), target, minor, keep_alive, length, chunked,
        chunked or bool(length), expect, upgrade and b', '.join(upgrade).lower(), authority or host,
        tuple(kept)))
    if length:
        if data:
            events.append(('data', data[:length]))
        if len(data) < length:
            raise Incomplete
        events.append(('end', ()))
        data = data[length:]
    elif chunked:
        data = chunks(data, limits, events)
    return data


def block(data, size):
    """Cut off the lines before the first empty one, without it."""
    window = data[:size]
    end = window.find(b'\r\n\r\n')
    if end >= 0:
        window = window[:end + 4]
    text(window, whole=end >= 0)
    if end >= 0:
        return window[:end].split(b'\r\n'), data[end + 4:]
    if len(data) < size:
        raise Incomplete
    raise Refused(431 if b'\r\n' in window else 414)


def text(window, whole):
    if CONTROLS.intersection(window):
        raise Refused(400)
    for at, octet in enumerate(window):
        if octet == 13 and at + 1 < len(window) and window[at + 1] != 10:
            raise Refused(400)
        if octet == 10 and (at == 0 or window[at - 1] != 13):
            raise Refused(400)
    if whole and window.endswith(b'\r'):
        raise Refused(400)


def token(name):
    return bool(name) and TCHAR.issuperset(name)


def request_line(line):
    parts = line.split(b' ')
    if len(parts) != 3:
        raise Refused(400)
    method, target, version = parts
    if not token(method) or not target or b'#' in target:
        raise Refused(400)
    if any(not 33 <= octet <= 126 for octet in target):
        raise Refused(400)
    if len(version) != 8 or version[:5] != b'HTTP/' or version[6:7] != b'.' \
            or version[5] not in DIGIT or version[7] not in DIGIT:
        raise Refused(400)
    if version not in (b'HTTP/1.0', b'HTTP/1.1'):
        raise Refused(505)
    return method, target, int(version[7:])


def fields(lines, limits):
    found = [field(line) for line in lines]
    if len(found) > limits.field_count:
        raise Refused(431)
    return found


def field(line):
    name, colon, value = line.partition(b':')
    if not colon or not token(name):
        raise Refused(400)
    return name.lower(), value.strip(b' \t')


def check_target(method, target):
    if method == b'CONNECT':
        host, colon, port = target.rpartition(b':')
        if not colon or not host or not 1 <= len(port) <= 5 or host.startswith(b':'):
            raise Refused(400)
        check_host(target, longest=None)
        raise Refused(501)
    if target.startswith(b'/'):
        return None
    if target == b'*' and method == b'OPTIONS':
        return None
    for scheme in (b'http://', b'https://'):
        if target.lower().startswith(scheme):
            authority = target[len(scheme):].partition(b'/')[0].partition(b'?')[0].lower()
            if not authority or authority.startswith(b':'):
                raise Refused(400)
            check_host(authority)
            return authority
    raise Refused(400)


def check_host(host, longest=261):
    if longest is not None and len(host) > longest:
        raise Refused(400)
    if host.startswith(b'['):
        address, bracket, port = host[1:].partition(b']')
        if not bracket or not 2 <= len(address) <= 45 or not HEX.union(b':.').issuperset(address):
            raise Refused(400)
        if port and not port.startswith(b':'):
            raise Refused(400)
        port = port[1:]
    else:
        name, _, port = host.partition(b':')
        while name:
            if name[0] in HOST_CHARS:
                name = name[1:]
            elif name[0] == 37 and len(name) >= 3 and name[1] in HEX and name[2] in HEX:
                name = name[3:]
            else:
                raise Refused(400)
    if len(port) > 5 or any(octet not in DIGIT for octet in port):
        raise Refused(400)


def check_coding(value):
    if value == b'chunked':
        return
    names = []
    for coding in outside_quotes(value, b','):
        name, *parameters = [part.strip(b' \t') for part in outside_quotes(coding, b';')]
        if not token(name) or not all(parameter(part, optional=False) for part in parameters):
            raise Refused(400)
        names.append(coding.strip(b' \t'))
    plain = [name.partition(b';')[0].strip(b' \t') for name in names]
    if len(names) > 1 and names[-1] == b'chunked' and plain.count(b'chunked') == 1:
        raise Refused(501)
    raise Refused(400)


def outside_quotes(value, separator):
    """Split where the separator is not inside of a quoted string."""
    parts = [b'']
    quoted = escaped = False
    for octet in value:
        char = bytes([octet])
        if char == separator and not quoted:
            parts.append(b'')
            continue
        if escaped:
            escaped = False
        elif char == b'\\' and quoted:
            escaped = True
        elif char == b'"':
            quoted = not quoted
        parts[-1] += char
    return parts


def parameter(part, optional):
    """name=value, where the value is a token or a quoted string; `optional`: or just a name."""
    name, equals, value = part.partition(b'=')
    name, value = name.rstrip(b' \t'), value.lstrip(b' \t')
    if not token(name):
        return False
    if not equals:
        return optional
    if not value.startswith(b'"'):
        return token(value)
    value = value[1:]
    while value and not value.startswith(b'"'):
        if value.startswith(b'\\'):
            value = value[1:]
        value = value[1:]
    return value == b'"'


def chunks(data, limits, events):
    body = overhead = count = 0
    while True:
        line, data = one_line(data, 4098, 400)
        first, *extensions = outside_quotes(line, b';')
        digits = first.rstrip(b' \t') if extensions else first
        if not 1 <= len(digits) <= 16 or not HEX.issuperset(digits):
            raise Refused(400)
        for at, extension in enumerate(extensions):
            last = at == len(extensions) - 1
            extension = extension.lstrip(b' \t')
            if last and extension.endswith((b' ', b'\t')) and not extension.endswith(b'"'):
                raise Refused(400)
            if not parameter(extension.rstrip(b' \t'), optional=True):
                raise Refused(400)
        size = int(digits, 16)
        overhead += len(line) + 2 + (2 if size else 0)
        count += 1
        if overhead > limits.chunk_overhead + body or (
                16 * count > 4 * limits.chunk_overhead + body):
            raise Refused(400)
        body += size
        if limits.body_size is not None and body > limits.body_size:
            raise Refused(413)
        if not size:
            return trailers(data, limits, events, limits.chunk_overhead + body - overhead)
        if data:
            if events[-1][0] == 'data':
                events[-1] = ('data', events[-1][1] + data[:size])
            else:
                events.append(('data', data[:size]))
        if len(data) < size:
            raise Incomplete
        data = data[size:]
        if not b'\r\n'.startswith(data[:2]):
            raise Refused(400)
        if len(data) < 2:
            raise Incomplete
        data = data[2:]


def one_line(data, size, too_long):
    window = data[:size]
    end = window.find(b'\r\n')
    text(window if end < 0 else window[:end + 2], whole=end >= 0)
    if end >= 0:
        return data[:end], data[end + 2:]
    raise Refused(too_long) if len(window) == size else Incomplete


def trailers(data, limits, events, room):
    found = []
    left = limits.trailer_size
    while True:
        line, data = one_line(data, max(left, 2), 431)
        if not line:
            break
        left -= len(line) + 2
        name, value = field(line)
        found.append((name, value))
        if len(found) > limits.field_count:
            raise Refused(431)
        if name in (b'content-length', b'transfer-encoding', b'host'):
            raise Refused(400)
        room -= len(line) + 2
        if room < 0:
            raise Refused(400)
    events.append(('end', tuple(
        (name, value) for name, value in found if name not in NOT_TRAILERS
        and (name == b'content-digest' or not name.startswith(b'content-')))))
    return data
