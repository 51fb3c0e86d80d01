// Video and audio of the fake devices, generated once by ffmpeg and espeak-ng into the cache
// folder.
//
// Every frame has a strip of 16 black or white squares in its bottom-left corner: 3 bits for the
// camera, 10 bits for the frame number and 3 check bits. frames.mjs decodes it in the browser.

import { spawn, execFile } from 'node:child_process'
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cacheDir } from './paths.mjs'

const run = promisify(execFile)

/** Participants. `id` is encoded in the strip; `pitch` and `says` are for espeak-ng. */
export const CAST = {
  teacher: {
    id: 1,
    floor: [38, 92, 74],
    wall: [56, 122, 98],
    coat: [196, 70, 64],
    pitch: 60,
    says: '同学们好，今天我们学习分数的初步认识。请看黑板，把一个月饼平均分成两份，每份是它的二分之一。柳林村的同学听得清楚吗？石桥村的同学呢？',
  },
  willow: {
    id: 2,
    floor: [150, 110, 70],
    wall: [226, 204, 160],
    coat: [64, 110, 196],
    pitch: 80,
    says: '老师好，我们是柳林村小学三年级。我来回答，把一个月饼平均分成四份，每份是它的四分之一。',
  },
  bridge: {
    id: 3,
    floor: [90, 84, 120],
    wall: [188, 190, 222],
    coat: [222, 170, 60],
    pitch: 75,
    says: '老师好，我们是石桥村小学。我们听得很清楚，我们认为是八分之三。',
  },
  assistant: {
    id: 4,
    floor: [84, 84, 84],
    wall: [210, 214, 210],
    coat: [110, 150, 90],
    pitch: 70,
    says: '主讲老师，柳林村的同学已经完成练习了。',
  },
}

/** Strip id of a shared deck; the frame number is the page. */
export const DECK = { id: 5 }

export const STRIP_CELLS = 16
/**
 * Side of a square as a fraction of the video's width; large enough to be decoded from the smallest
 * simulcast layer.
 */
export const CELL = 1 / 20
/** Frames after which the video repeats. */
export const LOOP = 160

/** Small enough that two cores can encode and decode a whole lesson. */
export const SMALL = { width: 640, height: 360, rate: 15 }
export const LARGE = { width: 1280, height: 720, rate: 30 }

/** Chromium flags for a participant's camera and microphone. */
export async function fakeDevices(who, size = SMALL) {
  const [video, audio] = await Promise.all([camera(who, size), microphone(who)])
  return [
    `--use-file-for-fake-video-capture=${video}`,
    `--use-file-for-fake-audio-capture=${audio}`,
  ]
}

async function camera(who, { width, height, rate }) {
  return once(`camera-1-${who}-${width}x${height}-${rate}.y4m`, async (part) => {
    const ffmpeg = spawn(
      'ffmpeg',
      [
        '-v',
        'error',
        '-y',
        '-f',
        'rawvideo',
        '-pix_fmt',
        'rgb24',
        '-s',
        `${width}x${height}`,
        '-r',
        `${rate}`,
        '-i',
        '-',
        '-pix_fmt',
        'yuv420p',
        '-f',
        'yuv4mpegpipe',
        part,
      ],
      { stdio: ['pipe', 'inherit', 'inherit'] },
    )
    const ended = new Promise((resolve, reject) =>
      ffmpeg.on('exit', (status) =>
        status === 0 ? resolve() : reject(new Error(`ffmpeg: ${status}`)),
      ),
    )
    for (let number = 0; number < LOOP; number += 1) {
      if (!ffmpeg.stdin.write(draw(CAST[who], number, width, height)))
        await new Promise((resolve) => ffmpeg.stdin.once('drain', resolve))
    }
    ffmpeg.stdin.end()
    await ended
  })
}

async function microphone(who) {
  return once(`voice-1-${who}.wav`, async (part) => {
    const raw = `${part}.espeak.wav`
    await run('espeak-ng', [
      '-v',
      'cmn',
      '-s',
      '150',
      '-p',
      String(CAST[who].pitch),
      '-w',
      raw,
      CAST[who].says,
    ])
    await run('ffmpeg', [
      '-v',
      'error',
      '-y',
      '-i',
      raw,
      '-ar',
      '48000',
      '-ac',
      '1',
      '-f',
      'wav',
      part,
    ])
    await rm(raw)
  })
}

/** Returns a cached file; `make` writes it if it is missing. Renamed when complete. */
async function once(name, make) {
  const dir = join(cacheDir, 'fixtures')
  const path = join(dir, name)
  await mkdir(dir, { recursive: true })
  try {
    await access(path)
  } catch {
    const part = `${path}.${process.pid}`
    await make(part)
    await rename(part, path)
  }
  return path
}

/** Draws a frame: a wall, a floor, a moving person, and the strip. */
function draw(who, number, width, height) {
  const rgb = Buffer.alloc(width * height * 3)
  const box = (x0, y0, x1, y1, [r, g, b]) => {
    for (let y = Math.max(0, Math.round(y0)); y < Math.min(height, Math.round(y1)); y += 1) {
      const from = Math.max(0, Math.round(x0))
      const to = Math.min(width, Math.round(x1))
      for (let x = from; x < to; x += 1) {
        const at = (y * width + x) * 3
        rgb[at] = r
        rgb[at + 1] = g
        rgb[at + 2] = b
      }
    }
  }
  const disc = (cx, cy, radius, colour) => {
    for (let y = -radius; y <= radius; y += 1) {
      const half = Math.sqrt(radius * radius - y * y)
      box(cx - half, cy + y, cx + half, cy + y + 1, colour)
    }
  }
  const turn = (number / LOOP) * 2 * Math.PI
  const unit = width / 64
  box(0, 0, width, height, who.wall)
  box(0, height * 0.72, width, height, who.floor)
  box(unit * 4, unit * 3, unit * 34, unit * 19, [34, 66, 54])
  // Chalk: a fraction bar, and a cake that changes twice a second.
  box(unit * 7, unit * 10.6, unit * 13, unit * 11.2, [236, 236, 226])
  box(unit * 9.5, unit * 5.5, unit * 10.5, unit * 9.5, [236, 236, 226])
  box(unit * 8, unit * 12.5, unit * 12, unit * 16.5, [236, 236, 226])
  disc(unit * 24, unit * 11, Math.round(unit * 5.5), [238, 206, 120])
  box(unit * 23.7, unit * 5, unit * 24.3, unit * 17, [34, 66, 54])
  if (Math.floor(number / 10) % 2) box(unit * 18, unit * 10.7, unit * 30, unit * 11.3, [34, 66, 54])
  // The person walks to and fro and waves.
  const x = unit * (46 + 7 * Math.sin(turn * 3))
  const y = height * 0.4
  box(x - unit * 4, y, x + unit * 4, height, who.coat)
  disc(x, y - unit * 3, Math.round(unit * 3.4), [232, 190, 160])
  box(x - unit * 3.4, y - unit * 6.8, x + unit * 3.4, y - unit * 4.4, [40, 34, 32])
  box(
    x + unit * 4,
    y + unit * (1 + 4 * Math.sin(turn * 24)),
    x + unit * 9,
    y + unit * (3 + 4 * Math.sin(turn * 24)),
    who.coat,
  )
  // The strip, on a grey background.
  const side = width * CELL
  box(0, height - side * 1.5, side * (STRIP_CELLS + 1), height, [128, 128, 128])
  code(who.id, number).forEach((bit, i) => {
    box(
      side * (i + 0.5),
      height - side * 1.25,
      side * (i + 1.5),
      height - side * 0.25,
      bit ? [255, 255, 255] : [0, 0, 0],
    )
  })
  return rgb
}

/** Bits of the strip: camera (3), frame number (10), check (3). */
function code(who, number) {
  const value = (who << 10) | number
  return [...bits(value, 13), ...bits(checkOf(value), 3)]
}

function bits(value, count) {
  return Array.from({ length: count }, (_, i) => (value >> (count - 1 - i)) & 1)
}

function checkOf(value) {
  return (value % 7) + 1
}

/** Generates all fixtures before the tests, so that no test waits for them. */
export async function prepare() {
  await Promise.all(Object.keys(CAST).flatMap((who) => [camera(who, SMALL), microphone(who)]))
}

/** Duration of a participant's audio, after which it repeats. */
export async function audioSeconds(who) {
  const wav = await readFile(await microphone(who))
  return (wav.length - 44) / 2 / 48000
}
