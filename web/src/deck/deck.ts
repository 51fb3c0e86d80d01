// The decks of a lesson, as the live page and the replay load them.

import { get } from '../api'

export interface DeckPage {
  n: number
  /** Of the large picture; 0 where it could not be drawn. */
  width: number
  height: number
  text: string
  large_url: string | null
  small_url: string | null
}

export interface LessonDeck {
  id: string
  resource_id: string
  title: string
  pages: DeckPage[]
}

export const decksOf = async (lesson: string) =>
  (await get<{ items: LessonDeck[] }>(`/api/lessons/${lesson}/decks`)).items

/** What a page is called in a list: its first words. */
export const headline = (page: DeckPage) =>
  page.text
    .split('\n')
    .find((line) => line.trim())
    ?.trim() ?? ''
