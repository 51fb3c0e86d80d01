// Publisher connection, client → server: one for camera and microphone, another for a shared
// screen.

import { watchHealth } from './health'
import type { ClientMessage, Purpose, ServerMessage } from './protocol'
import {
  cameraEncodings,
  preferAudio,
  preferVideo,
  screenEncodings,
  withOpusBitrate,
  withStartBitrate,
} from './sdp'
import { ConnectionLost } from './socket'

/** Opus bitrate for fullband speech; RED doubles it on the wire. */
const SPEECH_BITS_PER_SECOND = 40_000

type SendRequest = (message: ClientMessage) => Promise<ServerMessage>

export class Publisher {
  connection: RTCPeerConnection
  private stopWatching: () => void
  private audio: RTCRtpSender | null = null
  private video: RTCRtpSender | null = null
  private busy: Promise<void> = Promise.resolve()
  private closed = false
  /** Number of offers that the server has answered. */
  private answers = 0

  constructor(
    readonly purpose: Purpose,
    private readonly stream: MediaStream,
    private readonly request: SendRequest,
    /** Called when the connection degrades; the WebSocket may be affected as well. */
    private readonly onDegraded: () => void,
    /** Initial bandwidth estimate in bit/s; without it libwebrtc starts at 300 kbit/s. */
    private readonly startBitrate?: number,
  ) {
    this.connection = this.build()
    this.stopWatching = this.watch()
  }

  /**
   * Negotiates with the server. Throws RequestRefused; a lost connection is not an error, the next
   * welcome tries again.
   */
  start(): Promise<void> {
    return this.enqueue(() => this.negotiate(false))
  }

  /**
   * Restores the connection after a welcome. If the server still has it, an ICE restart suffices:
   * the browser may not have noticed the loss of the path yet, a restart costs one round trip, and
   * media keeps flowing meanwhile.
   */
  recover(knownToServer: boolean): Promise<void> {
    if (knownToServer) return this.restart(true)
    const answersBefore = this.answers
    // Skipped if an offer that was in flight during the welcome has been answered since.
    return this.enqueue(() =>
      this.answers > answersBefore ? Promise.resolve() : this.rebuild(),
    ).catch(() => undefined)
  }

  /** Replaces the camera track; `null` while the camera is off. */
  async replaceVideo(track: MediaStreamTrack | null) {
    const old = this.stream.getVideoTracks()
    for (const one of old) {
      one.stop()
      this.stream.removeTrack(one)
    }
    if (track) this.stream.addTrack(track)
    if (this.video) await this.video.replaceTrack(track)
    else if (track) await this.enqueue(() => this.rebuild())
  }

  /**
   * Level of the local microphone, 0..1, from the connection's statistics; unlike an AudioContext
   * they need no user gesture.
   */
  async loudness(): Promise<number> {
    if (!this.audio?.track?.enabled) return 0
    let level = 0
    for (const stat of (await this.audio.getStats()).values()) {
      if (stat.type === 'media-source' && typeof stat.audioLevel === 'number')
        level = stat.audioLevel
    }
    return level
  }

  /** Returns whether the video encoder is limited by bandwidth. */
  async bandwidthLimited(): Promise<boolean> {
    if (!this.video?.track) return false
    for (const stat of (await this.video.getStats()).values()) {
      if (stat.type === 'outbound-rtp' && stat.qualityLimitationReason === 'bandwidth') return true
    }
    return false
  }

  close() {
    this.closed = true
    this.stopWatching()
    this.connection.close()
  }

  private build(): RTCPeerConnection {
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' })
    const [audio] = this.stream.getAudioTracks()
    const [video] = this.stream.getVideoTracks()
    // Audio first: its m-line carries the BUNDLE transport, and audio matters most when bandwidth
    // is low.
    if (audio) this.audio = this.addAudio(connection, audio)
    if (video || this.purpose === 'camera') this.video = this.addVideo(connection, video ?? null)
    return connection
  }

  private addAudio(connection: RTCPeerConnection, track: MediaStreamTrack): RTCRtpSender {
    const transceiver = connection.addTransceiver(track, {
      direction: 'sendonly',
      streams: [this.stream],
      sendEncodings: [{ priority: 'high', networkPriority: 'high' }],
    })
    prefer(transceiver, preferAudio(RTCRtpSender.getCapabilities('audio')?.codecs ?? []))
    return transceiver.sender
  }

  private addVideo(connection: RTCPeerConnection, track: MediaStreamTrack | null): RTCRtpSender {
    const height = track?.getSettings().height ?? 720
    const encodings = this.purpose === 'screen' ? screenEncodings(height) : cameraEncodings(height)
    if (track && this.purpose === 'screen') track.contentHint = 'detail'
    const transceiver = connection.addTransceiver(track ?? 'video', {
      direction: 'sendonly',
      streams: [this.stream],
      sendEncodings: encodings,
    })
    prefer(transceiver, preferVideo(RTCRtpSender.getCapabilities('video')?.codecs ?? []))
    return transceiver.sender
  }

  private async negotiate(restart: boolean) {
    const { connection } = this
    const offer = await connection.createOffer({ iceRestart: restart })
    await connection.setLocalDescription(offer)
    const offered = connection.localDescription?.sdp ?? offer.sdp ?? ''
    const answer = await this.request({
      type: 'publish',
      purpose: this.purpose,
      sdp: offered,
      restart,
    }).catch(async (error: unknown) => {
      // Roll back, so that the next offer can be an ICE restart of this connection.
      if (connection.signalingState === 'have-local-offer' && connection.remoteDescription)
        await connection.setLocalDescription({ type: 'rollback' })
      throw error
    })
    if (this.closed || connection !== this.connection || answer.type !== 'published') return
    this.answers += 1
    const sdp = withOpusBitrate(answer.sdp, SPEECH_BITS_PER_SECOND)
    await connection.setRemoteDescription({
      type: 'answer',
      sdp: this.startBitrate ? withStartBitrate(sdp, this.startBitrate) : sdp,
    })
  }

  private watch() {
    return watchHealth(this.connection, this.onDegraded, () => void this.restart())
  }

  private restart(evenIfConnected = false): Promise<void> {
    return this.enqueue(async () => {
      if (this.connection.connectionState === 'connected' && !evenIfConnected) return
      if (this.connection.signalingState !== 'stable' || !this.connection.remoteDescription)
        return this.rebuild()
      // The server refuses the restart of a connection that it no longer has: replace the
      // connection.
      await this.negotiate(true).catch((error: unknown) =>
        error instanceof ConnectionLost ? undefined : this.rebuild(),
      )
    }).catch(() => undefined)
  }

  private async rebuild() {
    this.stopWatching()
    this.connection.close()
    this.audio = this.video = null
    this.connection = this.build()
    this.stopWatching = this.watch()
    await this.negotiate(false)
  }

  /** Serializes negotiations: an offer made while another is pending would be lost. */
  private enqueue(work: () => Promise<void>): Promise<void> {
    const task = this.busy.then(() => (this.closed ? undefined : work()))
    this.busy = task.catch(() => undefined)
    return task.catch((error: unknown) => {
      if (!(error instanceof ConnectionLost)) throw error
    })
  }
}

function prefer(transceiver: RTCRtpTransceiver, codecs: RTCRtpCodec[]) {
  // A browser with none of our codecs keeps its own order: another codec is better than no video.
  if (codecs.length) transceiver.setCodecPreferences(codecs)
}
