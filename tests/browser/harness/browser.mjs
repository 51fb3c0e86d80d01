// Chromium with a fake camera and microphone, and what the stories ask of a page.

import { mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { chromium } from 'playwright-core'
import { fakeDevices, SMALL } from './fixtures.mjs'
import { installFrameReader } from './frames.mjs'
import { artifactsDir } from './paths.mjs'

/**
 * Starts a Chromium of its own, because the fake camera is one per process.
 * `who` is one of the cast; `host` maps a name to an address; `executable` may be a wrapper that enters a network namespace.
 */
export async function startBrowser(
  who,
  { size = SMALL, executable = '/usr/bin/chromium', args = [] } = {},
) {
  return chromium.launch({
    executablePath: executable,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // A page that is not looked at must go on drawing: every participant of a story is looked at by somebody.
      '--disable-backgrounding-occluded-windows',
      '--disable-renderer-backgrounding',
      '--disable-background-timer-throttling',
      // A shared screen of which something moves all the time, five times a second; three programs that encode or decode 1080 lines more
      // often are more than two cores do.
      '--use-fake-device-for-media-stream=fps=5',
      '--use-fake-ui-for-media-stream',
      ...(await fakeDevices(who, size)),
      ...args,
    ],
  })
}

/** A page with cookies of its own, which `prepare` may get ready first. What goes wrong in it is kept in `page.troubles`. */
export async function newPage(
  browser,
  { name, locale = 'zh-CN', viewport = { width: 1366, height: 768 }, baseURL, prepare } = {},
) {
  const context = await browser.newContext({
    locale,
    timezoneId: 'Asia/Shanghai',
    viewport,
    baseURL,
    ignoreHTTPSErrors: true,
  })
  await installFrameReader(context)
  await prepare?.(context)
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  page.named = name
  page.troubles = []
  page.on('pageerror', (error) => page.troubles.push(`${name}: ${error.message}`))
  page.on('console', (message) => {
    if (process.env.TONGKE_CONSOLE || message.type() === 'error')
      console.error(`[${name}] ${message.type()}: ${message.text()}`)
  })
  return page
}

/** The element a test means: pages mark them with data-test. */
export function mark(page, name) {
  return page.locator(`[data-test="${name}"]`)
}

const story = basename(process.argv[1] ?? 'page').split('.')[0]
let shots = 0
/** Keeps what the person sees now as a picture, named by the story and numbered in its order. */
export async function shot(page, what) {
  await mkdir(artifactsDir, { recursive: true })
  shots += 1
  const file = join(
    artifactsDir,
    `${story}-${String(shots).padStart(2, '0')}-${page.named}-${what}.png`,
  )
  await page.screenshot({ path: file })
}

/** Tries until `probe` gives something truthy, and returns that; otherwise fails saying what was awaited and what it last saw. */
export async function eventually(what, probe, { within = 15_000, every = 100 } = {}) {
  const deadline = Date.now() + within
  let last
  for (;;) {
    try {
      last = await probe()
      if (last) return last
    } catch (error) {
      last = error
    }
    if (Date.now() > deadline)
      throw new Error(
        `waited ${within} ms in vain for: ${what} (last seen: ${last?.message ?? JSON.stringify(last)})`,
      )
    await new Promise((resolve) => setTimeout(resolve, every))
  }
}

/** The inbound RTP statistics of the page's subscriber connection, one per slot that carries something. */
export async function inbound(page) {
  return page.evaluate(async () => {
    const connection = window.__tongke?.subscriber
    if (!connection) return []
    const all = []
    ;(await connection.getStats()).forEach((one) => {
      if (one.type === 'inbound-rtp') {
        const {
          kind,
          mid,
          framesDecoded = 0,
          frameWidth = 0,
          frameHeight = 0,
          totalAudioEnergy = 0,
          packetsReceived = 0,
          packetsLost = 0,
          freezeCount = 0,
        } = one
        all.push({
          kind,
          mid,
          framesDecoded,
          frameWidth,
          frameHeight,
          totalAudioEnergy,
          packetsReceived,
          packetsLost,
          freezeCount,
        })
      }
    })
    return all
  })
}

/** Sound of speech reached this page: the energy of all its audio slots grew. Gives the growth over `ms`. */
export async function heard(page, ms = 1500) {
  const sum = async () =>
    (await inbound(page))
      .filter((one) => one.kind === 'audio')
      .reduce((total, one) => total + one.totalAudioEnergy, 0)
  const before = await sum()
  await page.waitForTimeout(ms)
  return (await sum()) - before
}

/** Who every visible <video> of the page shows: [{who, number, width, height, test}], by the strip in the picture. */
export async function shown(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll('video')]
      .filter((video) => video.videoWidth && video.getBoundingClientRect().width)
      .map((video) => ({
        test: video.closest('[data-test]')?.dataset.test ?? null,
        width: video.videoWidth,
        height: video.videoHeight,
        ...(window.__frames.read(video) ?? { who: null, number: null }),
      })),
  )
}

/** Waits until one of the cast is seen moving on the page: two different frames of that camera. `test` limits it to one element. */
export async function sees(page, who, { test, within, minHeight = 0 } = {}) {
  let first
  return eventually(
    `${page.named} sees camera ${who.id} moving${test ? ` in ${test}` : ''}${minHeight ? ` at ${minHeight} lines or more` : ''}`,
    async () => {
      const pictures = await shown(page)
      const one = pictures.find(
        (picture) =>
          picture.who === who.id && (!test || picture.test === test) && picture.height >= minHeight,
      )
      if (!one) {
        if (process.env.TONGKE_CONSOLE) console.error(JSON.stringify(pictures))
        return false
      }
      if (first === undefined) first = one.number
      return one.number !== first && one
    },
    { within },
  )
}
