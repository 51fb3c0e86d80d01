import { describe, expect, it } from 'vitest'
import { averageSpeed } from './uploadSpeed'

describe('the speed of an upload', () => {
  it('is unknown until two samples are far enough apart', () => {
    expect(averageSpeed([{ at: 0, bytes: 0 }])).toBeNull()
    expect(
      averageSpeed([
        { at: 0, bytes: 0 },
        { at: 100, bytes: 10 },
      ]),
    ).toBeNull()
  })

  it('is the average over the samples', () => {
    expect(
      averageSpeed([
        { at: 1000, bytes: 500 },
        { at: 1500, bytes: 900 },
        { at: 3000, bytes: 2500 },
      ]),
    ).toBe(1000)
  })
})
