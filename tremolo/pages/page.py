"""Page: how the small page of an error looks, and what it says (answers.py says when it is sent).

It is for people: it names the status, says in a sentence what that means, and looks well on a phone
and in the dark. It loads nothing. In debug mode there is more on it, see debug.py.
"""

from __future__ import annotations

from ..http.phrases import PHRASES

_STYLE = (
    ':root{color-scheme:light dark;font:17px/1.5 system-ui,sans-serif}'
    'body{max-width:44rem;margin:16vh auto 2rem;padding:0 1.5rem;overflow-wrap:anywhere}'
    'h1{font-size:1.7rem;line-height:1.2;margin:0 0 .5em}'
    'h1 b{display:block;font-size:3.4rem;color:#d0582b}'
    'pre{font-size:.8rem;white-space:pre-wrap;border-left:3px solid #d0582b;padding:.2rem 1rem}')

# For a person who sees the page. (What a program has to know is in the status.)
_SENTENCES = {
    400: 'The server cannot make sense of this request.',
    401: 'This page wants to know who you are.',
    403: 'You may not see this page.',
    404: 'There is nothing at this address. Please look whether it is written as it should be.',
    405: 'There is something at this address, but it cannot be used in this way.',
    410: 'What was at this address is gone.',
    413: 'What was sent is larger than this server accepts.',
    429: 'There were too many requests. Please wait a moment.',
    500: 'Something went wrong on the server, and it is not your fault. Its log tells what it was.',
    503: 'The server has too much to do. Please try again in a moment.',
}


def error_page(status: int, more: str = '') -> str:
    """Return the page of a status; `more` is HTML, and stands in place of the sentence."""
    phrase = PHRASES.get(status, '')
    if not more and status in _SENTENCES:
        more = f'<p>{_SENTENCES[status]}</p>'
    return (
        f'<!doctype html><html lang="en"><title>{status} {phrase}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<style>{_STYLE}</style><h1><b>{status}</b> {phrase}</h1>{more}\n')
