import { expect, test } from 'vitest'
import { initialZoom, nextZoom, STEPS, WIDTH } from './zoom'

test('a slide fits as a whole, a portrait page by its width', () => {
  expect(initialZoom({ width: 1600, height: 900 })).toBe('page')
  expect(initialZoom({ width: 1600, height: 2263 })).toBe(WIDTH)
  expect(initialZoom(undefined)).toBe('page')
})

test('zoom stops at the smallest and the largest level', () => {
  expect(nextZoom('page', 1)).toBe(100)
  expect(nextZoom('page', -1)).toBe(75)
  expect(nextZoom(100, 1)).toBe(125)
  expect(nextZoom(STEPS[0], -1)).toBe(STEPS[0])
  expect(nextZoom(300, 1)).toBe(300)
})
