// A school that looks at what its teachers share before others see it: submitted, sent back with words, corrected, published.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { eventually, mark, newPage, shot, startBrowser } from '../harness/browser.mjs'
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
  /** A colleague of another school opens the address. */
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
    await mark(office, 'review-on').check()
    await office.locator('label', { hasText: '陈志远' }).locator('[data-test="reviewer"]').check()
    await shot(office, 'switched-on')
    await mark(office, 'review-save').click()
    await mark(office, 'review-save').waitFor({ state: 'detached' })
    await office.context().close()
  })

  test('what a teacher shares waits, and nobody outside sees it', async () => {
    await teacher.goto(`${school.base}/library`)
    await mark(teacher, 'upload-files').setInputFiles(await save('荷花\n第一课时'))
    const row = mark(teacher, 'upload-row').filter({ hasText: '荷花' })
    await eventually(
      'it is read',
      async () => (await row.getAttribute('data-understood')) === 'ready',
      { within: 30_000 },
    )
    await row.locator('[data-test="upload-open"]').click()
    await mark(teacher, 'edit').click()
    await mark(teacher, 'describe-visibility').selectOption('county')
    await mark(teacher, 'describe-save').click()
    await mark(teacher, 'describe-save').waitFor({ state: 'detached' })
    await teacher.getByText('已提交为“全县”，等待本校审核').waitFor()
    address = teacher.url()
    await shot(teacher, 'waits')
    assert.equal((await villageSees()).title, undefined)
  })

  test('the reviewer finds it on the shelf, reads it, and sends it back with words', async () => {
    await reviewer.goto(`${school.base}/library`)
    await mark(reviewer, 'library-tab-to_review').click()
    await shot(reviewer, 'to-review')
    await mark(reviewer, 'resource-card').filter({ hasText: '荷花' }).click()
    await mark(reviewer, 'text').waitFor()
    await shot(reviewer, 'review')
    await mark(reviewer, 'send-back').click()
    await mark(reviewer, 'send-back-note').fill(WORDS)
    await mark(reviewer, 'send-back-send').click()
    await mark(reviewer, 'send-back-send').waitFor({ state: 'detached' })
  })

  test('the teacher reads why, corrects what is said of it, and asks again', async () => {
    await teacher.reload()
    await teacher.getByText(`审核退回：${WORDS}`).waitFor()
    await shot(teacher, 'sent-back')
    await mark(teacher, 'edit').click()
    await mark(teacher, 'describe-description').fill('学习按一定顺序观察。')
    await mark(teacher, 'describe-save').click()
    await mark(teacher, 'describe-save').waitFor({ state: 'detached' })
    await mark(teacher, 'submit-again').click()
    await teacher.getByText('等待本校审核').waitFor()
  })

  test('a better version takes its place, and that one is published', async () => {
    await mark(teacher, 'new-version').click()
    await mark(teacher, 'version-changes').fill('补充了教学目标和板书')
    await mark(teacher, 'version-file').setInputFiles(
      await save('荷花\n第一课时\n教学目标：学习作者的观察方法。\n板书设计：荷叶、荷花、姿势。'),
    )
    await shot(teacher, 'better-version')
    await mark(teacher, 'version-send').click()
    await eventually(
      'the better one is there',
      async () => (await mark(teacher, 'text').innerText()).includes('板书设计'),
      { within: 30_000 },
    )
    await teacher.getByText('等待本校审核').waitFor()
    await reviewer.goto(address)
    await eventually('the reviewer reads the better one', async () =>
      (await mark(reviewer, 'text').innerText()).includes('板书设计'),
    )
    await mark(reviewer, 'approve').click()
    await mark(reviewer, 'review-bar').waitFor({ state: 'detached' })
    await shot(reviewer, 'approved')
    assert.equal((await villageSees()).version, 2)
    await village.goto(address)
    await mark(village, 'text').waitFor()
    assert.equal(
      await mark(village, 'text')
        .innerText()
        .then((text) => text.includes('板书设计')),
      true,
    )
    await shot(village, 'published')
    assert.deepEqual(
      [teacher, reviewer, village].flatMap(({ troubles }) => troubles),
      [],
    )
  })
})
