// Reports the visible video tiles and their heights, so that the server sends no layer larger than
// what is shown.

import type { ParticipantId, Purpose, Tile } from './protocol'

/** Debounce interval: resizing a window must not send a message per layout. */
const DEBOUNCE_MS = 150
/**
 * Delay before a hidden tab reports height 0; a short switch to another tab must not stop the
 * video.
 */
const HIDE_DELAY_MS = 4_000

export class VisibleTiles {
  private readonly sources = new Map<Element, { participant: ParticipantId; purpose: Purpose }>()
  private readonly observer = new ResizeObserver(() => this.scheduleSend())
  private timer = 0
  private hideTimer = 0
  private hidden = false
  private last = ''

  constructor(private readonly report: (tiles: Tile[]) => boolean) {
    document.addEventListener('visibilitychange', this.onVisibilityChange)
  }

  show(element: Element, participant: ParticipantId, purpose: Purpose) {
    this.sources.set(element, { participant, purpose })
    this.observer.observe(element)
    this.scheduleSend()
  }

  hide(element: Element) {
    this.sources.delete(element)
    this.observer.unobserve(element)
    this.scheduleSend()
  }

  /** Sends the tiles resend: after a welcome the server has none of them. */
  resend() {
    this.last = ''
    this.scheduleSend()
  }

  close() {
    clearTimeout(this.timer)
    clearTimeout(this.hideTimer)
    this.observer.disconnect()
    document.removeEventListener('visibilitychange', this.onVisibilityChange)
  }

  private scheduleSend() {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.send(), DEBOUNCE_MS)
  }

  private send() {
    const tiles = tilesOf(
      [...this.sources].map(([element, source]) => ({
        ...source,
        width: element.clientWidth,
        height: element.clientHeight,
      })),
      this.hidden ? 0 : devicePixelRatio,
    )
    const text = JSON.stringify(tiles)
    if (text !== this.last && this.report(tiles)) this.last = text
  }

  private onVisibilityChange = () => {
    clearTimeout(this.hideTimer)
    if (!document.hidden) {
      this.hidden = false
      return this.scheduleSend()
    }
    this.hideTimer = setTimeout(() => {
      this.hidden = true
      this.scheduleSend()
    }, HIDE_DELAY_MS)
  }
}

/**
 * Returns one tile per source, with the largest height it is shown at. 16:9 video cropped to a wide
 * box (`cover`) is as high as the box's width requires. Pure.
 */
export function tilesOf(
  boxes: { participant: ParticipantId; purpose: Purpose; width: number; height: number }[],
  pixelRatio: number,
): Tile[] {
  const tiles = new Map<string, Tile>()
  for (const { participant, purpose, width, height } of boxes) {
    const shown = purpose === 'screen' ? height : Math.max(height, (width * 9) / 16)
    const pixels = Math.min(65_535, Math.round(shown * pixelRatio))
    const key = `${participant}/${purpose}`
    const known = tiles.get(key)
    if (!known || known.height < pixels) tiles.set(key, { participant, purpose, height: pixels })
  }
  return [...tiles.values()].sort((a, b) =>
    `${a.participant}${a.purpose}` < `${b.participant}${b.purpose}` ? -1 : 1,
  )
}
