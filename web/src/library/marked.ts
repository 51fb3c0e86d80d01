// What is shown of texts and numbers in the library. All pure.

import type { Marked } from './shapes'

export interface Part {
  text: string
  marked: boolean
}

/** The text cut into marked and unmarked parts: shown as elements, never as HTML. */
export function parts({ text, marks }: Marked): Part[] {
  const cut: Part[] = []
  let at = 0
  for (const [from, to] of marks) {
    if (from < at || to <= from || to > text.length) continue
    if (from > at) cut.push({ text: text.slice(at, from), marked: false })
    cut.push({ text: text.slice(from, to), marked: true })
    at = to
  }
  if (at < text.length) cut.push({ text: text.slice(at), marked: false })
  return cut
}

/** What kind of thing a file is to the eye: its icon's colour and letters. */
export function family(
  type: string,
):
  | 'deck'
  | 'document'
  | 'sheet'
  | 'pdf'
  | 'picture'
  | 'sound'
  | 'film'
  | 'text'
  | 'archive'
  | 'file' {
  if (['pptx', 'ppt', 'odp', 'dps'].includes(type)) return 'deck'
  if (['docx', 'doc', 'odt', 'rtf', 'wps'].includes(type)) return 'document'
  if (['xlsx', 'xls', 'ods', 'et'].includes(type)) return 'sheet'
  if (type === 'pdf') return 'pdf'
  if (['png', 'jpeg', 'gif', 'webp', 'bmp'].includes(type)) return 'picture'
  if (type === 'audio') return 'sound'
  if (type === 'video') return 'film'
  if (['md', 'txt', 'html'].includes(type)) return 'text'
  return type === 'zip' ? 'archive' : 'file'
}

/** Bytes per second over the last few seconds; null until two moments are known. */
export function speed(moments: readonly { at: number; bytes: number }[]): number | null {
  const first = moments[0]
  const last = moments[moments.length - 1]
  if (!first || !last || last.at - first.at < 200) return null
  return Math.max(0, ((last.bytes - first.bytes) * 1000) / (last.at - first.at))
}
