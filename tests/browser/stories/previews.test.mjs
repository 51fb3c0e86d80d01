// Previews of every file type, without private metadata or active content.

import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { eventually, byTestId, newPage, screenshot, startBrowser } from '../harness/browser.mjs'
import { film, gb18030, officeFiles, photo, PLACE, zip } from '../harness/files.mjs'
import { School } from '../harness/school.mjs'

const MARKDOWN =
  '# 圆的认识\n\n| 名称 | 字母 |\n| --- | --- |\n| 半径 | r |\n\n- 用**圆规**画圆\n\n<img src=x onerror="window.__hurt=1">\n\n[链接](javascript:window.__hurt=1)\n'
const POEM =
  '春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。这首诗写的是春天早晨醒来时的情景，请同学们朗读并背诵。㐂䶮'
const HTML =
  '<!DOCTYPE html><html><head><meta charset="utf-8"><title>活动单</title></head><body style="background:#fff3d6"><h1>校园活动单</h1><script>document.body.textContent="脚本跑了"</script></body></html>'

const PUPILS = 450

describe('every file opens in the page', { concurrency: false }, () => {
  let school, browser, teacher, folder
  const addresses = {}
  const original = {}

  before(async () => {
    school = await School.open()
    browser = await startBrowser('teacher')
    teacher = await newPage(browser, { name: 'teacher', baseURL: school.base })
    await school.signIn(teacher, 'wangxuemei')
    folder = join(school.server.data, 'files')
    await mkdir(folder)
    const write = async (name, bytes) => {
      original[name] = Buffer.from(bytes)
      await writeFile(join(folder, name), bytes)
    }
    const { docx, doc, xlsx } = await officeFiles(join(folder, 'office'))
    await write('认识分数 教学设计.docx', docx)
    await write('认识分数 旧教案.wps', doc)
    await write('期中成绩.xlsx', xlsx)
    await write(
      '全县成绩.csv',
      await gb18030(
        `学号,姓名,评语\r\n${Array.from({ length: PUPILS }, (_, i) => `2026010100${String(i + 1).padStart(2, '0')},学生${i + 1},"认真，有""进步"""`).join('\r\n')}`,
      ),
    )
    await write('圆的认识.md', MARKDOWN)
    await write('校园活动单.html', HTML)
    await write('古诗.txt', await gb18030(POEM))
    await write('单元资料.zip', await zip({ '课件/第一课.txt': '你好', '../../越界.txt': 'x' }))
    await write('损坏的课件.pptx', docx.subarray(0, 1500))
    await write(
      '手机照片.heic',
      Buffer.from('\0\0\0\x24ftypheic\0\0\0\0mif1heic' + '\0'.repeat(64), 'latin1'),
    )
    original['板书.jpg'] = await photo(join(folder, '板书.jpg'))
    await film(join(folder, '朗读.mp3'), ['-map', '1:a', '-c:a', 'libmp3lame'])
    await film(join(folder, '实验.mp4'), ['-c:v', 'libx264', '-pix_fmt', 'yuv420p', '-c:a', 'aac'])
    await film(join(folder, '旧录像.avi'), ['-c:v', 'mpeg4', '-c:a', 'libmp3lame'])
    await film(join(folder, '转动.gif'), ['-map', '0:v', '-t', '1'])
  })
  after(async () => {
    await browser?.close()
    await school?.close()
  })

  const open = async (name, shape) => {
    await teacher.goto(addresses[name])
    await eventually(
      `${name} is shown as ${shape}`,
      async () => (await byTestId(teacher, 'preview').getAttribute('data-shape')) === shape,
      { within: 60_000 },
    )
    await teacher.waitForTimeout(300)
    await screenshot(teacher, name.replace(/.*\./, ''))
  }

  test('all of them are chosen at once, and each becomes an entry', async () => {
    const names = [...Object.keys(original), '朗读.mp3', '实验.mp4', '旧录像.avi', '转动.gif']
    await teacher.goto(`${school.base}/library?tab=mine`)
    await byTestId(teacher, 'upload-files').setInputFiles(names.map((name) => join(folder, name)))
    for (const name of names) {
      const row = byTestId(teacher, 'upload-row').filter({ hasText: name })
      await eventually(
        `${name} is read`,
        async () => ['ready', 'failed'].includes(await row.getAttribute('data-understood')),
        { within: 90_000 },
      )
      addresses[name] = new URL(
        await row.locator('[data-test="upload-open"]').getAttribute('href'),
        school.base,
      ).href
    }
    await screenshot(teacher, 'uploaded')
    await teacher.goto(`${school.base}/library?tab=mine`)
    await byTestId(teacher, 'resource-card').first().waitFor()
    await screenshot(teacher, 'shelf')
  })

  test('documents are pages with zoom', async () => {
    await open('认识分数 教学设计.docx', 'pages')
    const page = byTestId(teacher, 'page')
    await eventually('it is drawn', () => page.evaluate((image) => image.naturalWidth >= 1000))
    const width = () => page.evaluate((image) => image.getBoundingClientRect().width)
    const before = await width()
    await byTestId(teacher, 'zoom-in').click()
    assert.ok((await width()) > before * 1.2, 'larger')
    await byTestId(teacher, 'zoom-fit').click()
    assert.ok((await width()) < before, 'the whole page is seen')
    await byTestId(teacher, 'outline-toggle').click()
    await byTestId(teacher, 'outline').getByText('教学过程').click()
    assert.equal(await byTestId(teacher, 'page-number').inputValue(), '2')
    await screenshot(teacher, 'outline')
    await open('认识分数 旧教案.wps', 'pages')
  })

  test('a spreadsheet is a table with its margins in sight, and pages where somebody wants them', async () => {
    await open('期中成绩.xlsx', 'sheets')
    const row = (page, n) =>
      byTestId(page, 'sheet').locator('tbody tr').nth(n).locator('th, td').allInnerTexts()
    assert.deepEqual(await byTestId(teacher, 'sheet').locator('thead th').allInnerTexts(), [
      '',
      'A',
      'B',
      'C',
    ])
    assert.deepEqual(await row(teacher, 1), ['2', '张小明', '95', '88'])
    const tabs = byTestId(teacher, 'sheet-tab')
    assert.deepEqual(await tabs.allInnerTexts(), ['期中', '期末'])
    await tabs.nth(1).click()
    assert.deepEqual(await row(teacher, 1), ['2', '张小明', '97', '91'])
    assert.equal(await byTestId(teacher, 'sheet').locator('tbody tr').count(), 2)
    await screenshot(teacher, 'second-sheet')
    await byTestId(teacher, 'as-pages').click()
    await eventually('it is drawn', () =>
      byTestId(teacher, 'page').evaluate(
        (image) => image.naturalWidth > 0 && /张小明/.test(image.alt),
      ),
    )
    await screenshot(teacher, 'as-pages')
    await byTestId(teacher, 'as-table').click()
    await byTestId(teacher, 'sheet').waitFor()
    // GBK-encoded, as Excel in China writes it, and longer than one step of rows.
    await open('全县成绩.csv', 'sheets')
    assert.deepEqual(await row(teacher, 0), ['1', '学号', '姓名', '评语'])
    assert.deepEqual(await row(teacher, 1), ['2', '202601010001', '学生1', '认真，有"进步"'])
    assert.equal(await byTestId(teacher, 'sheet').locator('tbody tr').count(), 200)
    await byTestId(teacher, 'more-rows').click()
    await byTestId(teacher, 'more-rows').click()
    assert.equal(await byTestId(teacher, 'more-rows').count(), 0)
    await byTestId(teacher, 'sheet').locator('tbody tr').last().scrollIntoViewIfNeeded()
    const frame = await byTestId(teacher, 'sheet').locator('xpath=..').boundingBox()
    const head = await byTestId(teacher, 'sheet').locator('thead th').nth(1).boundingBox()
    assert.ok(Math.abs(head.y - frame.y) < 2, 'the head stays while the rows move')
    await screenshot(teacher, 'last-row')
  })

  test('Markdown and web pages are read, and nothing in them runs', async () => {
    await open('圆的认识.md', 'text')
    await byTestId(teacher, 'text').locator('table').waitFor()
    assert.equal(await byTestId(teacher, 'text').locator('h1').innerText(), '圆的认识')
    assert.equal(await byTestId(teacher, 'text').locator('img').count(), 0)
    assert.equal(
      await byTestId(teacher, 'text').locator('a').count(),
      0,
      'a link that runs something is text',
    )
    assert.equal(await teacher.evaluate(() => window.__hurt), undefined)
    await open('校园活动单.html', 'web')
    assert.equal(
      await teacher.frameLocator('[data-test="web"]').locator('h1').innerText(),
      '校园活动单',
    )
    const answer = await school.api(
      teacher,
      'GET',
      `/api/resources/${addresses['校园活动单.html'].split('/').at(-1)}/html`,
    )
    assert.match(answer.headers()['content-security-policy'], /^sandbox; default-src 'none'/)
    await open('古诗.txt', 'text')
    assert.equal((await byTestId(teacher, 'text').innerText()).trim(), POEM)
  })

  test('sound and films play, those of an old camera too', async () => {
    for (const [name, shape, tag] of [
      ['朗读.mp3', 'sound', 'audio'],
      ['实验.mp4', 'film', 'video'],
      ['旧录像.avi', 'film', 'video'],
    ]) {
      await open(name, shape)
      // Autoplay policy: without a user gesture only muted playback is allowed.
      const seconds = () =>
        teacher.locator(tag).evaluate((media) =>
          Object.assign(media, { muted: true })
            .play()
            .then(() => media.duration),
        )
      assert.ok(Math.abs((await eventually(`${name} plays`, seconds)) - 3) < 0.5)
      await eventually(`${name} goes on`, () =>
        teacher.locator(tag).evaluate((media) => media.currentTime > 0.3),
      )
    }
    assert.ok(
      await teacher.locator('video').evaluate((video) => video.poster.includes('poster')),
      'with a picture before it plays',
    )
    await open('转动.gif', 'picture')
  })

  test('an old film says by itself what becomes of it; the conversion is cancelled and restarted', async () => {
    await film(join(folder, '运动会.wmv'), ['-c:v', 'wmv2', '-c:a', 'wmav2'], {
      size: '1280x720',
      seconds: 40,
    })
    await teacher.goto(`${school.base}/library`)
    await byTestId(teacher, 'upload-files').setInputFiles(join(folder, '运动会.wmv'))
    const row = byTestId(teacher, 'upload-row').filter({ hasText: '运动会' })
    // Opened at once: the page must update without a reload.
    await row.locator('[data-test="upload-open"]').click()
    const preview = byTestId(teacher, 'preview')
    await preview.waitFor()
    await teacher.evaluate(() => {
      const pane = document.querySelector('[data-test="preview"]')
      window.shapes = [pane.dataset.shape]
      new MutationObserver(() => window.shapes.push(pane.dataset.shape)).observe(pane, {
        attributes: true,
        attributeFilter: ['data-shape'],
      })
    })
    const shape = (wanted, within) =>
      eventually(
        `it is ${wanted}`,
        async () => (await preview.getAttribute('data-shape')) === wanted,
        { within },
      )
    await shape('converting', 30_000)
    await screenshot(teacher, 'converting')
    await byTestId(teacher, 'stop').click()
    await shape('none')
    await screenshot(teacher, 'stopped')
    const shapes = await teacher.evaluate(() => window.shapes)
    assert.deepEqual(
      shapes.filter((one) => one !== 'waiting'),
      ['converting', 'none'],
      'it was never without a word',
    )
    await byTestId(teacher, 'again').click()
    await shape('converting')
    await shape('film', 60_000)
    await eventually('it plays', () =>
      teacher.locator('video').evaluate((video) =>
        Object.assign(video, { muted: true })
          .play()
          .then(() => video.currentTime > 0.3),
      ),
    )
    await screenshot(teacher, 'film-after-all')
  })

  test('a zip is listed, and what cannot be shown says why', async () => {
    await open('单元资料.zip', 'entries')
    const listed = await byTestId(teacher, 'preview').innerText()
    assert.match(listed, /课件\/第一课\.txt/)
    assert.match(listed, /不安全的路径/)
    await open('损坏的课件.pptx', 'failed')
    assert.match(await byTestId(teacher, 'preview').innerText(), /文件已损坏或不完整/)
    await open('手机照片.heic', 'failed')
    assert.match(await byTestId(teacher, 'preview').innerText(), /转存为 JPEG/)
  })

  test('a photo is shared upright and without the place where it was taken', async () => {
    await open('板书.jpg', 'pages')
    assert.ok(
      await byTestId(teacher, 'page').evaluate((image) => image.naturalHeight > image.naturalWidth),
      'upright',
    )
    const save = async (page) => {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        byTestId(page, 'download').click(),
      ])
      assert.equal(download.suggestedFilename(), '板书.jpg')
      return readFile(await download.path())
    }
    assert.ok(
      (await save(teacher)).equals(original['板书.jpg']),
      'its owner gets the original back',
    )
    const colleague = await newPage(browser, {
      name: 'colleague',
      baseURL: school.base,
    })
    await school.api(
      teacher,
      'PATCH',
      `/api/resources/${addresses['板书.jpg'].split('/').at(-1)}`,
      { visibility: 'county' },
    )
    await school.signIn(colleague, 'lixiaoyan')
    await colleague.goto(addresses['板书.jpg'])
    const shared = await save(colleague)
    assert.ok(
      !shared.includes(PLACE) && !shared.includes('Exif'),
      'others get it without what it says of its owner',
    )
  })

  test('on a phone they are read as well', async () => {
    const phone = await newPage(browser, {
      name: 'phone',
      baseURL: school.base,
      viewport: { width: 390, height: 844 },
    })
    await school.signIn(phone, 'wangxuemei')
    for (const name of [
      '期中成绩.xlsx',
      '认识分数 教学设计.docx',
      '圆的认识.md',
      '单元资料.zip',
      '实验.mp4',
    ]) {
      await phone.goto(addresses[name])
      await byTestId(phone, 'preview').waitFor()
      await phone.waitForTimeout(400)
      await screenshot(phone, name.replace(/.*\./, ''))
      assert.ok(
        await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
        `${name}: nothing sticks out`,
      )
    }
    assert.deepEqual([...teacher.pageErrors, ...phone.pageErrors], [])
  })
})
