import { describe, expect, it } from 'vitest'
import { measure } from './views'

describe('what the page asks for', () => {
  it('the largest of a source’s places counts, in device pixels', () => {
    const tiles = measure(
      [
        { participant: 'willow', purpose: 'camera', width: 320, height: 180 },
        { participant: 'willow', purpose: 'camera', width: 960, height: 540 },
      ],
      2,
    )
    expect(tiles).toEqual([{ participant: 'willow', purpose: 'camera', height: 1080 }])
  })

  it('a picture cut to a wide box is as high as its width needs', () => {
    expect(
      measure([{ participant: 'a', purpose: 'camera', width: 1600, height: 300 }], 1)[0]?.height,
    ).toBe(900)
    expect(
      measure([{ participant: 'a', purpose: 'screen', width: 1600, height: 300 }], 1)[0]?.height,
    ).toBe(300)
  })

  it('a hidden page wants nothing', () => {
    expect(
      measure([{ participant: 'a', purpose: 'camera', width: 640, height: 360 }], 0)[0]?.height,
    ).toBe(0)
  })
})
