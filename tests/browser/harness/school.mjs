// A server with its demo community, and the browsers of its people and rooms.

import assert from 'node:assert/strict'
import { byTestId, newPage, screenshot, startBrowser } from './browser.mjs'
import { startServer } from './server.mjs'

export class School {
  #browsers = []

  static async open(options) {
    const school = new School()
    school.server = await startServer(options)
    school.demo = await school.server.demo()
    return school
  }

  get base() {
    return this.server.base
  }

  get lesson() {
    return this.demo.lesson
  }

  person(login) {
    return (
      this.demo.people.find((person) => person.login === login) ??
      assert.fail(`no demo person ${login}`)
    )
  }

  /** URL of the demo room whose name contains `word`. */
  room(word) {
    const room =
      this.demo.rooms.find(({ name }) => name.includes(word)) ?? assert.fail(`no demo room ${word}`)
    return room.url
  }

  /** Opens a page in a Chromium whose camera shows a member of CAST. */
  async page(name, who, options = {}) {
    const browser = await startBrowser(who, options)
    this.#browsers.push(browser)
    return newPage(browser, { name, ...options, baseURL: this.base })
  }

  /** Signs in through the form. */
  async signIn(page, login) {
    const { password } = this.person(login)
    await page.goto(`${this.base}/signin`)
    await byTestId(page, 'signin-login').fill(login)
    await byTestId(page, 'signin-password').fill(password)
    await byTestId(page, 'signin-submit').click()
    await page.waitForURL((url) => url.pathname === '/' || url.pathname.startsWith('/admin'))
  }

  /** Opens the lobby of the current lesson as the lead teacher. */
  async teacherInLesson({ name = 'teacher', ...options } = {}) {
    const page = await this.page(name, 'teacher', options)
    await this.signIn(page, 'wangxuemei')
    await screenshot(page, 'today')
    const card = byTestId(page, 'lesson-card').filter({ hasText: this.lesson.title }).first()
    await card.locator('[data-test="lesson-open"]').click()
    await page.waitForURL(`**/lessons/${this.lesson.id}/live`)
    await byTestId(page, 'lesson-start').waitFor()
    return page
  }

  async startedLesson(options) {
    const page = await this.teacherInLesson(options)
    await byTestId(page, 'lesson-start').click()
    await byTestId(page, 'lesson-end').waitFor()
    return page
  }

  /** Opens a room's URL, which enters the lesson without user input. */
  async roomInLesson(word, who, { name = word, ...options } = {}) {
    const page = await this.page(name, who, options)
    await this.enterRoom(page, word)
    return page
  }

  async enterRoom(page, word) {
    await page.goto(this.room(word))
    await page.waitForURL('**/live')
  }

  async endLesson(page) {
    await byTestId(page, 'lesson-end').click()
    await byTestId(page, 'confirm').click()
  }

  /** Calls the REST API with the page's cookie. */
  async api(page, method, path, data, headers = {}) {
    return page.request.fetch(`${this.base}${path}`, {
      method,
      data,
      headers: { Origin: this.base, ...headers },
      failOnStatusCode: false,
    })
  }

  async recording(page, lesson = this.lesson.id) {
    const reply = await this.api(page, 'GET', `/api/lessons/${lesson}/recording`)
    return reply.ok() ? reply.json() : null
  }

  async close() {
    await Promise.all(this.#browsers.map((browser) => browser.close().catch(() => {})))
    const ended = await this.server.stop().catch((error) => error)
    await this.server.remove()
    assert.ok(
      ended?.code === 0 || ended?.signal === 'SIGKILL',
      `the server did not exit cleanly: ${ended?.message ?? JSON.stringify(ended)}\n${this.server.output()}`,
    )
    assert.doesNotMatch(this.server.output(), /panicked at/, 'the server panicked')
  }
}
