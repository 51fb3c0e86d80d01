import { expect, test } from 'vitest'
import { first, step, STEPS, WIDTH } from './zoom'

test('a slide is seen whole and a page of a document in its width', () => {
  expect(first({ width: 1600, height: 900 })).toBe('page')
  expect(first({ width: 1600, height: 2263 })).toBe(WIDTH)
  expect(first(undefined)).toBe('page')
})

test('steps end where they end', () => {
  expect(step('page', 1)).toBe(100)
  expect(step('page', -1)).toBe(75)
  expect(step(100, 1)).toBe(125)
  expect(step(STEPS[0], -1)).toBe(STEPS[0])
  expect(step(300, 1)).toBe(300)
})
