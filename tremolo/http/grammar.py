"""Grammar: the rules of RFC 9110 and RFC 9112 as regular expressions, each under its ABNF.

All validating of wire data happens here, in C. Every pattern is linear in what it reads, also when
it fails in the end: no two neighbouring repeats can match the same byte, so there is one way to
match and nothing to try again. (`:[ \\t]*([^...]*)` is the classic mistake: quadratic in a line of
spaces. Here they are captured with the value and stripped afterwards.) No repeat is lazy: a class
that excludes the delimiter is 2.5 times as fast. Classes are written as what they allow:
`[^\\x00-\\x08...]` takes sre half as long again for each byte (measured: a head of 12 browser
fields 2.9 us against 1.9 us).

Patterns for the wire match `bytes`, so that nothing but ASCII is a digit, a letter or a space.
Those for what an application sets match `str`, with explicit sets for the same reason.
"""

import functools
import re
import sys

# Where Python knows possessive repeats they say what holds here anyway, that there is nothing to
# try again, and sre keeps no note of the way back (measured: a head of 12 fields 1.4 us, not 1.7).
_KEEP = b'+' if sys.version_info >= (3, 11) else b''

# token = 1*tchar
# tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~"
#       / DIGIT / ALPHA                                                    RFC 9110 section 5.6.2
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+" + _KEEP

# field-line    = field-name ":" OWS field-value OWS                        RFC 9112 section 5
# field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]
# field-vchar   = VCHAR / obs-text                                          RFC 9110 section 5.5
_TEXT = rb'[\t -~\x80-\xff]*' + _KEEP
_FIELD = rb'%s:%s\r\n' % (_TOKEN, _TEXT)
FIELD = re.compile(_FIELD)

# request-line = method SP request-target SP HTTP-version CRLF               RFC 9112 section 3
# HTTP-version = "HTTP" "/" DIGIT "." DIGIT                                  RFC 9112 section 2.3
# The target's forms have rules of their own; all are visible ASCII, without a fragment.
_METHOD_AND_TARGET = rb'(%s) ([!-"$-~]+%s) ' % (_TOKEN, _KEEP)
REQUEST_LINE = re.compile(_METHOD_AND_TARGET + rb'HTTP/([0-9]\.[0-9])\r\n')


@functools.lru_cache
def head(field_count: int) -> re.Pattern[bytes]:
    """Make the expression of a whole head: method, target, minor version, and the fields.

    The fields are given from the line feed before the first to that of the last.

    HTTP-message = start-line CRLF *( field-line CRLF ) CRLF [ message-body ]  RFC 9112 section 2.1
    With the limit on the fields in it, nobody has to count lines.
    """
    return re.compile(
        _METHOD_AND_TARGET
        + rb'HTTP/1\.([01])\r(\n(?:%s){0,%d}%s)\r\n' % (_FIELD, field_count, _KEEP))


# Lines of text, as far as they go. What stops the match is a control character, a carriage return
# without its line feed, or the reverse (RFC 9112 section 2.2, RFC 9110 section 5.5).
LINES = re.compile(rb'%s(?:\r\n%s)*' % (_TEXT, _TEXT))

# What rules framing and routing, and every field that is no list, so may not be repeated (RFC 9110
# section 5.3): who sends two of one wants two servers to believe different things. Cookie may be
# split (RFC 9113 section 8.2.3).
LISTS = frozenset((b'connection', b'upgrade'))
_SINGLE = (
    b'authorization', b'content-length', b'content-location', b'content-range', b'content-type',
    b'date', b'expect', b'from', b'host', b'if-modified-since', b'if-range', b'if-unmodified-since',
    b'max-forwards', b'origin', b'proxy-authorization', b'range', b'referer', b'sec-websocket-key',
    b'sec-websocket-version', b'transfer-encoding')


def _any_of(names: frozenset[bytes]) -> bytes:
    """Write alternatives grouped by their first letter: sre looks at that before it branches."""
    groups: dict[bytes, list[bytes]] = {}
    for name in sorted(names):
        groups.setdefault(name[:1], []).append(name[1:])
    return b'|'.join(b'%s(?:%s)' % (first, b'|'.join(rest)) for first, rest in groups.items())


# These fields in lower-case, well-formed fields; again from the line feed before each.
FRAMING = re.compile(rb'\n(%s):([^\r]*%s)' % (_any_of(LISTS.union(_SINGLE)), _KEEP))

# Content-Length = 1*DIGIT                                                   RFC 9110 section 8.6
# 19 digits hold any size of 63 bits, and keep int() from being made to work.
CONTENT_LENGTH = re.compile(rb'[0-9]{1,19}')

# transfer-coding    = token *( OWS ";" OWS transfer-parameter )             RFC 9112 section 7
# transfer-parameter = token BWS "=" BWS ( token / quoted-string )
# quoted-string      = DQUOTE *( qdtext / quoted-pair ) DQUOTE               RFC 9110 section 5.6.4
_QUOTED = rb'"[\t !#-\[\]-~\x80-\xff]*(?:\\[\t -~\x80-\xff][\t !#-\[\]-~\x80-\xff]*)*"'
_ASSIGNED = rb'[ \t]*=[ \t]*(?:%s|%s)' % (_TOKEN, _QUOTED)
CODING = re.compile(rb'(%s)(?:[ \t]*;[ \t]*%s%s)*' % (_TOKEN, _TOKEN, _ASSIGNED))

# chunk-size = 1*HEXDIG                                                      RFC 9112 section 7.1
# chunk-ext  = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
# 16 digits hold any size of 64 bits.
CHUNK_LINE = re.compile(
    rb'([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*%s(?:%s)?)*\r\n' % (_TOKEN, _ASSIGNED))

# Host     = uri-host [ ":" port ]                                           RFC 9110 section 7.2
# host     = IP-literal / IPv4address / reg-name                             RFC 3986 section 3.2.2
# reg-name = *( unreserved / pct-encoded / sub-delims )
# An IPv4address is a reg-name too. IPvFuture has no use yet and is not accepted.
_REG_CHARS = rb"[A-Za-z0-9\-._~!$&'()*+,;=]*"
_REG_NAME = rb'%s(?:%%[0-9A-Fa-f]{2}%s)*' % (_REG_CHARS, _REG_CHARS)
_IPV6 = rb'\[[0-9A-Fa-f:.]{2,45}\]'
HOST = re.compile(rb'(?:%s|%s)(?::[0-9]{0,5})?' % (_IPV6, _REG_NAME))

# authority-form = uri-host ":" port                                         RFC 9112 section 3.2.3
AUTHORITY = re.compile(rb'(?:%s|(?!:)%s):[0-9]{1,5}' % (_IPV6, _REG_NAME))

# absolute-form = absolute-URI                                               RFC 9112 section 3.2.2
# http-URI      = "http" "://" authority path-abempty [ "?" query ]          RFC 9110 section 4.2.1
ABSOLUTE = re.compile(rb'[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(?:[/?][!-"$-~]*)?')

# What an application sets: the name of a field, and what its value must not have, that is all
# control characters but HTAB (RFC 9110 section 5.5).
TOKEN = re.compile(_TOKEN)
CONTROLS = bytes([*range(9), *range(10, 32), 127])
# As text: the name of a cookie, and a reason phrase, which is a field's text. (RFC 9112 section 4.)
TOKEN_STR = re.compile(_TOKEN.decode('ascii'))
TEXT_STR = re.compile(_TEXT.decode('latin-1'))

# cookie-pair  = cookie-name "=" cookie-value                                RFC 6265 section 4.1.1
# cookie-value = *cookie-octet / ( DQUOTE *cookie-octet DQUOTE )
# cookie-octet = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E
# path-value   = *av-octet ; any CHAR except CTLs or ";"
# domain-value = <subdomain> defined in RFC 1034; the leading dot of old is allowed, and dropped
COOKIE_VALUE = re.compile(r'(?P<quote>"?)[!#-+\--:<-\[\]-~]*(?P=quote)')
COOKIE_ATTRIBUTE = re.compile(r'[ -:<-~]*')
DOMAIN = re.compile(r'\.?([0-9A-Za-z_-]{1,63}(?:\.[0-9A-Za-z_-]{1,63})*)')
