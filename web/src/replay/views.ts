// Which other pictures a recording has beside the main one. Pure.

import type { RecordedTrack } from '../api'

export interface OtherView {
  key: string
  participant: RecordedTrack['participant']
  purpose: RecordedTrack['purpose']
  /** A participant that came back has several tracks, one after the other. */
  tracks: RecordedTrack[]
}

export function otherViews(tracks: RecordedTrack[]): OtherView[] {
  const views = new Map<string, OtherView>()
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
  const rank = (view: OtherView) =>
    view.purpose === 'screen' ? 0 : view.participant.kind === 'person' ? 1 : 2
  return [...views.values()].sort(
    (a, b) => rank(a) - rank(b) || a.participant.name.localeCompare(b.participant.name, 'zh-CN'),
  )
}

/** The track of a view that has a picture at that moment. */
export function trackAt(view: OtherView, ms: number): RecordedTrack | null {
  return (
    view.tracks.find(
      (track) => track.from_ms <= ms && (track.to_ms === null || ms < track.to_ms),
    ) ?? null
  )
}
