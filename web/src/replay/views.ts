// Alternate videos of a recording, beside the main programme. Pure.

import type { RecordedTrack } from '../api'

export interface AlternateView {
  key: string
  participant: RecordedTrack['participant']
  purpose: RecordedTrack['purpose']
  /** A participant that rejoined has several consecutive tracks. */
  tracks: RecordedTrack[]
}

export function alternateViews(tracks: RecordedTrack[]): AlternateView[] {
  const views = new Map<string, AlternateView>()
  for (const track of tracks) {
    if (track.kind !== 'video' || !track.playable) continue
    const key = `${track.participant.id}/${track.purpose}`
    const view = views.get(key) ?? {
      key,
      participant: track.participant,
      purpose: track.purpose,
      tracks: [],
    }
    view.tracks.push(track)
    views.set(key, view)
  }
  const rank = (view: AlternateView) =>
    view.purpose === 'screen' ? 0 : view.participant.kind === 'person' ? 1 : 2
  return [...views.values()].sort(
    (a, b) => rank(a) - rank(b) || a.participant.name.localeCompare(b.participant.name, 'zh-CN'),
  )
}

/** Returns the track of a view that has video at this time. */
export function trackAt(view: AlternateView, ms: number): RecordedTrack | null {
  return (
    view.tracks.find(
      (track) => track.from_ms <= ms && (track.to_ms === null || ms < track.to_ms),
    ) ?? null
  )
}
