// Swipe gesture that turns the pages of a deck on a touch panel.

/** Minimum horizontal distance; a shorter move is a tap, a steeper one a scroll. */
const SWIPE_PX = 60

/**
 * Returns listeners for `v-bind`; `turn` gets −1 for a swipe to the right (back) and 1 for one to
 * the left.
 */
export function swipeListeners(turn: (by: 1 | -1) => void) {
  let start: { x: number; y: number } | null = null
  return {
    // A second finger makes the gesture a pinch.
    onPointerdown: (event: PointerEvent) =>
      (start = event.isPrimary ? { x: event.clientX, y: event.clientY } : null),
    onPointercancel: () => (start = null),
    onPointerup: (event: PointerEvent) => {
      const [x, y] = start ? [event.clientX - start.x, event.clientY - start.y] : [0, 0]
      start = null
      if (Math.abs(x) >= SWIPE_PX && Math.abs(x) > 2 * Math.abs(y)) turn(x < 0 ? 1 : -1)
    },
  }
}
