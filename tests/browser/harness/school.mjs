// A server with its demo community, and the people and rooms of it in their browsers: what every story starts with.

import assert from 'node:assert/strict'
import { mark, newPage, shot, startBrowser } from './browser.mjs'
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

  /** The address of the demo room whose name holds that word. */
  room(word) {
    const room =
      this.demo.rooms.find(({ name }) => name.includes(word)) ?? assert.fail(`no demo room ${word}`)
    return room.url
  }

  /** A page in a Chromium whose camera films that one of the cast. */
  async page(name, who, options = {}) {
    const browser = await startBrowser(who, options)
    this.#browsers.push(browser)
    return newPage(browser, { name, ...options, baseURL: this.base })
  }

  /** Signs in through the form, as a person does. */
  async signIn(page, login) {
    const { password } = this.person(login)
    await page.goto(`${this.base}/signin`)
    await mark(page, 'signin-login').fill(login)
    await mark(page, 'signin-password').fill(password)
    await mark(page, 'signin-submit').click()
    await page.waitForURL((url) => url.pathname === '/' || url.pathname.startsWith('/admin'))
  }

  /** The lead teacher, signed in, in front of the lesson that is due now, not yet started. */
  async teacherInLesson({ name = 'teacher', ...options } = {}) {
    const page = await this.page(name, 'teacher', options)
    await this.signIn(page, 'wangxuemei')
    await shot(page, 'today')
    const card = mark(page, 'lesson-card').filter({ hasText: this.lesson.title }).first()
    await card.locator('[data-test="lesson-open"]').click()
    await page.waitForURL(`**/lessons/${this.lesson.id}/live`)
    await mark(page, 'lesson-start').waitFor()
    return page
  }

  async startedLesson(options) {
    const page = await this.teacherInLesson(options)
    await mark(page, 'lesson-start').click()
    await mark(page, 'lesson-end').waitFor()
    return page
  }

  /** A room opens its address: nobody types or touches anything there. */
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
    await mark(page, 'lesson-end').click()
    await mark(page, 'confirm').click()
  }

  /** A REST call with the page's cookie, as the page itself would make it. */
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
      `the server ended badly: ${ended?.message ?? JSON.stringify(ended)}\n${this.server.output()}`,
    )
    assert.doesNotMatch(this.server.output(), /panicked at/, 'the server panicked')
  }
}
