// Node's http with an agent, and its fetch; see README.md.
//
//     node client.mjs http|fetch URL SCENARIO [ARGUMENT...]

import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { Readable } from 'node:stream'

const [, , name, base, scenario, ...parameters] = process.argv
const KEPT = 4
const PIECE = 16384
const TIMEOUT = 30000
const web = base.startsWith('https:') ? https : http
const agent = new web.Agent({ keepAlive: true, maxSockets: KEPT, timeout: TIMEOUT })

const say = what => console.log(JSON.stringify(what))

function* pieces (size, sent = {}) {
  for (let start = 0; start < size; start += PIECE) {
    sent.any = true
    yield Buffer.alloc(Math.min(PIECE, size - start), 'x')
  }
}

// One request with the agent. `body` is a Buffer, or an iterable for chunks.
function byAgent (method, path, body, sent) {
  return new Promise((resolve, reject) => {
    const headers = {}
    const sized = Buffer.isBuffer(body)
    if (sized) headers['Content-Length'] = body.length
    if (sent) Object.assign(headers, { Expect: '100-continue', 'Content-Length': sent.size })
    const request = web.request(base + path, { method, agent, headers, timeout: TIMEOUT })
    const write = () => sized ? request.end(body) : Readable.from(body).pipe(request)
    let answered = false
    request.on('timeout', () => request.destroy(new Error('timeout')))
    // When the server has closed, what is still to be sent breaks; the answer is there.
    request.on('error', error => answered || reject(error))
    request.on('response', async response => {
      answered = true
      const parts = []
      try {
        for await (const part of response) parts.push(part)
        resolve({ status: response.statusCode, body: Buffer.concat(parts).toString() })
      } catch (error) {
        reject(error)
      }
      // It was refused before it was sent.
      if (sent && !sent.any) request.destroy()
    })
    if (!body) request.end()
    else if (sent) {
      request.on('continue', write)
      request.flushHeaders()
    } else write()
  })
}

async function byFetch (method, path, body) {
  const sized = Buffer.isBuffer(body)
  const response = await fetch(base + path, {
    method,
    body: body && !sized ? Readable.toWeb(Readable.from(body)) : body,
    duplex: 'half',
    signal: AbortSignal.timeout(TIMEOUT)
  })
  return { status: response.status, body: await response.text() }
}

const ask = name === 'fetch' ? byFetch : byAgent

async function tell (path, body, sent) {
  try {
    const found = await ask('POST', path, body, sent)
    if (sent) found.sent = !!sent.any
    say(found)
  } catch (error) {
    say({ error: `${path}: ${error} ${error.cause ?? ''}` })
  }
}

const scenarios = {
  async early (paths, size, framing) {
    for (const path of paths.split(',')) {
      await tell(path, framing === 'sized' ? Buffer.alloc(+size, 'x') : pieces(+size))
      await tell('/upload', Buffer.from('small'))
    }
  },

  async expect (paths, size) {
    for (const path of paths.split(',')) {
      const sent = { size: +size }
      await tell(path, pieces(+size, sent), sent)
      await tell('/upload', Buffer.from('small'))
    }
  },

  // The request is on a socket that the program ends; the answer is read by Node's parser.
  async 'half-close' () {
    const { hostname, port } = new URL(base)
    const createConnection = () => {
      const socket = net.connect({ host: hostname, port, allowHalfOpen: true })
      socket.setTimeout(TIMEOUT, () => socket.destroy())
      return socket
    }
    await new Promise(resolve => {
      const request = http.request(base + '/slow', { createConnection }, async response => {
        const parts = []
        try {
          for await (const part of response) parts.push(part)
          say({ status: response.statusCode, body: Buffer.concat(parts).toString() })
        } catch (error) {
          say({ error: `${error}` })
        }
        resolve()
      })
      request.on('error', error => { say({ error: `${error}` }); resolve() })
      request.on('finish', () => request.socket.end())
      request.end()
    })
  },

  async renewal () {
    let requests = 0
    let ended = false
    const failures = []
    const check = async (method, path, body, wanted) => {
      requests++
      try {
        const found = await ask(method, path, body)
        if (found.status !== 200 || found.body !== wanted) failures.push(JSON.stringify(found))
      } catch (error) {
        failures.push(`${method}: ${error} ${error.cause ?? ''}`)
      }
    }
    const loop = async (_, number) => {
      for (let turn = 1; !ended; turn++) {
        await check('GET', '/', undefined, 'Hello world!')
        await check('POST', '/upload', Buffer.from('small'), '5')
        if (number === 0 && turn % 10 === 0) console.log('more')
      }
    }
    process.stdin.on('end', () => { ended = true }).resume()
    const loops = Array.from({ length: KEPT }, loop)
    await Promise.all(loops)
    say({ requests, failures })
  }
}

await scenarios[scenario](...parameters)
agent.destroy()
process.exit(0)
