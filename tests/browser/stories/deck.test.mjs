// A lesson with a deck: added from the library, turned for two villages, and replayed in sync with
// the audio.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
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

/** Text and background of each page; tests identify pages by the colour of their image. */
const PAGES = [
  ['圆的认识', [232, 244, 238]],
  ['圆心和半径', [250, 236, 200]],
  ['直径是半径的两倍', [212, 228, 250]],
  ['用绳子和图钉画圆', [250, 214, 214]],
  ['车轮为什么是圆的', [220, 250, 214]],
  ['小结与作业', [236, 222, 250]],
]

const run = promisify(execFile)

describe('a lesson taught with a deck', { concurrency: false }, () => {
  let school, teacher, willow, bridge, deck

  before(async () => {
    await prepare()
    school = await School.open()
  })
  after(() => school?.close())

  test('the teacher uploads a deck, and "teach with this" puts it into the lesson', async () => {
    teacher = await school.page('teacher', 'teacher')
    await school.signIn(teacher, 'wangxuemei')
    const file = join(school.server.data, '圆的认识.pdf')
    await printDeck(file)
    await teacher.goto(`${school.base}/library`)
    await byTestId(teacher, 'upload-files').setInputFiles(file)
    const row = byTestId(teacher, 'upload-row').filter({ hasText: '圆的认识' })
    await eventually(
      'it is understood',
      async () => (await row.getAttribute('data-understood')) === 'ready',
      { within: 60_000 },
    )
    const plan = join(school.server.data, '圆的认识 教学设计.txt')
    await writeFile(plan, '教学目标：认识圆心、半径和直径。')
    await byTestId(teacher, 'upload-files').setInputFiles(plan)
    await eventually(
      'the plan is there',
      async () =>
        (await byTestId(teacher, 'upload-row')
          .filter({ hasText: '教学设计' })
          .getAttribute('data-understood')) === 'ready',
      { within: 30_000 },
    )
    await row.last().locator('[data-test="upload-open"]').click()
    await byTestId(teacher, 'resource-title').waitFor()
    deck = new URL(teacher.url()).pathname.split('/').at(-1)
    await byTestId(teacher, 'add-link').click()
    await eventually(
      'the plan is found',
      async () => {
        const box = teacher.locator('dialog [data-test="library-find"]')
        await box.fill('圆的认识 教学设计')
        await box.press('Enter')
        return byTestId(teacher, 'pick-resource')
          .filter({ hasText: '教学设计' })
          .first()
          .waitFor({ timeout: 1000 })
          .then(() => true)
      },
      { within: 20_000, every: 500 },
    )
    await byTestId(teacher, 'pick-resource').filter({ hasText: '教学设计' }).first().click()
    await byTestId(teacher, 'link').filter({ hasText: '教学设计' }).waitFor()
    await byTestId(teacher, 'teach').click()
    await screenshot(teacher, 'teach')
    await byTestId(teacher, 'teach-lesson')
      .filter({ hasText: school.lesson.title })
      .first()
      .locator('[data-test="teach-choose"]')
      .click()
    await byTestId(teacher, 'teach-lesson').first().waitFor({ state: 'detached' })
  })

  test('the lobby lists it; a waiting room prefetches its pages before the lesson starts', async () => {
    willow = await school.page('willow', 'willow')
    const had = new Set()
    willow.on('requestfinished', (request) => had.add(new URL(request.url()).pathname))
    await school.enterRoom(willow, '柳林')
    await teacher.goto(`${school.base}/lessons/${school.lesson.id}/live`)
    await teacher.getByText('圆的认识').first().waitFor()
    await screenshot(teacher, 'lobby')
    await eventually(
      'every page is there in full size',
      () => [...had].filter((path) => path.endsWith('/large')).length === PAGES.length,
    )
    await byTestId(teacher, 'lesson-start').click()
    await byTestId(teacher, 'lesson-end').waitFor()
  })

  test('the teacher shows it and the room sees its first page, the teacher beside it', async () => {
    await byTestId(teacher, 'deck-open').click()
    await screenshot(teacher, 'choose')
    await byTestId(teacher, 'deck-show').first().click()
    for (const page of [teacher, willow]) await waitForPage(page, 1)
    await waitForVideo(willow, CAST.teacher, { test: 'inset-video' })
    await screenshot(teacher, 'shown')
    await screenshot(willow, 'shown')
  })

  test('a page turn reaches the room without a further request', async () => {
    await watchTurns(willow)
    await watchTurns(teacher)
    const turns = [
      [2, 'deck-next'],
      [3, 'deck-next'],
      [4, 'deck-next'],
      [5, 'deck-next'],
      [6, 'deck-next'],
      [5, 'deck-back'],
      [4, 'deck-back'],
      [3, 'deck-back'],
    ]
    for (const [page, button] of turns) {
      await byTestId(teacher, button).click()
      await waitForPage(willow, page)
      await teacher.waitForTimeout(250)
    }
    const clicks = await teacher.evaluate(() => window.clicks)
    const painted = await willow.evaluate(() => window.turns)
    const took = painted.map(({ at }, i) => at - clicks[i]).sort((a, b) => a - b)
    assert.equal(took.length, turns.length, 'every turn was seen once')
    console.log(
      `page turn, click to the other screen's paint: p50 ${took[took.length >> 1]} ms, max ${took.at(-1)} ms of ${took.length} (${took.join(' ')})`,
    )
  })

  test("a presenter's clicker turns pages, quick turns included, and the strip jumps", async () => {
    await teacher.keyboard.press('Home')
    await waitForPage(willow, 1)
    for (let i = 0; i < 4; i += 1) await teacher.keyboard.press('PageDown')
    await waitForPage(willow, 5)
    await byTestId(teacher, 'deck-pages').click()
    await byTestId(teacher, 'deck-thumb').nth(3).click()
    await waitForPage(willow, 4)
    await screenshot(teacher, 'strip')
    await byTestId(teacher, 'deck-pages').click()
  })

  test('a finger on a touch panel swipes the page; a scroll, a tap and two fingers turn nothing', async () => {
    const cdp = await teacher.context().newCDPSession(teacher)
    await cdp.send('Emulation.setTouchEmulationEnabled', {
      enabled: true,
      maxTouchPoints: 5,
    })
    const { x, y, width, height } = await byTestId(teacher, 'deck-page').boundingBox()
    const middle = { x: x + width / 2, y: y + height / 2 }
    const touch = (type, points) =>
      cdp.send('Input.dispatchTouchEvent', {
        type,
        touchPoints: points.map(([dx, dy], id) => ({
          x: middle.x + dx,
          y: middle.y + dy,
          id,
        })),
      })
    const drag = async (...steps) => {
      await touch('touchStart', steps[0])
      for (const step of steps.slice(1)) await touch('touchMove', step)
      await touch('touchEnd', [])
    }
    await drag([[120, 0]], [[60, 4]], [[-20, 6]], [[-120, 8]])
    await waitForPage(willow, 5)
    await drag([[-120, 0]], [[-40, 3]], [[40, 3]], [[120, 6]])
    await waitForPage(willow, 4)
    await drag([[0, 0]], [[10, 2]])
    await drag([[0, -60]], [[10, 0]], [[20, 80]])
    await drag(
      [
        [-40, 0],
        [40, 0],
      ],
      [
        [-110, 0],
        [110, 0],
      ],
    )
    await teacher.waitForTimeout(400)
    await waitForPage(willow, 4)
    await cdp.send('Emulation.setTouchEmulationEnabled', { enabled: false })
    await cdp.detach()
  })

  test('a room that joins late is on the same page, and a room that reloads as well', async () => {
    bridge = await school.page('bridge', 'bridge', {
      viewport: { width: 390, height: 844 },
    })
    await school.enterRoom(bridge, '石桥')
    await waitForPage(bridge, 4)
    await screenshot(bridge, 'late-on-a-phone')
    await willow.reload()
    await waitForPage(willow, 4)
  })

  test('a room on stage and the page share the screen; a room has no tool to turn with', async () => {
    await byTestId(teacher, 'wall-tile')
      .filter({ hasText: '柳林村' })
      .locator('[data-test="call-on"]')
      .click()
    await waitForVideo(bridge, CAST.willow, { test: 'stage-video' })
    await waitForPage(bridge, 4)
    await screenshot(willow, 'on-stage')
    await screenshot(teacher, 'on-stage')
    assert.equal(await byTestId(willow, 'deck-next').count(), 0)
    await byTestId(teacher, 'stage-send-back').click()
  })

  test('a hidden deck leaves the teacher in the main tile, and is shown again from its first page', async () => {
    await byTestId(teacher, 'deck-hide').click()
    await waitForVideo(willow, CAST.teacher, { test: 'main-video' })
    await byTestId(teacher, 'deck-open').click()
    await byTestId(teacher, 'deck-show').first().click()
    await waitForPage(willow, 1)
    await byTestId(teacher, 'deck-next').click()
    await waitForPage(willow, 2)
    await teacher.waitForTimeout(1500)
  })

  test('the replay shows the pages in sync with the audio, and seeks by page', async () => {
    await school.endLesson(teacher)
    await teacher.waitForURL('**/replay')
    const video = byTestId(teacher, 'replay-video')
    await eventually(
      'it can be sought in',
      () => video.evaluate((one) => one.readyState >= 2 && one.duration > 5),
      { within: 20_000 },
    )
    const recording = await school.recording(teacher)
    assert.deepEqual(
      recording.shown.map(({ page }) => page),
      [1, 2, 3, 4, 5, 6, 5, 4, 3, 1, 2, 3, 4, 5, 4, 5, 4, 1, 2],
    )
    for (const shown of recording.shown
      .filter(({ from_ms, to_ms }) => (to_ms ?? Infinity) - from_ms > 400)
      .slice(0, 6)) {
      await video.evaluate(
        (one, at) => {
          one.pause()
          one.currentTime = at
        },
        (shown.from_ms + 200) / 1000,
      )
      await waitForPage(teacher, shown.page)
    }
    assert.equal(await byTestId(teacher, 'replay-page').count(), PAGES.length, 'each page once')
    await screenshot(teacher, 'replay')
    await byTestId(teacher, 'replay-page').nth(5).click()
    await waitForPage(teacher, 6)
    const at = await video.evaluate((one) => one.currentTime * 1000)
    assert.ok(
      Math.abs(at - recording.shown.find(({ page }) => page === 6).from_ms) < 300,
      `the strip led to ${at} ms`,
    )
  })

  test('from the recording to the deck, from there to its plan, and from either back to the recording', async () => {
    const items = byTestId(teacher, 'lesson-resource')
    await items.first().scrollIntoViewIfNeeded()
    assert.deepEqual(await items.evaluateAll((all) => all.map(({ dataset }) => dataset.bond)), [
      'taught',
      'beside',
    ])
    await screenshot(teacher, 'resources-of-the-lesson')
    await items.first().locator('a').click()
    await eventually(
      'the deck is open at the page that was on the screen',
      async () => (await byTestId(teacher, 'page-number').inputValue()) === '6',
    )
    assert.ok(teacher.url().includes(deck))
    const lessons = byTestId(teacher, 'lesson-link')
    assert.equal(await lessons.first().getAttribute('data-bond'), 'taught')
    assert.equal(
      await lessons.first().locator('[data-test="unlink"]').count(),
      0,
      'what was taught stays taught',
    )
    await lessons.first().scrollIntoViewIfNeeded()
    await screenshot(teacher, 'lessons-of-the-deck')
    await lessons.first().locator('[data-test="open-lesson"]').click()
    await teacher.waitForURL('**/replay?resource=*')
    const first = (await school.recording(teacher)).shown[0]
    await eventually('it plays from where the deck was first shown', () =>
      byTestId(teacher, 'replay-video').evaluate(
        (video, from) => video.readyState >= 2 && video.currentTime >= from - 0.3,
        first.from_ms / 1000,
      ),
    )
    await byTestId(teacher, 'lesson-resource').filter({ hasText: '教学设计' }).locator('a').click()
    await byTestId(teacher, 'text').waitFor()
    await byTestId(teacher, 'lesson-link').first().locator('[data-test="open-lesson"]').click()
    await teacher.waitForURL('**/replay')
    await byTestId(teacher, 'replay-video').waitFor()
  })

  test('participants see the resources of the lesson that they may access', async () => {
    const assistant = await newPage(teacher.context().browser(), {
      name: 'assistant',
      baseURL: school.base,
    })
    await school.signIn(assistant, 'lixiaoyan')
    const replay = `${school.base}/lessons/${school.lesson.id}/replay`
    await assistant.goto(replay)
    await byTestId(assistant, 'lesson-resources').waitFor()
    assert.equal(
      await byTestId(assistant, 'lesson-resource').count(),
      0,
      'both are of the other school alone',
    )
    const shared = await school.api(teacher, 'PATCH', `/api/resources/${deck}`, {
      visibility: 'community',
    })
    assert.equal((await shared.json()).visibility, 'community', `${shared.status()}`)
    await assistant.reload()
    await byTestId(assistant, 'lesson-resource').waitFor()
    assert.equal(
      await byTestId(assistant, 'lesson-resource').count(),
      1,
      'the plan stays at its school',
    )
    await byTestId(assistant, 'lesson-resource').locator('a').click()
    await byTestId(assistant, 'lesson-link').locator('[data-test="open-lesson"]').click()
    await assistant.waitForURL('**/replay?resource=*')
    await assistant.setViewportSize({ width: 390, height: 844 })
    await byTestId(assistant, 'lesson-resources').scrollIntoViewIfNeeded()
    await screenshot(assistant, 'on-a-phone')
    assert.ok(await assistant.evaluate(() => document.documentElement.scrollWidth <= innerWidth))
    assert.deepEqual(assistant.pageErrors, [])
    await assistant.context().close()
  })

  test('the MP4 shows the pages', async () => {
    const recording = await eventually(
      'the MP4',
      async () => {
        const now = await school.recording(teacher)
        if (now.mp4.state === 'failed') throw new Error('the export failed')
        return now.mp4.state === 'ready' && now
      },
      { within: 90_000, every: 500 },
    )
    const reply = await school.api(teacher, 'GET', recording.mp4.url)
    const file = join(school.server.data, 'lesson.mp4')
    await writeFile(file, await reply.body())
    for (const shown of recording.shown
      .filter(({ from_ms, to_ms }) => (to_ms ?? Infinity) - from_ms > 400)
      .slice(0, 4)) {
      const at = ((shown.from_ms + 200) / 1000).toFixed(3)
      // A pixel of the page's background, outside of the teacher's inset.
      const { stdout } = await run(
        'ffmpeg',
        [
          '-v',
          'error',
          '-ss',
          at,
          '-i',
          file,
          '-frames:v',
          '1',
          '-vf',
          'crop=2:2:128:640,format=rgb24',
          '-f',
          'rawvideo',
          '-',
        ],
        { encoding: 'buffer' },
      )
      const colour = PAGES[shown.page - 1][1]
      assert.ok(
        colour.every((value, i) => Math.abs(stdout[i] - value) < 16),
        `at ${at} s the file shows ${[...stdout.subarray(0, 3)]}, page ${shown.page} is ${colour}`,
      )
    }
  })

  test('the recording is found by what stood on a page, and opens there', async () => {
    await teacher.goto(`${school.base}/recordings`)
    await byTestId(teacher, 'recordings-find').fill('车轮为什么')
    const found = byTestId(teacher, 'recording-card').filter({
      hasText: '车轮为什么',
    })
    await eventually(
      'the words of the fifth page find it',
      async () => {
        await byTestId(teacher, 'recordings-find').press('Enter')
        return (await found.count()) === 1
      },
      { within: 20_000, every: 500 },
    )
    await screenshot(teacher, 'found')
    await found.click()
    await waitForPage(teacher, 5)
    await screenshot(teacher, 'found-page')
    await teacher.goBack()
    await found.waitFor()
    assert.equal(
      await byTestId(teacher, 'recordings-find').inputValue(),
      '车轮为什么',
      'coming back finds the list as it was left',
    )
    await teacher.goto(`${school.base}/recordings?page=9`)
    await teacher.waitForURL('**/recordings')
    await teacher.goBack()
    await found.waitFor()
    // The library's search finds the lesson as well.
    await teacher.goto(
      `${school.base}/library?kind=recording&q=${encodeURIComponent('车轮为什么')}`,
    )
    await byTestId(teacher, 'hit').waitFor()
    await screenshot(teacher, 'found-in-the-library')
    await byTestId(teacher, 'hit').click()
    await teacher.waitForURL('**/replay?shown=*')
    await waitForPage(teacher, 5)
  })

  test('no client logged an error', () => {
    assert.deepEqual(
      [teacher, willow, bridge].flatMap((page) => page.pageErrors),
      [],
    )
  })
})

async function printDeck(path) {
  const browser = await startBrowser('teacher')
  const printer = await newPage(browser, { name: 'printer' })
  const sheet = ([words, colour], i) =>
    `<section style="break-after:${i < PAGES.length - 1 ? 'page' : 'auto'};box-sizing:border-box;height:719px;background:rgb(${colour});padding:80px;font:44px sans-serif"><h1>${words}</h1><p>六年级数学上册　第五单元　第 ${i + 1} 页</p><ul><li>量一量：圆规两脚的距离就是半径。</li><li>想一想：同一个圆里，半径有多少条？</li></ul></section>`
  await printer.setContent(`<style>body{margin:0}</style>${PAGES.map(sheet).join('')}`)
  await printer.pdf({
    path,
    width: '1280px',
    height: '720px',
    printBackground: true,
  })
  await browser.close()
}

/** Waits until a page is shown: its number, and the background colour of its image. */
async function waitForPage(page, number) {
  await eventually(
    `${page.label} shows page ${number}`,
    () =>
      byTestId(page, 'deck-page').evaluate(
        (box, wanted) => {
          const image = box.querySelector('img')
          if (Number(box.dataset.page) !== wanted.number || !image?.complete || !image.naturalWidth)
            return false
          const paint = Object.assign(document.createElement('canvas'), {
            width: 1,
            height: 1,
          }).getContext('2d')
          paint.drawImage(
            image,
            image.naturalWidth * 0.9,
            image.naturalHeight * 0.9,
            1,
            1,
            0,
            0,
            1,
            1,
          )
          const seen = [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3)
          return seen.every((value, i) => Math.abs(value - wanted.colour[i]) < 12)
        },
        { number, colour: PAGES[number - 1][1] },
      ),
    { within: 10_000, every: 40 },
  )
}

/**
 * Records the times of clicks and of painted page turns; all browsers share the machine's clock.
 */
async function watchTurns(page) {
  await page.evaluate(() => {
    window.clicks = []
    window.turns = []
    addEventListener(
      'click',
      (event) =>
        event.target.closest('[data-test="deck-next"], [data-test="deck-back"]') &&
        window.clicks.push(Date.now()),
      true,
    )
    const box = document.querySelector('[data-test="deck-page"]')
    new MutationObserver(() =>
      requestAnimationFrame(() =>
        setTimeout(() => window.turns.push({ page: box.dataset.page, at: Date.now() })),
      ),
    ).observe(box, { attributes: true, attributeFilter: ['data-page'] })
  })
}
