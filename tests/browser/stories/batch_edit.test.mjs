// Folder upload, batch edits, collections, and links between lessons and resources.

import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { eventually, byTestId, newPage, screenshot, startBrowser } from '../harness/browser.mjs'
import { School } from '../harness/school.mjs'

const PLANS = {
  '第一课 圆.txt': '圆心和半径',
  '第二课 扇形.txt': '圆心角',
  '第三课 圆环.txt': '外圆和内圆',
}

describe('a shelf in order', { concurrency: false }, () => {
  let school, browser, teacher, folder

  before(async () => {
    school = await School.open()
    browser = await startBrowser('teacher')
    teacher = await newPage(browser, { name: 'teacher', baseURL: school.base })
    await school.signIn(teacher, 'wangxuemei')
    folder = join(school.server.data, '六年级数学')
    await mkdir(join(folder, '第五单元'), { recursive: true })
    for (const [name, text] of Object.entries(PLANS))
      await writeFile(join(folder, '第五单元', name), text)
    await writeFile(join(folder, '第五单元', '第一课 圆 副本.txt'), PLANS['第一课 圆.txt'])
    await writeFile(join(folder, 'Thumbs.db'), 'nobody wants this')
  })
  after(async () => {
    await browser?.close()
    await school?.close()
  })

  const row = (name) =>
    byTestId(teacher, 'upload-row').filter({
      has: teacher.locator('strong', { hasText: name }),
    })
  const card = (page, title) => byTestId(page, 'resource-card').filter({ hasText: title })

  test('a folder comes in whole, each content once, and says what it is about', async () => {
    await teacher.goto(`${school.base}/library?tab=mine`)
    await byTestId(teacher, 'upload-folder').setInputFiles(folder)
    for (const name of Object.keys(PLANS))
      await eventually(`${name} is kept once`, async () =>
        ['done', 'known'].includes(
          await row(name.replace('.txt', '')).first().getAttribute('data-stage'),
        ),
      )
    await eventually(
      'one of the two copies was not sent',
      async () =>
        (await teacher.locator('[data-test="upload-row"][data-stage="known"]').count()) === 1,
    )
    assert.equal(
      await byTestId(teacher, 'upload-row').count(),
      4,
      'what systems leave lying about stays outside',
    )
    await screenshot(teacher, 'folder')
    await teacher.locator('[data-stage="known"] [data-test="upload-cancel"]').click()
    await eventually('the folder said grade, subject and unit', async () =>
      (await card(teacher, '扇形').innerText()).match(/六年级 · 数学.* · 第五单元/),
    )
  })

  test('what has come is described together', async () => {
    await byTestId(teacher, 'upload-describe').click()
    await byTestId(teacher, 'describe-edition').fill('人教版')
    await byTestId(teacher, 'batch-type').selectOption('lesson_plan')
    await byTestId(teacher, 'batch-visibility').selectOption('school')
    await screenshot(teacher, 'batch-dialog')
    await byTestId(teacher, 'batch-save').click()
    await byTestId(teacher, 'batch-save').waitFor({ state: 'detached' })
    await byTestId(teacher, 'upload-clear').click()
    await byTestId(teacher, 'upload-tray').waitFor({ state: 'detached' })
    await card(teacher, '圆环').click()
    assert.equal(await byTestId(teacher, 'about-edition').innerText(), '人教版')
  })

  test('a wrong guess is corrected in one click', async () => {
    const grade = teacher.locator('[data-test="suggested"][data-field="grade"]')
    await screenshot(teacher, 'suggested')
    await grade.locator('[data-test="correct-field"]').selectOption('五年级')
    await grade.waitFor({ state: 'detached' })
    assert.equal(await byTestId(teacher, 'about-grade').innerText(), '五年级')
    await teacher
      .locator('[data-test="suggested"][data-field="unit"] [data-test="drop-field"]')
      .click()
    await eventually(
      'the unit is gone',
      async () =>
        (await teacher.locator('[data-field="unit"]').count()) === 0 &&
        (await byTestId(teacher, 'about-unit').count()) === 0,
    )
    await teacher
      .locator('[data-test="suggested"][data-field="subject"] [data-test="confirm-field"]')
      .click()
    await byTestId(teacher, 'about-subject').waitFor()
  })

  test("ticked cards are changed, collected and removed together, and the order of the list is one's own", async () => {
    await teacher.goto(`${school.base}/library?tab=mine`)
    await card(teacher, '圆环').waitFor()
    await byTestId(teacher, 'library-sort').selectOption('title')
    const titles = () => byTestId(teacher, 'resource-card').locator('strong').allInnerTexts()
    await eventually('by title', async () => {
      const all = await titles()
      return all.length > 3 && JSON.stringify(all) === JSON.stringify([...all].sort())
    })
    await byTestId(teacher, 'batch').click()
    for (const title of ['扇形', '圆环'])
      await teacher.locator('li').filter({ hasText: title }).locator('[data-test="tick"]').check()
    await screenshot(teacher, 'ticked')
    await byTestId(teacher, 'batch-describe').click()
    await byTestId(teacher, 'describe-period').fill('第1课时')
    await byTestId(teacher, 'batch-save').click()
    await eventually('the change is told', async () =>
      (await teacher.locator('body').innerText()).includes('已更新 2 份资源'),
    )
    await byTestId(teacher, 'batch').click()
    await byTestId(teacher, 'batch-all').click()
    await byTestId(teacher, 'batch-collect').click()
    await byTestId(teacher, 'collection-title').fill('六年级上册 第五单元')
    await byTestId(teacher, 'collection-make').click()
    await byTestId(teacher, 'collection-make').waitFor({ state: 'detached' })
  })

  test('a collection is renamed and arranged, and comes as one zip with Chinese names', async () => {
    await teacher.goto(`${school.base}/library?tab=collections`)
    await byTestId(teacher, 'collection-card').filter({ hasText: '第五单元' }).click()
    await byTestId(teacher, 'collection-edit').click()
    await byTestId(teacher, 'collection-name').fill('圆（第五单元）')
    await byTestId(teacher, 'collection-description').fill('期末复习用')
    await byTestId(teacher, 'collection-save').click()
    await teacher.getByRole('heading', { name: '圆（第五单元）' }).waitFor()
    const titles = () => byTestId(teacher, 'resource-card').locator('strong').allInnerTexts()
    const before = await titles()
    await byTestId(teacher, 'collection-backward').first().click()
    await eventually('the first two changed places', async () => {
      const now = await titles()
      return now[0] === before[1] && now[1] === before[0]
    })
    await byTestId(teacher, 'collection-take-out').last().click()
    await eventually('one is out', async () => (await titles()).length === before.length - 1)
    await screenshot(teacher, 'collection')
    const [download] = await Promise.all([
      teacher.waitForEvent('download'),
      byTestId(teacher, 'collection-zip').click(),
    ])
    assert.equal(download.suggestedFilename(), '圆（第五单元）.zip')
  })

  test('a lesson knows what it is taught with, from either side', async () => {
    await teacher.goto(`${school.base}/library?tab=mine`)
    await card(teacher, '扇形').click()
    await byTestId(teacher, 'add-lesson').click()
    await byTestId(teacher, 'pick-lesson').filter({ hasText: school.lesson.title }).first().click()
    await byTestId(teacher, 'lesson-link').filter({ hasText: school.lesson.title }).waitFor()
    await screenshot(teacher, 'links')
    const { items } = await (
      await school.api(teacher, 'GET', `/api/lessons/${school.lesson.id}/resources`)
    ).json()
    assert.deepEqual(
      items.map(({ title }) => title),
      ['第二课 扇形'],
    )
    await byTestId(teacher, 'unlink').click()
    await byTestId(teacher, 'lesson-link').waitFor({ state: 'detached' })
    assert.deepEqual(teacher.pageErrors, [])
  })
})
