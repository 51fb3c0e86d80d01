import { describe, expect, it } from 'vitest'
import { hintOf, type Line } from './quality'
import type { Slot } from './protocol'

const picture = (flowing: boolean): Slot => ({
  mid: '1',
  kind: 'video',
  source: { participant: 'a', purpose: 'camera', kind: 'video' },
  flowing,
})
const good: Line = {
  quality: { down_kbps: 4000, down_loss: 0, up_loss: 0, rtt_ms: 20 },
  slots: [picture(true)],
  softened: false,
  heldBack: false,
}

describe('the line in plain words', () => {
  it('says nothing while all is well, nor about dark slots', () => {
    expect(hintOf(good)).toBeNull()
    expect(hintOf({ ...good, slots: [{ ...picture(false), source: null }] })).toBeNull()
  })

  it('tells the worst first', () => {
    expect(hintOf({ ...good, slots: [picture(false)] })).toBe('voice_only')
    expect(hintOf({ ...good, slots: [picture(true), picture(false)], softened: true })).toBe(
      'paused',
    )
    expect(hintOf({ ...good, quality: { ...good.quality!, down_loss: 0.2 }, softened: true })).toBe(
      'lossy',
    )
    expect(hintOf({ ...good, softened: true, heldBack: true })).toBe('softer')
    expect(hintOf({ ...good, heldBack: true })).toBe('upload')
  })
})
