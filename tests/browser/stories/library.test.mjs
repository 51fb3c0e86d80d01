// The library: a file is uploaded, processed, found, read, commented on and removed.

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { eventually, byTestId, newPage, screenshot, startBrowser } from '../harness/browser.mjs'
import { School } from '../harness/school.mjs'

const NAME = '圆的认识 教学设计.md'
const TEXT =
  '# 圆的认识 教学设计\n\n六年级数学上册 第五单元\n\n教学目标：认识圆心、半径和直径，会用圆规画圆。\n\n用绳子和图钉在操场上画一个大圆。<img src=x onerror="window.__hurt=1">\n'

describe('the shared library', { concurrency: false }, () => {
  let school, browser, teacher, file, address

  before(async () => {
    school = await School.open()
    browser = await startBrowser('teacher')
    teacher = await newPage(browser, { name: 'teacher', baseURL: school.base })
    file = join(school.server.data, NAME)
    await writeFile(file, TEXT)
    await school.signIn(teacher, 'wangxuemei')
  })
  after(async () => {
    await browser?.close()
    await school?.close()
  })

  test('the shelf shows what other teachers gave, and narrows by subject', async () => {
    await teacher.goto(`${school.base}/library`)
    await byTestId(teacher, 'resource-card').first().waitFor()
    const all = await byTestId(teacher, 'resource-card').count()
    await screenshot(teacher, 'shelf')
    await byTestId(teacher, 'facet-subject').filter({ hasText: '数学' }).click()
    await eventually('fewer cards', async () => {
      const now = await byTestId(teacher, 'resource-card').count()
      return now > 0 && now < all
    })
    await screenshot(teacher, 'mathematics')
    await byTestId(teacher, 'clear-filters').click()
    await eventually(
      'all again',
      async () => (await byTestId(teacher, 'resource-card').count()) === all,
    )
  })

  test('a file chosen on the page arrives, is understood and can be opened', async () => {
    await byTestId(teacher, 'upload-files').setInputFiles(file)
    const row = byTestId(teacher, 'upload-row').filter({ hasText: NAME })
    await row.waitFor()
    await eventually(
      'it has arrived',
      async () => (await row.getAttribute('data-stage')) === 'done',
    )
    await eventually(
      'it is understood',
      async () => (await row.getAttribute('data-understood')) === 'ready',
      { within: 60_000 },
    )
    await screenshot(teacher, 'uploaded')
    await row.locator('[data-test="upload-open"]').click()
    await byTestId(teacher, 'text').waitFor()
    assert.match(await byTestId(teacher, 'text').innerText(), /认识圆心、半径和直径/)
    assert.equal(
      await teacher.evaluate(() => window.__hurt),
      undefined,
      'what a file says is text, never a page',
    )
    address = teacher.url()
    await screenshot(teacher, 'opened')
  })

  test('what the file suggests about itself is confirmed in one click, and the rest is written down', async () => {
    if (await byTestId(teacher, 'confirm-all').count()) {
      await byTestId(teacher, 'confirm-all').click()
      await byTestId(teacher, 'confirm-all').waitFor({ state: 'detached' })
    }
    await byTestId(teacher, 'edit').click()
    await byTestId(teacher, 'describe-subject').fill('数学')
    await byTestId(teacher, 'describe-grade').fill('六年级')
    await byTestId(teacher, 'describe-visibility').selectOption('county')
    await screenshot(teacher, 'describe')
    await byTestId(teacher, 'describe-save').click()
    await byTestId(teacher, 'describe-save').waitFor({ state: 'detached' })
    assert.equal(await byTestId(teacher, 'about-grade').innerText(), '六年级')
    await screenshot(teacher, 'described')
  })

  test('it is found by a word of its body', async () => {
    await teacher.goto(`${school.base}/library`)
    await eventually(
      'the search finds it',
      async () => {
        await byTestId(teacher, 'library-find').fill('图钉')
        await byTestId(teacher, 'library-search').click()
        await teacher.waitForTimeout(600)
        return (
          (await byTestId(teacher, 'resource-card').filter({ hasText: '圆的认识' }).count()) ===
            1 && teacher.url().includes('q=')
        )
      },
      { within: 20_000 },
    )
    await screenshot(teacher, 'found')
    await byTestId(teacher, 'library-find').fill('yuande')
    await byTestId(teacher, 'suggestion').filter({ hasText: '圆的认识' }).first().waitFor()
    await screenshot(teacher, 'suggested')
    await byTestId(teacher, 'suggestion').filter({ hasText: '圆的认识' }).first().click()
    await byTestId(teacher, 'resource-title').waitFor()
    assert.equal(new URL(teacher.url()).pathname, new URL(address).pathname)
  })

  test('the original comes back byte for byte under its own name', async () => {
    const [download] = await Promise.all([
      teacher.waitForEvent('download'),
      byTestId(teacher, 'download').click(),
    ])
    assert.equal(download.suggestedFilename(), NAME)
    assert.equal(await readFile(await download.path(), 'utf8'), TEXT)
  })

  test('the same file is recognised before it is sent twice', async () => {
    await teacher.goto(`${school.base}/library`)
    let sent = 0
    teacher.on('request', (request) => {
      if (request.method() === 'POST' && new URL(request.url()).pathname === '/api/uploads')
        sent += 1
    })
    await byTestId(teacher, 'upload-files').setInputFiles(file)
    const row = byTestId(teacher, 'upload-row').filter({ hasText: NAME })
    await eventually('it is known', async () => (await row.getAttribute('data-stage')) === 'known')
    await screenshot(teacher, 'known')
    await row.locator('[data-test="upload-cancel"]').click()
    assert.equal(sent, 0, 'nothing was sent')
  })

  test('another teacher reads, rates and comments it, and may not change it', async () => {
    const other = await newPage(browser, {
      name: 'colleague',
      baseURL: school.base,
    })
    await school.signIn(other, 'lixiaoyan')
    await other.goto(address)
    await byTestId(other, 'text').waitFor()
    assert.equal(await byTestId(other, 'edit').count(), 0)
    assert.equal(await byTestId(other, 'remove').count(), 0)
    await byTestId(other, 'rate').nth(4).click()
    await byTestId(other, 'comment-text').fill('在操场上画圆，孩子们特别喜欢。')
    await byTestId(other, 'comment-send').click()
    await byTestId(other, 'comment').filter({ hasText: '孩子们特别喜欢' }).waitFor()
    await screenshot(other, 'talk')
  })

  test('slides become pages that are turned and found by what stands on them, and are kept in a collection', async () => {
    const deck = join(school.server.data, '分数的初步认识.pdf')
    const printer = await newPage(browser, { name: 'printer' })
    await printer.setContent(
      '<style>body{margin:0}</style>' +
        ['分数的初步认识', '把一个月饼平均分成两份', '小结与蝙蝠的故事']
          .map(
            (words, i) =>
              `<section style="break-inside:avoid;break-after:page;box-sizing:border-box;${i < 2 ? '' : 'break-after:auto;'}height:700px;background:#e8f4ee;font:48px sans-serif;padding:80px"><h1>${words}</h1><p>第 ${i + 1} 页</p></section>`,
          )
          .join(''),
    )
    await printer.pdf({
      path: deck,
      width: '1280px',
      height: '720px',
      printBackground: true,
    })
    await printer.close()
    await teacher.goto(`${school.base}/library`)
    await byTestId(teacher, 'upload-files').setInputFiles(deck)
    const row = byTestId(teacher, 'upload-row').filter({
      hasText: '分数的初步认识',
    })
    await eventually(
      'it is understood',
      async () => (await row.getAttribute('data-understood')) === 'ready',
      { within: 60_000 },
    )
    await screenshot(teacher, 'deck-on-shelf')
    await row.locator('[data-test="upload-open"]').click()
    await eventually('its first page is drawn', () =>
      byTestId(teacher, 'page').evaluate((image) => image.naturalWidth >= 1000),
    )
    assert.equal(await byTestId(teacher, 'page-thumb').count(), 3)
    await byTestId(teacher, 'page-next').click()
    assert.equal(await byTestId(teacher, 'page-number').inputValue(), '2')
    await eventually('the second page is drawn', () =>
      byTestId(teacher, 'page').evaluate((image) => image.complete && image.alt.includes('月饼')),
    )
    await screenshot(teacher, 'deck')
    await byTestId(teacher, 'comment-of-page').check()
    await byTestId(teacher, 'comment-text').fill('切月饼的图可以让孩子们先猜。')
    await byTestId(teacher, 'comment-send').click()
    const said = byTestId(teacher, 'comment').filter({ hasText: '先猜' })
    assert.equal(await said.locator('[data-test="comment-page"]').innerText(), '第 2 页')
    assert.equal(
      await byTestId(teacher, 'comment-of-page').isChecked(),
      false,
      'the next one is of the whole, unless it is said',
    )
    await said.scrollIntoViewIfNeeded()
    await screenshot(teacher, 'comment-of-page')
    await byTestId(teacher, 'page-next').click()
    assert.equal(await byTestId(teacher, 'page-number').inputValue(), '3')
    await said.locator('[data-test="comment-page"]').click()
    await eventually(
      'the comment leads to its page',
      async () => (await byTestId(teacher, 'page-number').inputValue()) === '2',
    )
    await eventually('and it is in view', () =>
      byTestId(teacher, 'page').evaluate((image) => {
        const { top, bottom } = image.getBoundingClientRect()
        return top >= 0 && bottom <= innerHeight
      }),
    )
    await screenshot(teacher, 'jumped')
    await byTestId(teacher, 'collect').click()
    await byTestId(teacher, 'collection-title').fill('分数单元')
    await byTestId(teacher, 'collection-make').click()
    await byTestId(teacher, 'collection-make').waitFor({ state: 'detached' })
    await teacher.goto(`${school.base}/library?tab=collections`)
    await byTestId(teacher, 'collection-card').filter({ hasText: '分数单元' }).click()
    const [zip] = await Promise.all([
      teacher.waitForEvent('download'),
      byTestId(teacher, 'collection-zip').click(),
    ])
    assert.match(zip.suggestedFilename(), /分数单元.*\.zip$/)
    assert.equal((await readFile(await zip.path())).subarray(0, 2).toString(), 'PK')
    await screenshot(teacher, 'collection')
    await eventually(
      'a word of its third page finds it',
      async () => {
        await teacher.goto(`${school.base}/library?q=${encodeURIComponent('蝙蝠')}`)
        await byTestId(teacher, 'library-total').waitFor()
        return (
          (await byTestId(teacher, 'resource-card')
            .filter({ hasText: '分数的初步认识' })
            .count()) === 1
        )
      },
      { within: 20_000, every: 500 },
    )
    await screenshot(teacher, 'deck-found')
    await byTestId(teacher, 'resource-card').click()
    await eventually(
      'it opens where the word stands',
      async () => (await byTestId(teacher, 'page-number').inputValue()) === '3',
    )
  })

  test('an upload is paused and goes on, and goes on as well after the page was loaded again', async () => {
    // Large, unique content, so that the upload takes long enough to be paused.
    const big = join(school.server.data, '校园开放日.bin')
    const bytes = Buffer.alloc(24 * 1024 * 1024)
    for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE((i * 2654435761) >>> 0, i)
    await writeFile(big, bytes)
    await teacher.goto(`${school.base}/library`)
    const line = await teacher.context().newCDPSession(teacher)
    await line.send('Network.enable')
    await line.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 20,
      downloadThroughput: -1,
      uploadThroughput: 3 * 1024 * 1024,
    })
    await byTestId(teacher, 'upload-files').setInputFiles(big)
    const row = byTestId(teacher, 'upload-row').filter({ hasText: '校园开放日' })
    const sent = async () => Number(await row.locator('progress').getAttribute('value'))
    const pause = async () => {
      await row.locator('[data-test="upload-pause"]').click()
      await eventually(
        'it is paused',
        async () => (await row.getAttribute('data-stage')) === 'paused',
      )
      return sent()
    }
    await eventually('some of it is sent', async () => (await sent()) > 3_000_000, {
      within: 30_000,
    })
    await screenshot(teacher, 'sending')
    const before = await pause()
    await teacher.waitForTimeout(700)
    assert.equal(await sent(), before, 'nothing is sent meanwhile')
    await screenshot(teacher, 'paused')
    await row.locator('[data-test="upload-resume"]').click()
    await eventually('it goes on', async () => (await sent()) > before + 3_000_000, {
      within: 30_000,
    })
    await pause()
    teacher.on('dialog', (dialog) => dialog.accept())
    await teacher.reload()
    await line.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: -1,
    })
    await byTestId(teacher, 'upload-unfinished').filter({ hasText: '校园开放日' }).waitFor()
    await screenshot(teacher, 'unfinished')
    const offsets = []
    teacher.on('request', (request) => {
      if (request.method() === 'PATCH') offsets.push(Number(request.headers()['upload-offset']))
    })
    await byTestId(teacher, 'upload-again').setInputFiles(big)
    await eventually(
      'it has arrived',
      async () => (await row.getAttribute('data-stage')) === 'done',
      { within: 60_000 },
    )
    assert.ok(offsets[0] > 1_000_000, `it began again at ${offsets[0]}`)
  })

  test('on a phone and in English it is the same library', async () => {
    const phone = await newPage(browser, {
      name: 'phone',
      baseURL: school.base,
      viewport: { width: 390, height: 844 },
    })
    await school.signIn(phone, 'wangxuemei')
    await phone.goto(`${school.base}/library`)
    await byTestId(phone, 'resource-card').first().waitFor()
    await screenshot(phone, 'shelf')
    await phone.goto(address)
    await byTestId(phone, 'text').waitFor()
    await screenshot(phone, 'opened')
    assert.ok(
      await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
      'nothing sticks out',
    )
    await byTestId(phone, 'language').first().click()
    await phone.goto(`${school.base}/library`)
    await byTestId(phone, 'resource-card').first().waitFor()
    await screenshot(phone, 'english')
  })

  test('removed after a question, it is gone for everybody', async () => {
    await teacher.goto(address)
    await byTestId(teacher, 'remove').click()
    await screenshot(teacher, 'remove')
    await byTestId(teacher, 'confirm').click()
    await teacher.waitForURL('**/library')
    const path = `/api/resources/${new URL(address).pathname.split('/').at(-1)}`
    assert.equal((await school.api(teacher, 'GET', path)).status(), 404)
    assert.deepEqual(teacher.pageErrors, [])
  })
})
