// One page in one lesson: the document, the two directions of media and what the person does. Views read it and call it; they hold no state of the lesson.

import { computed, inject, provide, reactive, ref, shallowRef, watch, type InjectionKey } from 'vue'
import { ApiError, get, sentence, type LessonCard } from '../api'
import { i18n } from '../i18n'
import { toast } from '../ui/toasts'
import { apply, find, handQueue, has, leadOf, sharingOf, wallOf, type Document } from './document'
import { loudness, openCamera, problemOf, rememberedChoice, stop } from './devices'
import { Publisher } from './publisher'
import {
  isChange,
  VERSION,
  type ByeReason,
  type FromPage,
  type Participant,
  type ParticipantId,
  type Purpose,
  type Quality,
  type ToPage,
} from './protocol'
import { hintOf } from './quality'
import { Slides } from './slides'
import { LessonSocket, LineLost, Refused, type Link } from './socket'
import { Subscriber } from './subscriber'
import { Views } from './views'

/** Why the page is no longer in the lesson. `refused` brings the server's own sentence. */
export type Over = {
  reason: Exclude<ByeReason, 'restarting' | 'slow'> | 'refused' | 'outdated'
  text: string | null
}

/** Louder than this counts as speaking; a quiet classroom's hum stays below. */
const SPEAKING_DBOV = -45
/** Own loudness and line are looked at this often: a meter that lags is no meter. */
const LOOK_EVERY_MS = 200
/** What is more than this on a teacher's large panel is more than any classroom's screen shows. */
const SCREEN: MediaTrackConstraints = {
  width: { max: 1920 },
  height: { max: 1080 },
  frameRate: { max: 15 },
}
/**
 * A shared screen begins as if the line carried this: its full layer begins at 1 Mbit/s, and text nobody can read is worth nothing. Not where
 * the line already holds the camera back.
 */
const SCREEN_START_BITS_PER_SECOND = 1_500_000
/** An echo of our own switch must not be taken for the teacher's. */
const OWN_SWITCH_MS = 1500
/** Below this a line has room for the lesson and little else. */
const NARROW_KBPS = 900

export class LiveLesson {
  readonly document = shallowRef<Document | null>(null)
  readonly link = ref<Link>('connecting')
  readonly over = shallowRef<Over | null>(null)
  readonly quality = shallowRef<Quality | null>(null)
  readonly levels = reactive(new Map<ParticipantId, number>())
  readonly ownLevel = ref(0)
  readonly softened = ref(false)
  private readonly heldBack = ref(false)

  /** The own camera with its microphone, once it is published or ready to be. */
  readonly stream = shallowRef<MediaStream | null>(null)
  readonly screen = shallowRef<MediaStream | null>(null)
  readonly microphoneOn = ref(true)
  readonly cameraOn = ref(true)

  readonly subscriber: Subscriber
  readonly views: Views
  readonly slides: Slides
  private readonly socket: LessonSocket
  private readonly publisher = shallowRef<Publisher | null>(null)
  private readonly screenPublisher = shallowRef<Publisher | null>(null)
  private welcomedAt = 0
  private switchedAt = 0
  private readonly looking: number
  private looks = 0

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
      .filter((one): one is Participant => !!one),
  )
  readonly iAmOnStage = computed(
    () => this.lesson.value?.on_stage.includes(this.document.value?.you ?? '') ?? false,
  )
  readonly hint = computed(() =>
    hintOf({
      quality: this.quality.value,
      slots: this.subscriber.slots.value,
      softened: this.softened.value,
      heldBack: this.heldBack.value,
    }),
  )

  constructor(readonly id: string) {
    this.subscriber = new Subscriber(
      (message) => this.say(message),
      () => this.socket.doubtLine(),
      () => this.socket.reopen(true),
    )
    this.views = new Views(
      (tiles) => this.link.value === 'open' && this.socket.say({ type: 'view', tiles }) > 0,
    )
    this.slides = new Slides(
      id,
      () => this.lesson.value?.deck ?? null,
      (message) => this.say(message),
      () => (this.quality.value?.down_kbps ?? Infinity) < NARROW_KBPS,
    )
    this.socket = new LessonSocket(id, {
      message: (message) => this.take(message),
      link: (link) => (this.link.value = link),
      refused: () => this.whyRefused(),
    })
    this.looking = setInterval(() => void this.look(), LOOK_EVERY_MS)
    addEventListener('pagehide', this.leave)
    exposeForSupport(this, () => ({
      publisher: this.publisher.value?.connection ?? null,
      screen: this.screenPublisher.value?.connection ?? null,
    }))
  }

  /** Milliseconds since the bell, by the server's clock. */
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

  say(message: FromPage) {
    this.socket.say(message)
  }

  /** Shows this camera and microphone to the lesson from now on, whatever happens to the line. */
  publishCamera(stream: MediaStream) {
    this.publisher.value?.close()
    if (this.stream.value !== stream) stop(this.stream.value)
    this.stream.value = stream
    this.cameraOn.value = stream.getVideoTracks().length > 0
    this.microphoneOn.value = stream.getAudioTracks().some((track) => track.enabled)
    const publisher = this.publisherOf('camera', stream)
    this.publisher.value = publisher
    publisher.start().catch((error: unknown) => this.complain(error))
    if (!this.cameraOn.value || !this.microphoneOn.value) this.tellSwitches()
  }

  toggleMicrophone() {
    this.setMicrophone(!this.microphoneOn.value)
    this.tellSwitches()
  }

  /** Off means off: the camera's light goes out, too. */
  async toggleCamera() {
    const publisher = this.publisher.value
    if (!publisher) return
    try {
      const track = this.cameraOn.value ? null : await openCamera(rememberedChoice())
      await publisher.replaceVideo(track)
      this.cameraOn.value = track !== null
      this.stream.value = new MediaStream(this.stream.value?.getAudioTracks() ?? [])
      if (track) this.stream.value.addTrack(track)
      this.tellSwitches()
    } catch (error) {
      toast(i18n.global.t(`devices.problem.${problemOf(error)}`), 'bad')
    }
  }

  async shareScreen() {
    let stream: MediaStream
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({ video: SCREEN, audio: true })
    } catch (error) {
      // A person who closes the browser's picker has simply changed their mind.
      if (problemOf(error) !== 'denied') toast(i18n.global.t('live.share_failed'), 'bad')
      return
    }
    stream.getVideoTracks()[0]?.addEventListener('ended', () => this.stopSharing())
    const publisher = this.publisherOf(
      'screen',
      stream,
      this.heldBack.value ? undefined : SCREEN_START_BITS_PER_SECOND,
    )
    this.screen.value = stream
    this.screenPublisher.value = publisher
    publisher.start().catch((error: unknown) => {
      this.complain(error)
      this.stopSharing()
    })
  }

  stopSharing() {
    if (!this.screenPublisher.value) return
    this.screenPublisher.value.close()
    this.screenPublisher.value = null
    stop(this.screen.value)
    this.screen.value = null
    this.say({ type: 'unpublish', purpose: 'screen' })
  }

  leave = () => {
    removeEventListener('pagehide', this.leave)
    clearInterval(this.looking)
    this.socket.close()
    this.views.close()
    this.subscriber.close()
    this.slides.close()
    this.publisher.value?.close()
    this.screenPublisher.value?.close()
    stop(this.stream.value)
    stop(this.screen.value)
    delete window.__tongke
  }

  private take(message: ToPage) {
    if (isChange(message)) return this.change(message)
    switch (message.type) {
      case 'welcome':
        return this.welcome(message)
      case 'offer':
        return this.subscriber.takeOffer(message.offer, message.fresh, message.sdp)
      case 'slots':
        return this.subscriber.takeSlots(message.slots)
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
        return this.bye(message.reason)
    }
  }

  private welcome(message: Extract<ToPage, { type: 'welcome' }>) {
    if (message.version !== VERSION) return this.finish({ reason: 'outdated', text: null })
    this.welcomedAt = performance.now()
    this.document.value = { you: message.you, revision: message.revision, lesson: message.lesson }
    this.levels.clear()
    this.views.again()
    this.subscriber.recover()
    void this.slides.load()
    // The server may have let go of what this page sends; it is sent again, with its switches.
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
      this.tellSwitches()
    if (message.lesson.phase === 'ended') this.finish({ reason: 'ended', text: null })
  }

  private change(message: Parameters<typeof apply>[1]) {
    const before = this.document.value
    if (!before) return
    const after = apply(before, message)
    if (!after) return this.socket.reopen(false)
    if (message.type === 'phase' && message.phase === 'live') this.welcomedAt = performance.now()
    this.document.value = after
    if (message.type === 'changed' && message.participant.id === after.you)
      this.obey(find(before.lesson, after.you), message.participant)
    if (message.type === 'left') this.levels.delete(message.participant)
    if (message.type === 'phase' && message.phase === 'ended')
      this.finish({ reason: 'ended', text: null })
  }

  /** The teacher turned our microphone off: the page turns it off here as well and says so. */
  private obey(before: Participant | undefined, now: Participant) {
    if (!before?.microphone || now.microphone || !this.microphoneOn.value) return
    if (performance.now() - this.switchedAt < OWN_SWITCH_MS) return
    this.setMicrophone(false)
    toast(i18n.global.t('live.you_were_muted'))
  }

  private bye(reason: ByeReason) {
    if (reason === 'restarting') return this.socket.reopen(false)
    if (reason === 'slow') return this.socket.reopen(false)
    this.finish({ reason, text: null })
  }

  private finish(over: Over) {
    if (this.over.value) return
    this.over.value = over
    this.leave()
  }

  /** The socket did not open: ask the REST side, which can say why. */
  private async whyRefused(): Promise<boolean> {
    try {
      const card = await get<LessonCard>(`/api/lessons/${this.id}`)
      if (card.phase !== 'ended') return true
      this.finish({ reason: 'ended', text: null })
    } catch (error) {
      if (!(error instanceof ApiError) || error.passing || error.status === 429) return true
      this.finish({ reason: 'refused', text: sentence(error) })
    }
    return false
  }

  private publisherOf(purpose: Purpose, stream: MediaStream, startBitrate?: number) {
    return new Publisher(
      purpose,
      stream,
      (message) => this.socket.ask(message),
      () => this.socket.doubtLine(),
      startBitrate,
    )
  }

  private setMicrophone(on: boolean) {
    this.microphoneOn.value = on
    for (const track of this.stream.value?.getAudioTracks() ?? []) track.enabled = on
  }

  private tellSwitches() {
    this.switchedAt = performance.now()
    this.say({ type: 'mute', microphone: this.microphoneOn.value, camera: this.cameraOn.value })
  }

  private async look() {
    const publisher = this.publisher.value
    this.ownLevel.value = publisher ? loudness(await publisher.loudness().catch(() => 0)) : 0
    this.looks += 1
    if (this.looks % 10 === 0)
      this.heldBack.value = (await publisher?.heldBack().catch(() => false)) ?? false
  }

  private complain(error: unknown) {
    if (error instanceof LineLost) return
    toast(error instanceof Refused ? error.message : i18n.global.t('live.publish_failed'), 'bad')
  }
}

const KEY: InjectionKey<LiveLesson> = Symbol('lesson')
export const provideLesson = (live: LiveLesson) => provide(KEY, live)
export function useLesson(): LiveLesson {
  const live = inject(KEY)
  if (!live) throw new Error('a view of a lesson stands inside LivePage')
  return live
}

/** True while `bad` has been true for a while: a hint that flickers is worse than none. */
export function steady(bad: () => boolean, holdMs: number) {
  const shown = ref(false)
  let timer = 0
  watch(
    bad,
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
    /** For support and tests, read-only: what somebody on the telephone can be asked to look at in the browser's console. */
    __tongke?: {
      readonly publisher: RTCPeerConnection | null
      readonly screen: RTCPeerConnection | null
      readonly subscriber: RTCPeerConnection | null
      readonly lesson: Document['lesson'] | null
    }
  }
}

function exposeForSupport(
  live: LiveLesson,
  sending: () => { publisher: RTCPeerConnection | null; screen: RTCPeerConnection | null },
) {
  window.__tongke = Object.freeze({
    get publisher() {
      return sending().publisher
    },
    get screen() {
      return sending().screen
    },
    get subscriber() {
      return live.subscriber.connection
    },
    get lesson() {
      return live.lesson.value
    },
  })
}
