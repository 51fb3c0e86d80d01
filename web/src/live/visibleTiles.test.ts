import { describe, expect, it } from 'vitest'
import { tilesOf } from './visibleTiles'

describe('the tiles that the client requests', () => {
  it('the largest box of a source counts, in device pixels', () => {
    const tiles = tilesOf(
      [
        { participant: 'willow', purpose: 'camera', width: 320, height: 180 },
        { participant: 'willow', purpose: 'camera', width: 960, height: 540 },
      ],
      2,
    )
    expect(tiles).toEqual([{ participant: 'willow', purpose: 'camera', height: 1080 }])
  })

  it('video cropped to a wide box is as high as its width requires', () => {
    expect(
      tilesOf([{ participant: 'a', purpose: 'camera', width: 1600, height: 300 }], 1)[0]?.height,
    ).toBe(900)
    expect(
      tilesOf([{ participant: 'a', purpose: 'screen', width: 1600, height: 300 }], 1)[0]?.height,
    ).toBe(300)
  })

  it('a hidden tab requests nothing', () => {
    expect(
      tilesOf([{ participant: 'a', purpose: 'camera', width: 640, height: 360 }], 0)[0]?.height,
    ).toBe(0)
  })
})
