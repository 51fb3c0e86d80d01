// A village on an impaired link keeps the teacher's audio, also when video no longer fits.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { inboundStats, waitForVideo, screenshot } from '../harness/browser.mjs'
import { CAST, prepare } from '../harness/fixtures.mjs'
import { openLink, linkUnavailable } from '../harness/link.mjs'
import { School } from '../harness/school.mjs'

const skip = linkUnavailable()

describe('a village on an impaired link', { concurrency: false, skip: skip ?? false }, () => {
  let link, school, teacher, room

  before(async () => {
    await prepare()
    link = await openLink()
    school = await School.open({
      host: link.school.address,
      wrap: link.school.wrap,
    })
    const args = [`--unsafely-treat-insecure-origin-as-secure=${school.base}`]
    teacher = await school.startedLesson({
      executable: link.school.chromium,
      args,
    })
    room = await school.roomInLesson('柳林', 'willow', {
      executable: link.village.chromium,
      args,
      name: 'willow',
    })
    await waitForVideo(room, CAST.teacher)
  })
  after(async () => {
    await school?.close()
    console.log(`link: ${await link?.close()}`)
  })

  test('at 400 kbit/s with 2 % loss and 200 ms round trip the audio is intact and the video moves', async () => {
    link.both({ delay_ms: 100, jitter_ms: 5, loss: 0.02 })
    link.down({ rate_kbps: 400 })
    await room.waitForTimeout(10_000) // the bandwidth estimate drops and a lower layer is selected
    const audio = await audioOver(room, 10_000)
    console.log(`400 kbit/s: ${JSON.stringify(audio)}`)
    assert.ok(audio.concealed < 0.1, `${audio.concealed} of the audio was concealed`)
    await waitForVideo(room, CAST.teacher)
    await screenshot(room, '400k')
  })

  test('at 150 kbit/s the audio continues although the video no longer fits', async () => {
    link.down({ rate_kbps: 150 })
    await room.waitForTimeout(12_000)
    const audio = await audioOver(room, 10_000)
    console.log(`150 kbit/s: ${JSON.stringify(audio)}`)
    assert.ok(audio.concealed < 0.15, `${audio.concealed} of the audio was concealed`)
    await screenshot(room, '150k')
  })

  test('the video returns when the link has recovered', async () => {
    link.both({ delay_ms: 5, jitter_ms: 0, loss: 0, rate_kbps: 0 })
    await waitForVideo(room, CAST.teacher, { minHeight: 360, within: 40_000 })
    await screenshot(room, 'good-again')
  })

  test('a lesson survives an outage of six seconds', async () => {
    link.both({ loss: 1 })
    await room.waitForTimeout(6_000)
    await screenshot(room, 'cut')
    link.both({ loss: 0 })
    const restored = Date.now()
    await waitForVideo(room, CAST.teacher, { within: 25_000 })
    await waitForVideo(teacher, CAST.willow, { within: 25_000 })
    console.log(`video was back after ${Date.now() - restored} ms`)
    assert.ok((await audioOver(room, 4_000)).concealed < 0.2)
  })
})

/** Returns the fraction of concealed audio samples over `ms`; fails if the audio is silent. */
async function audioOver(page, ms) {
  const read = () =>
    page.evaluate(async () => {
      const sum = { total: 0, concealed: 0, energy: 0 }
      ;(await window.__tongke.subscriber.getStats()).forEach((one) => {
        if (one.type !== 'inbound-rtp' || one.kind !== 'audio' || !one.packetsReceived) return
        sum.total += one.totalSamplesReceived ?? 0
        sum.concealed += one.concealedSamples - (one.silentConcealedSamples ?? 0)
        sum.energy += one.totalAudioEnergy
      })
      return sum
    })
  const before = await read()
  await page.waitForTimeout(ms)
  const now = await read()
  assert.ok(now.energy > before.energy, 'no audio arrived')
  return {
    concealed: (now.concealed - before.concealed) / (now.total - before.total),
    samples: now.total - before.total,
    slots: (await inboundStats(page)).length,
  }
}
