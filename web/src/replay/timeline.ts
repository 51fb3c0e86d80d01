// Maps the recorded timeline to the list of moments that the replay shows, with names instead of
// ids. Pure.

import type { Recording, TimelineEvent } from '../api'

export type MomentKind =
  | 'started'
  | 'ended'
  | 'joined'
  | 'left'
  | 'stage'
  | 'seat'
  | 'hand'
  | 'chat'
  | 'screen_on'
  | 'screen_off'
  | 'deck'

export interface Moment {
  at_ms: number
  kind: MomentKind
  names: string[]
  text: string | null
}

/** Kinds with a marker on the seek bar; joins and leaves are only in the list. */
export const MARKER_KINDS: ReadonlySet<MomentKind> = new Set(['stage', 'chat', 'screen_on', 'deck'])

export function toMoments(recording: Pick<Recording, 'timeline' | 'tracks' | 'lesson'>): Moment[] {
  const names = new Map<string, string>()
  const { lesson } = recording
  names.set(lesson.lead.id, lesson.lead.name)
  for (const one of [...lesson.assistants, ...lesson.classrooms]) names.set(one.id, one.name)
  for (const { participant } of recording.tracks) names.set(participant.id, participant.name)
  const moments: Moment[] = []
  let onStage: string[] = []
  for (const event of [...recording.timeline].sort((a, b) => a.at_ms - b.at_ms)) {
    collectNames(names, event)
    for (const moment of momentsOf(event, names, onStage)) moments.push(moment)
    if (event.kind === 'stage') onStage = idsOf(event.body.on_stage)
  }
  return moments
}

function collectNames(names: Map<string, string>, { body }: TimelineEvent) {
  const people: object[] = 'participants' in body ? body.participants : [body]
  for (const one of people as { id?: unknown; name?: unknown }[]) {
    if (typeof one?.id === 'string' && typeof one.name === 'string') names.set(one.id, one.name)
  }
}

function momentsOf(
  { at_ms, kind, body }: TimelineEvent,
  names: Map<string, string>,
  onStage: string[],
): Moment[] {
  const name = (id: unknown) => (typeof id === 'string' ? (names.get(id) ?? '') : '')
  const moment = (what: MomentKind, who: string[] = [], text: string | null = null): Moment => ({
    at_ms,
    kind: what,
    names: who.filter(Boolean),
    text,
  })
  switch (kind) {
    case 'stage': {
      const now = idsOf(body.on_stage)
      const up = now.filter((id) => !onStage.includes(id))
      const down = onStage.filter((id) => !now.includes(id))
      return [
        ...(up.length ? [moment('stage', up.map(name))] : []),
        ...(down.length ? [moment('seat', down.map(name))] : []),
      ]
    }
    case 'hand':
      return body.raised ? [moment('hand', [name(body.id)])] : []
    case 'chat':
      return [moment('chat', [name(body.id)], typeof body.text === 'string' ? body.text : '')]
    case 'screen':
      return [moment(body.on ? 'screen_on' : 'screen_off', [name(body.id)])]
    // Single pages are in PageStrip.
    case 'deck':
      return 'title' in body ? [moment('deck', [], body.title)] : []
    case 'page':
      return []
    case 'joined':
    case 'left':
      return [moment(kind, [name(body.id)])]
    case 'started':
    case 'ended':
      return [moment(kind)]
  }
}

const idsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []
