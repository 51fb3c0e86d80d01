// The day's lessons, fetched again and again while a page shows them; a lost line only delays the next try.

import { onMounted, onUnmounted, ref, type Ref } from 'vue'
import { ApiError, get, type LessonCard, type Today } from '../api'

/** A classroom enters a lesson by itself this long before the bell. */
export const EARLY_MS = 10 * 60_000
const EVERY_MS = 10_000

/** The lesson a classroom's device belongs in now: one that is on, else one about to begin (or late). */
export function lessonToEnter(lessons: LessonCard[], now: number): LessonCard | null {
  const mine = lessons.filter((lesson) => lesson.my_role !== 'none')
  const on = mine.find((lesson) => lesson.phase === 'live')
  if (on) return on
  return (
    mine
      .filter(
        (lesson) =>
          lesson.phase === 'planned' &&
          Date.parse(lesson.starts_at) - EARLY_MS <= now &&
          now < Date.parse(lesson.ends_at),
      )
      .sort((a, b) => Date.parse(a.starts_at) - Date.parse(b.starts_at))[0] ?? null
  )
}

export interface Day {
  today: Ref<Today | null>
  failure: Ref<ApiError | null>
  /** The server's clock, milliseconds: a classroom's own clock may be hours off. */
  now: Ref<number>
  reload: () => Promise<void>
}

export function useDay(date: () => string | null = () => null): Day {
  const today = ref<Today | null>(null)
  const failure = ref<ApiError | null>(null)
  const now = ref(Date.now())
  let ahead = 0
  let asked = 0
  let timer: ReturnType<typeof setInterval>
  let clock: ReturnType<typeof setInterval>

  async function reload() {
    const mine = ++asked
    const day = date()
    try {
      const answer = await get<Today>(`/api/today${day ? `?date=${day}` : ''}`)
      if (mine !== asked) return
      today.value = answer
      ahead = Date.parse(answer.now) - Date.now()
      failure.value = null
    } catch (error) {
      if (mine !== asked) return
      if (error instanceof ApiError) failure.value = error
    }
    now.value = Date.now() + ahead
  }

  onMounted(() => {
    void reload()
    timer = setInterval(reload, EVERY_MS)
    clock = setInterval(() => (now.value = Date.now() + ahead), 1000)
    addEventListener('online', reload)
  })
  onUnmounted(() => {
    clearInterval(timer)
    clearInterval(clock)
    removeEventListener('online', reload)
  })
  return { today, failure, now, reload }
}
