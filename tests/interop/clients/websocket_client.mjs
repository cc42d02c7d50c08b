// The WebSockets of Node: ws, and undici's, which is of the W3C kind; see README.md.
//
//     node websocket_client.mjs ws|undici URL on|off
//
// The packages are in the folder that NODE_PACKAGES names.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { once } from 'node:events'

const require = createRequire(process.env.NODE_PACKAGES + '/')
const [, , name, url, deflate] = process.argv
const base = url.replace('http', 'ws')
const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]

const say = what => console.log(JSON.stringify(what))

async function byWs () {
  const WebSocket = require('ws')

  async function open (path, protocols = []) {
    const socket = new WebSocket(base + path, protocols, { perMessageDeflate: deflate === 'on' })
    socket.closed = once(socket, 'close').then(([code, reason]) => [code, reason.toString()])
    await once(socket, 'open')
    return socket
  }

  async function echoes (socket, message) {
    const answer = once(socket, 'message')
    socket.send(message)
    const [data, isBinary] = await answer
    return isBinary !== (typeof message === 'string') && data.equals(Buffer.from(message))
  }

  {
    const socket = await open('/echo')
    const wrong = []
    for (const size of SIZES) {
      if (!await echoes(socket, 'x'.repeat(size))) wrong.push(`text ${size}`)
      const bytes = Uint8Array.from({ length: size }, (_, index) => index * index >> 3)
      if (!await echoes(socket, Buffer.from(bytes))) wrong.push(`binary ${size}`)
    }
    if (!await echoes(socket, 'é€😀')) wrong.push('text beyond ASCII')
    say({ echo: wrong, deflated: socket.extensions.startsWith('permessage-deflate') })
    const fragments = once(socket, 'message')
    for (const part of ['some ', 'fragments ', 'é']) socket.send(part, { fin: false })
    socket.ping('between')
    const [data] = await once(socket, 'pong')
    socket.send('', { fin: true })
    say({ pong: data.toString(), fragments: (await fragments)[0].toString() })
    socket.send('ping')
    say({ pinged: (await once(socket, 'message'))[0].toString() })
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
    // What cannot be sent to its end any more is no failure.
    socket.on('error', () => {})
    socket.send('x'.repeat(4 << 20))
    say({ closed: (await socket.closed)[0] })
  }
  {
    const socket = new WebSocket(base + '/refuse')
    socket.on('error', () => {})
    const [, response] = await once(socket, 'unexpected-response')
    say({ refused: response.statusCode })
    socket.terminate()
  }
}

if (name === 'ws') await byWs()
else {
  const run = (0, eval)(readFileSync(new URL('websocket_w3c.js', import.meta.url), 'utf8'))
  await run(require('undici').WebSocket, base, say)
}
process.exit(0)
