// What a WebSocket of the W3C kind sees, in Node and in a browser; see README.md.
//
// This file is one expression, a function: websocket_client.mjs evaluates it, and so does a browser.

async (WebSocket, base, say) => {
  const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]
  const once = (target, name) => new Promise(resolve => {
    target.addEventListener(name, resolve, { once: true })
  })

  // A socket that is open, with the messages that have come.
  async function open (path, ...protocols) {
    const socket = new WebSocket(base + path, ...protocols)
    socket.binaryType = 'arraybuffer'
    socket.closed = once(socket, 'close').then(({ code, reason }) => [code, reason])
    socket.opened = await Promise.race([
      once(socket, 'open').then(() => true), once(socket, 'error').then(() => false)])
    return socket
  }

  async function echoes (socket, message) {
    const answer = once(socket, 'message')
    socket.send(message)
    const { data } = await answer
    if (typeof message === 'string') return data === message
    const [found, sent] = [new Uint8Array(data), new Uint8Array(message)]
    return found.length === sent.length && found.every((byte, index) => byte === sent[index])
  }

  {
    const socket = await open('/echo')
    const wrong = []
    for (const size of SIZES) {
      if (!await echoes(socket, 'x'.repeat(size))) wrong.push(`text ${size}`)
      const bytes = Uint8Array.from({ length: size }, (_, index) => index * index >> 3)
      if (!await echoes(socket, bytes.buffer)) wrong.push(`binary ${size}`)
    }
    if (!await echoes(socket, 'é€😀')) wrong.push('text beyond ASCII')
    say({ echo: wrong, deflated: socket.extensions.startsWith('permessage-deflate') })
    socket.close(1000)
    say({ closed: (await socket.closed)[0] })
  }
  {
    const socket = await open('/echo', ['other', 'tremolo'])
    say({ subprotocol: socket.protocol })
    socket.close(4001, 'that is all')
    say({ closed: (await socket.closed)[0] })
  }
  {
    const socket = await open('/echo')
    socket.close()
    say({ closed: await socket.closed })
  }
  {
    const socket = await open('/echo')
    socket.send('close 4002 that is énough')
    say({ closed: await socket.closed })
  }
  {
    const socket = await open('/done')
    say({ closed: await socket.closed })
  }
  {
    const socket = await open('/large')
    socket.send('x'.repeat(4 << 20))
    say({ closed: (await socket.closed)[0] })
  }
  {
    const socket = await open('/refuse')
    say({ refused: !socket.opened })
  }
}
