// The curriculum's words, asked for once: they change with the server's version only.

import { get } from '../api'
import type { Words } from './shapes'

let asked: Promise<Words> | null = null

export function curriculum(): Promise<Words> {
  asked ??= get<Words>('/api/resources/words').catch((error: unknown) => {
    asked = null
    throw error
  })
  return asked
}

/** Keywords as people type them: parted by commas, Chinese or Western, or spaces. */
export const keywordsOf = (typed: string): string[] => typed.split(/[,，、;；\s]+/).filter(Boolean)
