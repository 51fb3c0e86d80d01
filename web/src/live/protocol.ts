// Messages of a lesson's WebSocket, generated from src/live/protocol.rs, which documents the protocol.

import type { Schemas } from '../api'

/** Protocol version, `protocol::VERSION` of the server. */
export const VERSION = 3

export type ByeReason = Schemas['live.ByeReason']
export type ChatLine = Schemas['live.ChatLine']
export type ClientMessage = Schemas['live.FromPage']
export type Lesson = Schemas['live.Lesson']
export type MediaKind = Schemas['live.MediaKind']
export type Participant = Schemas['live.Participant']
export type ParticipantId = Participant['id']
export type Purpose = Schemas['live.Purpose']
export type Quality = Schemas['live.Quality']
export type ServerMessage = Schemas['live.ToPage']
export type ShownDeck = Schemas['live.ShownDeck']
export type Slot = Schemas['live.Slot']
export type Source = Schemas['live.Source']
export type Tile = Schemas['live.Tile']

export type MessageOf<Type extends ServerMessage['type']> = Extract<ServerMessage, { type: Type }>

/** Message that changes the document, with the revision that it makes. */
export type Change = Exclude<Extract<ServerMessage, { revision: number }>, { type: 'welcome' }>

export const isChange = (message: ServerMessage): message is Change =>
  'revision' in message && message.type !== 'welcome'
