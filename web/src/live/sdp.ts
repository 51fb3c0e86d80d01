// Codec preferences, simulcast encodings and SDP parameters of the publisher connections. Pure.

/**
 * Simulcast layers of a camera: q for the wall, h for an inset, f for the stage. Lowest first: RFC
 * 8853 does not prescribe an order, and Chromium allocates bandwidth from the front.
 */
export function cameraEncodings(height: number): RTCRtpEncodingParameters[] {
  // Video of 360 lines or less needs no smaller layers.
  if (height <= 360) return [{ rid: 'f', maxBitrate: 500_000 }]
  return [
    { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
    { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: 'f', scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
  ]
}

/**
 * Height of a screen's small layer: a slide's text is still readable, and a slide change takes
 * about 12 kB, a dense one twice that.
 */
const SMALL_SCREEN_LINES = 324

/**
 * Simulcast layers of a shared screen, which has to be sharp rather than smooth. The small layer is
 * for narrow links: Chromium's H264 encoder does not exceed QP 35 for screens, so only resolution
 * and frame rate lower the bitrate.
 */
export function screenEncodings(height: number): RTCRtpEncodingParameters[] {
  const full = { maxBitrate: 2_500_000, maxFramerate: 15 }
  if (height < 2 * SMALL_SCREEN_LINES) return [{ rid: 'f', ...full }]
  return [
    {
      rid: 's',
      scaleResolutionDownBy: height / SMALL_SCREEN_LINES,
      maxBitrate: 200_000,
      maxFramerate: 5,
    },
    { rid: 'f', scaleResolutionDownBy: 1, ...full },
  ]
}

interface Codec {
  mimeType: string
  sdpFmtpLine?: string
}

/**
 * Orders the codecs: H264 constrained baseline, which is recorded without transcoding, H264
 * baseline, VP8, RTX; drops the others.
 */
export function preferVideo<C extends Codec>(codecs: C[]): C[] {
  const rank = (codec: C) => {
    const mime = codec.mimeType.toLowerCase()
    const fmtp = codec.sdpFmtpLine?.toLowerCase() ?? ''
    if (mime === 'video/h264') {
      if (!fmtp.includes('packetization-mode=1')) return null
      if (fmtp.includes('profile-level-id=42e0')) return 0
      if (fmtp.includes('profile-level-id=4200')) return 1
      return null
    }
    if (mime === 'video/vp8') return 2
    if (mime === 'video/rtx') return 3
    return null
  }
  return ordered(codecs, rank)
}

/**
 * Orders the codecs: RED (RFC 2198), whose redundancy conceals lost packets, then Opus; drops the
 * others.
 */
export function preferAudio<C extends Codec>(codecs: C[]): C[] {
  const rank = (codec: C) => {
    const mime = codec.mimeType.toLowerCase()
    if (mime === 'audio/red') return 0
    if (mime === 'audio/opus') return 1
    return null
  }
  return ordered(codecs, rank)
}

function ordered<C>(codecs: C[], rank: (codec: C) => number | null): C[] {
  return codecs
    .map((codec, index) => ({ codec, index, rank: rank(codec) }))
    .filter((one): one is { codec: C; index: number; rank: number } => one.rank !== null)
    .sort((a, b) => a.rank - b.rank || a.index - b.index)
    .map((one) => one.codec)
}

/**
 * Sets the bitrate of our Opus encoder through the answer's `maxaveragebitrate` (RFC 7587 §6.1).
 */
export function withOpusBitrate(answer: string, bitsPerSecond: number): string {
  return withFormatParameter(answer, 'opus/48000', 'maxaveragebitrate', bitsPerSecond)
}

/**
 * Sets libwebrtc's initial bandwidth estimate instead of its default of 300 kbit/s; its probes
 * correct the estimate in both directions. Other implementations ignore the parameter, which is in
 * kbit/s.
 */
export function withStartBitrate(answer: string, bitsPerSecond: number): string {
  return ['H264/90000', 'VP8/90000'].reduce(
    (sdp, codec) =>
      withFormatParameter(sdp, codec, 'x-google-start-bitrate', Math.round(bitsPerSecond / 1000)),
    answer,
  )
}

/**
 * Adds `name=value` to the fmtp of every payload type of this codec that lacks it; adds the fmtp
 * line where there is none.
 */
function withFormatParameter(sdp: string, codec: string, name: string, value: number): string {
  const payloads = [...sdp.matchAll(new RegExp(`^a=rtpmap:(\\d+) ${codec}`, 'gim'))].map(
    (match) => match[1],
  )
  return payloads.reduce<string>((text, payload) => {
    const line = new RegExp(`^a=fmtp:${payload} (.*)$`, 'm')
    const found = line.exec(text)
    if (!found)
      return text.replace(
        new RegExp(`^(a=rtpmap:${payload} .*?)(\\r?)$`, 'm'),
        `$1$2\na=fmtp:${payload} ${name}=${value}$2`,
      )
    if (found[1]?.includes(name)) return text
    return text.replace(line, (_, parameters: string) => {
      const bare = parameters.replace(/\r$/, '')
      return `a=fmtp:${payload} ${bare};${name}=${value}${parameters.endsWith('\r') ? '\r' : ''}`
    })
  }, sdp)
}
