// Subscriber connection, server → client. The server offers slots; the source of a slot changes
// without a new offer.

import { ref, shallowReactive, shallowRef } from 'vue'
import { watchHealth } from './health'
import type { ClientMessage, MediaKind, ParticipantId, Purpose, Slot } from './protocol'

const AUTOPLAY_RETRY_MS = 1000

export class Subscriber {
  connection: RTCPeerConnection | null = null
  readonly slots = shallowRef<Slot[]>([])
  /**
   * Tracks by the mid of their transceiver; a track lives as long as the connection, whatever its
   * source.
   */
  readonly tracks = shallowReactive(new Map<string, MediaStreamTrack>())
  /** The browser's autoplay policy requires a click before audio plays. */
  readonly audioBlocked = ref(false)
  readonly connected = ref(false)

  private readonly audioElements = new Map<string, HTMLAudioElement>()
  private stopWatching: () => void = () => undefined
  private newestOffer = 0
  private busy: Promise<void> = Promise.resolve()

  constructor(
    private readonly send: (message: ClientMessage) => void,
    /** Called when the connection degrades; the WebSocket may be affected as well. */
    private readonly onDegraded: () => void,
    /** Called when negotiation failed; the client has to reconnect from scratch. */
    private readonly onFailed: () => void,
  ) {}

  /** Returns the track of the slot that carries this source. */
  track(participant: ParticipantId, purpose: Purpose, kind: MediaKind): MediaStreamTrack | null {
    const slot = this.slot(participant, purpose, kind)
    return (slot && this.tracks.get(slot.mid)) ?? null
  }

  slot(participant: ParticipantId, purpose: Purpose, kind: MediaKind): Slot | undefined {
    return this.slots.value.find(
      (slot) =>
        slot.kind === kind &&
        slot.source?.participant === participant &&
        slot.source.purpose === purpose,
    )
  }

  handleOffer(offer: number, fresh: boolean, sdp: string) {
    this.newestOffer = offer
    this.busy = this.busy.then(() => this.answer(offer, fresh, sdp)).catch(() => this.fail())
  }

  handleSlots(slots: Slot[]) {
    this.slots.value = slots
  }

  /** Plays all audio; called from a click. */
  async unlockAudio() {
    this.audioBlocked.value = false
    await Promise.all([...this.audioElements.values()].map((element) => this.play(element)))
  }

  /** Restarts ICE after a welcome: media may have used the same broken path as the WebSocket. */
  recover() {
    if (this.connection && this.connection.connectionState !== 'new')
      this.send({ type: 'restart_subscriber' })
  }

  close() {
    this.stopWatching()
    this.connection?.close()
    this.connection = null
    this.connected.value = false
    for (const element of this.audioElements.values()) element.srcObject = null
    this.audioElements.clear()
    this.tracks.clear()
    this.slots.value = []
  }

  private async answer(offer: number, fresh: boolean, sdp: string) {
    if (fresh || !this.connection) this.open()
    if (offer !== this.newestOffer) return
    const connection = this.connection
    if (!connection) return
    await connection.setRemoteDescription({ type: 'offer', sdp })
    const answer = await connection.createAnswer()
    await connection.setLocalDescription(answer)
    if (connection !== this.connection || offer !== this.newestOffer) return
    this.send({ type: 'answer', offer, sdp: connection.localDescription?.sdp ?? answer.sdp ?? '' })
  }

  private open() {
    const slots = this.slots.value
    this.close()
    this.slots.value = slots
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' })
    this.connection = connection
    this.stopWatching = watchHealth(connection, this.onDegraded, () =>
      this.send({ type: 'restart_subscriber' }),
    )
    connection.addEventListener('connectionstatechange', () => {
      this.connected.value = connection.connectionState === 'connected'
    })
    connection.ontrack = ({ track, transceiver }) => {
      const mid = transceiver.mid
      if (mid === null || connection !== this.connection) return
      this.tracks.set(mid, track)
      if (track.kind === 'audio') this.addAudio(mid, track)
    }
  }

  /** Plays audio through its own element, because video elements are moved and removed. */
  private addAudio(mid: string, track: MediaStreamTrack) {
    const element = document.createElement('audio')
    element.autoplay = true
    element.srcObject = new MediaStream([track])
    this.audioElements.set(mid, element)
    void this.play(element)
  }

  private async play(element: HTMLAudioElement) {
    try {
      await element.play()
    } catch (error) {
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.retryAutoplay()
    }
  }

  /**
   * Retries until the browser allows audio or the user clicks. Browsers allow it once the
   * microphone is open, without an event.
   */
  private retryAutoplay() {
    if (this.audioBlocked.value) return
    this.audioBlocked.value = true
    const retry = async () => {
      if (!this.audioBlocked.value) return
      const results = await Promise.allSettled(
        [...this.audioElements.values()].map((element) => element.play()),
      )
      if (results.every(({ status }) => status === 'fulfilled')) this.audioBlocked.value = false
      else setTimeout(retry, AUTOPLAY_RETRY_MS)
    }
    setTimeout(retry, AUTOPLAY_RETRY_MS)
  }

  private fail() {
    this.close()
    this.onFailed()
  }
}
