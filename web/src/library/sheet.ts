// Converts a sparse sheet to a table with all rows and columns up to the last used one. Pure.

import type { Sheet } from './types'

export interface Table {
  /** A, B … Z, AA, as in spreadsheet programs. */
  columns: string[]
  /** `n` is the row number, from 1. */
  rows: { n: number; cells: string[] }[]
  /** True for columns of numbers, which are aligned right. */
  numeric: boolean[]
}

export function toTable({ rows }: Sheet): Table {
  const last = Math.max(-1, ...Object.keys(rows).map(Number))
  const width =
    Math.max(-1, ...Object.values(rows).flatMap((cells) => Object.keys(cells).map(Number))) + 1
  const columns = Array.from({ length: width }, (_, column) => columnName(column))
  const table = Array.from({ length: last + 1 }, (_, row) => ({
    n: row + 1,
    cells: columns.map((_, column) => rows[row]?.[column] ?? ''),
  }))
  return {
    columns,
    rows: table,
    numeric: columns.map((_, column) => isNumeric(table.map(({ cells }) => cells[column] ?? ''))),
  }
}

export function columnName(column: number): string {
  const rest = Math.floor(column / 26) - 1
  return (rest >= 0 ? columnName(rest) : '') + String.fromCharCode(65 + (column % 26))
}

/** Returns whether more than half of the non-empty cells are numbers; headings are not. */
function isNumeric(values: string[]): boolean {
  const filled = values.filter(Boolean)
  const numbers = filled.filter((value) => /^-?[\d,]*\.?\d+%?$/.test(value)).length
  return numbers > 0 && numbers * 2 > filled.length
}
