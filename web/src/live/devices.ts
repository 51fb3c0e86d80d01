// Cameras and microphones: enumeration, opening, remembered choice, and the reason when none opens.

import { onUnmounted, ref, type Ref } from 'vue'

export type Problem = 'insecure' | 'unsupported' | 'denied' | 'none' | 'busy' | 'other'

export interface Choice {
  camera: string | null
  microphone: string | null
}

export interface Opened {
  stream: MediaStream | null
  /** Reason for the missing camera, or for the missing stream. */
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
    // Without storage the choice is lost with the tab.
  }
}

/** Opens camera and microphone, else the microphone alone, else the camera alone. */
export async function openDevices(choice: Choice): Promise<Opened> {
  if (!navigator.mediaDevices?.getUserMedia)
    return { stream: null, problem: isSecureContext ? 'unsupported' : 'insecure' }
  let problem: Problem | null = null
  for (const constraints of constraintCandidates(choice)) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia(constraints)
      return { stream, problem: stream.getVideoTracks().length ? null : (problem ?? 'none') }
    } catch (error) {
      problem ??= problemOf(error)
      if (problem === 'denied') break
    }
  }
  return { stream: null, problem }
}

export async function openCamera(choice: Choice): Promise<MediaStreamTrack> {
  const stream = await navigator.mediaDevices.getUserMedia({
    video: cameraConstraints(choice.camera),
  })
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
    cameras: all.filter((device) => device.kind === 'videoinput' && device.deviceId),
    microphones: all.filter((device) => device.kind === 'audioinput' && device.deviceId),
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

/**
 * Level of a microphone, 0..1, until the component is unmounted. Stays 0 while the browser suspends
 * audio until a click.
 */
export function useMicrophoneLevel(stream: Ref<MediaStream | null>): Ref<number> {
  const level = ref(0)
  let context: AudioContext | null = null
  let analyser: AnalyserNode | null = null
  let source: MediaStream | null = null
  const samples = new Float32Array(1024)
  const timer = setInterval(() => {
    if (stream.value !== source) connect(stream.value)
    if (!analyser) return (level.value = 0)
    if (context?.state === 'suspended') void context.resume()
    analyser.getFloatTimeDomainData(samples)
    const rms = Math.sqrt(
      samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length,
    )
    return (level.value = loudness(rms))
  }, 80)

  function connect(next: MediaStream | null) {
    source = next
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

/** Maps an amplitude to 0..1: −60 dB is silence, −10 dB is loud speech. */
export function loudness(linear: number): number {
  if (linear <= 0) return 0
  const db = 20 * Math.log10(linear)
  return Math.max(0, Math.min(1, (db + 60) / 50))
}

function constraintCandidates({ camera, microphone }: Choice): MediaStreamConstraints[] {
  const audio: MediaTrackConstraints = {
    ...(microphone ? { deviceId: { ideal: microphone } } : {}),
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
  }
  const video = cameraConstraints(camera)
  return [{ audio, video }, { audio }, { video }]
}

function cameraConstraints(camera: string | null): MediaTrackConstraints {
  return {
    ...(camera ? { deviceId: { ideal: camera } } : {}),
    width: { ideal: 1280 },
    height: { ideal: 720 },
    frameRate: { ideal: 30, max: 30 },
  }
}
