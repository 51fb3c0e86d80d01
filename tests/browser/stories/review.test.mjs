// Review before publication: a resource is submitted, returned with a note, corrected and
// published.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { eventually, byTestId, newPage, screenshot, startBrowser } from '../harness/browser.mjs'
import { School } from '../harness/school.mjs'

const NAME = '荷花 教学设计.txt'
const WORDS = '请补充教学目标和板书设计。'

describe('a review before publication', { concurrency: false }, () => {
  let school, browser, teacher, reviewer, village, address

  const page = async (name, login) => {
    const opened = await newPage(browser, { name, baseURL: school.base })
    await school.signIn(opened, login)
    return opened
  }
  const save = async (text) => {
    const file = join(school.server.data, NAME)
    await writeFile(file, text)
    return file
  }
  /** Fetches the resource as a teacher of another school. */
  const villageSees = async () =>
    (
      await school.api(
        village,
        'GET',
        address.replace('/library/', '/api/resources/').replace(school.base, ''),
      )
    ).json()

  before(async () => {
    school = await School.open()
    browser = await startBrowser('teacher')
    ;[teacher, reviewer, village] = [
      await page('teacher', 'wangxuemei'),
      await page('reviewer', 'chenzhiyuan'),
      await page('village', 'lixiaoyan'),
    ]
  })
  after(async () => {
    await browser?.close()
    await school?.close()
  })

  test('the office switches it on and says who reviews', async () => {
    const office = await page('office', 'zhoumin')
    await office.goto(`${school.base}/admin/schools`)
    await office
      .locator('tr', {
        has: office.getByRole('button', { name: '修改：清河县第一实验小学' }),
      })
      .locator('[data-test="school-review"]')
      .click()
    await byTestId(office, 'review-on').check()
    await office.locator('label', { hasText: '陈志远' }).locator('[data-test="reviewer"]').check()
    await screenshot(office, 'switched-on')
    await byTestId(office, 'review-save').click()
    await byTestId(office, 'review-save').waitFor({ state: 'detached' })
    await office.context().close()
  })

  test('what a teacher shares waits, and nobody outside sees it', async () => {
    await teacher.goto(`${school.base}/library`)
    await byTestId(teacher, 'upload-files').setInputFiles(await save('荷花\n第一课时'))
    const row = byTestId(teacher, 'upload-row').filter({ hasText: '荷花' })
    await eventually(
      'it is read',
      async () => (await row.getAttribute('data-understood')) === 'ready',
      { within: 30_000 },
    )
    await row.locator('[data-test="upload-open"]').click()
    await byTestId(teacher, 'edit').click()
    await byTestId(teacher, 'describe-visibility').selectOption('county')
    await byTestId(teacher, 'describe-save').click()
    await byTestId(teacher, 'describe-save').waitFor({ state: 'detached' })
    await teacher.getByText('已提交为“全县”，等待本校审核').waitFor()
    address = teacher.url()
    await screenshot(teacher, 'waits')
    assert.equal((await villageSees()).title, undefined)
  })

  test('the reviewer finds it on the shelf, reads it, and sends it back with words', async () => {
    await reviewer.goto(`${school.base}/library`)
    await byTestId(reviewer, 'library-tab-to_review').click()
    await screenshot(reviewer, 'to-review')
    await byTestId(reviewer, 'resource-card').filter({ hasText: '荷花' }).click()
    await byTestId(reviewer, 'text').waitFor()
    await screenshot(reviewer, 'review')
    await byTestId(reviewer, 'send-back').click()
    await byTestId(reviewer, 'send-back-note').fill(WORDS)
    await byTestId(reviewer, 'send-back-send').click()
    await byTestId(reviewer, 'send-back-send').waitFor({ state: 'detached' })
  })

  test('the teacher reads why, corrects what is said of it, and asks again', async () => {
    await teacher.reload()
    await teacher.getByText(`审核退回：${WORDS}`).waitFor()
    await screenshot(teacher, 'sent-back')
    await byTestId(teacher, 'edit').click()
    await byTestId(teacher, 'describe-description').fill('学习按一定顺序观察。')
    await byTestId(teacher, 'describe-save').click()
    await byTestId(teacher, 'describe-save').waitFor({ state: 'detached' })
    await byTestId(teacher, 'submit-again').click()
    await teacher.getByText('等待本校审核').waitFor()
  })

  test('a better version takes its place, and that one is published', async () => {
    await byTestId(teacher, 'new-version').click()
    await byTestId(teacher, 'version-changes').fill('补充了教学目标和板书')
    await byTestId(teacher, 'version-file').setInputFiles(
      await save('荷花\n第一课时\n教学目标：学习作者的观察方法。\n板书设计：荷叶、荷花、姿势。'),
    )
    await screenshot(teacher, 'better-version')
    await byTestId(teacher, 'version-send').click()
    await eventually(
      'the better one is there',
      async () => (await byTestId(teacher, 'text').innerText()).includes('板书设计'),
      { within: 30_000 },
    )
    await teacher.getByText('等待本校审核').waitFor()
    await reviewer.goto(address)
    await eventually('the reviewer reads the better one', async () =>
      (await byTestId(reviewer, 'text').innerText()).includes('板书设计'),
    )
    await byTestId(reviewer, 'approve').click()
    await byTestId(reviewer, 'review-bar').waitFor({ state: 'detached' })
    await screenshot(reviewer, 'approved')
    assert.equal((await villageSees()).version, 2)
    await village.goto(address)
    await byTestId(village, 'text').waitFor()
    assert.equal(
      await byTestId(village, 'text')
        .innerText()
        .then((text) => text.includes('板书设计')),
      true,
    )
    await screenshot(village, 'published')
    assert.deepEqual(
      [teacher, reviewer, village].flatMap(({ pageErrors }) => pageErrors),
      [],
    )
  })
})
