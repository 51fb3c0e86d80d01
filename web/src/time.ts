// Formatting of dates, durations and sizes. Pure, except for the default of `now`.

import type { Locale } from './i18n'

const TAG: Record<Locale, string> = { zh: 'zh-CN', en: 'en-GB' }

/** `08:00` in the local time zone. */
export function clockTime(at: Date | string, locale: Locale): string {
  return new Intl.DateTimeFormat(TAG[locale], {
    hour: '2-digit',
    minute: '2-digit',
    hour12: false,
  }).format(new Date(at))
}

/** `11月22日 星期日` · `Sunday, 22 November`; with the year unless it is the year of `now`. */
export function longDate(at: Date | string, locale: Locale, now = new Date()): string {
  const date = new Date(at)
  const otherYear = date.getFullYear() !== now.getFullYear()
  if (locale === 'en') {
    return new Intl.DateTimeFormat(TAG.en, {
      weekday: 'long',
      day: 'numeric',
      month: 'long',
      ...(otherYear && { year: 'numeric' }),
    }).format(date)
  }
  const weekday = new Intl.DateTimeFormat(TAG.zh, { weekday: 'long' }).format(date)
  return `${otherYear ? `${date.getFullYear()}年` : ''}${date.getMonth() + 1}月${date.getDate()}日 ${weekday}`
}

/** `2026-11-22 08:00` in the local time zone. */
export function dateTime(at: Date | string | number, locale: Locale): string {
  const date = new Date(at)
  return `${isoDay(date)} ${clockTime(date, locale)}`
}

/** `2026-11-22`, the local calendar day. */
export function isoDay(at: Date): string {
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
}

export function addDays(day: string, days: number): string {
  const [year, month, date] = day.split('-').map(Number)
  return isoDay(new Date(year ?? 1970, (month ?? 1) - 1, (date ?? 1) + days))
}

/** Media time: `4:05`, `1:04:05`. */
export function mediaTime(ms: number): string {
  const total = Math.max(0, Math.floor(ms / 1000))
  const hours = Math.floor(total / 3600)
  const minutes = Math.floor((total % 3600) / 60)
  const tail = `${two(total % 60)}`
  return hours > 0 ? `${hours}:${two(minutes)}:${tail}` : `${minutes}:${tail}`
}

/**
 * Rounds a player's seconds to the server's whole milliseconds: 1.001 s is 1000.9999 ms in floating
 * point, before an entry at 1001 ms.
 */
export function wholeMs(seconds: number): number {
  return Math.round(seconds * 1000)
}

/** Whole minutes from now, for "starts in …"; at least one. */
export function minutesUntil(at: string, nowMs: number): number {
  return Math.max(1, Math.ceil((Date.parse(at) - nowMs) / 60_000))
}

export function fileSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

const two = (n: number) => String(n).padStart(2, '0')
