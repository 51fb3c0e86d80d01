// Connection quality as a hint for the user. Pure.

import type { Quality, Slot } from './protocol'

export type Hint = 'voice_only' | 'paused' | 'softer' | 'upload' | 'lossy' | null

export interface LinkState {
  quality: Quality | null
  slots: Slot[]
  /** The main video arrives at a much lower resolution than it is shown. */
  downscaled: boolean
  /** The local encoder is limited by bandwidth. */
  bandwidthLimited: boolean
}

/** Packet loss above which in-band FEC and RED no longer conceal the gaps in speech. */
const AUDIBLE_LOSS = 0.1

/** Returns the most severe condition, in the order that matters to a class. */
export function qualityHint({ quality, slots, downscaled, bandwidthLimited }: LinkState): Hint {
  const videos = slots.filter((slot) => slot.kind === 'video' && slot.source)
  if (videos.length && videos.every((slot) => !slot.flowing)) return 'voice_only'
  if (quality && quality.down_loss > AUDIBLE_LOSS) return 'lossy'
  if (videos.some((slot) => !slot.flowing)) return 'paused'
  if (downscaled) return 'softer'
  if (bandwidthLimited || (quality && quality.up_loss > AUDIBLE_LOSS)) return 'upload'
  return null
}
