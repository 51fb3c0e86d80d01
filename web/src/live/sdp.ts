// What we ask of the browser's encoders. Pure.

/** One camera, three layers: the wall takes q, an inset h, the stage f. Lowest first: RFC 8853 leaves the order to us, Chromium fills from the front. */
export function cameraEncodings(height: number): RTCRtpEncodingParameters[] {
  // A picture of 360 lines or less has no use for a quarter of itself.
  if (height <= 360) return [{ rid: 'f', maxBitrate: 500_000 }]
  return [
    { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
    { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: 'f', scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
  ]
}

/** Lines of a screen's small layer: a slide's text can still be read, and a page that is turned is about 12 kB, a dense one twice that. */
const SMALL_SCREEN_LINES = 324

/**
 * A screen is for reading: sharp rather than smooth. For narrow lines there is a small layer of few frames; Chromium's H264 never blurs a
 * screen beyond QP 35, whatever bitrate it is given, so only size and frames make it cheaper.
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

/** H264 constrained baseline first (it goes into the recording as it came), then VP8, then the browser's helpers (RTX, FEC). */
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

/** RED carries each packet of speech twice, so a lost one is not heard; where the browser has none, Opus alone. */
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

/** Asks the far side for speech of about this quality: the answer's fmtp for Opus steers our encoder (RFC 7587 §6.1). */
export function withOpusBitrate(answer: string, bitsPerSecond: number): string {
  return withParameter(answer, 'opus/48000', 'maxaveragebitrate', bitsPerSecond)
}

/**
 * What the browser first believes the line to carry, instead of its 300 kbit/s; its own probes correct it in both directions. A
 * parameter of libwebrtc, in kbit/s; other browsers ignore it.
 */
export function withStartBitrate(answer: string, bitsPerSecond: number): string {
  return ['H264/90000', 'VP8/90000'].reduce(
    (sdp, codec) =>
      withParameter(sdp, codec, 'x-google-start-bitrate', Math.round(bitsPerSecond / 1000)),
    answer,
  )
}

/** Adds `name=value` to the fmtp of every payload type of this codec that does not have it; a codec without fmtp gets the line. */
function withParameter(sdp: string, codec: string, name: string, value: number): string {
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
