// What this browser sends to the library. One list for the whole page: it goes on while the teacher reads something else.
//
// tus-js-client keeps a fingerprint of each file in localStorage, so the same file chosen after a reload goes on where it stopped.

import { computed, reactive, ref } from 'vue'
import * as tus from 'tus-js-client'
import { ApiError, get, post, sentence } from '../api'
import { i18n, locale } from '../i18n'
import { sha256Of } from './digest'
import { speed } from './marked'
import type { Resource, ResourceCard, UploadState } from './shapes'

export type Stage = 'checking' | 'waiting' | 'sending' | 'paused' | 'known' | 'done' | 'failed'

export interface Sending {
  id: number
  name: string
  size: number
  sent: number
  stage: Stage
  /** Bytes per second; null while unknown. */
  speed: number | null
  /** The line is broken and the upload tries again by itself. */
  waits: boolean
  problem: string | null
  /** The same content, found in the library. */
  known: ResourceCard | null
  /** The name of another file of this list with the same content. */
  twin: string | null
  resource: string | null
  /** How far the server has understood it; null until it is there. */
  understood: ResourceCard['preview'] | null
  versionOf: string | null
}

/** A new version of something, instead of something new. */
export interface Wish {
  resource: string
  title: string
  changes: string
}

interface Work {
  file: File
  path: string
  wish: Wish | null
  upload: tus.Upload | null
  sha256: string | null
  moments: { at: number; bytes: number }[]
}

/** A school's uplink is shared by a few, not by twenty. */
const AT_ONCE = 3
const RETRY_MS = [1000, 3000, 5000, 10_000, 20_000, 30_000]
/** The speed shown is that of the last seconds. */
const WINDOW_MS = 4000
const LOOK_AGAIN_MS = 1500

export const sendings = reactive<Sending[]>([])
/** Grows whenever the library got something; lists load themselves again. */
export const arrivals = ref(0)
export const unfinished = ref<UploadState[]>([])
export const space = ref<{ used: number; quota: number } | null>(null)
export const busy = computed(() =>
  sendings.some(({ stage }) => ['checking', 'waiting', 'sending'].includes(stage)),
)

const works = new Map<number, Work>()
let next = 1

/** Takes files in. Those that the library has already wait for a word; the others are sent. */
export async function add(files: { file: File; path: string }[], wish: Wish | null = null) {
  const mine = files.map(({ file, path }) => {
    const id = next++
    works.set(id, { file, path, wish, upload: null, sha256: null, moments: [] })
    sendings.unshift({
      id,
      name: file.name,
      size: file.size,
      sent: 0,
      stage: 'checking',
      speed: null,
      waits: false,
      problem: null,
      known: null,
      twin: null,
      resource: null,
      understood: null,
      versionOf: wish?.title ?? null,
    })
    return sendings.find((one) => one.id === id)!
  })
  for (const one of mine) {
    await check(one)
    pump()
  }
}

async function check(one: Sending) {
  const work = works.get(one.id)
  if (!work || one.stage !== 'checking') return
  if (work.file.size === 0) return fail(one, i18n.global.t('library.upload.empty_file'))
  try {
    if (!work.wish) await compare(one, work)
  } catch (error) {
    // A file that cannot be read will not be sent either; a server that cannot be asked is tried again by the upload itself.
    if (!(error instanceof ApiError)) return fail(one, i18n.global.t('library.upload.unreadable'))
  }
  one.sent = 0
  if (one.stage === 'checking') one.stage = one.known || one.twin ? 'known' : 'waiting'
}

/** Looks for the same content, in this list and in the library. */
async function compare(one: Sending, work: Work) {
  const digest = await sha256Of(work.file, (bytes) => {
    one.sent = bytes
    return one.stage === 'checking'
  })
  if (!digest) return
  work.sha256 = digest
  const twin = sendings.find((other) => other !== one && works.get(other.id)?.sha256 === digest)
  one.twin = twin?.name ?? null
  const known = await post<{ items: { resource: ResourceCard }[] }>('/api/uploads/known', {
    sha256s: [digest],
  })
  one.known = known.items[0]?.resource ?? null
}

function pump() {
  const room = AT_ONCE - sendings.filter(({ stage }) => stage === 'sending').length
  const waiting = sendings.filter(({ stage }) => stage === 'waiting').reverse()
  for (const one of waiting.slice(0, Math.max(0, room))) void send(one)
}

async function send(one: Sending) {
  const work = works.get(one.id)
  if (!work) return
  one.stage = 'sending'
  one.problem = null
  work.moments = []
  if (!work.upload) {
    work.upload = upload(one, work)
    const [previous] = await work.upload.findPreviousUploads()
    if (one.stage !== 'sending') return
    if (previous) work.upload.resumeFromPreviousUpload(previous)
  }
  work.upload.start()
}

function upload(one: Sending, work: Work): tus.Upload {
  const { file, path, wish } = work
  return new tus.Upload(file, {
    endpoint: '/api/uploads',
    retryDelays: RETRY_MS,
    removeFingerprintOnSuccess: true,
    // The same file as a new version of something is another upload.
    fingerprint: async () =>
      ['tongke', file.name, file.size, file.lastModified, wish?.resource ?? ''].join('-'),
    headers: { 'Accept-Language': locale.value },
    metadata: {
      filename: file.name,
      ...(path ? { relativePath: path } : {}),
      ...(wish ? { resource: wish.resource, changes: wish.changes } : {}),
    },
    onProgress: (sent) => moved(one, work, sent),
    onShouldRetry: (error) => {
      const status = error.originalResponse?.getStatus() ?? 0
      one.waits = status === 0 || status >= 500 || status === 409 || status === 423
      return one.waits
    },
    onError: (error) => {
      fail(one, told(error))
      pump()
    },
    onSuccess: ({ lastResponse }) => {
      one.resource = lastResponse.getHeader('Tongke-Resource') ?? null
      arrived(one)
    },
  })
}

function moved(one: Sending, work: Work, sent: number) {
  const at = performance.now()
  one.waits = false
  one.sent = sent
  work.moments.push({ at, bytes: sent })
  work.moments = work.moments.filter((moment) => at - moment.at <= WINDOW_MS)
  one.speed = speed(work.moments)
}

function arrived(one: Sending) {
  one.stage = 'done'
  one.twin = null
  one.sent = one.size
  one.speed = null
  one.problem = null
  works.delete(one.id)
  arrivals.value += 1
  pump()
  void watchUnderstanding(one)
}

/** Until the server has read the file, or says why it cannot. */
async function watchUnderstanding(one: Sending) {
  while (
    one.resource &&
    sendings.includes(one) &&
    (!one.understood || one.understood.state === 'waiting')
  ) {
    try {
      const resource = await get<Resource>(`/api/resources/${one.resource}`)
      one.understood = resource.preview
      if (resource.preview.state === 'failed') one.problem = resource.problem_text
    } catch (error) {
      if (error instanceof ApiError && !error.passing) return
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS))
  }
  arrivals.value += 1
}

function fail(one: Sending, problem: string) {
  one.stage = 'failed'
  one.speed = null
  one.waits = false
  one.problem = problem
}

function told(error: Error | tus.DetailedError): string {
  const response = 'originalResponse' in error ? error.originalResponse : null
  if (!response)
    return 'originalRequest' in error
      ? i18n.global.t('error.offline')
      : i18n.global.t('library.upload.failed')
  try {
    const { message } = JSON.parse(response.getBody()) as { message?: unknown }
    if (typeof message === 'string') return message
  } catch {
    // Whatever stands between us and the server (a proxy) answers in its own way.
  }
  return i18n.global.t('error.unexpected', { status: response.getStatus() })
}

export async function pause(one: Sending) {
  const before = one.stage
  one.stage = 'paused'
  one.speed = null
  one.waits = false
  if (before === 'sending') await works.get(one.id)?.upload?.abort()
  pump()
}

export function resume(one: Sending) {
  one.stage = 'waiting'
  one.problem = null
  pump()
}

/** Takes it off the list, and what came of it off the server. */
export async function giveUp(one: Sending) {
  const work = works.get(one.id)
  const at = sendings.indexOf(one)
  if (at >= 0) sendings.splice(at, 1)
  works.delete(one.id)
  one.stage = 'paused'
  if (work?.upload && !one.resource)
    await work.upload.abort(work.upload.url !== null).catch(() => undefined)
  pump()
  void look()
}

/** The content is here already: a resource of one's own needs no sending. */
export async function addAnyway(one: Sending) {
  const work = works.get(one.id)
  if (!work?.sha256) return
  // Its twin is on its way: by then the library knows it, or else it is sent.
  if (!one.known) return resume(one)
  one.stage = 'sending'
  try {
    one.resource = (
      await post<{ id: string }>('/api/resources', { sha256: work.sha256, file_name: one.name })
    ).id
    arrived(one)
  } catch (error) {
    fail(one, sentence(error))
  }
}

export function clearFinished() {
  for (const one of sendings.filter(({ stage }) => stage === 'done' || stage === 'known')) {
    works.delete(one.id)
    sendings.splice(sendings.indexOf(one), 1)
  }
}

/** What an earlier page did not finish, and how much room there is. */
export async function look() {
  const answer = await get<{ items: UploadState[]; used_bytes: number; quota_bytes: number }>(
    '/api/uploads',
  )
  const here = new Set([...works.values()].map(({ upload }) => upload?.url?.split('/').at(-1)))
  unfinished.value = answer.items.filter((one) => !one.resource_id && !here.has(one.id))
  space.value = { used: answer.used_bytes, quota: answer.quota_bytes }
}
