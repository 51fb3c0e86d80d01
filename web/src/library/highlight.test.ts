import { describe, expect, it } from 'vitest'
import { segments } from './highlight'

describe('a highlighted text', () => {
  it('marks the matches and nothing else', () => {
    expect(segments({ text: '认识分数 教学设计', marks: [[2, 4]] })).toEqual([
      { text: '认识', marked: false },
      { text: '分数', marked: true },
      { text: ' 教学设计', marked: false },
    ])
  })

  it('ignores invalid marks', () => {
    expect(
      segments({
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
      segments({ text: '<b>a</b>', marks: [[3, 4]] })
        .map(({ text }) => text)
        .join(''),
    ).toBe('<b>a</b>')
  })
})
