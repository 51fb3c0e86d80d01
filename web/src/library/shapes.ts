// The shared library as the server tells it.

import type { LessonCard, Named } from '../api'

export const RESOURCE_TYPES = [
  'courseware',
  'lesson_plan',
  'exercise',
  'micro_lesson',
  'recording',
  'other',
] as const
export type ResourceType = (typeof RESOURCE_TYPES)[number]
export const VISIBILITIES = ['private', 'school', 'community', 'county', 'public'] as const
export type Visibility = (typeof VISIBILITIES)[number]

/** What a teacher says about a resource; `""` is "not said". */
export interface Described {
  title: string
  type: ResourceType
  stage: string
  grade: string
  subject: string
  edition: string
  volume: string
  unit: string
  period: string
  keywords: string[]
  licence: string
  source: string
}

export interface Preview {
  state: 'waiting' | 'ready' | 'failed'
  job_id: string | null
  /** 0..1 */
  progress: number
  problem: string | null
  pages: number
  thumbnail_url: string | null
  image_url: string | null
  media_url: string | null
  /** 0..1 while a copy that browsers play is being made */
  converting: number | null
  duration_ms: number | null
}

export interface ResourceCard extends Described {
  id: string
  /** Fields that were filled in by suggestion and that nobody confirmed. */
  suggested: string[]
  owner: Named
  school: Named | null
  visibility: Visibility
  asked_visibility: Visibility
  review: 'none' | 'pending' | 'approved' | 'returned'
  version: number
  file: {
    name: string
    size_bytes: number
    type: string
    mime: string
    sha256: string
    url: string
  }
  preview: Preview
  uses: number
  rating: number | null
  ratings: number
  comments: number
  created_at: string
  updated_at: string
  can_edit: boolean
}

export interface Version {
  number: number
  file_name: string
  size_bytes: number
  type: string
  changes: string
  by: string
  created_at: string
  url: string
}

export interface Resource extends ResourceCard {
  description: string
  review_note: string
  published: number
  versions: Version[]
  problem_text: string | null
  /** As the file itself has it. */
  file_author: string | null
  facts: {
    outline: { level: number; text: string; page: number | null }[]
    entries: { path: string; size: number }[]
    /** Sheets that can be looked at as tables. */
    sheets: number
    notes: string[]
  }
  my_rating: number | null
  can_review: boolean
}

export type { DeckPage as Page } from '../deck/deck'

/** One sheet of a spreadsheet: rows and columns from 0, as keys of objects; what is empty is not there. */
export interface Sheet {
  name: string
  rows: Record<string, Record<string, string>>
  /** The original has more. */
  cut: boolean
}

export interface Comment {
  id: string
  by: Named
  page: number | null
  text: string
  created_at: string
  can_remove: boolean
}

/** How a resource and a lesson belong together: put into it, linked by somebody, or beside one of those. */
export type Bond = 'taught' | 'linked' | 'beside'
export type LinkedLesson = LessonCard & { bond: Bond }
export type LessonResource = ResourceCard & { bond: Bond }

export interface Links {
  resources: ResourceCard[]
  lessons: LinkedLesson[]
}

export interface Collection {
  id: string
  title: string
  description: string
  owner: Named
  visibility: Visibility
  count: number
  updated_at: string
  can_edit: boolean
}

/** The curriculum's words for select boxes; others may be typed. */
export interface Words {
  stages: string[]
  grades: string[]
  subjects: string[]
  editions: string[]
  volumes: string[]
  licences: string[]
}

/** The curriculum's fields of one line, and where their words to choose from are. */
export const COURSE_FIELDS = [
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
export type CourseField = (typeof COURSE_FIELDS)[number][0]

/** A text, and which parts of it to mark, in UTF-16 units. */
export interface Marked {
  text: string
  marks: [number, number][]
}

export interface Hit {
  kind: string
  id: string
  title: Marked
  author: string | null
  school: string | null
  snippets: (Marked & { page: number | null })[]
  facets: Record<string, string>
  /** Milliseconds since 1970. */
  created_at: number
}

export interface Found {
  total: number
  /** How many of them can be leafed through. */
  reachable: number
  approximate: boolean
  hits: Hit[]
  facets: Record<string, { value: string; count: number }[]>
}

export interface Suggestion extends Marked {
  kind: string
  id: string
}

export interface UploadState {
  id: string
  file_name: string
  size_bytes: number
  offset: number
  resource_id: string | null
  expires_at: string
}
