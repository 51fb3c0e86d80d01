// The decks of a lesson, for the live lesson and the replay.

import { get, type Schemas } from '../api'

export type DeckPage = Schemas['DeckPage']
export type LessonDeck = Schemas['LessonDeck']

export const listDecks = async (lesson: string) =>
  (await get<Schemas['DeckList']>(`/api/lessons/${lesson}/decks`)).items

/** Title of a page in a list: its first line of text. */
export const headline = (page: DeckPage) =>
  page.text
    .split('\n')
    .find((line) => line.trim())
    ?.trim() ?? ''
