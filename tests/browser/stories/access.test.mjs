// Access control: roles, passes, error messages in two languages.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { eventually, byTestId, newPage, screenshot, startBrowser } from '../harness/browser.mjs'
import { prepare } from '../harness/fixtures.mjs'
import { startServer } from '../harness/server.mjs'
import { School } from '../harness/school.mjs'

describe('access control', { concurrency: false }, () => {
  let school, browser

  before(async () => {
    await prepare()
    school = await School.open()
    browser = await startBrowser('teacher')
  })
  after(async () => {
    await browser?.close()
    await school?.close()
  })

  const stranger = (name, options) => newPage(browser, { name, ...options })

  test('nobody sees a lesson without signing in', async () => {
    const page = await stranger('stranger')
    for (const path of [
      '/api/today',
      `/api/lessons/${school.lesson.id}`,
      `/api/lessons/${school.lesson.id}/recording`,
      '/api/recordings',
      '/api/people',
      `/media/${school.lesson.id}/master.m3u8`,
    ]) {
      assert.equal((await school.api(page, 'GET', path)).status(), 401, path)
    }
    await page.goto(`${school.base}/lessons/${school.lesson.id}/live`)
    await page.waitForURL('**/signin**')
    await byTestId(page, 'signin-submit').waitFor()
    await screenshot(page, 'signin')
  })

  test("a wrong password is reported in the reader's language, without saying which part was wrong", async () => {
    const said = []
    for (const locale of ['zh-CN', 'en-US']) {
      const page = await stranger(`wrong-${locale}`, { locale })
      for (const login of ['wangxuemei', 'nobody']) {
        const reply = await school.api(
          page,
          'POST',
          '/api/session',
          { login, password: 'wrong wrong' },
          { 'Accept-Language': locale },
        )
        assert.equal(reply.status(), 401)
        const body = await reply.json()
        assert.ok(body.code && body.message)
        said.push(body.message)
      }
      await page.goto(`${school.base}/signin`)
      await byTestId(page, 'signin-login').fill('wangxuemei')
      await byTestId(page, 'signin-password').fill('wrong wrong')
      await byTestId(page, 'signin-submit').click()
      await byTestId(page, 'signin-error').waitFor()
      await screenshot(page, 'wrong')
    }
    assert.equal(said[0], said[1])
    assert.equal(said[2], said[3])
    assert.match(said[0], /[\u4e00-\u9fff]/)
    assert.doesNotMatch(said[2], /[\u4e00-\u9fff]/)
  })

  test('a teacher is no administrator, and an observer starts nothing', async () => {
    const teacher = await stranger('teacher')
    await school.signIn(teacher, 'wangxuemei')
    for (const [method, path, body] of [
      ['GET', '/api/people'],
      [
        'POST',
        '/api/schools',
        { community_id: null, name: '假学校', role: 'core', membership: null },
      ],
      [
        'POST',
        '/api/people',
        {
          school_id: null,
          name: '某人',
          login: 'someone',
          role: 'administrator',
        },
      ],
    ])
      assert.equal(
        (await school.api(teacher, method, path, body)).status(),
        403,
        `${method} ${path}`,
      )
    const observer = await stranger('observer')
    await school.signIn(observer, 'zhaoguodong')
    await screenshot(observer, 'today')
    assert.equal(
      (
        await school.api(observer, 'POST', `/api/lessons/${school.lesson.id}/tokens`, {
          kind: 'whip',
          label: 'x',
        })
      ).status(),
      403,
    )
    await observer.goto(`${school.base}/lessons/${school.lesson.id}/live`)
    await observer.waitForTimeout(1500)
    assert.equal(await byTestId(observer, 'lesson-start').count(), 0)
    await screenshot(observer, 'live')
  })

  test('forms and messages that make no sense are refused with a reason', async () => {
    const teacher = await stranger('teacher-2')
    await school.signIn(teacher, 'wangxuemei')
    const cases = [
      ['POST', '/api/lessons', { title: '' }],
      [
        'POST',
        '/api/lessons',
        {
          title: 'x'.repeat(100_000),
          subject: '数学',
          grade: '三年级',
          starts_at: 'yesterday',
          ends_at: 'never',
          lead_id: 'no',
          assistant_ids: [],
          lead_classroom_id: null,
          classroom_ids: [],
        },
      ],
      ['GET', '/api/lessons/not-an-id'],
      ['GET', '/api/lessons/01900000-0000-7000-8000-000000000000'],
      ['GET', '/api/today?date=2026-13-45'],
    ]
    for (const [method, path, body] of cases) {
      const reply = await school.api(teacher, method, path, body)
      assert.ok(
        reply.status() >= 400 && reply.status() < 500,
        `${method} ${path}: ${reply.status()}`,
      )
      const error = await reply.json()
      assert.ok(error.code && error.message, `${method} ${path}: ${JSON.stringify(error)}`)
    }
    const raw = await teacher.request.fetch(`${school.base}/api/session`, {
      method: 'POST',
      data: Buffer.from('{"login":'),
      headers: { 'Content-Type': 'application/json', Origin: school.base },
    })
    assert.ok([400, 422].includes(raw.status()))
    const foreign = await teacher.request.fetch(`${school.base}/api/session`, {
      method: 'DELETE',
      headers: { Origin: 'http://evil.example' },
    })
    assert.equal(foreign.status(), 403, 'another site may not act in my name')
    assert.equal(
      (await school.api(teacher, 'GET', '/api/session')).status(),
      200,
      'still signed in',
    )
  })

  test("garbage on the lesson's socket is answered with an error, and the socket lives on", async () => {
    const teacher = await stranger('teacher-3')
    await school.signIn(teacher, 'wangxuemei')
    const said = await teacher.evaluate(async (lesson) => {
      const socket = new WebSocket(`ws://${location.host}/api/lessons/${lesson}/live`)
      const received = []
      socket.onmessage = ({ data }) => received.push(JSON.parse(data))
      await new Promise((resolve, reject) => {
        socket.onopen = resolve
        socket.onerror = () => reject(new Error('no socket'))
      })
      for (const text of [
        '',
        '{',
        '[]',
        '{"type":"no_such"}',
        '{"ref":7,"type":"chat"}',
        '{"ref":8,"type":"publish","purpose":"camera","sdp":"v=0"}',
        '{"ref":9,"type":"answer","offer":1,"sdp":"garbage"}',
      ])
        socket.send(text)
      socket.send(JSON.stringify({ ref: 10, type: 'ping', at: 1 }))
      await new Promise((resolve) => setTimeout(resolve, 1500))
      return {
        received: received.filter(({ type }) => ['error', 'pong', 'welcome'].includes(type)),
        open: socket.readyState === WebSocket.OPEN,
      }
    }, school.lesson.id)
    assert.equal(said.received[0].type, 'welcome')
    assert.ok(said.open, 'the socket lives on')
    assert.ok(said.received.some(({ type }) => type === 'pong'))
    const errors = said.received.filter(({ type }) => type === 'error')
    assert.ok(errors.length >= 6, JSON.stringify(errors))
    assert.ok(errors.every(({ code, message }) => code && message))
    assert.ok(errors.some(({ ref }) => ref === 8))
  })

  test("an observer and a classroom who ask for the teacher's tools are refused, message by message", async () => {
    const observer = await stranger('observer-2')
    await school.signIn(observer, 'zhaoguodong')
    const room = await stranger('room')
    await room.goto(`${school.base}/signin`)
    const pass = school.room('柳林').split('/').at(-1)
    assert.equal((await school.api(room, 'POST', '/api/session/pass', { pass })).status(), 200)
    for (const [page, more] of [
      [
        observer,
        [
          { type: 'hand', raised: true },
          { type: 'publish', purpose: 'camera', sdp: 'v=0' },
        ],
      ],
      [room, []],
    ]) {
      const refused = await page.evaluate(
        async ([lesson, messages]) => {
          const socket = new WebSocket(`ws://${location.host}/api/lessons/${lesson}/live`)
          const errors = []
          let you
          socket.onmessage = ({ data }) => {
            const message = JSON.parse(data)
            if (message.type === 'welcome') you = message.you
            if (message.type === 'error') errors.push(message.ref)
          }
          await new Promise((resolve, reject) => {
            socket.onopen = resolve
            socket.onerror = () => reject(new Error('no socket'))
          })
          while (!you) await new Promise((resolve) => setTimeout(resolve, 20))
          ;[
            ...messages,
            { type: 'start' },
            { type: 'end' },
            { type: 'call_on', participant: you },
            { type: 'mute_other', participant: you },
          ].forEach((message, i) => socket.send(JSON.stringify({ ref: i + 1, ...message })))
          await new Promise((resolve) => setTimeout(resolve, 1000))
          socket.close()
          return errors
        },
        [school.lesson.id, more],
      )
      assert.deepEqual(
        refused,
        Array.from({ length: more.length + 4 }, (_, i) => i + 1),
        page.label,
      )
    }
    const { phase } = await (
      await school.api(observer, 'GET', `/api/lessons/${school.lesson.id}`)
    ).json()
    assert.equal(phase, 'planned')
  })

  test("the administrator adds a school, a person and a classroom, and the classroom's pass opens it", async () => {
    const admin = await stranger('administrator', {
      viewport: { width: 1366, height: 900 },
    })
    await school.signIn(admin, 'zhoumin')
    await admin.goto(`${school.base}/admin`)

    await byTestId(admin, 'admin-schools').click()
    await byTestId(admin, 'add-schools').click()
    await fill(admin, 'name', '杨树沟小学')
    await choose(admin, 'role', '成员校')
    await screenshot(admin, 'school-form')
    await save(admin)
    await admin.getByText('杨树沟小学').first().waitFor()
    await screenshot(admin, 'schools')

    await byTestId(admin, 'admin-people').click()
    await byTestId(admin, 'add-people').click()
    await fill(admin, 'name', '孙桂兰')
    await fill(admin, 'login', 'wangxuemei')
    await choose(admin, 'school_id', '杨树沟小学')
    await byTestId(admin, 'form-save').click()
    await eventually('the form says that the account is taken', () =>
      admin.locator('.el-form-item__error').first().isVisible(),
    )
    await screenshot(admin, 'person-refused')
    await fill(admin, 'login', 'sunguilan')
    await save(admin)
    const password = await byTestId(admin, 'secret').last().inputValue()
    await screenshot(admin, 'person-once')
    const newcomer = await stranger('newcomer')
    assert.equal(
      (
        await school.api(newcomer, 'POST', '/api/session', {
          login: 'sunguilan',
          password,
        })
      ).status(),
      200,
    )
    // The administrator has seen the password: nothing else opens before it is replaced.
    await newcomer.goto(`${school.base}/library`)
    await newcomer.waitForURL('**/account**')
    await byTestId(newcomer, 'must-change').waitFor()
    await screenshot(newcomer, 'must-change')
    await newcomer.locator('input[autocomplete="current-password"]').fill(password)
    await newcomer.locator('input[autocomplete="new-password"]').fill('杨树沟的春天来得早')
    await newcomer.locator('form button[type="submit"]').click()
    await newcomer.waitForURL(({ pathname }) => pathname === '/library')
    await newcomer.goto(`${school.base}/account`)
    await byTestId(newcomer, 'session').first().waitFor()
    await screenshot(newcomer, 'account')
    await admin.goto(`${school.base}/admin/audit`)
    await byTestId(admin, 'audit-search').fill('sunguilan')
    await eventually(
      "only the newcomer's sign-in is listed",
      async () => (await byTestId(admin, 'audit-entry').count()) === 1,
    )
    await screenshot(admin, 'audit')

    await admin.goto(`${school.base}/admin/classrooms`)
    await byTestId(admin, 'add-classrooms').click()
    await fill(admin, 'name', '杨树沟小学三年级')
    await choose(admin, 'school_id', '杨树沟小学')
    await save(admin)
    const row = admin.locator('tr', { hasText: '杨树沟小学三年级' })
    await row.locator('[data-test="give-pass"]').click()
    const address = await byTestId(admin, 'secret').first().inputValue()
    await screenshot(admin, 'pass')
    const screen = await stranger('new-room', {
      viewport: { width: 1920, height: 1080 },
    })
    await screen.goto(address)
    await screen.getByText('杨树沟小学三年级').first().waitFor()
    await screenshot(screen, 'day')
    await screen.setViewportSize({ width: 1366, height: 768 })
    await screenshot(screen, 'day')
    assert.equal((await (await school.api(screen, 'GET', '/api/session')).json()).kind, 'classroom')
    assert.equal(await byTestId(screen, 'room-rest').innerText(), '今天没有课')
    const wrong = await stranger('wrong-room', {
      viewport: { width: 1920, height: 1080 },
    })
    await wrong.goto(`${address.slice(0, -1)}${address.endsWith('x') ? 'y' : 'x'}`)
    await wrong.getByRole('alert').waitFor()
    await screenshot(wrong, 'refused')
  })

  test('the language can be switched, and stays switched', async () => {
    const page = await stranger('reader')
    await page.goto(`${school.base}/signin`)
    assert.match(await byTestId(page, 'signin-submit').innerText(), /[\u4e00-\u9fff]/)
    await byTestId(page, 'language').first().click()
    await eventually('English', async () =>
      /sign in/i.test(await byTestId(page, 'signin-submit').innerText()),
    )
    await page.reload()
    assert.match(await byTestId(page, 'signin-submit').innerText(), /sign in/i)
    await screenshot(page, 'english')
  })

  test('a new server has no sign-in at all, only a one-time link that makes the administrator', async () => {
    const server = await startServer({ demo: false })
    try {
      assert.equal((await (await fetch(`${server.base}/api/setup`)).json()).needed, true)
      const [link] = await eventually('the link', () => server.output().match(/\/setup\/[\w-]+/))
      const page = await stranger('founder')
      await page.goto(`${server.base}${link}`)
      await byTestId(page, 'setup-name').fill('周敏')
      await byTestId(page, 'setup-login').fill('zhoumin')
      await byTestId(page, 'setup-password').fill('a long enough passphrase')
      await screenshot(page, 'setup')
      await byTestId(page, 'setup-submit').click()
      await page.waitForURL((url) => !url.pathname.startsWith('/setup'))
      await screenshot(page, 'founded')
      assert.equal((await (await fetch(`${server.base}/api/setup`)).json()).needed, false)
      const again = await fetch(`${server.base}/api/setup`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Origin: server.base },
        body: JSON.stringify({
          token: link.split('/').at(-1),
          name: 'x',
          login: 'second',
          password: 'another long passphrase',
        }),
      })
      assert.ok(again.status >= 400 && again.status < 500, 'the link works once')
    } finally {
      await server.stop()
      await server.remove()
    }
  })
})

const fill = (page, field, text) =>
  page.locator(`input[data-test="field-${field}"], [data-test="field-${field}"] input`).fill(text)

async function choose(page, field, text) {
  await byTestId(page, `field-${field}`).click()
  await page.locator('.el-select-dropdown__item:visible', { hasText: text }).first().click()
}

async function save(page) {
  await byTestId(page, 'form-save').click()
  await byTestId(page, 'form-save').waitFor({ state: 'detached' })
}
