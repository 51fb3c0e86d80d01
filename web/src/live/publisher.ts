// A publisher connection: this page → server. The camera with its microphone is one, a shared screen is another.

import { watchHealth } from './health'
import type { FromPage, Purpose, ToPage } from './protocol'
import {
  cameraEncodings,
  preferAudio,
  preferVideo,
  screenEncodings,
  withOpusBitrate,
  withStartBitrate,
} from './sdp'
import { LineLost } from './socket'

/** Speech in a full band; RED doubles it on the wire. */
const SPEECH_BITS_PER_SECOND = 40_000

type Ask = (message: FromPage) => Promise<ToPage>

export class Publisher {
  connection: RTCPeerConnection
  private stopWatching: () => void
  private audio: RTCRtpSender | null = null
  private video: RTCRtpSender | null = null
  private busy: Promise<void> = Promise.resolve()
  private closed = false
  /** How often the server has answered an offer of ours. */
  private answered = 0

  constructor(
    readonly purpose: Purpose,
    private readonly stream: MediaStream,
    private readonly ask: Ask,
    /** The connection is unwell: perhaps the whole line is. */
    private readonly unwell: () => void,
    /** What the line is taken to carry until the browser knows better, in bit/s; without it the browser begins low. */
    private readonly startBitrate?: number,
  ) {
    this.connection = this.build()
    this.stopWatching = this.watch()
  }

  /** Offers to the server. A refusal is thrown; a lost line is not: the next welcome tries again. */
  start(): Promise<void> {
    return this.inTurn(() => this.negotiate(false))
  }

  /** After a welcome: the server may have forgotten us, or only the path to it may be gone. A path that took the socket with it is often
   *  still believed to be well; a restart costs one round trip, and what flows goes on meanwhile. */
  recover(knownToServer: boolean): Promise<void> {
    if (knownToServer) return this.heal(true)
    const before = this.answered
    // An offer that was on its way when the welcome came has done it already.
    return this.inTurn(() => (this.answered > before ? Promise.resolve() : this.anew())).catch(
      () => undefined,
    )
  }

  /** The same connection, another camera; `null` while the camera is off. */
  async replaceVideo(track: MediaStreamTrack | null) {
    const old = this.stream.getVideoTracks()
    for (const one of old) {
      one.stop()
      this.stream.removeTrack(one)
    }
    if (track) this.stream.addTrack(track)
    if (this.video) await this.video.replaceTrack(track)
    else if (track) await this.inTurn(() => this.anew())
  }

  /** 0..1, how loud our own microphone is; read from the connection, so it needs no click of a person. */
  async loudness(): Promise<number> {
    if (!this.audio?.track?.enabled) return 0
    let level = 0
    for (const stat of (await this.audio.getStats()).values()) {
      if (stat.type === 'media-source' && typeof stat.audioLevel === 'number')
        level = stat.audioLevel
    }
    return level
  }

  /** True while the encoder holds the picture back because the line does not carry it. */
  async heldBack(): Promise<boolean> {
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
    const [voice] = this.stream.getAudioTracks()
    const [picture] = this.stream.getVideoTracks()
    // Audio first: it is the m-line that carries the bundle, and what must arrive when the line is thin.
    if (voice) this.audio = this.addVoice(connection, voice)
    if (picture || this.purpose === 'camera')
      this.video = this.addPicture(connection, picture ?? null)
    return connection
  }

  private addVoice(connection: RTCPeerConnection, track: MediaStreamTrack): RTCRtpSender {
    const transceiver = connection.addTransceiver(track, {
      direction: 'sendonly',
      streams: [this.stream],
      sendEncodings: [{ priority: 'high', networkPriority: 'high' }],
    })
    prefer(transceiver, preferAudio(RTCRtpSender.getCapabilities('audio')?.codecs ?? []))
    return transceiver.sender
  }

  private addPicture(connection: RTCPeerConnection, track: MediaStreamTrack | null): RTCRtpSender {
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
    const answer = await this.ask({
      type: 'publish',
      purpose: this.purpose,
      sdp: offered,
      restart,
    }).catch(async (error: unknown) => {
      // Back to the state before the offer, so that the next one can be a restart of this connection.
      if (connection.signalingState === 'have-local-offer' && connection.remoteDescription)
        await connection.setLocalDescription({ type: 'rollback' })
      throw error
    })
    if (this.closed || connection !== this.connection || answer.type !== 'published') return
    this.answered += 1
    const sdp = withOpusBitrate(answer.sdp, SPEECH_BITS_PER_SECOND)
    await connection.setRemoteDescription({
      type: 'answer',
      sdp: this.startBitrate ? withStartBitrate(sdp, this.startBitrate) : sdp,
    })
  }

  private watch() {
    return watchHealth(this.connection, this.unwell, () => void this.heal())
  }

  private heal(evenIfWell = false): Promise<void> {
    return this.inTurn(async () => {
      if (this.connection.connectionState === 'connected' && !evenIfWell) return
      if (this.connection.signalingState !== 'stable' || !this.connection.remoteDescription)
        return this.anew()
      // A server that no longer knows this connection refuses the restart; then only a new one helps.
      await this.negotiate(true).catch((error: unknown) =>
        error instanceof LineLost ? undefined : this.anew(),
      )
    }).catch(() => undefined)
  }

  private async anew() {
    this.stopWatching()
    this.connection.close()
    this.audio = this.video = null
    this.connection = this.build()
    this.stopWatching = this.watch()
    await this.negotiate(false)
  }

  /** One negotiation at a time: an offer made while another waits for its answer would be thrown away. */
  private inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.busy.then(() => (this.closed ? undefined : work()))
    this.busy = turn.catch(() => undefined)
    return turn.catch((error: unknown) => {
      if (!(error instanceof LineLost)) throw error
    })
  }
}

function prefer(transceiver: RTCRtpTransceiver, codecs: RTCRtpCodec[]) {
  // A browser that has none of ours keeps its own order: better its codec than no picture.
  if (codecs.length) transceiver.setCodecPreferences(codecs)
}
