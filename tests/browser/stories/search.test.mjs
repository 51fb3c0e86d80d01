// Search: suggestions by keyboard, kinds of results, facets, sort order, pagination and
// highlighting.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { eventually, byTestId, newPage, screenshot, startBrowser } from '../harness/browser.mjs'
import { School } from '../harness/school.mjs'

/** More than one result page. */
const MANY = 26

describe('the search', { concurrency: false }, () => {
  let school, browser, teacher

  /** Searches for a text and waits for the results. */
  async function search(line) {
    await byTestId(teacher, 'library-find').fill(line)
    await byTestId(teacher, 'library-find').press('Enter')
    await teacher.waitForURL((url) => url.searchParams.get('q') === line)
    await teacher.locator('.results[aria-busy=false]').waitFor()
  }

  const cards = () => byTestId(teacher, 'resource-card')
  const count = (kind) =>
    byTestId(teacher, `kind-${kind}`).locator('.many').innerText().then(Number)

  before(async () => {
    school = await School.open()
    browser = await startBrowser('teacher')
    teacher = await newPage(browser, {
      name: 'teacher',
      baseURL: school.base,
      viewport: { width: 1366, height: 768 },
    })
    await school.signIn(teacher, 'wangxuemei')
    await teacher.goto(`${school.base}/library`)
    await cards().first().waitFor()
  })
  after(async () => {
    await browser?.close()
    await school?.close()
  })

  test('words, marks and counts: what is found is marked where it stands', async () => {
    // Found by its subject at once; highlighted as soon as its text has been extracted.
    await eventually(
      'the shelf is indexed, and what was asked for is marked',
      async () => {
        await search('数学')
        return (await teacher.locator('.results mark').count()) > 0
      },
      { within: 20_000 },
    )
    assert.equal(await count('resource'), await cards().count())
    await screenshot(teacher, 'found')
  })

  test('a line that is not finished is suggested, chosen with the keyboard, and taken back with Escape', async () => {
    const box = byTestId(teacher, 'library-find')
    await box.fill('')
    await box.pressSequentially('renshi', { delay: 20 })
    await byTestId(teacher, 'suggestion').first().waitFor()
    await screenshot(teacher, 'suggested')
    await box.press('ArrowDown')
    assert.equal(
      await box.getAttribute('aria-activedescendant'),
      await byTestId(teacher, 'suggestion').first().getAttribute('id'),
    )
    await box.press('Escape')
    await byTestId(teacher, 'suggestion').first().waitFor({ state: 'detached' })
    await teacher.locator('[role=search] button[aria-label]').first().click()
    await teacher.waitForURL((url) => !url.searchParams.get('q'))
  })

  test('colleagues and schools are found in the same box, and lead to what they gave', async () => {
    const { name } = school.person('wangxuemei')
    await search(name)
    await eventually('the colleague is counted', async () => (await count('person')) >= 1)
    await byTestId(teacher, 'kind-person').click()
    const person = byTestId(teacher, 'hit').filter({ hasText: name }).first()
    await person.waitFor()
    assert.equal(await person.getAttribute('data-kind'), 'person')
    await screenshot(teacher, 'people')
    await person.click()
    await teacher.waitForURL(
      (url) =>
        url.searchParams.get('q') === `“${name}”` && url.searchParams.get('kind') === 'resource',
    )
    await cards().first().waitFor()
    await screenshot(teacher, 'gave')
  })

  test('where only other kinds have it, they are shown at once', async () => {
    await search('实验小学')
    await eventually(
      'something is shown',
      async () => (await byTestId(teacher, 'hit').count()) + (await cards().count()) > 0,
    )
    await screenshot(teacher, 'school')
  })

  test('what a kind cannot be narrowed or ordered by does not stand beside it', async () => {
    await search('学')
    const schools = await count('school')
    await byTestId(teacher, 'facet-subject').first().click()
    await teacher.waitForURL((url) => url.searchParams.has('subject'))
    await teacher.locator('.results[aria-busy=false]').waitFor()
    await byTestId(teacher, 'clear-filters').waitFor()
    assert.equal(await count('school'), schools, 'a subject says nothing of schools')
    await byTestId(teacher, 'kind-school').click()
    await byTestId(teacher, 'hit').first().waitFor()
    assert.equal(await byTestId(teacher, 'hit').count(), schools)
    assert.equal(await byTestId(teacher, 'facets').count(), 0)
    assert.equal(await byTestId(teacher, 'library-sort').count(), 0)
    await screenshot(teacher, 'schools')
    await byTestId(teacher, 'kind-resource').click()
    await byTestId(teacher, 'clear-filters').click()
    await teacher.waitForURL((url) => !url.searchParams.has('subject'))
  })

  test('collections, people and schools have pages too, and a collection that is found is opened', async () => {
    const office = await newPage(browser, {
      name: 'administrator',
      baseURL: school.base,
    })
    await school.signIn(office, 'zhoumin')
    const { items } = await (await school.api(office, 'GET', '/api/communities')).json()
    const many = Array.from({ length: MANY }, (_, i) => String(i + 1).padStart(2, '0'))
    const make = async (page, path, data) =>
      assert.equal((await school.api(page, 'POST', path, data)).status(), 201, path)
    for (const n of many) {
      await make(teacher, '/api/collections', {
        title: `青山专题 ${n}`,
        visibility: 'county',
      })
      await make(office, '/api/schools', {
        community_id: items[0].id,
        name: `青山第${n}小学`,
        role: 'member',
        membership: 'allied',
      })
      await make(office, '/api/people', {
        school_id: null,
        name: `青山${n}`,
        login: `qingshan${n}`,
        role: 'observer',
      })
    }
    for (const kind of ['school', 'person', 'collection']) {
      await eventually(
        `all of ${kind} are found`,
        async () => {
          await search('青山')
          assert.equal(await count(kind), MANY)
          return true
        },
        { within: 20_000, every: 500 },
      )
      await byTestId(teacher, `kind-${kind}`).click()
      const hits = teacher.locator(`[data-test="hit"][data-kind="${kind}"]`)
      await eventually('the first page is full', async () => (await hits.count()) === 24)
      const first = await hits.allInnerTexts()
      await byTestId(teacher, 'page-later').click()
      await eventually(
        'the rest is on the second page',
        async () => (await hits.count()) === MANY - 24,
      )
      assert.ok(
        (await hits.allInnerTexts()).every((text) => !first.includes(text)),
        'nothing stands on both',
      )
      await screenshot(teacher, `${kind}-second-page`)
      await byTestId(teacher, 'page-earlier').click()
      await eventually('and back', async () => (await hits.count()) === 24)
    }
    const title = await byTestId(teacher, 'hit').first().locator('strong').innerText()
    await byTestId(teacher, 'hit').first().click()
    await teacher.getByRole('heading', { name: title }).waitFor()
    assert.match(new URL(teacher.url()).pathname, /^\/library\/collections\//)
    await teacher.goBack()
    await byTestId(teacher, 'hit').first().waitFor()
    assert.equal(
      await byTestId(teacher, 'kind-collection').getAttribute('aria-pressed'),
      'true',
      'going back shows the collections again',
    )
    await office.context().close()
  })

  test('order and filters change what is shown and stand in the address', async () => {
    await search('教')
    const before = await cards().count()
    await byTestId(teacher, 'library-sort').selectOption('newest')
    await teacher.waitForURL((url) => url.searchParams.get('sort') === 'newest')
    assert.equal(await cards().count(), before)
    const facet = byTestId(teacher, 'facet-type').first()
    const told = Number(await facet.locator('.count').innerText())
    await facet.click()
    await eventually('as many as the filter said', async () => (await cards().count()) === told)
    await screenshot(teacher, 'narrowed')
    await teacher.goBack()
    await eventually(
      'going back shows the others again',
      async () => (await cards().count()) === before,
    )
  })

  test('no result shows a message, and an incomplete phrase is no error', async () => {
    await search('火星移民指南')
    await teacher.getByText('没有找到').first().waitFor()
    assert.doesNotMatch(
      await byTestId(teacher, 'library-total').innerText(),
      /相近/,
      'nothing is not nearly something',
    )
    assert.equal(await byTestId(teacher, 'facets').count(), 0)
    await screenshot(teacher, 'nothing')
    await search('“')
    await byTestId(teacher, 'library-total').waitFor()
  })

  test('on a phone nothing sticks out', async () => {
    const phone = await newPage(browser, {
      name: 'phone',
      baseURL: school.base,
      viewport: { width: 390, height: 844 },
    })
    await school.signIn(phone, 'wangxuemei')
    await phone.goto(`${school.base}/library?q=${encodeURIComponent('数学')}`)
    await byTestId(phone, 'resource-card').first().waitFor()
    await screenshot(phone, 'found')
    for (const kind of ['resource', 'recording', 'collection', 'person', 'school']) {
      const box = await byTestId(phone, `kind-${kind}`).boundingBox()
      assert.ok(box.x >= 0 && box.x + box.width <= 390, `${kind} is on the screen`)
    }
    await phone.getByRole('button', { name: '筛选' }).click()
    await byTestId(phone, 'facet-type').first().waitFor()
    await screenshot(phone, 'filters')
    await byTestId(phone, 'library-find').fill('shu')
    await byTestId(phone, 'suggestion').first().waitFor()
    await screenshot(phone, 'suggested')
    assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth))
    assert.deepEqual(teacher.pageErrors, [])
    assert.deepEqual(phone.pageErrors, [])
  })
})
