"""Grammar: the rules of RFC 9110 and RFC 9112 as regular expressions, each under its ABNF.

All data from the wire is validated by these expressions, in C; of a field whose name is known only
the value is, by `bytes.translate` (`fields.read_field`). Every expression takes linear time,
also if it fails in the end: two repeats side by side never match the same byte, so there is only
one way to match, and `re` (its engine is called sre) never tries a second one. The classic mistake
is `:[ \\t]*([^...]*)`, which takes quadratic time for a line of spaces; here the spaces are
captured with the value and stripped afterwards. No repeat is lazy: a class that excludes the
delimiter is 2.5 times as fast. A class lists what it allows: sre takes 1.5 times as long for each
byte with `[^\\x00-\\x08...]`.

Expressions for the wire match `bytes`, so that only ASCII counts as a digit, a letter or a space.
Expressions for text that an application sets match `str`, with explicit sets for that reason.

What not every request needs is compiled when it is needed first (late.py).
"""

import re
import sys

from ..late import expression

# A possessive repeat (Python 3.11) never gives back what it matched. Nothing here has to, and sre
# then records no places to go back to (measured: a head of 12 fields takes a sixth less time).
_KEEP = b'+' if sys.version_info >= (3, 11) else b''

# token = 1*tchar
# tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~"
#       / DIGIT / ALPHA                                                    RFC 9110 section 5.6.2
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+" + _KEEP

# field-line    = field-name ":" OWS field-value OWS                        RFC 9112 section 5
# field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]
# field-vchar   = VCHAR / obs-text                                          RFC 9110 section 5.5
_TEXT = rb'[\t -~\x80-\xff]*' + _KEEP
FIELD = expression(rb'%s:%s\r\n' % (_TOKEN, _TEXT))

# request-line = method SP request-target SP HTTP-version CRLF               RFC 9112 section 3
# HTTP-version = "HTTP" "/" DIGIT "." DIGIT                                  RFC 9112 section 2.3
# The forms of the target have their own rules below; all are visible ASCII without a fragment.
REQUEST_LINE = re.compile(
    rb'(%s) ([!-"$-~]+%s) HTTP/([0-9]\.[0-9])\r\n' % (_TOKEN, _KEEP))

# As many lines of text as there are. The match stops at a control character, at a CR without its
# LF, or at an LF without its CR (RFC 9112 section 2.2, RFC 9110 section 5.5).
LINES = expression(rb'%s(?:\r\n%s)*' % (_TEXT, _TEXT))

# Fields that decide about framing and routing, and fields whose value is not a list. The latter may
# not be repeated (RFC 9110 section 5.3): of two values, two servers may believe different ones. (Of
# a few the first line is kept: repeated.py.) Cookie is not among them, since it may be split
# (RFC 9113 section 8.2.3).
LISTS = frozenset((b'connection', b'expect', b'upgrade'))
SINGLE = frozenset((
    b'authorization', b'content-length', b'content-location', b'content-range', b'content-type',
    b'date', b'from', b'host', b'if-modified-since', b'if-range', b'if-unmodified-since',
    b'max-forwards', b'origin', b'proxy-authorization', b'range', b'referer', b'sec-websocket-key',
    b'sec-websocket-version', b'transfer-encoding'))
RULING = LISTS | SINGLE

# Content-Length = 1*DIGIT                                                   RFC 9110 section 8.6
# 19 digits are enough for any size of 63 bits, and few enough for int() to be fast.
CONTENT_LENGTH = expression(rb'[0-9]{1,19}')

# transfer-coding    = token *( OWS ";" OWS transfer-parameter )             RFC 9112 section 7
# transfer-parameter = token BWS "=" BWS ( token / quoted-string )
# quoted-string      = DQUOTE *( qdtext / quoted-pair ) DQUOTE               RFC 9110 section 5.6.4
_QUOTED = rb'"[\t !#-\[\]-~\x80-\xff]*(?:\\[\t -~\x80-\xff][\t !#-\[\]-~\x80-\xff]*)*"'
_ASSIGNED = rb'[ \t]*=[ \t]*(?:%s|%s)' % (_TOKEN, _QUOTED)
CODING = expression(rb'(%s)(?:[ \t]*;[ \t]*%s%s)*' % (_TOKEN, _TOKEN, _ASSIGNED))

# parameters = *( OWS ";" OWS [ parameter ] )                                RFC 9110 section 5.6.6
# parameter  = parameter-name "=" parameter-value
# Forms are written by many programs: there may be blanks around the "=", a value without quotes may
# hold other characters than those of a token, and a backslash may be just that.
PARAMETER = expression(
    rb';[; \t]*(?:(%s)[ \t]*=(?:[ \t]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t]*|([^";]*)))?' % _TOKEN,
    re.DOTALL)
ESCAPED = expression(rb'\\(["\\])')

# boundary      = 0*69<bchars> bcharsnospace                                 RFC 2046 section 5.1.1
# Of visible ASCII all but `"` and `\` is allowed: some clients write `*****`.
BOUNDARY = expression(rb'[ !#-\[\]-~]{0,69}[!#-\[\]-~]')
# transport-padding := *LWSP-char
# What follows `--boundary` in a line; a good line ends with CRLF.
DELIMITER_END = expression(rb'(-(?:-|\Z))?([ \t]*)(\r\n?|\n|)')
# FWS that begins another line of the same field                             RFC 5322 section 2.2.3
FOLD = expression(rb'\r\n[ \t]+')

# chunk-size = 1*HEXDIG                                                      RFC 9112 section 7.1
# chunk-ext  = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
# 16 digits are enough for any size of 64 bits.
CHUNK_LINE = expression(
    rb'([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*%s(?:%s)?)*\r\n' % (_TOKEN, _ASSIGNED))

# Chunks of 1 to 47 bytes without extensions, by the digits of their sizes: one, and as many as one
# step takes (chunked.py).
_DIGITS = [b'%d' % value if value < 10 else b'[%x%X]' % (value, value) for value in range(16)]
_TINY = b'|'.join(
    rb'%b(?:\r\n.{%d}%b)' % (_DIGITS[first], first, b''.join([
        rb'|%b\r\n.{%d}' % (_DIGITS[second], 16 * first + second) for second in range(16)
    ] if first < 3 else ())) for first in range(1, 16))
TINY_CHUNK = expression(rb'(?s:(?:%b)\r\n)' % _TINY)
TINY_CHUNKS = expression(rb'(?s:(?:(?:%b)\r\n){1,256})' % _TINY)

# Host     = uri-host [ ":" port ]                                           RFC 9110 section 7.2
# host     = IP-literal / IPv4address / reg-name                             RFC 3986 section 3.2.2
# reg-name = *( unreserved / pct-encoded / sub-delims )
# An IPv4address is a reg-name too. Nobody uses IPvFuture yet, and it is not accepted.
_REG_CHARS = rb"[A-Za-z0-9\-._~!$&'()*+,;=]*"
_REG_NAME = rb'%s(?:%%[0-9A-Fa-f]{2}%s)*' % (_REG_CHARS, _REG_CHARS)
_IPV6 = rb'\[[0-9A-Fa-f:.]{2,45}\]'
HOST = re.compile(rb'(?:%s|%s)(?::[0-9]{0,5})?' % (_IPV6, _REG_NAME))

# authority-form = uri-host ":" port                                         RFC 9112 section 3.2.3
AUTHORITY = expression(rb'(?:%s|(?!:)%s):[0-9]{1,5}' % (_IPV6, _REG_NAME))

# absolute-form = absolute-URI                                               RFC 9112 section 3.2.2
# http-URI      = "http" "://" authority path-abempty [ "?" query ]          RFC 9110 section 4.2.1
ABSOLUTE = expression(rb'[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(?:[/?][!-"$-~]*)?')

# The name of a field that an application sets is a token, and the value has none of these controls:
# all but HTAB (RFC 9110 section 5.5).
TOKEN = expression(_TOKEN)
CONTROLS = bytes([*range(9), *range(10, 32), 127])
# The same as str: for the name of a cookie, and for a reason phrase (RFC 9112 section 4).
TOKEN_TEXT = _TOKEN.decode('ascii')
TOKEN_STR = expression(TOKEN_TEXT)
TEXT_STR = expression(_TEXT.decode('latin-1'))

# cookie-pair  = cookie-name "=" cookie-value                                RFC 6265 section 4.1.1
# cookie-value = *cookie-octet / ( DQUOTE *cookie-octet DQUOTE )
# cookie-octet = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E
# path-value   = *av-octet ; any CHAR except CTLs or ";"
# domain-value = <subdomain> defined in RFC 1034; the leading dot of old is allowed, and dropped
COOKIE_VALUE = expression(r'(?P<quote>"?)[!#-+\--:<-\[\]-~]*(?P=quote)')
COOKIE_ATTRIBUTE = expression(r'[ -:<-~]*')
DOMAIN = expression(r'\.?([0-9A-Za-z_-]{1,63}(?:\.[0-9A-Za-z_-]{1,63})*)')
