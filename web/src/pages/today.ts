// Lessons of a day, polled while a component shows them; a request that fails is repeated by the
// next poll.

import { onMounted, onUnmounted, ref, type Ref } from 'vue'
import { ApiError, get, type LessonSummary, type Today } from '../api'

/** Time before a lesson's start at which a classroom's device enters it. */
export const EARLY_ENTRY_MS = 10 * 60_000
const POLL_MS = 10_000

/**
 * Returns the lesson that a classroom's device enters now: a live one, else one that starts soon or
 * is late.
 */
export function lessonToEnter(lessons: LessonSummary[], now: number): LessonSummary | null {
  const mine = lessons.filter((lesson) => lesson.my_role !== 'none')
  const on = mine.find((lesson) => lesson.phase === 'live')
  if (on) return on
  return (
    mine
      .filter(
        (lesson) =>
          lesson.phase === 'planned' &&
          Date.parse(lesson.starts_at) - EARLY_ENTRY_MS <= now &&
          now < Date.parse(lesson.ends_at),
      )
      .sort((a, b) => Date.parse(a.starts_at) - Date.parse(b.starts_at))[0] ?? null
  )
}

export interface Day {
  today: Ref<Today | null>
  failure: Ref<ApiError | null>
  /** The server's time in milliseconds; a classroom's own clock may be hours off. */
  now: Ref<number>
  reload: () => Promise<void>
}

export function useDay(date: () => string | null = () => null): Day {
  const today = ref<Today | null>(null)
  const failure = ref<ApiError | null>(null)
  const now = ref(Date.now())
  let clockOffset = 0
  let newest = 0
  let timer: ReturnType<typeof setInterval>
  let clock: ReturnType<typeof setInterval>

  async function reload() {
    const request = ++newest
    const day = date()
    try {
      const answer = await get<Today>(`/api/today${day ? `?date=${day}` : ''}`)
      if (request !== newest) return
      today.value = answer
      clockOffset = Date.parse(answer.now) - Date.now()
      failure.value = null
    } catch (error) {
      if (request !== newest) return
      if (error instanceof ApiError) failure.value = error
    }
    now.value = Date.now() + clockOffset
  }

  onMounted(() => {
    void reload()
    timer = setInterval(reload, POLL_MS)
    clock = setInterval(() => (now.value = Date.now() + clockOffset), 1000)
    addEventListener('online', reload)
  })
  onUnmounted(() => {
    clearInterval(timer)
    clearInterval(clock)
    removeEventListener('online', reload)
  })
  return { today, failure, now, reload }
}
