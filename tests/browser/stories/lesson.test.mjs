// A lesson from start to replay: a teacher at the core school and two village classrooms.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import {
  eventually,
  audioEnergy,
  inboundStats,
  byTestId,
  waitForVideo,
  screenshot,
  visibleVideos,
} from '../harness/browser.mjs'
import { CAST, prepare } from '../harness/fixtures.mjs'
import { School } from '../harness/school.mjs'

const run = promisify(execFile)

describe('a lesson from start to replay', { concurrency: false }, () => {
  let school, teacher, willow, bridge, startedAt, endedAt

  before(async () => {
    await prepare()
    school = await School.open()
  })
  after(() => school?.close())

  test('the teacher checks camera and microphone, starts, and the recording light comes on', async () => {
    teacher = await school.teacherInLesson()
    await waitForVideo(teacher, CAST.teacher, { test: 'preview-video' })
    await screenshot(teacher, 'check')
    await byTestId(teacher, 'lesson-start').click()
    await byTestId(teacher, 'recording-badge').waitFor()
    startedAt = Date.now()
    await screenshot(teacher, 'started')
  })

  test('two village classrooms open their URL, and see and hear the teacher', async () => {
    willow = await school.page('willow', 'willow')
    bridge = await school.page('bridge', 'bridge')
    for (const [page, word] of [
      [willow, '柳林'],
      [bridge, '石桥'],
    ]) {
      const opened = Date.now()
      await school.enterRoom(page, word)
      const entered = Date.now()
      await waitForVideo(page, CAST.teacher, { test: 'main-video' })
      console.log(
        `${page.label}: teacher on screen ${Date.now() - opened} ms after the address was opened, ${Date.now() - entered} ms after the room's page was there`,
      )
    }
    for (const page of [willow, bridge]) {
      await eventually(
        `${page.label} hears the teacher`,
        async () => (await audioEnergy(page, 1000)) > 1e-4,
      )
      await screenshot(page, 'watching')
    }
  })

  test('the teacher sees both rooms on the wall', async () => {
    await eventually(
      'two tiles on the wall',
      async () => (await byTestId(teacher, 'wall-tile').count()) === 2,
    )
    await waitForVideo(teacher, CAST.willow, { test: 'wall-tile' })
    await waitForVideo(teacher, CAST.bridge, { test: 'wall-tile' })
    await screenshot(teacher, 'wall')
  })

  test('a room raises its hand, is called on, and everybody sees it in full resolution and hears it', async () => {
    const small = (await visibleVideos(bridge)).find((picture) => picture.who === CAST.willow.id)
    await byTestId(willow, 'raise-hand').click()
    const tile = byTestId(teacher, 'wall-tile').filter({ hasText: '柳林村' })
    await tile.locator('[data-test="hand-badge"]').waitFor()
    await screenshot(teacher, 'hand')
    await screenshot(willow, 'hand')
    await tile.locator('[data-test="call-on"]').click()
    for (const page of [teacher, bridge]) {
      await waitForVideo(page, CAST.willow, {
        test: 'stage-video',
        minHeight: 360,
        within: 15_000,
      })
    }
    await byTestId(willow, 'on-stage-banner').waitFor()
    assert.ok(
      !small || small.height < 360,
      'before it was called on, the other room did not see it sharp',
    )
    await eventually(
      'the other room hears two voices',
      async () => {
        const before = await inboundStats(bridge)
        await bridge.waitForTimeout(1500)
        const now = await inboundStats(bridge)
        const talking = now.filter(
          (one) =>
            one.kind === 'audio' &&
            one.totalAudioEnergy -
              (before.find(({ mid }) => mid === one.mid)?.totalAudioEnergy ?? 0) >
              1e-5,
        )
        return talking.length >= 2
      },
      { within: 20_000 },
    )
    for (const page of [teacher, willow, bridge]) await screenshot(page, 'stage')
  })

  test('the room goes back to its seat and the others no longer show it on stage', async () => {
    await byTestId(teacher, 'stage-send-back').click()
    await eventually(
      'nobody is on stage',
      async () => (await byTestId(teacher, 'stage-send-back').count()) === 0,
    )
    await eventually(
      'the other room no longer sees it sharp',
      async () =>
        !(await visibleVideos(bridge)).some(
          (picture) => picture.who === CAST.willow.id && picture.height >= 360,
        ),
    )
    await screenshot(bridge, 'seated')
  })

  test('the teacher shares the screen and the rooms see it beside the teacher', async () => {
    await byTestId(teacher, 'share-screen').click()
    const began = Date.now()
    for (const page of [willow, bridge]) {
      let pictures
      await eventually(`${page.label} sees a screen`, async () => {
        pictures = await visibleVideos(page)
        return (
          pictures.some(
            (picture) =>
              picture.test === 'main-video' && picture.who === null && picture.width > 640,
          ) && pictures.some((picture) => picture.who === CAST.teacher.id)
        )
      }).finally(() =>
        console.log(
          `${page.label}, ${Date.now() - began} ms after the click: ${JSON.stringify(pictures)}`,
        ),
      )
      await screenshot(page, 'screen')
    }
    await screenshot(teacher, 'screen')
    await byTestId(teacher, 'share-screen').click()
    await waitForVideo(willow, CAST.teacher, { test: 'main-video' })
  })

  test('a chat message reaches the rooms', async () => {
    await byTestId(teacher, 'chat-input').fill('请两个教室都把课本翻到第三页。')
    await byTestId(teacher, 'chat-send').click()
    for (const page of [willow, bridge])
      await byTestId(page, 'chat-line').filter({ hasText: '课本翻到第三页' }).waitFor()
    await screenshot(willow, 'chat')
  })

  test('the teacher ends the lesson, and the replay plays within three seconds', async () => {
    await screenshot(teacher, 'before-end')
    // The rooms show the end of the lesson, then return to their timetable.
    const ended = Promise.all(
      [willow, bridge].map((page) => byTestId(page, 'over-ended').waitFor()),
    )
    await teacher.evaluate(() => {
      window.claims = []
      const head = () =>
        (location.pathname.endsWith('/replay') &&
          document.querySelector('.page-head')?.innerText) ||
        ''
      setInterval(() => /正在上课|进入课堂/.test(head()) && window.claims.push(head()), 20)
    })
    await school.endLesson(teacher)
    endedAt = Date.now()
    // The client opens the replay by itself.
    await teacher.waitForURL('**/replay')
    await eventually('the replay moves', () => playing(teacher), {
      within: 20_000,
      every: 25,
    })
    const took = Date.now() - endedAt
    console.log(`replay playing ${took} ms after the end`)
    assert.ok(took < 3_000, `the replay played ${took} ms after the end`)
    await screenshot(teacher, 'replay')
    assert.deepEqual(
      await teacher.evaluate(() => window.claims),
      [],
      'a lesson that is over was never said to be on',
    )
    const recording = await school.recording(teacher)
    assert.ok(
      Math.abs(recording.duration_ms - (endedAt - startedAt)) < 4_000,
      `${recording.duration_ms} ms recorded of ${endedAt - startedAt} ms`,
    )
    assert.deepEqual(recording.gaps, [])
    await ended
  })

  test('the replay can seek', async () => {
    const at = await video(teacher).evaluate(async (element) => {
      element.currentTime = element.duration / 2
      await new Promise((resolve) => element.addEventListener('seeked', resolve, { once: true }))
      return [element.currentTime, element.duration]
    })
    assert.ok(Math.abs(at[0] - at[1] / 2) < 3, `sought to ${at[0]} of ${at[1]}`)
    await eventually('it plays on from there', () => playing(teacher))
    await screenshot(teacher, 'sought')
  })

  test('a minute later an MP4 with audio and video of the right duration can be downloaded', async () => {
    const recording = await eventually(
      'the MP4',
      async () => {
        const now = await school.recording(teacher)
        if (now.mp4.state === 'failed') throw new Error('the export failed')
        return now.mp4.state === 'ready' && now
      },
      { within: 90_000, every: 500 },
    )
    const [download] = await Promise.all([
      teacher.waitForEvent('download'),
      byTestId(teacher, 'download-mp4').click(),
    ])
    const file = await download.path()
    const { stdout } = await run('ffprobe', [
      '-v',
      'error',
      '-show_entries',
      'format=duration:stream=codec_name,codec_type,width,height',
      '-of',
      'json',
      file,
    ])
    const probe = JSON.parse(stdout)
    console.log(`mp4: ${JSON.stringify(probe)}`)
    assert.deepEqual(probe.streams.map((stream) => stream.codec_name).sort(), ['aac', 'h264'])
    assert.ok(
      Math.abs(Number(probe.format.duration) * 1000 - recording.duration_ms) < 2_000,
      `${probe.format.duration} s of ${recording.duration_ms} ms`,
    )
    await screenshot(teacher, 'downloaded')
  })

  test('no client logged an error', () => {
    assert.deepEqual(
      [teacher, willow, bridge].flatMap((page) => page.pageErrors),
      [],
    )
  })
})

function video(page) {
  return page.locator('video[data-test="replay-video"], [data-test="replay-video"] video').first()
}

/** Returns whether the replay is playing. */
async function playing(page) {
  const element = video(page)
  const before = await element.evaluate((one) => {
    if (one.paused) {
      one.muted = true
      one.play().catch(() => {})
    }
    return one.currentTime
  })
  await page.waitForTimeout(120)
  const state = await element.evaluate((one) => ({
    at: one.currentTime,
    frames: one.getVideoPlaybackQuality().totalVideoFrames,
  }))
  return state.at > before && state.frames > 1
}
