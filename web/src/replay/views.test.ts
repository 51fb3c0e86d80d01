import { describe, expect, it } from 'vitest'
import type { RecordedTrack } from '../api'
import { alternateViews, trackAt } from './views'

const track = (id: string, who: string, more: Partial<RecordedTrack> = {}): RecordedTrack => ({
  id,
  participant: { id: who, name: who, kind: 'classroom' },
  purpose: 'camera',
  kind: 'video',
  codec: 'h264',
  from_ms: 0,
  to_ms: null,
  playlist_url: `/media/l/${id}/playlist.m3u8`,
  playable: true,
  ...more,
})

describe('the alternate videos of a recording', () => {
  it('a room that rejoined is one view with two tracks, each at its time', () => {
    const [view] = alternateViews([
      track('1', 'willow', { to_ms: 5000 }),
      track('2', 'willow', { from_ms: 9000 }),
      track('3', 'willow', { kind: 'audio' }),
    ])
    expect(view?.tracks).toHaveLength(2)
    expect(view && trackAt(view, 1000)?.id).toBe('1')
    expect(view && trackAt(view, 7000)).toBeNull()
    expect(view && trackAt(view, 60_000)?.id).toBe('2')
  })

  it('the screen first, then people, then rooms; what cannot be played is not offered', () => {
    const views = alternateViews([
      track('1', 'willow'),
      track('2', 'wang', { participant: { id: 'wang', name: 'wang', kind: 'person' } }),
      track('3', 'wang', {
        participant: { id: 'wang', name: 'wang', kind: 'person' },
        purpose: 'screen',
      }),
      track('4', 'bridge', { playable: false }),
    ])
    expect(views.map((view) => view.key)).toEqual(['wang/screen', 'wang/camera', 'willow/camera'])
  })
})
