// Types of the admin pages: records of the REST API, and the fields of their forms.

import type { Schemas } from '../api'

export type Classroom = Schemas['ClassroomItem']
export type Community = Schemas['Community']
export type Period = Schemas['Period']
/** `initial_password` is only in the answer that creates the person. */
export type Person = Schemas['Added']
export type InitialPassword = Schemas['InitialPassword']
export type School = Schemas['School']
export type Series = Schemas['Series']
export type Term = Schemas['Term']
export type LessonToken = Schemas['TokenSummary']
export type NewLessonToken = Schemas['CreatedToken']
export type NewPass = Schemas['NewPass']
export type ReviewSettings = Schemas['LibrarySettings']

/** Field of a form. */
export interface Field {
  name: string
  label: string
  kind: 'text' | 'select' | 'many' | 'date' | 'time' | 'moment'
  required?: boolean
  hint?: string
  options?: { value: string | number; label: string }[]
  /** Condition for showing the field; a hidden field is sent as null. */
  when?: (values: Values) => boolean
}

export type Values = Record<string, unknown>
