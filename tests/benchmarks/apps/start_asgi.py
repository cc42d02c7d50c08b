"""The same hello for all servers that speak ASGI. It imports nothing."""

HEAD = [(b'content-type', b'text/plain'), (b'content-length', b'12')]


async def app(scope, receive, send):
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200, 'headers': HEAD})
        await send({'type': 'http.response.body', 'body': b'Hello world!'})
