// What is taught with: the lesson's decks, the one that is shown, and its pictures, fetched before they are turned to.

import { computed, ref, shallowRef, watch } from 'vue'
import { decksOf, type LessonDeck } from '../deck/deck'
import { Pictures, plan } from '../deck/pictures'
import type { FromPage, ShownDeck } from './protocol'

/** A room has nobody to press reload. */
const AGAIN_MS = 3000
/** An own turn that was not confirmed for so long did not happen. */
const CONFIRM_MS = 2000

export class Slides {
  readonly decks = shallowRef<LessonDeck[]>([])
  readonly pictures = new Pictures()
  /** Where the person has turned to while the server's word is on its way: quick turns must not wait for each other. */
  private readonly ahead = ref<number | null>(null)
  private timer: ReturnType<typeof setTimeout> | undefined
  private confirm: ReturnType<typeof setTimeout> | undefined
  private closed = false

  readonly page = computed(() => this.ahead.value ?? this.shown()?.page ?? 1)
  readonly deck = computed(
    () => this.decks.value.find((one) => one.id === this.shown()?.id) ?? null,
  )
  private readonly stopWatching: () => void

  constructor(
    private readonly lesson: string,
    readonly shown: () => ShownDeck | null,
    private readonly say: (message: FromPage) => void,
    narrow: () => boolean,
  ) {
    const unknown = computed(() => this.shown() !== null && this.deck.value === null)
    const watching = [
      watch(unknown, (now) => now && this.load()),
      watch(shown, (now) => now?.page === this.ahead.value && (this.ahead.value = null)),
      // Before the bell the first deck is fetched: it is what the lesson will most likely begin with.
      watch(
        [() => this.deck.value ?? this.decks.value[0] ?? null, this.page, narrow],
        ([deck, page, slow]) => {
          if (deck)
            void this.pictures.prepare(plan(deck.pages, deck === this.deck.value ? page : 1, slow))
        },
      ),
    ]
    this.stopWatching = () => watching.forEach((stop) => stop())
  }

  async load(): Promise<void> {
    clearTimeout(this.timer)
    try {
      this.decks.value = await decksOf(this.lesson)
    } catch {
      // The line is away, which the page says already.
      if (!this.closed) this.timer = setTimeout(() => void this.load(), AGAIN_MS)
    }
  }

  show(deck: string, page = 1) {
    this.ahead.value = null
    this.say({ type: 'show_deck', deck, page })
  }

  turn(to: number) {
    const shown = this.shown()
    if (!shown) return
    const page = Math.min(Math.max(1, to), shown.pages)
    if (page === this.page.value) return
    this.ahead.value = page
    clearTimeout(this.confirm)
    this.confirm = setTimeout(() => (this.ahead.value = null), CONFIRM_MS)
    this.say({ type: 'turn_page', page })
  }

  hide() {
    this.say({ type: 'hide_deck' })
  }

  close() {
    this.closed = true
    clearTimeout(this.timer)
    clearTimeout(this.confirm)
    this.stopWatching()
    this.pictures.stop()
  }
}
