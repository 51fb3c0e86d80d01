// Client of participant live lesson: the document, both media directions and the user's actions.
// The components read and call it; they hold no state of the lesson themselves.

import { computed, inject, provide, reactive, ref, shallowRef, watch, type InjectionKey } from 'vue'
import { ApiError, get, errorMessage, type LessonSummary } from '../api'
import { i18n } from '../i18n'
import { toast } from '../ui/toasts'
import {
  apply,
  find,
  handQueue,
  has,
  leadOf,
  sharingOf,
  wallOf,
  type LessonDocument,
} from './document'
import { loudness, openCamera, problemOf, rememberedChoice, stop } from './devices'
import { Publisher } from './publisher'
import {
  isChange,
  VERSION,
  type CloseReason,
  type Change,
  type ClientMessage,
  type Participant,
  type ParticipantId,
  type Purpose,
  type Quality,
  type MessageOf,
  type ServerMessage,
} from './protocol'
import { qualityHint } from './quality'
import { Slides } from './slides'
import { LessonSocket, ConnectionLost, RequestRefused, type SocketState } from './socket'
import { Subscriber } from './subscriber'
import { VisibleTiles } from './visibleTiles'

/** Reason why the client left the lesson; `text` is the server's message for `refused`. */
export type LessonExit = {
  reason: Exclude<CloseReason, 'restarting' | 'slow'> | 'refused' | 'outdated'
  text: string | null
}

/**
 * Audio level above which a participant counts as speaking; the noise of a quiet classroom stays
 * below.
 */
const SPEAKING_DBOV = -45
/** Sampling interval of the microphone level; the bandwidth limit is sampled every tenth time. */
const SAMPLE_INTERVAL_MS = 200
/** Capture limits of a shared screen: no classroom's screen shows more. */
const SCREEN: MediaTrackConstraints = {
  width: { max: 1920 },
  height: { max: 1080 },
  frameRate: { max: 15 },
}
/**
 * Initial bandwidth estimate of a shared screen: its full layer needs 1 Mbit/s, and below that text
 * is not readable. Not used while the camera is already limited by bandwidth.
 */
const SCREEN_START_BITS_PER_SECOND = 1_500_000
/**
 * Time in which a `changed` message counts as the echo of the local mute, not as a mute by the
 * teacher.
 */
const MUTE_ECHO_MS = 1500
/** Downlink bandwidth below which large page images are not prefetched. */
const LOW_BANDWIDTH_KBPS = 900

export class LiveLesson {
  readonly document = shallowRef<LessonDocument | null>(null)
  readonly socketState = ref<SocketState>('connecting')
  readonly over = shallowRef<LessonExit | null>(null)
  readonly quality = shallowRef<Quality | null>(null)
  readonly levels = reactive(new Map<ParticipantId, number>())
  readonly ownLevel = ref(0)
  readonly downscaled = ref(false)
  private readonly bandwidthLimited = ref(false)

  /** Local camera and microphone, once published. */
  readonly stream = shallowRef<MediaStream | null>(null)
  readonly screen = shallowRef<MediaStream | null>(null)
  readonly microphoneOn = ref(true)
  readonly cameraOn = ref(true)

  readonly subscriber: Subscriber
  readonly visibleTiles: VisibleTiles
  readonly slides: Slides
  private readonly socket: LessonSocket
  private readonly publisher = shallowRef<Publisher | null>(null)
  private readonly screenPublisher = shallowRef<Publisher | null>(null)
  private welcomedAt = 0
  private mutedAt = 0
  private readonly sampler: number
  private samples = 0

  readonly lesson = computed(() => this.document.value?.lesson ?? null)
  readonly me = computed(
    () => this.lesson.value && find(this.lesson.value, this.document.value?.you ?? ''),
  )
  readonly lead = computed(() => this.lesson.value && leadOf(this.lesson.value))
  readonly sharing = computed(() => this.lesson.value && sharingOf(this.lesson.value))
  readonly wall = computed(() => (this.lesson.value ? wallOf(this.lesson.value) : []))
  readonly hands = computed(() =>
    this.lesson.value ? handQueue(this.lesson.value) : new Map<ParticipantId, number>(),
  )
  readonly stage = computed(() =>
    (this.lesson.value?.on_stage ?? [])
      .map((id) => this.lesson.value && find(this.lesson.value, id))
      .filter((participant): participant is Participant => !!participant),
  )
  readonly iAmOnStage = computed(
    () => this.lesson.value?.on_stage.includes(this.document.value?.you ?? '') ?? false,
  )
  readonly hint = computed(() =>
    qualityHint({
      quality: this.quality.value,
      slots: this.subscriber.slots.value,
      downscaled: this.downscaled.value,
      bandwidthLimited: this.bandwidthLimited.value,
    }),
  )

  constructor(readonly id: string) {
    this.subscriber = new Subscriber(
      (message) => this.send(message),
      () => this.socket.probe(),
      () => this.socket.reopen(true),
    )
    this.visibleTiles = new VisibleTiles(
      (tiles) => this.socketState.value === 'open' && this.socket.send({ type: 'view', tiles }) > 0,
    )
    this.slides = new Slides(
      id,
      () => this.lesson.value?.deck ?? null,
      (message) => this.send(message),
      () => (this.quality.value?.down_kbps ?? Infinity) < LOW_BANDWIDTH_KBPS,
    )
    this.socket = new LessonSocket(id, {
      message: (message) => this.handleMessage(message),
      state: (state) => (this.socketState.value = state),
      refused: () => this.handleRefusal(),
    })
    this.sampler = setInterval(() => void this.sampleMedia(), SAMPLE_INTERVAL_MS)
    addEventListener('pagehide', this.leave)
    exposeForSupport(this, () => ({
      publisher: this.publisher.value?.connection ?? null,
      screen: this.screenPublisher.value?.connection ?? null,
    }))
  }

  /** Milliseconds since the lesson started, by the server's clock. */
  clockMs(): number | null {
    const lesson = this.lesson.value
    if (!lesson || lesson.phase === 'planned' || lesson.at_ms === null) return null
    return lesson.at_ms + (performance.now() - this.welcomedAt)
  }

  speaking(id: ParticipantId): boolean {
    return (this.levels.get(id) ?? -127) > SPEAKING_DBOV
  }

  isMe(id: ParticipantId): boolean {
    return id === this.document.value?.you
  }

  send(message: ClientMessage) {
    this.socket.send(message)
  }

  /** Publishes this camera and microphone, also across reconnects. */
  publishCamera(stream: MediaStream) {
    this.publisher.value?.close()
    if (this.stream.value !== stream) stop(this.stream.value)
    this.stream.value = stream
    this.cameraOn.value = stream.getVideoTracks().length > 0
    this.microphoneOn.value = stream.getAudioTracks().some((track) => track.enabled)
    const publisher = this.publisherOf('camera', stream)
    this.publisher.value = publisher
    publisher.start().catch((error: unknown) => this.reportError(error))
    if (!this.cameraOn.value || !this.microphoneOn.value) this.sendMuteState()
  }

  toggleMicrophone() {
    this.setMicrophone(!this.microphoneOn.value)
    this.sendMuteState()
  }

  /** Releases the device while the camera is off, so that its indicator light is off as well. */
  async toggleCamera() {
    const publisher = this.publisher.value
    if (!publisher) return
    try {
      const track = this.cameraOn.value ? null : await openCamera(rememberedChoice())
      await publisher.replaceVideo(track)
      this.cameraOn.value = track !== null
      this.stream.value = new MediaStream(this.stream.value?.getAudioTracks() ?? [])
      if (track) this.stream.value.addTrack(track)
      this.sendMuteState()
    } catch (error) {
      toast(i18n.global.t(`devices.problem.${problemOf(error)}`), 'bad')
    }
  }

  async shareScreen() {
    let stream: MediaStream
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({ video: SCREEN, audio: true })
    } catch (error) {
      // `denied` also means that the user cancelled the browser's picker.
      if (problemOf(error) !== 'denied') toast(i18n.global.t('live.share_failed'), 'bad')
      return
    }
    stream.getVideoTracks()[0]?.addEventListener('ended', () => this.stopSharing())
    const publisher = this.publisherOf(
      'screen',
      stream,
      this.bandwidthLimited.value ? undefined : SCREEN_START_BITS_PER_SECOND,
    )
    this.screen.value = stream
    this.screenPublisher.value = publisher
    publisher.start().catch((error: unknown) => {
      this.reportError(error)
      this.stopSharing()
    })
  }

  stopSharing() {
    if (!this.screenPublisher.value) return
    this.screenPublisher.value.close()
    this.screenPublisher.value = null
    stop(this.screen.value)
    this.screen.value = null
    this.send({ type: 'unpublish', purpose: 'screen' })
  }

  leave = () => {
    removeEventListener('pagehide', this.leave)
    clearInterval(this.sampler)
    this.socket.close()
    this.visibleTiles.close()
    this.subscriber.close()
    this.slides.close()
    this.publisher.value?.close()
    this.screenPublisher.value?.close()
    stop(this.stream.value)
    stop(this.screen.value)
    delete window.__tongke
  }

  private handleMessage(message: ServerMessage) {
    if (isChange(message)) return this.handleChange(message)
    switch (message.type) {
      case 'welcome':
        return this.handleWelcome(message)
      case 'offer':
        return this.subscriber.handleOffer(message.offer, message.fresh, message.sdp)
      case 'slots':
        return this.subscriber.handleSlots(message.slots)
      case 'levels':
        for (const { participant, level_dbov } of message.levels)
          this.levels.set(participant, level_dbov)
        return
      case 'quality':
        this.quality.value = message.quality
        return
      case 'error':
        return toast(message.message, 'bad')
      case 'bye':
        return this.handleBye(message.reason)
    }
  }

  private handleWelcome(message: MessageOf<'welcome'>) {
    if (message.version !== VERSION) return this.finish({ reason: 'outdated', text: null })
    this.welcomedAt = performance.now()
    this.document.value = { you: message.you, revision: message.revision, lesson: message.lesson }
    this.levels.clear()
    this.visibleTiles.resend()
    this.subscriber.recover()
    void this.slides.load()
    // The server may have dropped the publisher connections and the mute state: restore both.
    const known = this.me.value ?? undefined
    void this.publisher.value?.recover(
      has(known, 'camera', 'audio') || has(known, 'camera', 'video'),
    )
    void this.screenPublisher.value?.recover(has(known, 'screen'))
    if (
      this.publisher.value &&
      known &&
      (known.microphone !== this.microphoneOn.value || known.camera !== this.cameraOn.value)
    )
      this.sendMuteState()
    if (message.lesson.phase === 'ended') this.finish({ reason: 'ended', text: null })
  }

  private handleChange(message: Change) {
    const previous = this.document.value
    if (!previous) return
    const next = apply(previous, message)
    if (!next) return this.socket.reopen(false)
    if (message.type === 'phase' && message.phase === 'live') this.welcomedAt = performance.now()
    this.document.value = next
    if (message.type === 'changed' && message.participant.id === next.you)
      this.applyRemoteMute(find(previous.lesson, next.you), message.participant)
    if (message.type === 'left') this.levels.delete(message.participant)
    if (message.type === 'phase' && message.phase === 'ended')
      this.finish({ reason: 'ended', text: null })
  }

  /** Applies a mute by the teacher to the local microphone and notifies the user. */
  private applyRemoteMute(previous: Participant | undefined, now: Participant) {
    if (!previous?.microphone || now.microphone || !this.microphoneOn.value) return
    if (performance.now() - this.mutedAt < MUTE_ECHO_MS) return
    this.setMicrophone(false)
    toast(i18n.global.t('live.you_were_muted'))
  }

  private handleBye(reason: CloseReason) {
    if (reason === 'restarting') return this.socket.reopen(false)
    if (reason === 'slow') return this.socket.reopen(false)
    this.finish({ reason, text: null })
  }

  private finish(over: LessonExit) {
    if (this.over.value) return
    this.over.value = over
    this.leave()
  }

  /** Asks the REST API why the socket did not open. Returns whether a retry makes sense. */
  private async handleRefusal(): Promise<boolean> {
    try {
      const card = await get<LessonSummary>(`/api/lessons/${this.id}`)
      if (card.phase !== 'ended') return true
      this.finish({ reason: 'ended', text: null })
    } catch (error) {
      if (!(error instanceof ApiError) || error.retryable || error.status === 429) return true
      this.finish({ reason: 'refused', text: errorMessage(error) })
    }
    return false
  }

  private publisherOf(purpose: Purpose, stream: MediaStream, startBitrate?: number) {
    return new Publisher(
      purpose,
      stream,
      (message) => this.socket.request(message),
      () => this.socket.probe(),
      startBitrate,
    )
  }

  private setMicrophone(on: boolean) {
    this.microphoneOn.value = on
    for (const track of this.stream.value?.getAudioTracks() ?? []) track.enabled = on
  }

  private sendMuteState() {
    this.mutedAt = performance.now()
    this.send({ type: 'mute', microphone: this.microphoneOn.value, camera: this.cameraOn.value })
  }

  private async sampleMedia() {
    const publisher = this.publisher.value
    this.ownLevel.value = publisher ? loudness(await publisher.loudness().catch(() => 0)) : 0
    this.samples += 1
    if (this.samples % 10 === 0)
      this.bandwidthLimited.value =
        (await publisher?.bandwidthLimited().catch(() => false)) ?? false
  }

  private reportError(error: unknown) {
    if (error instanceof ConnectionLost) return
    toast(
      error instanceof RequestRefused ? error.message : i18n.global.t('live.publish_failed'),
      'bad',
    )
  }
}

const KEY: InjectionKey<LiveLesson> = Symbol('lesson')
export const provideLesson = (live: LiveLesson) => provide(KEY, live)
export function useLesson(): LiveLesson {
  const live = inject(KEY)
  if (!live) throw new Error('useLesson() needs a LivePage above it')
  return live
}

/**
 * True next `condition` has held for `holdMs`, and until 1 s next it ends, so that hints do not
 * flicker.
 */
export function useSteady(condition: () => boolean, holdMs: number) {
  const shown = ref(false)
  let timer = 0
  watch(
    condition,
    (now) => {
      clearTimeout(timer)
      timer = setTimeout(() => (shown.value = now), now ? holdMs : 1000)
    },
    { immediate: true },
  )
  return shown
}

declare global {
  interface Window {
    /** Read-only state for support and tests, accessible from the browser's console. */
    __tongke?: {
      readonly publisher: RTCPeerConnection | null
      readonly screen: RTCPeerConnection | null
      readonly subscriber: RTCPeerConnection | null
      readonly lesson: LessonDocument['lesson'] | null
    }
  }
}

function exposeForSupport(
  live: LiveLesson,
  publishers: () => { publisher: RTCPeerConnection | null; screen: RTCPeerConnection | null },
) {
  window.__tongke = Object.freeze({
    get publisher() {
      return publishers().publisher
    },
    get screen() {
      return publishers().screen
    },
    get subscriber() {
      return live.subscriber.connection
    },
    get lesson() {
      return live.lesson.value
    },
  })
}
