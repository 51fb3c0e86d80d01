// SHA-256 of a file of any size, in chunks: `crypto.subtle` needs the whole file in memory and
// exists in secure contexts only. Receives a File; posts {read} as progress, then {sha256} or
// {failed}.

import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'

const PROGRESS_BYTES = 16 * 1024 * 1024

addEventListener('message', ({ data: file }: MessageEvent<File>) => {
  digest(file).then(
    (sha256) => postMessage({ sha256 }),
    (error: unknown) => postMessage({ failed: String(error) }),
  )
})

async function digest(file: File): Promise<string> {
  const hash = sha256.create()
  const reader = file.stream().getReader()
  for (let read = 0, reported = 0; ;) {
    const { done, value } = await reader.read()
    if (done) return bytesToHex(hash.digest())
    hash.update(value)
    read += value.length
    if (read - reported < PROGRESS_BYTES) continue
    reported = read
    postMessage({ read })
  }
}
