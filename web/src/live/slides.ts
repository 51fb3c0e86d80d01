// The lesson's decks: the one that is shown, its current page, and the prefetch of its page images.

import { computed, ref, shallowRef, watch } from 'vue'
import { listDecks, type LessonDeck } from '../deck/deck'
import { PageImages, prefetchOrder } from '../deck/pageImages'
import type { ClientMessage, ShownDeck } from './protocol'

/** Retry interval; nobody reloads a classroom's device. */
const RETRY_MS = 3000
/** Time after which an unconfirmed local page turn is undone. */
const CONFIRM_TIMEOUT_MS = 2000

export class Slides {
  readonly decks = shallowRef<LessonDeck[]>([])
  readonly pageImages = new PageImages()
  /**
   * Local page number until the server confirms it, so that quick turns need not wait for each
   * other.
   */
  private readonly pendingPage = ref<number | null>(null)
  private timer: ReturnType<typeof setTimeout> | undefined
  private confirmTimer: ReturnType<typeof setTimeout> | undefined
  private closed = false

  readonly page = computed(() => this.pendingPage.value ?? this.shown()?.page ?? 1)
  readonly deck = computed(() => this.decks.value.find(({ id }) => id === this.shown()?.id) ?? null)
  private readonly stopWatching: () => void

  constructor(
    private readonly lesson: string,
    readonly shown: () => ShownDeck | null,
    private readonly send: (message: ClientMessage) => void,
    lowBandwidth: () => boolean,
  ) {
    const unknown = computed(() => this.shown() !== null && this.deck.value === null)
    const watching = [
      watch(unknown, (now) => now && this.load()),
      watch(
        shown,
        (now) => now?.page === this.pendingPage.value && (this.pendingPage.value = null),
      ),
      // Before the lesson the first deck is prefetched: it most likely comes first.
      watch(
        [() => this.deck.value ?? this.decks.value[0] ?? null, this.page, lowBandwidth],
        ([deck, page, low]) => {
          if (deck)
            void this.pageImages.prefetch(
              prefetchOrder(deck.pages, deck === this.deck.value ? page : 1, low),
            )
        },
      ),
    ]
    this.stopWatching = () => watching.forEach((stop) => stop())
  }

  async load(): Promise<void> {
    clearTimeout(this.timer)
    try {
      this.decks.value = await listDecks(this.lesson)
    } catch {
      // The connection notice already reports the lost link.
      if (!this.closed) this.timer = setTimeout(() => void this.load(), RETRY_MS)
    }
  }

  show(deck: string, page = 1) {
    this.pendingPage.value = null
    this.send({ type: 'show_deck', deck, page })
  }

  turn(to: number) {
    const shown = this.shown()
    if (!shown) return
    const page = Math.min(Math.max(1, to), shown.pages)
    if (page === this.page.value) return
    this.pendingPage.value = page
    clearTimeout(this.confirmTimer)
    this.confirmTimer = setTimeout(() => (this.pendingPage.value = null), CONFIRM_TIMEOUT_MS)
    this.send({ type: 'turn_page', page })
  }

  hide() {
    this.send({ type: 'hide_deck' })
  }

  close() {
    this.closed = true
    clearTimeout(this.timer)
    clearTimeout(this.confirmTimer)
    this.stopWatching()
    this.pageImages.stopPrefetch()
  }
}
