// The subscriber connection: server → this page. The server offers slots; what a slot shows changes without a new offer.

import { ref, shallowReactive, shallowRef } from 'vue'
import { watchHealth } from './health'
import type { FromPage, MediaKind, ParticipantId, Purpose, Slot } from './protocol'

const SOUND_AGAIN_MS = 1000

export class Subscriber {
  connection: RTCPeerConnection | null = null
  readonly slots = shallowRef<Slot[]>([])
  /** By the mid of their transceiver; a track lives as long as the connection, whoever it shows. */
  readonly tracks = shallowReactive(new Map<string, MediaStreamTrack>())
  /** The browser wants a click before it plays sound. */
  readonly soundBlocked = ref(false)
  readonly connected = ref(false)

  private readonly voices = new Map<string, HTMLAudioElement>()
  private stopWatching: () => void = () => undefined
  private newest = 0
  private busy: Promise<void> = Promise.resolve()

  constructor(
    private readonly say: (message: FromPage) => void,
    /** The connection is unwell: perhaps the whole line is. */
    private readonly unwell: () => void,
    /** Nothing helped: the page must come anew. */
    private readonly lost: () => void,
  ) {}

  /** The track that shows this source now, if any slot does. */
  track(participant: ParticipantId, purpose: Purpose, kind: MediaKind): MediaStreamTrack | null {
    const slot = this.slot(participant, purpose, kind)
    return (slot && this.tracks.get(slot.mid)) ?? null
  }

  slot(participant: ParticipantId, purpose: Purpose, kind: MediaKind): Slot | undefined {
    return this.slots.value.find(
      (one) =>
        one.kind === kind &&
        one.source?.participant === participant &&
        one.source.purpose === purpose,
    )
  }

  takeOffer(offer: number, fresh: boolean, sdp: string) {
    this.newest = offer
    this.busy = this.busy.then(() => this.answer(offer, fresh, sdp)).catch(() => this.startOver())
  }

  takeSlots(slots: Slot[]) {
    this.slots.value = slots
  }

  /** After a person's click: everything that waited plays. */
  async unlockSound() {
    this.soundBlocked.value = false
    await Promise.all([...this.voices.values()].map((voice) => this.play(voice)))
  }

  /** After a welcome: the path that took the socket with it may have been the media's, too. */
  recover() {
    if (this.connection && this.connection.connectionState !== 'new')
      this.say({ type: 'restart_subscriber' })
  }

  close() {
    this.stopWatching()
    this.connection?.close()
    this.connection = null
    this.connected.value = false
    for (const voice of this.voices.values()) voice.srcObject = null
    this.voices.clear()
    this.tracks.clear()
    this.slots.value = []
  }

  private async answer(offer: number, fresh: boolean, sdp: string) {
    if (fresh || !this.connection) this.begin()
    if (offer !== this.newest) return
    const connection = this.connection
    if (!connection) return
    await connection.setRemoteDescription({ type: 'offer', sdp })
    const answer = await connection.createAnswer()
    await connection.setLocalDescription(answer)
    if (connection !== this.connection || offer !== this.newest) return
    this.say({ type: 'answer', offer, sdp: connection.localDescription?.sdp ?? answer.sdp ?? '' })
  }

  private begin() {
    const kept = this.slots.value
    this.close()
    this.slots.value = kept
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' })
    this.connection = connection
    this.stopWatching = watchHealth(connection, this.unwell, () =>
      this.say({ type: 'restart_subscriber' }),
    )
    connection.addEventListener('connectionstatechange', () => {
      this.connected.value = connection.connectionState === 'connected'
    })
    connection.ontrack = ({ track, transceiver }) => {
      const mid = transceiver.mid
      if (mid === null || connection !== this.connection) return
      this.tracks.set(mid, track)
      if (track.kind === 'audio') this.hear(mid, track)
    }
  }

  /** Sound plays through an element of its own: a video element that is moved or removed must not take a voice with it. */
  private hear(mid: string, track: MediaStreamTrack) {
    const voice = document.createElement('audio')
    voice.autoplay = true
    voice.srcObject = new MediaStream([track])
    this.voices.set(mid, voice)
    void this.play(voice)
  }

  private async play(voice: HTMLAudioElement) {
    try {
      await voice.play()
    } catch (error) {
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.waitForSound()
    }
  }

  /** A browser allows sound once the page's own microphone is open, and says so to nobody: ask again until it does or somebody clicks. */
  private waitForSound() {
    if (this.soundBlocked.value) return
    this.soundBlocked.value = true
    const again = async () => {
      if (!this.soundBlocked.value) return
      const tried = await Promise.allSettled([...this.voices.values()].map((voice) => voice.play()))
      if (tried.every((one) => one.status === 'fulfilled')) this.soundBlocked.value = false
      else setTimeout(again, SOUND_AGAIN_MS)
    }
    setTimeout(again, SOUND_AGAIN_MS)
  }

  private startOver() {
    this.close()
    this.lost()
  }
}
