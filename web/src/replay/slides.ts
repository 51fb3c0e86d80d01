// Pages that were shown during a lesson. Pure.

import type { ShownPage } from '../api'
import type { DeckPage, LessonDeck } from '../deck/deck'

export const shownAt = (shown: ShownPage[], ms: number): ShownPage | null =>
  shown.find(({ from_ms, to_ms }) => from_ms <= ms && (to_ms === null || ms < to_ms)) ?? null

/**
 * Returns every page once, at its first appearance. The search index numbers them in this order.
 */
export function contents(shown: ShownPage[]): ShownPage[] {
  const known = new Set<string>()
  return shown.filter(({ deck, page }) => {
    const key = `${deck}/${page}`
    return !known.has(key) && known.add(key)
  })
}

/** Returns the first appearance of any version of a resource. */
export function firstOf(
  shown: ShownPage[],
  decks: LessonDeck[],
  resource: string,
): ShownPage | null {
  const versions = new Set(
    decks.filter(({ resource_id }) => resource_id === resource).map(({ id }) => id),
  )
  return shown.find(({ deck }) => versions.has(deck)) ?? null
}

export const pageOf = (decks: LessonDeck[], { deck, page }: ShownPage): DeckPage | null =>
  decks.find((one) => one.id === deck)?.pages[page - 1] ?? null
