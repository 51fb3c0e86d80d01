// HLS playback. Loads hls.js on first use; Safari plays HLS natively.

import type Hls from 'hls.js'

export interface Stream {
  /** Position of the live edge in seconds, for a lesson that is still live. */
  edge(): number | null
  close(): void
}

export interface Options {
  /** Start position in seconds; null leaves it to the player (the live edge of a live lesson). */
  from: number | null
  /** Called on a fatal error, after all retries. */
  failed: () => void
}

/**
 * Live latency. Segments last 2 s, but players reload the playlist once per target duration (7 s,
 * RFC 8216 §6.3.4); the default of hls.js, three target durations, would be 21 s.
 */
export const LIVE_LATENCY_S = 10

export async function play(
  video: HTMLVideoElement,
  url: string,
  options: Options,
): Promise<Stream> {
  const { default: Player } = await import('hls.js')
  if (Player.isSupported())
    return playWithHls(
      new Player({
        startPosition: options.from ?? -1,
        backBufferLength: 120,
        liveSyncDuration: LIVE_LATENCY_S,
      }),
      video,
      url,
      options,
      Player,
    )
  video.src = url
  video.addEventListener('error', options.failed, { once: true })
  if (options.from) video.currentTime = options.from
  return {
    edge: () => (video.seekable.length ? video.seekable.end(video.seekable.length - 1) : null),
    close: () => video.removeAttribute('src'),
  }
}

/** Retries for a playlist that does not exist yet because the lesson has just started. */
const MAX_RETRIES = 8
const RETRY_DELAY_MS = 1500

function playWithHls(
  hls: Hls,
  video: HTMLVideoElement,
  url: string,
  { failed }: Options,
  Player: typeof Hls,
): Stream {
  let retries = 0
  let timer = 0
  hls.on(Player.Events.ERROR, (_, data) => {
    if (!data.fatal) return
    if (data.type === Player.ErrorTypes.MEDIA_ERROR && retries++ < MAX_RETRIES)
      return hls.recoverMediaError()
    if (data.type === Player.ErrorTypes.NETWORK_ERROR && retries++ < MAX_RETRIES) {
      timer = setTimeout(
        () => (hls.levels.length ? hls.startLoad() : hls.loadSource(url)),
        RETRY_DELAY_MS,
      )
      return
    }
    hls.destroy()
    failed()
  })
  hls.on(Player.Events.FRAG_BUFFERED, () => (retries = 0))
  hls.loadSource(url)
  hls.attachMedia(video)
  return {
    edge: () => hls.liveSyncPosition,
    close: () => {
      clearTimeout(timer)
      hls.destroy()
    },
  }
}
