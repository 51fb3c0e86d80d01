// Zoom levels of the page preview. Pure.

/**
 * `page` fits the whole page into the frame; a number is the page's width in percent of the
 * frame's.
 */
export type Zoom = 'page' | number

export const STEPS = [50, 75, 100, 125, 150, 200, 300] as const
/** Fits the page's width to the frame. */
export const WIDTH = 100

/** Fits landscape pages as a whole and portrait pages by their width, to keep the text readable. */
export function initialZoom(page: { width: number; height: number } | undefined): Zoom {
  return page && page.height > page.width ? WIDTH : 'page'
}

/** Returns the next zoom level up or down. */
export function nextZoom(now: Zoom, by: 1 | -1): Zoom {
  if (now === 'page') return by > 0 ? WIDTH : STEPS[1]
  const at = STEPS.findIndex((one) => one >= now)
  return STEPS[Math.min(Math.max(0, at + by), STEPS.length - 1)] ?? WIDTH
}
