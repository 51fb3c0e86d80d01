import { describe, expect, it } from 'vitest'
import type { DeckPage } from './deck'
import { prefetchOrder } from './pageImages'

const pages = (count: number): DeckPage[] =>
  Array.from({ length: count }, (_, i) => ({
    n: i + 1,
    width: 1600,
    height: 900,
    text: '',
    large_url: `L${i + 1}`,
    small_url: `S${i + 1}`,
  }))

describe('the prefetch of page images', () => {
  it('starts with the page that is shown and its neighbours, then every small image, then the large ones', () => {
    expect(prefetchOrder(pages(4), 2, false)).toEqual([
      'L2',
      'L3',
      'L1',
      'S3',
      'S4',
      'S1',
      'S2',
      'L4',
    ])
  })

  it('leaves a narrow link to the audio: only the next page is large', () => {
    expect(prefetchOrder(pages(4), 1, true)).toEqual(['L1', 'L2', 'S2', 'S3', 'S4', 'S1'])
  })

  it('skips pages that could not be drawn', () => {
    const [first, second] = pages(2) as [DeckPage, DeckPage]
    expect(
      prefetchOrder([first, { ...second, large_url: null, small_url: null }], 1, false),
    ).toEqual(['L1', 'S1'])
  })
})
