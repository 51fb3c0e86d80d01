import { describe, expect, it } from 'vitest'
import { family, parts, speed } from './marked'

describe('a hit in the library', () => {
  it('marks what was asked for and nothing else', () => {
    expect(parts({ text: '认识分数 教学设计', marks: [[2, 4]] })).toEqual([
      { text: '认识', marked: false },
      { text: '分数', marked: true },
      { text: ' 教学设计', marked: false },
    ])
  })

  it('shows the whole text when marks make no sense', () => {
    expect(
      parts({
        text: '分数',
        marks: [
          [1, 9],
          [2, 1],
        ],
      }),
    ).toEqual([{ text: '分数', marked: false }])
  })

  it('keeps angle brackets as text', () => {
    expect(
      parts({ text: '<b>a</b>', marks: [[3, 4]] })
        .map((part) => part.text)
        .join(''),
    ).toBe('<b>a</b>')
  })
})

describe('an upload', () => {
  it('says no speed before it knows one', () => {
    expect(speed([{ at: 0, bytes: 0 }])).toBeNull()
    expect(
      speed([
        { at: 0, bytes: 0 },
        { at: 100, bytes: 10 },
      ]),
    ).toBeNull()
  })

  it('measures over the moments it is given', () => {
    expect(
      speed([
        { at: 1000, bytes: 500 },
        { at: 1500, bytes: 900 },
        { at: 3000, bytes: 2500 },
      ]),
    ).toBe(1000)
  })
})

it('a WPS presentation looks like a deck, and the unknown like a file', () => {
  expect(family('dps')).toBe('deck')
  expect(family('heic')).toBe('file')
})
