// Access is revoked during a lesson: the client leaves it and shows the reason; the others
// continue.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  eventually,
  byTestId,
  newPage,
  waitForVideo,
  screenshot,
  startBrowser,
} from '../harness/browser.mjs'
import { CAST, prepare } from '../harness/fixtures.mjs'
import { School } from '../harness/school.mjs'

/** The server checks the access of every client every ten seconds. */
const REVOKED_MS = 10_000 + 3_000

describe('access revoked during a lesson', { concurrency: false }, () => {
  let school, office, admin, teacher, willow, bridge, assistant

  before(async () => {
    await prepare()
    school = await School.open()
    office = await startBrowser('assistant')
    admin = await newPage(office, {
      name: 'administrator',
      baseURL: school.base,
    })
    await school.signIn(admin, 'zhoumin')
  })
  after(async () => {
    await office?.close()
    await school?.close()
  })

  const list = async (path) => {
    const found = await (await school.api(admin, 'GET', path)).json()
    return found.items ?? found
  }
  const expectRevoked = async (page) => {
    await byTestId(page, 'over-revoked').waitFor({ timeout: REVOKED_MS })
    const words = await page.locator('[data-test="over-revoked"]').innerText()
    assert.match(words, /权限已被管理员收回或更改/)
  }
  const wallHas = (count) =>
    eventually(
      `${count} tiles on the wall`,
      async () => (await byTestId(teacher, 'wall-tile').count()) === count,
      { within: REVOKED_MS },
    )

  test('a room that is removed from the lesson before it starts leaves the lobby', async () => {
    teacher = await school.teacherInLesson()
    await teacher.locator('[data-test="lesson-start"]').waitFor()
    bridge = await school.roomInLesson('石桥', 'bridge', { name: 'bridge' })
    const card = await (await school.api(admin, 'GET', `/api/lessons/${school.lesson.id}`)).json()
    const kept = card.classrooms
      .filter(({ end, name }) => end === 'listening' && !name.includes('石桥'))
      .map(({ id }) => id)
    const reply = await school.api(admin, 'PATCH', `/api/lessons/${school.lesson.id}`, {
      classroom_ids: kept,
    })
    assert.equal(reply.status(), 200, await reply.text())
    await expectRevoked(bridge)
    await screenshot(bridge, 'out-of-the-cast')
  })

  test('a room whose pass is revoked leaves the lesson, and its screen says what to do', async () => {
    willow = await school.roomInLesson('柳林', 'willow', { name: 'willow' })
    await byTestId(teacher, 'lesson-start').click()
    await byTestId(teacher, 'lesson-end').waitFor()
    await waitForVideo(teacher, CAST.willow, { test: 'wall-tile' })
    const room = (await list('/api/classrooms')).find(({ name }) => name.includes('柳林'))
    const reply = await school.api(admin, 'DELETE', `/api/classrooms/${room.id}/pass`)
    assert.ok(reply.ok(), `${reply.status()} ${await reply.text()}`)
    await expectRevoked(willow)
    await wallHas(0)
    await screenshot(willow, 'pass-withdrawn')
    await screenshot(teacher, 'room-gone')
    // The device returns to its own URL by itself and names the contact.
    await willow.getByText('这个教室地址不能用了').waitFor({ timeout: 15_000 })
    await screenshot(willow, 'pass-withdrawn-later')
  })

  test('an assistant whose password is reset leaves the lesson and has to sign in again', async () => {
    assistant = await school.page('assistant', 'assistant')
    const login = 'lixiaoyan'
    await school.signIn(assistant, login)
    await assistant.goto(`${school.base}/lessons/${school.lesson.id}/live`)
    await eventually('the assistant is in the lesson', () =>
      assistant.evaluate(() => window.__tongke?.lesson !== null && window.__tongke !== undefined),
    )
    const person = (await list('/api/people')).find((one) => one.login === login)
    const reply = await school.api(admin, 'POST', `/api/people/${person.id}/password`)
    assert.ok(reply.ok(), `${reply.status()} ${await reply.text()}`)
    await expectRevoked(assistant)
    await screenshot(assistant, 'password-reset')
    await assistant.getByText('返回').click()
    await assistant.waitForURL('**/signin**')
    await waitForVideo(teacher, CAST.teacher)
  })
})
