// Terms of the curriculum, fetched once: they only change with the server's version.

import { get } from '../api'
import type { CurriculumTerms } from './types'

let pending: Promise<CurriculumTerms> | null = null

export function curriculum(): Promise<CurriculumTerms> {
  pending ??= get<CurriculumTerms>('/api/resources/words').catch((error: unknown) => {
    pending = null
    throw error
  })
  return pending
}

/** Splits keywords at Chinese or Western commas, semicolons and whitespace. */
export const splitKeywords = (typed: string): string[] =>
  typed.split(/[,，、;；\s]+/).filter(Boolean)
