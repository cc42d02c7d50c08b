"""Good forms, mutated: read alike however they are cut, and as the standard library reads them.

A few of them are in the suite. `python tests/http/test_http_multipart_mutation.py 20000 SEED` makes
twenty thousand, and prints how many ended how.

The standard library's `email` reads multipart bodies by the same RFC, but is lenient, and takes CR
alone for a line end. So bodies are compared in which no such line end stands before a delimiter,
and which we accept: then it has to see the same parts, with the same fields and the same contents.
(It parses a part that is itself multipart, or a message: those are left out.)
"""

from __future__ import annotations

import collections
import email
import random
import re
import sys

from http_forms import events_of, form_data
from multipart_clients import CLIENTS

from tremolo.http.multipart import END_OF_FORM, END_OF_PART, PartHead, PartLimits
from tremolo.http.parameters import boundary_of

HEADS = [
    form_data(b'a'), form_data(b'\xc3\xbc'), form_data(b'f"; filename="a.bin'),
    form_data(b'f"; filename="C:\\x\\a.bin', b'Content-Type: image/png'),
    form_data(b'a', b'Content-Type: text/plain; charset=us-ascii', b'X-A: b\r\n c'),
    b'content-type: text/html;\r\n\tcharset="utf-8"\r\ncontent-disposition: form-data; name=a\r\n'
    b'\r\n',
    form_data(b"f\"; filename*=utf-8''%C3%BC.txt; x=\""), form_data(b'a"; filename="')]
# What a careless parser stumbles over.
BITS = [b'\r', b'\n', b'\r\n', b'\r\n\r\n', b'--', b'-', b' ', b'\t', b'\x00', b'\x7f', b'\xff',
        b'"', b'\\', b';', b':', b'=', b'%22', b'%', b"'", b'*', b'\xc3', b'\xe2\x82\xac', b'\x85',
        b'name=', b'; name="b"', b"; name*=utf-8''c", b'; filename=d', b"; filename*=utf-8''%2e",
        b'; filename*0="x"', b'Content-Disposition: form-data; name=e\r\n', b'A: b\r\n', b'A\r\n',
        b'Content-Type: a/b; charset=idna\r\n', b'Content-Length: 1\r\n', b' folded\r\n',
        b'Content-Type: multipart/mixed; boundary=b\r\n', b'Content-Type: message/rfc822\r\n']
LIMITS = [PartLimits(), PartLimits(), PartLimits(2, 8192, 16), PartLimits(1000, 100, 2)]


def made(rng):
    """A boundary, and a good form."""
    if rng.random() < 0.3:
        content_type, data, _ = CLIENTS[rng.choice(list(CLIENTS))]
        return boundary_of(content_type), data
    boundary = rng.choice([b'b', b'--', b'-' * 20 + b'x', b'a b', b'x' * 70])
    delimiter = b'--' + boundary
    bits = [b'x', b'\r', b'\n', b'\r\n', b'--', delimiter[:-1], b'\r\n' + delimiter[:-1], b'',
            b'y' * 99, b'\r\n' + delimiter + b'x', delimiter, bytes(range(256))]
    lines = [rng.choice([b'', b'', b'preamble\r\n', b'\r\n'])]
    for _ in range(rng.randrange(4)):
        lines += [delimiter, rng.choice([b'', b'', b'', b' \t']), b'\r\n', rng.choice(HEADS),
                  *rng.choices(bits, k=rng.randrange(5)), b'\r\n']
    return boundary, b''.join([*lines, delimiter, b'--', rng.choice([b'\r\n', b'', b' \r\nend'])])


def mutated(rng, data, boundary):
    bits = [*BITS, boundary, b'--' + boundary, b'\r\n--' + boundary, b'\r\n--' + boundary + b'\r\n',
            b'\r\n--' + boundary + b'--\r\n', b'\n--' + boundary + b'\n']
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind in (0, 1):
            data = data[:at] + rng.choice(bits) + data[at:]
        elif kind == 2:
            data = data[:at] + rng.choice(bits) + data[at + 1:]
        elif kind == 3:
            data = data[:at] + data[at + rng.randrange(1, 4):]
        elif kind == 4:
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:] if (
                at < len(data)) else data
        elif kind == 5:
            end = rng.randrange(at, len(data) + 1)
            data = data[:end] + data[at:end] + data[end:]
        else:
            data = data[:at] if rng.random() < 0.5 else data[at:]
    return data


def split(rng, data):
    """The data in pieces: two, several, or many."""
    count = rng.choice((1, 1, 3, max(1, len(data) // 2)))
    places = sorted(rng.randrange(len(data) + 1) for _ in range(count))
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)])]


def check_order(events):
    """Head, at most one piece (they are joined), end; and again; and the end of the form."""
    text = ''.join('H' if isinstance(event, PartHead) else 'b' if type(event) is bytes
                   else 'E' if event is END_OF_PART else 'F' if event is END_OF_FORM else '?'
                   for event in events)
    assert re.fullmatch('(?:Hb?E)*(?:F|Hb?)?', text), text


def parts_of_email(data, boundary):
    """The fields and the contents of each part; None if one of them is itself multipart."""
    message = email.message_from_bytes(
        b'Content-Type: multipart/form-data; boundary="%b"\r\n\r\n' % boundary + data)
    if not message.is_multipart():
        # (Without one part it does not split the body.)
        return []
    parts = []
    for part in message.get_payload():
        if part.get_content_maintype() in ('multipart', 'message'):
            return None
        fields = [(name.lower(), unfolded(value)) for name, value in part.raw_items()]
        # (Then it gives the bytes as they are.)
        del part['Content-Transfer-Encoding']
        parts.append((fields, part.get_payload(decode=True)))
    return parts


def unfolded(value):
    return re.sub('\r\n[ \t]+', ' ', value).strip(' \t')


def parts_of_ours(events):
    parts = []
    for event in events:
        if isinstance(event, PartHead):
            parts.append(([tuple(each.decode('ascii', 'surrogateescape') for each in field)
                           for field in event.fields], b''))
        elif type(event) is bytes:
            parts[-1] = parts[-1][0], event
    return parts


def compare(data, boundary, events):
    """Whether the email parser was asked; fail if it sees other parts."""
    if b'\r--' + boundary in data:
        return 'other line ends'
    theirs = parts_of_email(data, boundary)
    if theirs is None:
        return 'nested'
    assert parts_of_ours(events) == theirs, (boundary, data)
    for event, (fields, _) in zip((each for each in events if isinstance(each, PartHead)), theirs):
        compare_names(event, dict(fields)['content-disposition'])
    return 'the same'


def compare_names(head, value):
    """The names too, where nothing is escaped: the library unescapes in its own way."""
    if re.search(r'[\\%*]', value):
        return
    message = email.message.Message()
    message['Content-Disposition'] = value
    for theirs, ours in ((message.get_param('name', header='content-disposition'), head.name),
                         (message.get_filename(), head.raw_filename)):
        if ours is None or ours.isascii():
            # (It strips the latter.)
            assert theirs == ours or theirs == ours.strip(), value


def attack(forms, seed):
    """Mutate so many forms. Returns how often each end was met."""
    rng = random.Random(seed)
    seen = collections.Counter()
    for number in range(forms):
        boundary, data = made(rng)
        data = mutated(rng, data, boundary)
        limits = rng.choice(LIMITS)
        whole = events, error = events_of([data], boundary, limits)
        check_order(events)
        assert sum(len(event) for event in events if type(event) is bytes) <= len(data)
        for _ in range(2):
            pieces = split(rng, data)
            assert events_of(pieces, boundary, limits) == whole, (seed, number, data, pieces)
        seen[error[0] if error else compare(data, boundary, events)] += 1
    return seen


def test_mutated_forms_are_read_alike_however_they_are_cut_and_as_email_reads_them():
    seen = attack(2_000, 7578)
    assert set(seen) == {400, 413, 'the same', 'other line ends'} | set(seen) & {'nested'}
    assert seen['the same'] > 600, seen


if __name__ == '__main__':
    print(dict(attack(int(sys.argv[1]), int(sys.argv[2]))))
