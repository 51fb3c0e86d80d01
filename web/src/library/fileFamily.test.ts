import { expect, it } from 'vitest'
import { fileFamily } from './fileFamily'

it('a WPS presentation belongs to the decks, an unknown type to the files', () => {
  expect(fileFamily('dps')).toBe('deck')
  expect(fileFamily('heic')).toBe('file')
})
