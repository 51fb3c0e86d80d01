// Types of the library: records of the REST API, and the values that its forms offer.

import type { Schemas } from '../api'

export type Collection = Schemas['CollectionSummary']
export type CollectionWithItems = Schemas['CollectionDetail']
export type Comment = Schemas['Comment']
export type CurriculumTerms = Schemas['Vocabulary']
export type Hit = Schemas['ResultHit']
export type LessonResource = Schemas['LessonResource']
export type LinkedLesson = Schemas['LinkedLesson']
export type KnownContent = Schemas['KnownContentList']
export type Links = Schemas['ResourceLinks']
export type MarkedText = Schemas['MarkedText']
export type Page = Schemas['DeckPage']
export type Resource = Schemas['ResourceDetail']
export type ResourceCard = Schemas['ResourceSummary']
export type ResourceList = Schemas['ResourceList']
export type ResourceText = Schemas['ResourceText']
export type ResourceType = Schemas['ResourceKind']
export type SearchResults = Schemas['SearchResponse']
export type Suggestion = Schemas['Suggestion']
export type UnfinishedUploads = Schemas['UploadList']
export type UploadState = Schemas['UploadState']
export type Visibility = Schemas['Visibility']

/**
 * One sheet of a spreadsheet. Rows and columns count from 0; empty ones are absent. The server
 * sends it from storage, without a schema.
 */
export interface Sheet {
  name: string
  rows: Record<string, Record<string, string>>
  /** The original has more cells. */
  cut: boolean
}

/** All resource types, in the order of the forms. */
export const RESOURCE_TYPES = [
  'courseware',
  'lesson_plan',
  'exercise',
  'micro_lesson',
  'recording',
  'other',
] as const satisfies readonly ResourceType[]

/** All visibilities, from the narrowest to the widest. */
export const VISIBILITIES = [
  'private',
  'school',
  'community',
  'county',
  'public',
] as const satisfies readonly Visibility[]

/**
 * Curriculum fields of a resource that are a line of text, with the list of their suggested terms.
 */
export const CURRICULUM_FIELDS = [
  ['stage', 'stages'],
  ['grade', 'grades'],
  ['subject', 'subjects'],
  ['edition', 'editions'],
  ['volume', 'volumes'],
  ['unit', null],
  ['period', null],
  ['licence', 'licences'],
  ['source', null],
] as const
export type CurriculumField = (typeof CURRICULUM_FIELDS)[number][0]
