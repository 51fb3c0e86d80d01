// Messages of a lesson's WebSocket, generated from src/live/protocol.rs, which documents the
// protocol.

import type { Schemas } from '../api'

/** Protocol version, `protocol::VERSION` of the server. */
export const VERSION = 3

export type CloseReason = Schemas['live.CloseReason']
export type ChatMessage = Schemas['live.ChatMessage']
export type ClientMessage = Schemas['live.ClientMessage']
export type Lesson = Schemas['live.LessonDocument']
export type MediaKind = Schemas['live.MediaKind']
export type Participant = Schemas['live.Participant']
export type ParticipantId = Participant['id']
export type Purpose = Schemas['live.Purpose']
export type Quality = Schemas['live.LinkQuality']
export type ServerMessage = Schemas['live.ServerMessage']
export type ShownDeck = Schemas['live.ShownDeck']
export type Slot = Schemas['live.Slot']
export type Source = Schemas['live.TrackRef']
export type Tile = Schemas['live.Tile']

export type MessageOf<Type extends ServerMessage['type']> = Extract<ServerMessage, { type: Type }>

/** Message that changes the document, with the revision that it makes. */
export type Change = Exclude<Extract<ServerMessage, { revision: number }>, { type: 'welcome' }>

export const isChange = (message: ServerMessage): message is Change =>
  'revision' in message && message.type !== 'welcome'
