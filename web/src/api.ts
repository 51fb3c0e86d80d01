// The REST side of the server: every shape a page reads and one function that fetches.
// Texts of errors come from the server in the reader's language and are shown as they are.

import { i18n, locale } from './i18n'

export type PersonRole = 'administrator' | 'teacher' | 'observer'
export type Me =
  | { kind: 'person'; id: string; name: string; role: PersonRole; school: Named | null }
  | { kind: 'classroom'; id: string; name: string; school: Named }
export type Named = { id: string; name: string }
export type Phase = 'planned' | 'live' | 'ended'
export type LessonRole = 'lead' | 'assistant' | 'lead_room' | 'listening' | 'observer' | 'none'
export type RecordingOf = 'none' | 'recording' | 'finishing' | 'ready' | 'failed'

export interface LessonCard {
  id: string
  title: string
  subject: string
  grade: string
  series: Named | null
  period: string | null
  starts_at: string
  ends_at: string
  phase: Phase
  lead: { id: string; name: string; school: string | null }
  assistants: Named[]
  classrooms: { id: string; name: string; school: string; end: 'lead' | 'listening' }[]
  my_role: LessonRole
  recording: RecordingOf
}

export interface Today {
  date: string
  now: string
  lessons: LessonCard[]
}

export interface Job {
  id: string
  kind: string
  state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled'
  /** 0..1 */
  progress: number
  error: string | null
}

export interface RecordedTrack {
  id: string
  participant: { id: string; name: string; kind: 'person' | 'classroom' | 'encoder' }
  purpose: 'camera' | 'screen' | 'whip'
  kind: 'audio' | 'video'
  codec: string
  from_ms: number
  to_ms: number | null
  playlist_url: string
  playable: boolean
}

export interface TimelineEvent {
  at_ms: number
  kind:
    'started' | 'ended' | 'joined' | 'left' | 'stage' | 'hand' | 'chat' | 'screen' | 'deck' | 'page'
  body: Record<string, unknown>
}

/** A page of a deck, from its turn to the next; without `to_ms` to the end. */
export interface ShownPage {
  from_ms: number
  to_ms: number | null
  deck: string
  page: number
}

export interface Mp4 {
  state: 'none' | 'queued' | 'running' | 'ready' | 'failed'
  progress: number
  url: string | null
  size_bytes: number | null
  job_id: string | null
}

export interface Recording {
  lesson: LessonCard
  state: 'recording' | 'finishing' | 'ready' | 'failed'
  started_at: string
  duration_ms: number
  gaps: { from_ms: number; to_ms: number }[]
  master_url: string
  poster_url: string | null
  tracks: RecordedTrack[]
  timeline: TimelineEvent[]
  shown: ShownPage[]
  mp4: Mp4
}

export interface RecordingItem {
  lesson: LessonCard
  duration_ms: number
  poster_url: string | null
}

/** What the server (or the line to it) answered instead of what was asked for. `status` 0: no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly field: string | null = null,
  ) {
    super(message)
  }

  /** Worth trying again by itself: the line or the server is away, not the request wrong. */
  get passing(): boolean {
    return this.status === 0 || this.status >= 500
  }
}

export const get = <T>(path: string): Promise<T> => request<T>('GET', path)
export const post = <T>(path: string, body: unknown = {}): Promise<T> =>
  request<T>('POST', path, body)
export const put = <T>(path: string, body: unknown): Promise<T> => request<T>('PUT', path, body)
export const patch = <T>(path: string, body: unknown): Promise<T> => request<T>('PATCH', path, body)
export const remove = (path: string, body?: unknown): Promise<void> =>
  request<void>('DELETE', path, body)

/** A request that a dead line must not hold forever: after this the page says so and tries again. */
const PATIENCE_MS = 15_000

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(path, {
    method,
    credentials: 'same-origin',
    headers: {
      Accept: 'application/json',
      'Accept-Language': locale.value,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).catch(() => {
    throw new ApiError(0, 'offline', i18n.global.t('error.offline'))
  })
  if (response.status === 204) return undefined as T
  const answer: unknown = await response.json().catch(() => null)
  if (response.ok && answer !== null) return answer as T
  const told = (answer ?? {}) as { code?: string; message?: string; field?: string }
  throw new ApiError(
    response.status,
    told.code ?? 'unexpected',
    told.message ?? i18n.global.t('error.unexpected', { status: response.status }),
    told.field ?? null,
  )
}

/** The sentence to show for whatever was thrown. */
export function sentence(error: unknown): string {
  if (error instanceof ApiError) return error.message
  return i18n.global.t('error.page')
}
