// SHA-256 of a file of any size, piece by piece: `crypto.subtle` wants a whole file in memory and is missing without https.
// Takes a File; answers {read} while it works, then {sha256} or {failed}.

import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'

const EVERY_BYTES = 16 * 1024 * 1024

addEventListener('message', ({ data: file }: MessageEvent<File>) => {
  digest(file).then(
    (sha256) => postMessage({ sha256 }),
    (error: unknown) => postMessage({ failed: String(error) }),
  )
})

async function digest(file: File): Promise<string> {
  const hash = sha256.create()
  const reader = file.stream().getReader()
  for (let read = 0, told = 0; ;) {
    const { done, value } = await reader.read()
    if (done) return bytesToHex(hash.digest())
    hash.update(value)
    read += value.length
    if (read - told < EVERY_BYTES) continue
    told = read
    postMessage({ read })
  }
}
