// How large a page is shown: whole in its frame, or by the share of the frame's width that it takes.

/** `page`: the whole page is seen; a number: percent of the frame's width. */
export type Zoom = 'page' | number

export const STEPS = [50, 75, 100, 125, 150, 200, 300] as const
/** The page fills the frame's width. */
export const WIDTH = 100

/** A slide is seen whole; an upright page of a document could not be read that way. */
export function first(page: { width: number; height: number } | undefined): Zoom {
  return page && page.height > page.width ? WIDTH : 'page'
}

/** The next step up or down; from a page seen whole, the frame's width is the first. */
export function step(now: Zoom, by: 1 | -1): Zoom {
  if (now === 'page') return by > 0 ? WIDTH : STEPS[1]
  const at = STEPS.findIndex((one) => one >= now)
  return STEPS[Math.min(Math.max(0, at + by), STEPS.length - 1)] ?? WIDTH
}
