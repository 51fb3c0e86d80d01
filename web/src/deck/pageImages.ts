// Page images of decks, prefetched one at a time, so that they do not compete with the audio on a
// narrow link.

import type { DeckPage } from './deck'

/**
 * Decoded images to keep: old classroom computers have little memory, and the HTTP cache has the
 * rest.
 */
const MAX_DECODED = 8

export class PageImages {
  private readonly decoded = new Map<string, Promise<boolean>>()
  private readonly images = new Map<string, HTMLImageElement>()
  /** URLs fetched before, which the HTTP cache has. */
  private readonly fetched = new Set<string>()
  private generation = 0

  /** Resolves to true when the image is decoded, to false when it could not be loaded. */
  load(url: string, priority: 'high' | 'low' = 'high'): Promise<boolean> {
    const known = this.decoded.get(url)
    if (known) {
      this.touch(url, known)
      return known
    }
    const image = new Image()
    image.fetchPriority = priority
    image.src = url
    const ready = image.decode().then(
      () => {
        this.fetched.add(url)
        return true
      },
      () => {
        // The next call tries again.
        this.evict(url)
        return false
      },
    )
    this.images.set(url, image)
    this.touch(url, ready)
    return ready
  }

  /** Fetches these URLs in order; replaces a prefetch that is running. */
  async prefetch(urls: string[]) {
    const generation = ++this.generation
    for (const url of urls) {
      if (generation !== this.generation) return
      if (!this.fetched.has(url)) await this.load(url, 'low')
    }
  }

  stopPrefetch() {
    this.generation += 1
  }

  private touch(url: string, ready: Promise<boolean>) {
    this.decoded.delete(url)
    this.decoded.set(url, ready)
    for (const oldest of this.decoded.keys()) {
      if (this.decoded.size <= MAX_DECODED) break
      this.evict(oldest)
    }
  }

  private evict(url: string) {
    this.decoded.delete(url)
    this.images.delete(url)
  }
}

/**
 * Returns the URLs to prefetch while page `at` (from 1) is shown: the page and its neighbours, then
 * every small image, so that any page has one to show at once, then the remaining large ones in
 * page order. With low bandwidth only the neighbours are large. Pure.
 */
export function prefetchOrder(pages: DeckPage[], at: number, lowBandwidth: boolean): string[] {
  const large = (n: number) => pages[n - 1]?.large_url
  const near = [large(at), large(at + 1), large(at - 1)]
  const onwards = [...pages.slice(at), ...pages.slice(0, at)]
  const all = lowBandwidth ? [] : onwards.map((page) => page.large_url)
  const urls = [...near, ...onwards.map((page) => page.small_url), ...all]
  return [...new Set(urls.filter((url): url is string => typeof url === 'string'))]
}
