import { describe, expect, it } from 'vitest'
import { contents, firstOf, shownAt } from './slides'

const shown = [
  { from_ms: 5_000, to_ms: 20_000, deck: 'a', page: 1 },
  { from_ms: 20_000, to_ms: 25_000, deck: 'a', page: 2 },
  { from_ms: 25_000, to_ms: 30_000, deck: 'a', page: 1 },
  { from_ms: 40_000, to_ms: null, deck: 'b', page: 1 },
]

describe('the pages of a recorded lesson', () => {
  it('finds the page that was shown at a time, or none', () => {
    expect(shownAt(shown, 4_999)).toBeNull()
    expect(shownAt(shown, 20_000)?.page).toBe(2)
    expect(shownAt(shown, 35_000)).toBeNull()
    expect(shownAt(shown, 1e9)?.deck).toBe('b')
  })

  it('the contents have every page once, in the order of the lesson', () => {
    expect(contents(shown).map(({ deck, page }) => `${deck}${page}`)).toEqual(['a1', 'a2', 'b1'])
  })

  it('a resource is found where one of its versions was first shown', () => {
    const decks = [
      ['a', 'plan'],
      ['b', 'circles'],
      ['c', 'circles'],
    ].map(([id, resource_id]) => ({ id: id!, resource_id: resource_id!, title: '', pages: [] }))
    expect(firstOf(shown, decks, 'circles')?.from_ms).toBe(40_000)
    expect(firstOf(shown, decks, 'undefined')).toBeNull()
  })
})
