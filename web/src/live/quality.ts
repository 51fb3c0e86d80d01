// The line in plain words. Pure.

import type { Quality, Slot } from './protocol'

export type Hint = 'voice_only' | 'paused' | 'softer' | 'upload' | 'lossy' | null

export interface Line {
  quality: Quality | null
  slots: Slot[]
  /** The main picture arrives much smaller than it is shown. */
  softened: boolean
  /** Our own encoder is held back by the line. */
  heldBack: boolean
}

/** Above this a voice has holes that in-band FEC and RED no longer close. */
const AUDIBLE_LOSS = 0.1

/** The worst that is true, in the order it matters to a class. */
export function hintOf({ quality, slots, softened, heldBack }: Line): Hint {
  const pictures = slots.filter((slot) => slot.kind === 'video' && slot.source)
  if (pictures.length && pictures.every((slot) => !slot.flowing)) return 'voice_only'
  if (quality && quality.down_loss > AUDIBLE_LOSS) return 'lossy'
  if (pictures.some((slot) => !slot.flowing)) return 'paused'
  if (softened) return 'softer'
  if (heldBack || (quality && quality.up_loss > AUDIBLE_LOSS)) return 'upload'
  return null
}
