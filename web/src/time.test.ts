import { describe, expect, it } from 'vitest'
import { addDays, fileSize, longDate, mediaTime, minutesUntil, wholeMs } from './time'

describe('formatting', () => {
  it('media time has hours only when there are any', () => {
    expect(mediaTime(0)).toBe('0:00')
    expect(mediaTime(245_900)).toBe('4:05')
    expect(mediaTime(3_845_000)).toBe('1:04:05')
    expect(mediaTime(-20)).toBe('0:00')
  })

  it('every millisecond survives the conversion to seconds and back', () => {
    for (let ms = 0; ms < 5_000; ms += 1) expect(wholeMs(ms / 1000)).toBe(ms)
    // Chromium rounds down to microseconds.
    expect(wholeMs(12.344999)).toBe(12_345)
  })

  it('days step over months and years', () => {
    expect(addDays('2026-12-31', 1)).toBe('2027-01-01')
    expect(addDays('2028-03-01', -1)).toBe('2028-02-29')
  })

  it('a lesson in ten seconds starts in one minute, never in zero', () => {
    expect(minutesUntil('2026-11-22T00:00:10Z', Date.parse('2026-11-22T00:00:00Z'))).toBe(1)
    expect(minutesUntil('2026-11-22T00:09:30Z', Date.parse('2026-11-22T00:00:00Z'))).toBe(10)
  })

  it('sizes are short', () => {
    expect(fileSize(999)).toBe('999 B')
    expect(fileSize(123_400_000)).toBe('123 MB')
    expect(fileSize(1_500_000_000)).toBe('1.5 GB')
  })

  it('a date in both languages', () => {
    const [thisYear, nextYear] = [new Date('2026-01-01T00:00:00'), new Date('2027-01-01T00:00:00')]
    expect(longDate('2026-11-22T12:00:00', 'zh', thisYear)).toBe('11月22日 星期日')
    expect(longDate('2026-11-22T12:00:00', 'en', thisYear)).toMatch(/^Sunday,? 22 November$/)
    expect(longDate('2026-11-22T12:00:00', 'zh', nextYear)).toBe('2026年11月22日 星期日')
    expect(longDate('2026-11-22T12:00:00', 'en', nextYear)).toMatch(/^Sunday,? 22 November,? 2026$/)
  })
})
