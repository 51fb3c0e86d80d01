// The client's copy of the lesson. Pure: `apply` maps a document and a change to the next document,
// so every client that applies the same changes in order holds the same document.

import type { Change, ChatMessage, Lesson, Participant, ParticipantId, Source } from './protocol'

/** Matches the server's limit, so that a client that joins later sees the same lines. */
const CHAT_LINES = 100

export interface LessonDocument {
  you: ParticipantId
  revision: number
  lesson: Lesson
}

/**
 * Returns the next document, or `null` when a revision is missing and the client has to reconnect.
 */
export function apply(document: LessonDocument, change: Change): LessonDocument | null {
  if (change.revision <= document.revision) return document
  if (change.revision !== document.revision + 1) return null
  return { ...document, revision: change.revision, lesson: next(document.lesson, change) }
}

function next(lesson: Lesson, change: Change): Lesson {
  switch (change.type) {
    case 'joined':
    case 'changed':
      return { ...lesson, participants: upsert(lesson.participants, change.participant) }
    case 'left':
      return {
        ...lesson,
        participants: lesson.participants.filter((one) => one.id !== change.participant),
        on_stage: lesson.on_stage.filter((id) => id !== change.participant),
      }
    case 'stage':
      return { ...lesson, on_stage: change.on_stage }
    case 'phase':
      return {
        ...lesson,
        phase: change.phase,
        started_at: change.phase === 'live' ? change.at : lesson.started_at,
        at_ms: change.phase === 'live' ? 0 : lesson.at_ms,
      }
    case 'recording':
      return { ...lesson, recording: change.state }
    case 'chat':
      return { ...lesson, chat: [...lesson.chat, change.line].slice(-CHAT_LINES) }
    case 'deck':
      return { ...lesson, deck: change.deck }
    case 'page':
      return { ...lesson, deck: lesson.deck && { ...lesson.deck, page: change.page } }
    case 'players':
      return { ...lesson, players: change.players }
  }
}

function upsert(participants: Participant[], updated: Participant): Participant[] {
  const known = participants.some((one) => one.id === updated.id)
  return known
    ? participants.map((one) => (one.id === updated.id ? updated : one))
    : [...participants, updated]
}

export const sourceKey = (source: Source) =>
  `${source.participant}/${source.purpose}/${source.kind}`

export const find = (lesson: Lesson, id: ParticipantId) =>
  lesson.participants.find((one) => one.id === id)

export const has = (
  participant: Participant | undefined,
  purpose: Source['purpose'],
  kind: Source['kind'] = 'video',
) =>
  participant?.sources.some((source) => source.purpose === purpose && source.kind === kind) ?? false

/**
 * Returns the participant in the main tile: the lead teacher, else an encoder or the lead room that
 * sends video.
 */
export function leadOf(lesson: Lesson): Participant | undefined {
  const teacher = lesson.participants.find((one) => one.role === 'lead' && one.kind === 'person')
  if (has(teacher, 'camera')) return teacher
  const standIn =
    lesson.participants.find((one) => one.kind === 'encoder' && has(one, 'camera')) ??
    lesson.participants.find((one) => one.role === 'lead_room' && has(one, 'camera'))
  return teacher?.present ? teacher : (standIn ?? teacher)
}

/** Returns the participant whose screen is shared; the lead's takes precedence. */
export function sharingOf(lesson: Lesson): Participant | undefined {
  const sharing = lesson.participants.filter((one) => has(one, 'screen'))
  return sharing.find((one) => one.role === 'lead') ?? sharing[0]
}

/**
 * Participants of the video wall in a stable order: rooms by name, then people, then encoders;
 * without the lead and observers.
 */
export function wallOf(lesson: Lesson): Participant[] {
  const rank = (one: Participant) => (one.kind === 'classroom' ? 0 : one.kind === 'person' ? 1 : 2)
  return lesson.participants
    .filter((one) => (one.role !== 'lead' || one.kind === 'encoder') && one.role !== 'observer')
    .sort(
      (a, b) =>
        rank(a) - rank(b) || a.name.localeCompare(b.name, 'zh-CN') || (a.id < b.id ? -1 : 1),
    )
}

/** Raised hands in the order they went up: participant → position from 1. */
export function handQueue(lesson: Lesson): Map<ParticipantId, number> {
  const waiting = lesson.participants
    .filter((one) => one.hand)
    .sort((a, b) => (a.hand_at_ms ?? 0) - (b.hand_at_ms ?? 0) || (a.id < b.id ? -1 : 1))
  return new Map(waiting.map((one, index) => [one.id, index + 1]))
}

export const chatKey = (line: ChatMessage) => `${line.at_ms}/${line.participant}/${line.text}`
