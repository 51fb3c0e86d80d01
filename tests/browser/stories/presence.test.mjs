// Rooms that reload, crash or join twice leave no ghost on the wall for longer than ten seconds.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  eventually,
  byTestId,
  waitForVideo,
  screenshot,
  visibleVideos,
} from '../harness/browser.mjs'
import { CAST, prepare } from '../harness/fixtures.mjs'
import { School } from '../harness/school.mjs'

/** Grace period of the server, and a margin for a busy machine. */
const GHOST_MS = 10_000 + 2_000

describe('presence on the wall', { concurrency: false }, () => {
  let school, teacher, willow, bridge

  before(async () => {
    await prepare()
    school = await School.open()
    teacher = await school.startedLesson()
    willow = await school.roomInLesson('柳林', 'willow', { name: 'willow' })
    bridge = await school.roomInLesson('石桥', 'bridge', { name: 'bridge' })
    await waitForVideo(teacher, CAST.willow, { test: 'wall-tile' })
    await waitForVideo(teacher, CAST.bridge, { test: 'wall-tile' })
  })
  after(() => school?.close())

  test('a room that reloads is on the wall once, and sees the teacher again', async () => {
    await willow.reload()
    await waitForVideo(willow, CAST.teacher)
    await waitForVideo(teacher, CAST.willow, { test: 'wall-tile', within: GHOST_MS })
    await eventually(
      'exactly two tiles',
      async () => (await byTestId(teacher, 'wall-tile').count()) === 2,
      { within: GHOST_MS },
    )
    const pictures = (await visibleVideos(teacher)).filter(
      (picture) => picture.who === CAST.willow.id && picture.test === 'wall-tile',
    )
    assert.equal(pictures.length, 1, 'the room is there once')
    await screenshot(teacher, 'reloaded')
  })

  test('a room whose computer crashes disappears from the wall within ten seconds', async () => {
    // The browser is killed, so that the client cannot close its socket.
    const browser = willow.context().browser()
    const died = Date.now()
    await killBrowser(browser)
    await eventually(
      'one tile is left',
      async () => (await byTestId(teacher, 'wall-tile').count()) === 1,
      { within: GHOST_MS },
    )
    console.log(`the dead room left the wall after ${Date.now() - died} ms`)
    await waitForVideo(teacher, CAST.bridge, { test: 'wall-tile' })
    await screenshot(teacher, 'one-left')
  })

  test('a room opened on a second screen replaces the first, which shows the reason', async () => {
    const second = await school.roomInLesson('石桥', 'bridge', {
      name: 'bridge-again',
    })
    await waitForVideo(second, CAST.teacher)
    await byTestId(bridge, 'over-replaced').waitFor()
    await eventually('one tile', async () => (await byTestId(teacher, 'wall-tile').count()) === 1, {
      within: GHOST_MS,
    })
    await screenshot(bridge, 'replaced')
  })

  test('the lesson continues when the teacher reloads', async () => {
    await teacher.reload()
    await waitForVideo(teacher, CAST.bridge, { test: 'wall-tile' })
    await screenshot(teacher, 'teacher-back')
    assert.equal((await school.recording(teacher)).state, 'recording')
  })
})

/**
 * Kills every process of a Chromium, the main process first, so that no socket is closed cleanly.
 */
async function killBrowser(browser) {
  const session = await browser.newBrowserCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  for (const { id } of processInfo.sort(
    (a, b) => Number(b.type === 'browser') - Number(a.type === 'browser'),
  )) {
    try {
      process.kill(id, 'SIGKILL')
    } catch {
      /* already gone with its parent */
    }
  }
}
