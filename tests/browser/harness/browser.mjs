// Chromium with a fake camera and microphone, and the helpers of the tests.

import { mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { chromium } from 'playwright-core'
import { fakeDevices, SMALL } from './fixtures.mjs'
import { installFrameReader } from './frames.mjs'
import { artifactsDir } from './paths.mjs'

/**
 * Starts a separate Chromium process, because the fake camera is per process.
 * `who` is a member of CAST; `executable` may be a wrapper that enters a network namespace.
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
      // Background pages must keep rendering: the tests observe every participant.
      '--disable-backgrounding-occluded-windows',
      '--disable-renderer-backgrounding',
      '--disable-background-timer-throttling',
      // The fake screen changes 5 times a second; two cores cannot encode and decode 1080 lines in
      // three processes more often.
      '--use-fake-device-for-media-stream=fps=5',
      '--use-fake-ui-for-media-stream',
      ...(await fakeDevices(who, size)),
      ...args,
    ],
  })
}

/**
 * Opens a page in a new context, which `prepare` may set up. Uncaught errors are collected in
 * `page.pageErrors`.
 */
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
  page.label = name
  page.pageErrors = []
  page.on('pageerror', (error) => page.pageErrors.push(`${name}: ${error.message}`))
  page.on('console', (message) => {
    if (process.env.TONGKE_CONSOLE || message.type() === 'error')
      console.error(`[${name}] ${message.type()}: ${message.text()}`)
  })
  return page
}

/** Locates elements by their `data-test` attribute. */
export function byTestId(page, name) {
  return page.locator(`[data-test="${name}"]`)
}

const story = basename(process.argv[1] ?? 'page').split('.')[0]
let shots = 0
/** Saves a screenshot, named by the test file and numbered. */
export async function screenshot(page, what) {
  await mkdir(artifactsDir, { recursive: true })
  shots += 1
  const file = join(
    artifactsDir,
    `${story}-${String(shots).padStart(2, '0')}-${page.label}-${what}.png`,
  )
  await page.screenshot({ path: file })
}

/**
 * Polls until `probe` returns something truthy, and returns it. Fails with the last value after
 * `within` milliseconds.
 */
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
        `waited ${within} ms for: ${what} (last seen: ${last?.message ?? JSON.stringify(last)})`,
      )
    await new Promise((resolve) => setTimeout(resolve, every))
  }
}

/** Returns the inbound RTP statistics of the page's subscriber connection, one per active slot. */
export async function inboundStats(page) {
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

/**
 * Returns the growth of the energy of all audio slots over `ms`; more than 0 means that audio
 * arrives.
 */
export async function audioEnergy(page, ms = 1500) {
  const sum = async () =>
    (await inboundStats(page))
      .filter((one) => one.kind === 'audio')
      .reduce((total, one) => total + one.totalAudioEnergy, 0)
  const before = await sum()
  await page.waitForTimeout(ms)
  return (await sum()) - before
}

/**
 * Returns [{who, number, width, height, test}] for every visible <video>, decoded from the strip in
 * the video.
 */
export async function visibleVideos(page) {
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

/**
 * Waits until two different frames of a CAST member's camera are visible. `test` limits the search
 * to one element.
 */
export async function waitForVideo(page, who, { test, within, minHeight = 0 } = {}) {
  let first
  return eventually(
    `${page.label} sees camera ${who.id} moving${test ? ` in ${test}` : ''}${minHeight ? ` at ${minHeight} lines or more` : ''}`,
    async () => {
      const videos = await visibleVideos(page)
      const one = videos.find(
        (video) =>
          video.who === who.id && (!test || video.test === test) && video.height >= minHeight,
      )
      if (!one) {
        if (process.env.TONGKE_CONSOLE) console.error(JSON.stringify(videos))
        return false
      }
      if (first === undefined) first = one.number
      return one.number !== first && one
    },
    { within },
  )
}
