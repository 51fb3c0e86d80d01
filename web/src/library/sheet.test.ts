import { describe, expect, it } from 'vitest'
import { columnName, toTable } from './sheet'

describe('a sheet as a table', () => {
  it('names its columns as spreadsheet programs do', () => {
    expect([0, 25, 26, 51, 52, 701, 702].map(columnName)).toEqual([
      'A',
      'Z',
      'AA',
      'AZ',
      'BA',
      'ZZ',
      'AAA',
    ])
  })

  it('has every row and column up to the last that is used', () => {
    const { columns, rows, numeric } = toTable({
      name: '成绩',
      cut: false,
      rows: {
        0: { 0: '姓名', 2: '数学' },
        2: { 0: '张小明', 2: '95' },
        3: { 0: '李小红', 2: '88.5' },
      },
    })
    expect(columns).toEqual(['A', 'B', 'C'])
    expect(rows.map(({ n, cells }) => [n, ...cells])).toEqual([
      [1, '姓名', '', '数学'],
      [2, '', '', ''],
      [3, '张小明', '', '95'],
      [4, '李小红', '', '88.5'],
    ])
    expect(numeric).toEqual([false, false, true])
  })

  it('may be empty', () => {
    expect(toTable({ name: '', cut: false, rows: {} })).toEqual({
      columns: [],
      rows: [],
      numeric: [],
    })
  })
})
