// Cameras and microphones: why there is none, which ones there are, and opening them.

import { onUnmounted, ref, type Ref } from 'vue'

export type Problem = 'insecure' | 'unsupported' | 'denied' | 'none' | 'busy' | 'other'

export interface Choice {
  camera: string | null
  microphone: string | null
}

export interface Opened {
  stream: MediaStream | null
  /** Why the camera (or all of it) is missing. */
  problem: Problem | null
}

const KEY = 'tongke.devices'

export function rememberedChoice(): Choice {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Choice>
    return { camera: kept.camera ?? null, microphone: kept.microphone ?? null }
  } catch {
    return { camera: null, microphone: null }
  }
}

export function rememberChoice(choice: Choice) {
  try {
    localStorage.setItem(KEY, JSON.stringify(choice))
  } catch {
    // A browser without storage asks again next time.
  }
}

/** Opens what can be had: both, else the microphone alone, else the camera alone. */
export async function openDevices(choice: Choice): Promise<Opened> {
  if (!navigator.mediaDevices?.getUserMedia)
    return { stream: null, problem: isSecureContext ? 'unsupported' : 'insecure' }
  let problem: Problem | null = null
  for (const wish of wishes(choice)) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia(wish)
      return { stream, problem: stream.getVideoTracks().length ? null : (problem ?? 'none') }
    } catch (error) {
      problem ??= problemOf(error)
      if (problem === 'denied') break
    }
  }
  return { stream: null, problem }
}

export async function openCamera(choice: Choice): Promise<MediaStreamTrack> {
  const stream = await navigator.mediaDevices.getUserMedia({ video: cameraWish(choice.camera) })
  const [track] = stream.getVideoTracks()
  if (!track) throw new DOMException('no camera', 'NotFoundError')
  return track
}

export async function listDevices(): Promise<{
  cameras: MediaDeviceInfo[]
  microphones: MediaDeviceInfo[]
}> {
  const all = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? []
  return {
    cameras: all.filter((one) => one.kind === 'videoinput' && one.deviceId),
    microphones: all.filter((one) => one.kind === 'audioinput' && one.deviceId),
  }
}

export function problemOf(error: unknown): Problem {
  const name = error instanceof DOMException ? error.name : ''
  if (name === 'NotAllowedError' || name === 'SecurityError') return 'denied'
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'none'
  if (name === 'NotReadableError' || name === 'AbortError') return 'busy'
  return 'other'
}

export const stop = (stream: MediaStream | null) =>
  stream?.getTracks().forEach((track) => track.stop())

/** How loud a microphone is, 0..1, while the page lives. Stays 0 where the browser wants a click first. */
export function useMeter(stream: Ref<MediaStream | null>): Ref<number> {
  const level = ref(0)
  let context: AudioContext | null = null
  let analyser: AnalyserNode | null = null
  let listened: MediaStream | null = null
  const samples = new Float32Array(1024)
  const timer = setInterval(() => {
    if (stream.value !== listened) listen(stream.value)
    if (!analyser) return (level.value = 0)
    if (context?.state === 'suspended') void context.resume()
    analyser.getFloatTimeDomainData(samples)
    const rms = Math.sqrt(
      samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length,
    )
    return (level.value = loudness(rms))
  }, 80)

  function listen(next: MediaStream | null) {
    listened = next
    analyser = null
    if (!next?.getAudioTracks().length) return
    context ??= new AudioContext()
    analyser = context.createAnalyser()
    context.createMediaStreamSource(next).connect(analyser)
  }

  onUnmounted(() => {
    clearInterval(timer)
    void context?.close()
  })
  return level
}

/** −60 dB is silence, −10 dB is loud speech: what lies between fills the bar. */
export function loudness(linear: number): number {
  if (linear <= 0) return 0
  const db = 20 * Math.log10(linear)
  return Math.max(0, Math.min(1, (db + 60) / 50))
}

function wishes({ camera, microphone }: Choice): MediaStreamConstraints[] {
  const audio: MediaTrackConstraints = {
    ...(microphone ? { deviceId: { ideal: microphone } } : {}),
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
  }
  const video = cameraWish(camera)
  return [{ audio, video }, { audio }, { video }]
}

function cameraWish(camera: string | null): MediaTrackConstraints {
  return {
    ...(camera ? { deviceId: { ideal: camera } } : {}),
    width: { ideal: 1280 },
    height: { ideal: 720 },
    frameRate: { ideal: 30, max: 30 },
  }
}
