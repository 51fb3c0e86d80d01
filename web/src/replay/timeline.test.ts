import { describe, expect, it } from 'vitest'
import type { LessonSummary, TimelineEvent } from '../api'
import { toMoments } from './timeline'

const lesson = {
  lead: { id: 'wang', name: '王雪梅', school: null },
  assistants: [],
  classrooms: [{ id: 'willow', name: '柳林村小学三年级', school: '柳林村小学', end: 'listening' }],
} as unknown as LessonSummary

const listed = (timeline: TimelineEvent[]) =>
  toMoments({ lesson, tracks: [], timeline }).map(({ at_ms, kind, names, text }) => [
    at_ms,
    kind,
    ...names,
    ...(text === null ? [] : [text]),
  ])

describe('the timeline of a recording', () => {
  it('lists who went on stage and who went back, not the whole stage each time', () => {
    const timeline: TimelineEvent[] = [
      {
        at_ms: 100,
        kind: 'joined',
        body: { id: 'bridge', name: '石桥村小学三年级', role: 'listening', school: null },
      },
      { at_ms: 200, kind: 'stage', body: { on_stage: ['willow'] } },
      { at_ms: 300, kind: 'stage', body: { on_stage: ['willow', 'bridge'] } },
      { at_ms: 400, kind: 'stage', body: { on_stage: ['bridge'] } },
    ]
    expect(listed(timeline)).toEqual([
      [100, 'joined', '石桥村小学三年级'],
      [200, 'stage', '柳林村小学三年级'],
      [300, 'stage', '石桥村小学三年级'],
      [400, 'seat', '柳林村小学三年级'],
    ])
  })

  it('sorts late entries, keeps raised hands only, tolerates malformed bodies', () => {
    const timeline = [
      { at_ms: 900, kind: 'chat', body: { id: 'wang', name: '王雪梅', text: '翻到第三页' } },
      { at_ms: 10, kind: 'hand', body: { id: 'willow', raised: true } },
      { at_ms: 20, kind: 'hand', body: { id: 'willow', raised: false } },
      { at_ms: 30, kind: 'stage', body: { on_stage: 'nonsense' } },
      { at_ms: 40, kind: 'screen', body: { id: 7, on: true } },
    ] as unknown as TimelineEvent[]
    expect(listed(timeline)).toEqual([
      [10, 'hand', '柳林村小学三年级'],
      [40, 'screen_on'],
      [900, 'chat', '王雪梅', '翻到第三页'],
    ])
  })
})
