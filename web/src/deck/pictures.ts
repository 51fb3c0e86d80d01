// The pictures of pages, fetched before they are turned to. One at a time: on a village's line they must not push the teacher's voice aside.

import type { DeckPage } from './deck'

/** Decoded pictures that are kept; an old classroom computer has little memory, and the browser's own cache has the rest. */
const KEPT = 8

export class Pictures {
  private readonly kept = new Map<string, Promise<boolean>>()
  private readonly images = new Map<string, HTMLImageElement>()
  /** Fetched at some time: the browser has them. */
  private readonly had = new Set<string>()
  private round = 0

  /** Resolves when the picture can be painted at once; false when it could not be had. */
  load(url: string, priority: 'high' | 'low' = 'high'): Promise<boolean> {
    const known = this.kept.get(url)
    if (known) {
      this.touch(url, known)
      return known
    }
    const image = new Image()
    image.fetchPriority = priority
    image.src = url
    const ready = image.decode().then(
      () => {
        this.had.add(url)
        return true
      },
      () => {
        // A later wish asks again.
        this.forget(url)
        return false
      },
    )
    this.images.set(url, image)
    this.touch(url, ready)
    return ready
  }

  /** From now on fetches these, in this order, in place of what it was fetching. */
  async prepare(urls: string[]) {
    const mine = ++this.round
    for (const url of urls) {
      if (mine !== this.round) return
      if (!this.had.has(url)) await this.load(url, 'low')
    }
  }

  stop() {
    this.round += 1
  }

  private touch(url: string, ready: Promise<boolean>) {
    this.kept.delete(url)
    this.kept.set(url, ready)
    for (const oldest of this.kept.keys()) {
      if (this.kept.size <= KEPT) break
      this.forget(oldest)
    }
  }

  private forget(url: string) {
    this.kept.delete(url)
    this.images.delete(url)
  }
}

/**
 * What to fetch next when page `at` (from 1) is shown: this page and its neighbours, then every small picture, so that any page can be
 * turned to at once, then the rest in the order of teaching. A narrow line is left to the voice: no large pictures but the next. Pure.
 */
export function plan(pages: DeckPage[], at: number, narrow: boolean): string[] {
  const large = (n: number) => pages[n - 1]?.large_url
  const near = [large(at), large(at + 1), large(at - 1)]
  const onwards = [...pages.slice(at), ...pages.slice(0, at)]
  const all = narrow ? [] : onwards.map((page) => page.large_url)
  const urls = [...near, ...onwards.map((page) => page.small_url), ...all]
  return [...new Set(urls.filter((url): url is string => typeof url === 'string'))]
}
