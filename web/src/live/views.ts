// What this page shows and how large, told to the server so that no one sends more than is seen.

import type { ParticipantId, Purpose, Tile } from './protocol'

/** Layouts settle within this; the wall of a resizing window must not become a stream of messages. */
const SETTLE_MS = 150
/** A look at another tab and back must not stop the pictures. */
const HIDDEN_AFTER_MS = 4_000

export class Views {
  private readonly shown = new Map<Element, { participant: ParticipantId; purpose: Purpose }>()
  private readonly observer = new ResizeObserver(() => this.soon())
  private timer = 0
  private hideTimer = 0
  private hidden = false
  private last = ''

  constructor(private readonly tell: (tiles: Tile[]) => boolean) {
    document.addEventListener('visibilitychange', this.visibility)
  }

  show(element: Element, participant: ParticipantId, purpose: Purpose) {
    this.shown.set(element, { participant, purpose })
    this.observer.observe(element)
    this.soon()
  }

  hide(element: Element) {
    this.shown.delete(element)
    this.observer.unobserve(element)
    this.soon()
  }

  /** After a welcome: the server knows nothing of our tiles. */
  again() {
    this.last = ''
    this.soon()
  }

  close() {
    clearTimeout(this.timer)
    clearTimeout(this.hideTimer)
    this.observer.disconnect()
    document.removeEventListener('visibilitychange', this.visibility)
  }

  private soon() {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.send(), SETTLE_MS)
  }

  private send() {
    const tiles = measure(
      [...this.shown].map(([element, what]) => ({
        ...what,
        width: element.clientWidth,
        height: element.clientHeight,
      })),
      this.hidden ? 0 : devicePixelRatio,
    )
    const text = JSON.stringify(tiles)
    if (text !== this.last && this.tell(tiles)) this.last = text
  }

  private visibility = () => {
    clearTimeout(this.hideTimer)
    if (!document.hidden) {
      this.hidden = false
      return this.soon()
    }
    this.hideTimer = setTimeout(() => {
      this.hidden = true
      this.soon()
    }, HIDDEN_AFTER_MS)
  }
}

/** One tile per source, the largest of its places. A 16:9 picture that covers a box is as high as the box needs it. Pure. */
export function measure(
  boxes: { participant: ParticipantId; purpose: Purpose; width: number; height: number }[],
  pixelRatio: number,
): Tile[] {
  const tiles = new Map<string, Tile>()
  for (const { participant, purpose, width, height } of boxes) {
    const seen = purpose === 'screen' ? height : Math.max(height, (width * 9) / 16)
    const pixels = Math.min(65_535, Math.round(seen * pixelRatio))
    const key = `${participant}/${purpose}`
    const known = tiles.get(key)
    if (!known || known.height < pixels) tiles.set(key, { participant, purpose, height: pixels })
  }
  return [...tiles.values()].sort((a, b) =>
    `${a.participant}${a.purpose}` < `${b.participant}${b.purpose}` ? -1 : 1,
  )
}
