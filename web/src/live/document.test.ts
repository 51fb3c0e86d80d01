import { describe, expect, it } from 'vitest'
import { apply, handQueue, leadOf, sharingOf, wallOf, type LessonDocument } from './document'
import type { Change, Participant } from './protocol'

const someone = (id: string, more: Partial<Participant> = {}): Participant => ({
  id,
  name: id,
  school: null,
  role: 'listening',
  kind: 'classroom',
  present: true,
  hand: false,
  hand_at_ms: null,
  microphone: true,
  camera: true,
  sources: [],
  ...more,
})

const start = (participants: Participant[] = []): LessonDocument => ({
  you: 'lead',
  revision: 7,
  lesson: {
    id: 'l',
    title: '古诗二首',
    phase: 'live',
    started_at: null,
    at_ms: 0,
    recording: 'off',
    participants,
    on_stage: [],
    chat: [],
    deck: null,
    players: [],
  },
})

const applyAll = (document: LessonDocument, changes: Change[]) =>
  changes.reduce<LessonDocument | null>((now, change) => now && apply(now, change), document)

describe('the document of a lesson', () => {
  it('a deck is shown, turned and taken away', () => {
    const deck = { id: 'd', title: '分数的意义', pages: 3, page: 1 }
    const shown = applyAll(start(), [
      { type: 'deck', revision: 8, deck },
      { type: 'page', revision: 9, page: 3 },
    ])
    expect(shown?.lesson.deck).toEqual({ ...deck, page: 3 })
    expect(
      shown && apply(shown, { type: 'deck', revision: 10, deck: null })?.lesson.deck,
    ).toBeNull()
  })

  it('a room joins, raises its hand, is called on and leaves: nothing of it stays behind', () => {
    const end = applyAll(start(), [
      { type: 'joined', revision: 8, participant: someone('willow') },
      {
        type: 'changed',
        revision: 9,
        participant: someone('willow', { hand: true, hand_at_ms: 500 }),
      },
      { type: 'stage', revision: 10, on_stage: ['willow'] },
      { type: 'left', revision: 11, participant: 'willow' },
    ])
    expect(end?.lesson.participants).toEqual([])
    expect(end?.lesson.on_stage).toEqual([])
    expect(end?.revision).toBe(11)
  })

  it('a missing change requires a reconnect, a repeated one changes nothing', () => {
    const document = start([someone('willow')])
    expect(apply(document, { type: 'stage', revision: 9, on_stage: ['willow'] })).toBeNull()
    expect(apply(document, { type: 'stage', revision: 7, on_stage: ['willow'] })).toBe(document)
  })

  it('the bell sets the clock to zero and keeps the start after the end', () => {
    const at = '2026-11-22T00:00:00Z'
    const live = applyAll(
      { ...start(), lesson: { ...start().lesson, phase: 'planned', at_ms: null } },
      [{ type: 'phase', revision: 8, phase: 'live', at }],
    )
    expect(live?.lesson).toMatchObject({ phase: 'live', started_at: at, at_ms: 0 })
    const over =
      live &&
      apply(live, { type: 'phase', revision: 9, phase: 'ended', at: '2026-11-22T00:40:00Z' })
    expect(over?.lesson).toMatchObject({ phase: 'ended', started_at: at })
  })

  it('keeps the newest hundred lines of chat', () => {
    const lines: Change[] = Array.from({ length: 120 }, (_, i) => ({
      type: 'chat',
      revision: 8 + i,
      line: { participant: 'a', name: 'a', at_ms: i, text: `${i}` },
    }))
    const end = applyAll(start(), lines)
    expect(end?.lesson.chat).toHaveLength(100)
    expect(end?.lesson.chat[0]?.text).toBe('20')
  })
})

describe('the views of it', () => {
  const camera = (id: string) => ({
    participant: id,
    purpose: 'camera' as const,
    kind: 'video' as const,
  })

  it('hands queue in the order they went up', () => {
    const { lesson } = start([
      someone('b', { hand: true, hand_at_ms: 200 }),
      someone('a', { hand: true, hand_at_ms: 100 }),
      someone('c'),
    ])
    expect([...handQueue(lesson)]).toEqual([
      ['a', 1],
      ['b', 2],
    ])
  })

  it('the wall has rooms and assistants, neither the lead nor observers', () => {
    const { lesson } = start([
      someone('lead', { role: 'lead', kind: 'person' }),
      someone('watcher', { role: 'observer', kind: 'person' }),
      someone('li', { role: 'assistant', kind: 'person' }),
      someone('willow'),
    ])
    expect(wallOf(lesson).map((one) => one.id)).toEqual(['willow', 'li'])
  })

  it('without the teacher an encoder is in the main tile; a shared screen is found', () => {
    const encoder = someone('studio', {
      kind: 'encoder',
      role: 'lead',
      sources: [camera('studio')],
    })
    expect(leadOf(start([encoder]).lesson)?.id).toBe('studio')
    const teacher = someone('lead', {
      role: 'lead',
      kind: 'person',
      sources: [camera('lead'), { ...camera('lead'), purpose: 'screen' }],
    })
    expect(leadOf(start([encoder, teacher]).lesson)?.id).toBe('lead')
    expect(sharingOf(start([encoder, teacher]).lesson)?.id).toBe('lead')
  })
})
