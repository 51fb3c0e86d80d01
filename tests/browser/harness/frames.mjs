// Decodes the strip of squares of the fixtures from a <video>, in the browser.

import { CELL, STRIP_CELLS } from './fixtures.mjs'

/**
 * Installs `__frames.read(video)` → {who, number} or null, and `__frames.watch(video)`, which
 * records when each new frame is shown.
 */
export async function installFrameReader(target) {
  await target.addInitScript(reader, { cell: CELL, cells: STRIP_CELLS })
}

function reader({ cell, cells }) {
  const canvas = document.createElement('canvas')
  canvas.width = cells * 4
  canvas.height = 4
  const pen = canvas.getContext('2d', { willReadFrequently: true })

  function read(video) {
    const side = video.videoWidth * cell
    if (!side) return null
    pen.drawImage(
      video,
      side * 0.5,
      video.videoHeight - side * 1.25,
      side * cells,
      side,
      0,
      0,
      canvas.width,
      canvas.height,
    )
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data
    let value = 0
    for (let i = 0; i < cells; i += 1) {
      const at = (2 * canvas.width + i * 4 + 2) * 4
      const light = pixels[at] + pixels[at + 1] + pixels[at + 2]
      if (light > 250 && light < 515) return null
      value = (value << 1) | (light > 382 ? 1 : 0)
    }
    const payload = value >> 3
    if ((value & 7) !== (payload % 7) + 1) return null
    return { who: payload >> 10, number: payload & 1023 }
  }

  /** Records [frame number, wall clock in ms, who] whenever a frame of this video is composited. */
  function watch(video) {
    const seen = []
    const note = () => {
      const frame = read(video)
      if (frame) seen.push([frame.number, performance.timeOrigin + performance.now(), frame.who])
      video.requestVideoFrameCallback(note)
    }
    video.requestVideoFrameCallback(note)
    return seen
  }

  window.__frames = { read, watch }
}
