// The npm package bittorrent-tracker as a tracker or as a client of one; see the README one folder up.
//
// tracker_npm.mjs serve PORT                HTTP and UDP on one port
// tracker_npm.mjs join URL HEX PORT LEFT    a client, told by lines on standard input what to do
import { createInterface } from 'node:readline'
import { register } from 'node:module'
import { randomBytes } from 'node:crypto'

const ANSWER_MS_MAX = 8000
const [mode, ...rest] = process.argv.slice(2)
await (mode === 'serve' ? serve(+rest[0]) : join(...rest))

async function serve (port) {
  const { default: Server } = await import('bittorrent-tracker/server')
  const server = new Server({ http: {}, udp: {}, ws: false, stats: false, trustProxy: false })
  server.on('error', error => console.error(error.message))
  server.on('warning', warning => console.error(warning.message))
  const address = { port, hostname: '127.0.0.1' }
  server.listen({ http: address, udp: address }, () => console.log(`ready 127.0.0.1:${port}`))
  // Who started it closes its input to end it.
  for await (const _ of createInterface({ input: process.stdin }));
  process.exit(0)
}

async function join (url, hex, port, left) {
  // Its client can also do WebRTC, with a binary that need not be there for HTTP and UDP.
  const stub = 'data:text/javascript,export default class {}'
  const hook = `export const resolve = (name, context, next) => name.startsWith('@thaunknown/simple-peer')
    ? { url: ${JSON.stringify(stub)}, shortCircuit: true } : next(name, context)`
  register('data:text/javascript,' + encodeURIComponent(hook))
  const { default: Client } = await import('bittorrent-tracker/client')
  const client = new Client({ infoHash: hex, peerId: randomBytes(20), announce: [url], port: +port })
  let problem = ''
  client.on('error', error => { problem = error.message })
  client.on('warning', warning => { problem = warning.message })

  // Resolves once `test` is true of an event, or when nothing more is to be expected.
  const hear = (event, test) => new Promise(resolve => {
    const done = value => {
      clearTimeout(timer)
      client.removeListener(event, listen)
      resolve(value)
    }
    const listen = value => { if (test(value)) done(value) }
    const timer = setTimeout(done, ANSWER_MS_MAX, null)
    client.on(event, listen)
  })

  async function start (wanted) {
    const seen = []
    client.on('peer', peer => seen.push(+String(peer).split(':').at(-1)))
    const answered = hear('update', () => true)
    client.start({ left: +left })
    if (!await answered) return `failed ${problem || 'no answer'}`
    // The peers of an answer are told one by one behind it.
    await new Promise(resolve => setTimeout(resolve, 100))
    return seen.includes(wanted) ? 'found' : 'none'
  }

  console.log('ready')
  for await (const line of createInterface({ input: process.stdin })) {
    const [, wanted] = line.split(' ')
    console.log(await start(+wanted))
  }
  process.exit(0)
}
