// Impaired link between two network namespaces, emulated by tests/network/impaired_link.py.

import { execFileSync, spawn } from 'node:child_process'
import { accessSync, chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './paths.mjs'

/** Returns the reason why the link cannot be emulated on this machine, or null. */
export function linkUnavailable() {
  if (process.getuid() !== 0) return 'namespaces need root'
  try {
    accessSync('/dev/net/tun')
  } catch {
    return 'there is no /dev/net/tun'
  }
  return null
}

/** Opens the link. `school` and `village` are its ends: {namespace, address, wrap, chromium}. */
export async function openLink(seed = 1) {
  const folder = mkdtempSync(join(tmpdir(), 'tongke-link-'))
  const end = (place, address) => {
    const namespace = `tk-${place}-${process.pid}`
    const chromium = join(folder, `chromium-${place}`)
    writeFileSync(chromium, `#!/bin/sh\nexec ip netns exec ${namespace} /usr/bin/chromium "$@"\n`)
    chmodSync(chromium, 0o755)
    return {
      namespace,
      address,
      chromium,
      wrap: ['ip', 'netns', 'exec', namespace],
    }
  }
  const school = end('school', '10.77.0.1')
  const village = end('village', '10.77.0.2')
  const child = spawn(
    '/usr/bin/python3',
    [
      join(root, 'tests/network/impaired_link.py'),
      school.namespace,
      school.address,
      village.namespace,
      village.address,
      String(seed),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  let said = ''
  const exited = new Promise((resolve) => child.on('exit', resolve))
  await new Promise((resolve, reject) => {
    child.stdout.on('data', (bytes) => {
      said += bytes
      if (said.includes('ready')) resolve()
    })
    exited.then(() => reject(new Error('impaired_link.py ended at start')))
  })
  return {
    school,
    village,
    /** Sets the impairment of packets to the village (`down`), to the school (`up`), or both. */
    down: (impairment) => child.stdin.write(`${JSON.stringify({ to: 'b', ...impairment })}\n`),
    up: (impairment) => child.stdin.write(`${JSON.stringify({ to: 'a', ...impairment })}\n`),
    both: (impairment) => child.stdin.write(`${JSON.stringify(impairment)}\n`),
    /** Changes the address of the village's computer, as when it moves from Ethernet to Wi-Fi. */
    moveVillage: (address) => {
      const inVillage = (...words) => execFileSync('ip', ['-n', village.namespace, ...words])
      inVillage('addr', 'flush', 'dev', 'line')
      inVillage('addr', 'add', address, 'peer', school.address, 'dev', 'line')
      inVillage('route', 'add', 'default', 'dev', 'line')
    },
    close: async () => {
      child.stdin.end()
      await exited
      rmSync(folder, { recursive: true, force: true })
      return said
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .at(-1)
    },
  }
}
