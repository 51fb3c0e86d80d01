// A sheet as a table: every row and column from the first to the last that has anything, the empty ones between them included. Pure.

import type { Sheet } from './shapes'

export interface Table {
  /** As the programs name them: A, B … Z, AA. */
  columns: string[]
  /** `n` as in the margin, from 1. */
  rows: { n: number; cells: string[] }[]
  /** A column of numbers is read from its last digit. */
  numeric: boolean[]
}

export function tableOf({ rows }: Sheet): Table {
  const last = Math.max(-1, ...Object.keys(rows).map(Number))
  const width =
    Math.max(-1, ...Object.values(rows).flatMap((cells) => Object.keys(cells).map(Number))) + 1
  const columns = Array.from({ length: width }, (_, column) => letters(column))
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

export function letters(column: number): string {
  const rest = Math.floor(column / 26) - 1
  return (rest >= 0 ? letters(rest) : '') + String.fromCharCode(65 + (column % 26))
}

/** Its heading is no number; one number more or less makes no difference. */
function isNumeric(values: string[]): boolean {
  const said = values.filter(Boolean)
  const numbers = said.filter((value) => /^-?[\d,]*\.?\d+%?$/.test(value)).length
  return numbers > 0 && numbers * 2 > said.length
}
