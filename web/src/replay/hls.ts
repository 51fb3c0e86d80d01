// hls.js, fetched only when a recording is played. Safari plays the playlists by itself.

import type Hls from 'hls.js'

export interface Stream {
  /** The newest moment that can be played, in seconds; for a lesson that is still on. */
  edge(): number | null
  close(): void
}

export interface Options {
  /** Seconds; null: where the player thinks best (the end of a lesson that is still on). */
  from: number | null
  /** Nothing can be played any more; what can be mended has been tried. */
  failed: () => void
}

/**
 * How far behind the lesson its recording is followed. Segments last 2 s, but a player asks for news only as often as the playlist's
 * target duration (7 s) says; hls.js's own choice of three target durations would be 21 s.
 */
export const BEHIND_S = 10

export async function play(
  video: HTMLVideoElement,
  url: string,
  options: Options,
): Promise<Stream> {
  const { default: Player } = await import('hls.js')
  if (Player.isSupported())
    return playWith(
      new Player({
        startPosition: options.from ?? -1,
        backBufferLength: 120,
        liveSyncDuration: BEHIND_S,
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

/** A playlist that is not there yet (the bell has just rung) comes within this. */
const TRIES = 8
const TRY_AGAIN_MS = 1500

function playWith(
  hls: Hls,
  video: HTMLVideoElement,
  url: string,
  { failed }: Options,
  Player: typeof Hls,
): Stream {
  let tries = 0
  let timer = 0
  hls.on(Player.Events.ERROR, (_, data) => {
    if (!data.fatal) return
    if (data.type === Player.ErrorTypes.MEDIA_ERROR && tries++ < TRIES)
      return hls.recoverMediaError()
    if (data.type === Player.ErrorTypes.NETWORK_ERROR && tries++ < TRIES) {
      timer = setTimeout(
        () => (hls.levels.length ? hls.startLoad() : hls.loadSource(url)),
        TRY_AGAIN_MS,
      )
      return
    }
    hls.destroy()
    failed()
  })
  hls.on(Player.Events.FRAG_BUFFERED, () => (tries = 0))
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
