// Starts the real server with its own data folder and free ports.

import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serverBinary } from './paths.mjs'

const SHARDS = 2

/**
 * Starts a server with the demo community. `data` and `ports` reuse those of an earlier one; `host`
 * is its listen address.
 */
export async function startServer({
  data,
  demo = true,
  host = '127.0.0.1',
  wrap = [],
  env = {},
  ports,
} = {}) {
  const folder = data ?? (await mkdtemp(join(tmpdir(), 'tongke-')))
  const { port, media } = ports ?? {
    port: await freeTcpPort(),
    media: await freeUdpPorts(SHARDS),
  }
  const base = `http://${host}:${port}`
  const command = [...wrap, serverBinary, 'serve', ...(demo ? ['--demo'] : [])]
  const child = spawn(command[0], command.slice(1), {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      TONGKE_SERVER__LISTEN: `${host}:${port}`,
      TONGKE_SERVER__DATA_DIR: folder,
      TONGKE_MEDIA__LISTEN: host,
      TONGKE_MEDIA__PORT: String(media),
      TONGKE_MEDIA__SHARDS: String(SHARDS),
      ...env,
    },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes) => {
      output = (output + bytes).slice(-200_000)
      if (process.env.TONGKE_LOG) process.stderr.write(bytes)
    })
  }
  const exited = new Promise((resolve) =>
    child.on('exit', (code, signal) => resolve({ code, signal })),
  )
  const server = {
    base,
    data: folder,
    pid: child.pid,
    output: () => output,
    demo: async () => JSON.parse(await readFile(join(folder, 'demo.json'), 'utf8')),
    /** Stops the server with SIGTERM; returns its exit status. */
    stop: async () => {
      child.kill('SIGTERM')
      return within(exited, 40_000, 'the server to stop')
    },
    /** Kills the server, as a power failure would. */
    kill: async () => {
      child.kill('SIGKILL')
      return exited
    },
    /** Starts the server again with the same data folder and ports. */
    restart: () =>
      startServer({
        data: folder,
        demo,
        host,
        wrap,
        env,
        ports: { port, media },
      }),
    remove: () => rm(folder, { recursive: true, force: true }),
  }
  try {
    await ready(base, exited, host === '127.0.0.1' ? [] : wrap)
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`${error.message}\n${output}`, { cause: error })
  }
  return server
}

/** Waits until `/readyz` answers, from inside the server's network namespace if it has one. */
async function ready(base, exited, wrap) {
  let gone = false
  exited.then(() => {
    gone = true
  })
  const deadline = Date.now() + 30_000
  while (Date.now() < deadline) {
    if (gone) throw new Error('the server ended at start')
    if (await answers(base, wrap)) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('the server was not ready within 30 s')
}

async function answers(base, wrap) {
  if (wrap.length === 0)
    return fetch(`${base}/readyz`).then(
      (reply) => reply.ok,
      () => false,
    )
  const probe = spawn(wrap[0], [
    ...wrap.slice(1),
    'node',
    '-e',
    `fetch('${base}/readyz').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))`,
  ])
  return new Promise((resolve) => probe.on('exit', (code) => resolve(code === 0)))
}

function within(promise, ms, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function freeTcpPort() {
  const listener = createServer()
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address()
  await new Promise((resolve) => listener.close(resolve))
  return port
}

/** Returns the first of `count` consecutive free UDP ports, one per shard. */
async function freeUdpPorts(count) {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 12_000)
    const sockets = Array.from({ length: count }, () => createSocket('udp4'))
    const bound = await Promise.all(
      sockets.map(
        (socket, i) =>
          new Promise((resolve) => {
            socket.once('error', () => resolve(false))
            socket.bind(first + i, '127.0.0.1', () => resolve(true))
          }),
      ),
    )
    sockets.forEach((socket, i) => bound[i] && socket.close())
    if (bound.every(Boolean)) return first
  }
}
