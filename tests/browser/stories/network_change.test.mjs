// A room's computer changes its network in mid-lesson: the client reconnects and keeps its
// participant.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { eventually, audioEnergy, byTestId, waitForVideo, screenshot } from '../harness/browser.mjs'
import { CAST, prepare } from '../harness/fixtures.mjs'
import { openLink, linkUnavailable } from '../harness/link.mjs'
import { School } from '../harness/school.mjs'

const skip = linkUnavailable()

/** Grace period in which the server keeps a participant. */
const GRACE_MS = 10_000
/** Time in which video must be back; the server may resume it later than audio. */
const VIDEO_MS = 10_000

describe(
  'a room whose network changes in mid-lesson',
  { concurrency: false, skip: skip ?? false },
  () => {
    let link, school, teacher, room

    before(async () => {
      await prepare()
      link = await openLink()
      link.both({ delay_ms: 10 })
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
      await waitForVideo(teacher, CAST.willow, { test: 'wall-tile' })
      await room.evaluate(() => {
        window.neverReloaded = true
      })
    })
    after(async () => {
      await school?.close()
      console.log(`link: ${await link?.close()}`)
    })

    test('after a change of address, audio and chat are back within ten seconds, and video in both directions', async () => {
      await recoversFrom(() => link.moveVillage('10.77.0.3'), 'moved')
      const paths = await room.evaluate(async () =>
        Promise.all(
          [window.__tongke.subscriber, window.__tongke.publisher].map(async (connection) => {
            const stats = [...(await connection.getStats()).values()]
            const pair = stats.find(
              (one) =>
                one.id === stats.find(({ type }) => type === 'transport').selectedCandidatePairId,
            )
            return stats.find((one) => one.id === pair.localCandidateId)?.address ?? null
          }),
        ),
      )
      console.log(`from now on over ${paths.join(' and ')}`)
    })

    test('a router that loses its NAT table maps other ports', async () => {
      await recoversFrom(() => link.both({ nat: 1024 }), 'rebound')
    })

    test('the address changes twice in a row', async () => {
      await recoversFrom(async () => {
        link.moveVillage('10.77.0.4')
        await room.waitForTimeout(3_000)
        link.moveVillage('10.77.0.5')
      }, 'moved-twice')
    })

    test('no client logged an error', () =>
      assert.deepEqual([...teacher.pageErrors, ...room.pageErrors], []))

    /**
     * Changes the network and checks audio, video and chat; the wall has exactly one tile all the
     * time.
     */
    async function recoversFrom(change, what) {
      const me = await room.evaluate(
        () => window.__tongke.lesson.participants.find((one) => one.kind === 'classroom').id,
      )
      await change()
      const changed = Date.now()
      const wall = watchWall(teacher)
      await room.waitForTimeout(500) // packets in flight have arrived
      const since = () => Date.now() - changed
      const delays = { seen: null, sees: null, hears: null, chat: null }
      const [within, picture] = [GRACE_MS - 500, { within: VIDEO_MS - 500 }]
      await Promise.all([
        waitForVideo(teacher, CAST.willow, { test: 'wall-tile', ...picture }).then(() => {
          delays.seen = since()
        }),
        waitForVideo(room, CAST.teacher, picture).then(() => {
          delays.sees = since()
        }),
        eventually(
          'the room hears the teacher',
          async () => (await audioEnergy(room, 500)) > 1e-4,
          {
            within,
          },
        ).then(() => {
          delays.hears = since()
        }),
        chatReaches(what, within).then(() => {
          delays.chat = since()
        }),
      ])
      console.log(`${what}: ${JSON.stringify(delays)} ms after the change`)
      await room.waitForTimeout(Math.max(0, 13_000 - since())) // longer than the grace period: a ghost or a dropped participant would be gone
      const tiles = await wall()
      await screenshot(teacher, what)
      await screenshot(room, what)
      assert.deepEqual(tiles, [1], 'one tile all the while')
      assert.equal(await room.evaluate(() => window.neverReloaded), true)
      assert.equal(
        await room.evaluate(
          () => window.__tongke.lesson.participants.find((one) => one.kind === 'classroom').id,
        ),
        me,
      )
      await waitForVideo(teacher, CAST.willow, { test: 'wall-tile' })
      await waitForVideo(room, CAST.teacher)
    }

    /** Waits until a chat message reaches the room, whose socket was cut off. */
    async function chatReaches(what, within) {
      await byTestId(teacher, 'chat-input').fill(`第 ${what} 次：听得到吗？`)
      await byTestId(teacher, 'chat-send').click()
      await eventually(
        'the chat message',
        () =>
          room.evaluate(
            (text) => window.__tongke.lesson.chat.some((line) => line.text.includes(text)),
            what,
          ),
        { within },
      )
    }
  },
)

/**
 * Polls the number of tiles on the wall; the returned function stops and returns the distinct
 * counts.
 */
function watchWall(page) {
  const counts = new Set()
  let on = true
  const done = (async () => {
    while (on) {
      counts.add(await byTestId(page, 'wall-tile').count())
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })()
  return async () => {
    on = false
    await done
    return [...counts]
  }
}
