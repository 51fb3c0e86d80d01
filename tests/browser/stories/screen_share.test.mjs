// A shared screen: every slide change arrives, in the resolution of the viewer's tile.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  eventually,
  byTestId,
  waitForVideo,
  screenshot,
  visibleVideos,
} from '../harness/browser.mjs'
import { installDeck, turn } from '../harness/deck.mjs'
import { CAST, DECK, prepare } from '../harness/fixtures.mjs'
import { School } from '../harness/school.mjs'

describe('a shared screen', { concurrency: false }, () => {
  let school,
    teacher,
    room,
    page = 1

  before(async () => {
    await prepare()
    school = await School.open()
    teacher = await school.startedLesson({ prepare: installDeck })
    room = await school.roomInLesson('柳林', 'willow', { name: 'willow' })
    await waitForVideo(room, CAST.teacher)
  })
  after(() => school?.close())

  test('the room sees it in full resolution, and each slide change', async () => {
    await byTestId(teacher, 'share-screen').click()
    const picture = await seesPage(1, { minHeight: 700, within: 20_000 })
    console.log(`full size: ${JSON.stringify(picture)}`)
    await turnsReach(3)
    await screenshot(room, 'good')
  })

  test('a static screen does not count as paused for half a minute', async () => {
    const watch = watchPauses()
    await room.waitForTimeout(30_000)
    assert.equal(await watch(), 0, 'times the page said that the picture is paused')
    await seesPage(page)
  })

  test('a client in a small window gets the small layer, in which the slide is legible', async () => {
    await room.setViewportSize({ width: 683, height: 384 })
    const picture = await eventually(
      'the small layer',
      async () =>
        (await visibleVideos(room)).find(
          ({ who, test, height }) => who === DECK.id && test === 'main-video' && height < 400,
        ),
      { within: 15_000 },
    )
    console.log(`small window: ${JSON.stringify(picture)}`)
    await turnsReach(2)
    await screenshot(room, 'small')
    await room.setViewportSize({ width: 1366, height: 768 })
    await seesPage(page, { minHeight: 700, within: 15_000 })
    await screenshot(room, 'full-again')
  })

  /** Waits until the room sees a page of the deck. */
  async function seesPage(number, { minHeight = 0, within = 10_000 } = {}) {
    return eventually(
      `page ${number} at ${minHeight} lines or more`,
      async () => {
        const pictures = await visibleVideos(room)
        return pictures.find(
          (one) =>
            one.who === DECK.id &&
            one.number === number &&
            one.test === 'main-video' &&
            one.height >= minHeight,
        )
      },
      { within },
    )
  }

  async function turnsReach(count, within = 3_000) {
    for (let i = 0; i < count; i += 1) {
      page += 1
      const turned = Date.now()
      await turn(teacher, page)
      await seesPage(page, { within })
      console.log(`page ${page} was there after ${Date.now() - turned} ms`)
      await room.waitForTimeout(2_500)
    }
  }

  /** Counts the pauses of the shared screen; the returned function stops and returns the count. */
  function watchPauses() {
    const counting = room.evaluate(
      () =>
        new Promise((resolve) => {
          let times = 0,
            was = false
          const timer = setInterval(() => {
            const main = document.querySelector('[data-test="main-video"]')
            const is = Boolean(main?.parentElement.querySelector('.paused'))
            if (is && !was) times += 1
            was = is
          }, 50)
          window.pausesSoFar = () => {
            clearInterval(timer)
            resolve(times)
          }
        }),
    )
    return async () => {
      await room.evaluate(() => window.pausesSoFar())
      return counting
    }
  }
})
