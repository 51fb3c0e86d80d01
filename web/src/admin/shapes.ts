// What the management pages read and write, as the server has it.

import type { Named, PersonRole } from '../api'

export interface Community {
  id: string
  name: string
  county: string
}

export interface School {
  id: string
  community_id: string | null
  name: string
  role: 'core' | 'member'
  membership: 'close' | 'allied' | null
}

export interface Person {
  id: string
  name: string
  login: string | null
  role: PersonRole
  school_id: string | null
  school: Named | null
  initial_password?: string
}

export interface Classroom {
  id: string
  school_id: string
  name: string
  school: Named
  has_pass: boolean
}

export interface Term {
  id: string
  name: string
  starts_on: string
  ends_on: string
}

export interface Period {
  id: string
  name: string
  starts: string
  ends: string
}

export interface Series {
  id: string
  name: string
  subject: string
  grade: string
  term_id: string
  weekday: number
  period_id: string
  lead_id: string
  assistant_ids: string[]
  lead_classroom_id: string | null
  classroom_ids: string[]
}

/** A field of a form: what is asked, and how. */
export interface Field {
  name: string
  label: string
  kind: 'text' | 'select' | 'many' | 'date' | 'time' | 'moment'
  required?: boolean
  hint?: string
  options?: { value: string | number; label: string }[]
  /** Shown only when this says so; a hidden field is sent as null. */
  when?: (values: Values) => boolean
}

export type Values = Record<string, unknown>
