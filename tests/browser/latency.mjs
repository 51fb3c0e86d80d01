// Measures glass-to-glass latency through Tongke and over a direct connection of two browsers, in
// the same run. Prints one line of JSON; times are milliseconds.
//   npm run --silent latency [SECONDS]        TONGKE_BIN=…/release/tongke measures the release build
//
// Both browsers record the wall clock when a frame is composited (requestVideoFrameCallback): the
// teacher's in the camera preview, the room's in the received video. Frames are matched by their
// number. The difference excludes the delays of the camera and the displays.

import { newPage, waitForVideo } from './harness/browser.mjs'
import { CAST, LARGE, LOOP, SMALL } from './harness/fixtures.mjs'
import { School } from './harness/school.mjs'

const seconds = Number(process.argv[2] ?? 15)
/**
 * Time that a connection runs before it is measured. Browsers start lip sync with the second RTCP
 * report of both audio and video, which for audio come five to seven seconds apart (RFC 3550 §6.2),
 * and then converge slowly.
 */
const SETTLE_MS = 25_000
const size = process.env.SIZE === 'small' ? SMALL : LARGE

const school = await School.open()
try {
  const teacher = await school.startedLesson({ size })
  const room = await school.roomInLesson('柳林', 'willow')
  await waitForVideo(room, CAST.teacher)
  const direct = await directConnection(teacher.context().browser(), room.context().browser())
  const overDirect = await measure(direct.from, 'video', direct.to, 'video')
  await direct.close()
  await room.waitForTimeout(SETTLE_MS)
  const throughTongke = await measure(
    teacher,
    '[data-test="main-video"]',
    room,
    '[data-test="main-video"]',
  )
  console.log(
    JSON.stringify({
      bench: 'glass',
      width: size.width,
      height: size.height,
      rate: size.rate,
      tongke: throughTongke,
      direct: overDirect,
      added_p50: round(throughTongke.p50 - overDirect.p50),
    }),
  )
} finally {
  await school.close()
}

/** Connects a page of each browser without a server; this process carries their signalling. */
async function directConnection(fromBrowser, toBrowser) {
  const from = await newPage(fromBrowser, { name: 'direct-from' })
  const to = await newPage(toBrowser, { name: 'direct-to' })
  for (const page of [from, to]) {
    await page.goto(`${school.base}/healthz`)
    await page.setContent('<video autoplay muted playsinline></video>')
  }
  const offer = await from.evaluate(async ({ width, height }) => {
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { width, height },
      audio: true,
    })
    document.querySelector('video').srcObject = stream
    const pc = (window.pc = new RTCPeerConnection())
    pc.addTransceiver(stream.getAudioTracks()[0], {
      direction: 'sendonly',
      streams: [stream],
    })
    const sender = pc.addTransceiver(stream.getVideoTracks()[0], {
      direction: 'sendonly',
      streams: [stream],
      sendEncodings: [{ maxBitrate: 2_500_000 }],
    })
    sender.setCodecPreferences(
      RTCRtpSender.getCapabilities('video').codecs.filter(({ mimeType }) =>
        /h264|rtx/i.test(mimeType),
      ),
    )
    await pc.setLocalDescription()
    await new Promise((resolve) => {
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve()
      setTimeout(resolve, 2000)
    })
    return pc.localDescription.toJSON()
  }, size)
  const answer = await to.evaluate(async (offered) => {
    const pc = (window.pc = new RTCPeerConnection())
    pc.ontrack = ({ streams }) => {
      document.querySelector('video').srcObject = streams[0]
    }
    await pc.setRemoteDescription(offered)
    await pc.setLocalDescription()
    await new Promise((resolve) => {
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve()
      setTimeout(resolve, 2000)
    })
    return pc.localDescription.toJSON()
  }, offer)
  await from.evaluate((answered) => window.pc.setRemoteDescription(answered), answer)
  await waitForVideo(to, CAST.teacher)
  await to.waitForTimeout(SETTLE_MS)
  return {
    from,
    to,
    close: () => Promise.all([from.context().close(), to.context().close()]),
  }
}

async function measure(from, fromSelector, to, toSelector) {
  const start = (page, selector) =>
    page.evaluate(
      ([wanted, who]) => {
        const video = [...document.querySelectorAll(wanted)].find(
          (one) => window.__frames.read(one)?.who === who,
        )
        window.seen = window.__frames.watch(video)
      },
      [selector, CAST.teacher.id],
    )
  await start(from, fromSelector)
  await start(to, toSelector)
  const before = await jitterBufferStats(to)
  await to.waitForTimeout(seconds * 1000)
  const after = await jitterBufferStats(to)
  const [sent, received] = await Promise.all(
    [from, to].map((page) => page.evaluate(() => window.seen)),
  )
  const found = []
  let at = 0
  for (const [number, when] of received) {
    // Frame numbers repeat every LOOP frames: take the newest frame of that number before the
    // receive time. If it is older than half the loop, the preview skipped the frame.
    while (at + 1 < sent.length && sent[at + 1][1] <= when) at += 1
    for (let i = at; i >= 0 && i > at - LOOP; i -= 1) {
      if (when - sent[i][1] > (LOOP / size.rate / 2) * 1000) break
      if (sent[i][0] === number) {
        found.push(when - sent[i][1])
        break
      }
    }
  }
  found.sort((a, b) => a - b)
  const percentile = (share) =>
    round(found[Math.min(found.length - 1, Math.floor(found.length * share))])
  const picture = await to.evaluate((wanted) => {
    const video = [...document.querySelectorAll(wanted)].find((one) => window.__frames.read(one))
    return `${video.videoWidth}x${video.videoHeight}`
  }, toSelector)
  return {
    p50: percentile(0.5),
    p95: percentile(0.95),
    frames: found.length,
    picture,
    ...bufferDelays(before, after),
  }
}

/** Returns the inbound RTP statistics of the page by stream id, for the jitter buffers. */
function jitterBufferStats(page) {
  return page.evaluate(async () => {
    const found = {}
    ;(await (window.__tongke?.subscriber ?? window.pc).getStats()).forEach((stream) => {
      if (stream.type === 'inbound-rtp' && stream.jitterBufferEmittedCount)
        found[stream.id] = stream
    })
    return found
  })
}

/**
 * Returns the mean jitter buffer delays between two samples per kind; totals would include the
 * start of the audio device.
 */
function bufferDelays(before, after) {
  const kept = {}
  for (const [id, stream] of Object.entries(after)) {
    const since = (field) => stream[field] - (before[id]?.[field] ?? 0)
    const emitted = since('jitterBufferEmittedCount')
    if (emitted <= 0) continue
    const mean = (field) => Math.round((since(field) / emitted) * 1000)
    // Actual delay, target delay, and target delay without lip sync (W3C webrtc-stats).
    kept[`${stream.kind}_buffer_ms`] = mean('jitterBufferDelay')
    kept[`${stream.kind}_target_ms`] = mean('jitterBufferTargetDelay')
    kept[`${stream.kind}_unsynced_ms`] = mean('jitterBufferMinimumDelay')
    if (process.env.RAW)
      kept[`${stream.kind}_raw`] = Object.fromEntries(
        Object.entries(stream).filter(([, v]) => typeof v === 'number'),
      )
  }
  return kept
}

function round(ms) {
  return Math.round(ms * 10) / 10
}
