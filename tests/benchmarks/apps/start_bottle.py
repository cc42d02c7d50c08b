"""The same hello for bottle, served by waitress; its argument is the port."""

import sys

from bottle import route, run


@route('/')
def hello():
    return b'Hello world!'


run(host='127.0.0.1', port=int(sys.argv[1]), server='waitress', quiet=True)
