// Highlighting of search matches. Pure.

import type { MarkedText } from './types'

export interface Segment {
  text: string
  marked: boolean
}

/**
 * Splits a text into highlighted and plain segments, which are rendered as elements, never as HTML.
 * Invalid marks are skipped.
 */
export function segments({ text, marks }: MarkedText): Segment[] {
  const result: Segment[] = []
  let at = 0
  for (const [from = 0, to = 0] of marks) {
    if (from < at || to <= from || to > text.length) continue
    if (from > at) result.push({ text: text.slice(at, from), marked: false })
    result.push({ text: text.slice(from, to), marked: true })
    at = to
  }
  if (at < text.length) result.push({ text: text.slice(at), marked: false })
  return result
}
