// Replaces screen capture by a generated deck of slides, because a headless machine has no window
// to share.

import { CELL, DECK, STRIP_CELLS } from './fixtures.mjs'

/** Makes getDisplayMedia() of a context's pages return the deck; called before they are opened. */
export async function installDeck(context) {
  await context.addInitScript(deck, {
    who: DECK.id,
    cell: CELL,
    cells: STRIP_CELLS,
  })
}

/** Turns the shared deck to a page. */
export const turn = (page, number) => page.evaluate((to) => window.__deck.turn(to), number)

// Runs in the browser. Chromium sends a static screen once a second; a canvas has to be redrawn for
// that.
function deck({ who, cell, cells }) {
  const [width, height] = [1280, 720]
  let canvas,
    number = 1
  const lines = [
    '把一个月饼平均分成四份，每份是它的四分之一，写作 1/4。',
    '分母是 4，表示平均分成几份；分子是 1，表示取了其中的几份。',
    '读一读：1/2 读作二分之一，3/8 读作八分之三，2/5 读作五分之二。',
    '练习：课本第 93 页“做一做”，先独立完成，再与同桌交流。',
  ]
  function draw() {
    const paint = canvas.getContext('2d')
    paint.fillStyle = ['#fffdf6', '#f1f8ee', '#eef4fb'][number % 3]
    paint.fillRect(0, 0, width, height)
    paint.fillStyle = '#14604a'
    paint.font = 'bold 56px sans-serif'
    paint.fillText(`第 ${number} 页　分数的初步认识`, 60, 100)
    paint.fillStyle = '#1c2b26'
    paint.font = '28px sans-serif'
    lines.forEach((line, i) => paint.fillText(line, 60, 180 + i * 52))
    paint.font = '20px sans-serif'
    paint.fillText(
      '注意：只有“平均分”才能用分数表示。下节课请带一张正方形的纸和一把剪刀。',
      60,
      410,
    )
    for (let i = 0; i < 8; i += 1) {
      paint.fillStyle = i <= number % 8 ? '#eece78' : '#d9e4dc'
      paint.beginPath()
      paint.moveTo(1080, 480)
      paint.arc(1080, 480, 130, (i * Math.PI) / 4, ((i + 1) * Math.PI) / 4)
      paint.fill()
    }
    const side = width * cell
    paint.fillStyle = '#808080'
    paint.fillRect(0, height - side * 1.5, side * (cells + 1), side * 1.5)
    const value = (who << 10) | number
    const check = (value % 7) + 1
    for (let i = 0; i < cells; i += 1) {
      const bit = i < 13 ? (value >> (12 - i)) & 1 : (check >> (15 - i)) & 1
      paint.fillStyle = bit ? '#fff' : '#000'
      paint.fillRect(side * (i + 0.5), height - side * 1.25, side, side)
    }
  }
  window.__deck = {
    turn(to) {
      number = to
      draw()
    },
  }
  navigator.mediaDevices.getDisplayMedia = async () => {
    canvas = Object.assign(document.createElement('canvas'), { width, height })
    draw()
    setInterval(draw, 1000)
    return canvas.captureStream(15)
  }
}
