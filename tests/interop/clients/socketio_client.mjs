// Two clients of Socket.IO's own who say something to each other; see README.md.
//
//     node socketio_client.mjs URL TRANSPORTS

import { createRequire } from 'node:module'
import { once } from 'node:events'

const require = createRequire(process.env.NODE_PACKAGES + '/')
const { io } = require('socket.io-client')
const [, , url, names] = process.argv
const transports = names.split(',')
const TIMEOUT = 30000

const say = what => console.log(JSON.stringify(what))
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other)
const call = (socket, ...what) => socket.timeout(TIMEOUT).emitWithAck(...what)
const hear = (socket, event) => new Promise(resolve => socket.once(event, resolve))

async function connect (auth, space = '') {
  const socket = io(url + space, { transports, auth, reconnection: false, forceNew: !space })
  await Promise.race([
    hear(socket, 'connect'),
    hear(socket, 'connect_error').then(error => { throw error })])
  const { engine } = socket.io
  if (engine.transport.name !== transports.at(-1)) await once(engine, 'upgrade')
  return socket
}

const one = await connect({ name: 'ada' })
const two = await connect({})
say({ transport: await call(one, 'transport') })
for (const [name, sent] of [
  ['echo', { text: 'é€😀', list: [1, null] }],
  ['binary', Buffer.from(Array.from({ length: 256 }, (_, index) => index))],
  ['large', 'x'.repeat(500000)]]) {
  const event = hear(one, 'echo')
  const acknowledged = await call(one, 'echo', sent)
  say({ [name]: same(acknowledged, sent) && same(await event, sent) })
}
for (const each of [one, two]) {
  each.emit('join', 'room')
  await call(each, 'transport')
}
const said = [hear(one, 'said'), hear(two, 'said')]
one.emit('say', 'room', 'hello')
say({ said: await Promise.all(said) })
const other = one.io.socket('/other')
say({ namespace: await call(other, 'hello', 1) })
await connect({ token: 'wrong' }).catch(error => say({ refused: error.message }))
const gone = hear(two, 'disconnect')
one.disconnect()
other.disconnect()
two.emit('leave')
await gone
say({ disconnected: true })
process.exit(0)
