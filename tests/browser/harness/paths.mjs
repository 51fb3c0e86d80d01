// Paths of the repository, the cache and the server binary.

import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(fileURLToPath(import.meta.url), '../../../..')
export const cacheDir =
  process.env.TONGKE_CACHE ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tongke')
export const artifactsDir = process.env.TONGKE_ARTIFACTS ?? join(cacheDir, 'artifacts')
/** The server under test: the development build, unless TONGKE_BIN names another. */
export const serverBinary =
  process.env.TONGKE_BIN ??
  join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'debug', 'tongke')
