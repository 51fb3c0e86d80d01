// A swipe on a page turns it, as on a teacher's touch panel.

/** Shorter is a tap; more up or down than sideways is a scroll. */
const SWIPE_PX = 60

/** Listeners for `v-bind`: −1 for a swipe to the right (back), 1 for one to the left. */
export function swiped(turn: (by: 1 | -1) => void) {
  let from: { x: number; y: number } | null = null
  return {
    // A second finger makes it a pinch.
    onPointerdown: (event: PointerEvent) =>
      (from = event.isPrimary ? { x: event.clientX, y: event.clientY } : null),
    onPointercancel: () => (from = null),
    onPointerup: (event: PointerEvent) => {
      const [x, y] = from ? [event.clientX - from.x, event.clientY - from.y] : [0, 0]
      from = null
      if (Math.abs(x) >= SWIPE_PX && Math.abs(x) > 2 * Math.abs(y)) turn(x < 0 ? 1 : -1)
    },
  }
}
