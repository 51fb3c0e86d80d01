// Types of the REST API. schema.d.ts is generated from the server's OpenAPI description.

import type { components } from './schema'

export type Schemas = components['schemas']

export type AuditEntry = Schemas['AuditEntry']
export type AuditLog = Schemas['AuditLog']
export type Job = Schemas['Job']
export type LessonSummary = Schemas['LessonSummary']
export type LessonRole = Schemas['LessonRole']
export type Me = Schemas['Me']
export type Mp4 = Schemas['Mp4']
export type RecordedTrack = Schemas['RecordedTrack']
export type Recording = Schemas['Recording']
export type RecordingItem = Schemas['RecordingItem']
export type RecordingList = Schemas['RecordingList']
export type SessionItem = Schemas['SessionItem']
export type SessionList = Schemas['SessionList']
export type SetupStatus = Schemas['Needed']
export type ShownPage = Schemas['ShownPage']
export type TimelineEvent = Schemas['TimelineEvent']
export type Today = Schemas['Today']
