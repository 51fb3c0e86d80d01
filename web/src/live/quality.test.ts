import { describe, expect, it } from 'vitest'
import { qualityHint, type LinkState } from './quality'
import type { Slot } from './protocol'

const video = (flowing: boolean): Slot => ({
  mid: '1',
  kind: 'video',
  source: { participant: 'a', purpose: 'camera', kind: 'video' },
  flowing,
})
const good: LinkState = {
  quality: { down_kbps: 4000, down_loss: 0, up_loss: 0, rtt_ms: 20 },
  slots: [video(true)],
  downscaled: false,
  bandwidthLimited: false,
}

describe('the hint about the connection', () => {
  it('shows nothing while all is well, nor for slots without a source', () => {
    expect(qualityHint(good)).toBeNull()
    expect(qualityHint({ ...good, slots: [{ ...video(false), source: null }] })).toBeNull()
  })

  it('shows the most severe condition first', () => {
    expect(qualityHint({ ...good, slots: [video(false)] })).toBe('voice_only')
    expect(qualityHint({ ...good, slots: [video(true), video(false)], downscaled: true })).toBe(
      'paused',
    )
    expect(
      qualityHint({ ...good, quality: { ...good.quality!, down_loss: 0.2 }, downscaled: true }),
    ).toBe('lossy')
    expect(qualityHint({ ...good, downscaled: true, bandwidthLimited: true })).toBe('softer')
    expect(qualityHint({ ...good, bandwidthLimited: true })).toBe('upload')
  })
})
