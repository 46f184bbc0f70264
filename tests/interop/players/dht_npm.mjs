// DHT nodes of the npm package bittorrent-dht, told by lines on standard input what to do; see the README one folder up.
//
// dht_npm.mjs COUNT HOST:PORT|-
import DHT from 'bittorrent-dht'
import { createInterface } from 'node:readline'

const LOOKUP_MS_MAX = 5000
const [count, boot] = process.argv.slice(2)

async function start (bootstrap) {
  const dht = new DHT({ bootstrap: bootstrap === '-' ? false : [bootstrap] })
  await new Promise(resolve => dht.listen(0, '127.0.0.1', resolve))
  if (bootstrap !== '-' && !dht.ready) await new Promise(resolve => dht.once('ready', resolve))
  return dht
}

function announce (dht, key, port) {
  return new Promise(resolve => dht.announce(key, port, error => resolve(error ? `failed ${error.message}` : 'ok')))
}

function find (dht, key, port) {
  return new Promise(resolve => {
    const done = word => {
      clearTimeout(timer)
      dht.removeListener('peer', hear)
      resolve(word)
    }
    const hear = peer => { if (peer.port === port) done('found') }
    const timer = setTimeout(done, LOOKUP_MS_MAX, 'none')
    dht.on('peer', hear)
    dht.lookup(key, () => setTimeout(done, 50, 'none'))
  })
}

const nodes = [await start(boot)]
const first = boot === '-' ? `127.0.0.1:${nodes[0].address().port}` : boot
while (nodes.length < +count) nodes.push(await start(first))
console.log(`ready 127.0.0.1:${nodes[0].address().port}`)
for await (const line of createInterface({ input: process.stdin })) {
  const [word, hex, port] = line.split(' ')
  const key = Buffer.from(hex, 'hex')
  console.log(await (word === 'announce' ? announce(nodes[0], key, +port) : find(nodes.at(-1), key, +port)))
}
process.exit(0)
