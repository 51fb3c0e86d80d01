// Every message between this page and a lesson that is on. The prose is in the server's src/live/protocol.rs; this is its shape.

export const VERSION = 3

export type ParticipantId = string
export type Purpose = 'camera' | 'screen'
export type MediaKind = 'audio' | 'video'
export type Role = 'lead' | 'assistant' | 'lead_room' | 'listening' | 'observer'
export type Kind = 'person' | 'classroom' | 'encoder'
export type Phase = 'planned' | 'live' | 'ended'
export type RecordingState = 'off' | 'on' | 'failing'
export type ByeReason = 'ended' | 'replaced' | 'revoked' | 'restarting' | 'flood' | 'slow'

export interface Source {
  participant: ParticipantId
  purpose: Purpose
  kind: MediaKind
}

export interface Participant {
  id: ParticipantId
  name: string
  school: string | null
  role: Role
  kind: Kind
  present: boolean
  hand: boolean
  hand_at_ms: number | null
  microphone: boolean
  camera: boolean
  sources: Source[]
}

/** The deck that everybody sees, at one of its pages, from 1. */
export interface ShownDeck {
  id: string
  title: string
  pages: number
  page: number
}

export interface ChatLine {
  participant: ParticipantId
  name: string
  at_ms: number
  text: string
}

export interface Lesson {
  id: string
  title: string
  phase: Phase
  started_at: string | null
  at_ms: number | null
  recording: RecordingState
  participants: Participant[]
  on_stage: ParticipantId[]
  chat: ChatLine[]
  deck: ShownDeck | null
  /** Programs that watch by WHEP, by name. */
  players: string[]
}

export interface Slot {
  mid: string
  kind: MediaKind
  source: Source | null
  flowing: boolean
}

/** `height` in device pixels; 0: hidden. */
export interface Tile {
  participant: ParticipantId
  purpose: Purpose
  height: number
}

export interface Quality {
  down_kbps: number
  down_loss: number
  up_loss: number
  rtt_ms: number
}

export type FromPage =
  | { type: 'publish'; purpose: Purpose; sdp: string; restart: boolean }
  | { type: 'unpublish'; purpose: Purpose }
  | { type: 'answer'; offer: number; sdp: string }
  | { type: 'restart_subscriber' }
  | { type: 'view'; tiles: Tile[] }
  | { type: 'mute'; microphone: boolean; camera: boolean }
  | { type: 'hand'; raised: boolean }
  | { type: 'call_on'; participant: ParticipantId }
  | { type: 'send_back'; participant: ParticipantId }
  | { type: 'mute_other'; participant: ParticipantId }
  | { type: 'chat'; text: string }
  | { type: 'show_deck'; deck: string; page: number }
  | { type: 'turn_page'; page: number }
  | { type: 'hide_deck' }
  | { type: 'start' }
  | { type: 'end' }
  | { type: 'ping'; at: number }

/** What changes the document; each carries the revision it makes. */
export type Change =
  | { type: 'joined'; revision: number; participant: Participant }
  | { type: 'changed'; revision: number; participant: Participant }
  | { type: 'left'; revision: number; participant: ParticipantId }
  | { type: 'stage'; revision: number; on_stage: ParticipantId[] }
  | { type: 'phase'; revision: number; phase: Phase; at: string }
  | { type: 'recording'; revision: number; state: RecordingState }
  | { type: 'chat'; revision: number; line: ChatLine }
  | { type: 'deck'; revision: number; deck: ShownDeck | null }
  | { type: 'page'; revision: number; page: number }
  | { type: 'players'; revision: number; players: string[] }

export type ToPage =
  | {
      type: 'welcome'
      version: number
      you: ParticipantId
      resume: string
      revision: number
      lesson: Lesson
    }
  | { type: 'offer'; offer: number; fresh: boolean; sdp: string }
  | { type: 'published'; ref: number; purpose: Purpose; sdp: string }
  | { type: 'slots'; slots: Slot[] }
  | Change
  | { type: 'levels'; levels: { participant: ParticipantId; level_dbov: number }[] }
  | { type: 'quality'; quality: Quality }
  | { type: 'error'; ref: number; code: string; message: string }
  | { type: 'pong'; at: number }
  | { type: 'bye'; reason: ByeReason }

export const isChange = (message: ToPage): message is Change =>
  'revision' in message && message.type !== 'welcome'
