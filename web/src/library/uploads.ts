// Uploads of this tab to the library. They are global state and continue while the user navigates.
//
// tus-js-client keeps a fingerprint of each file in localStorage, so the upload of the same file
// resumes after a reload.

import { computed, reactive, ref } from 'vue'
import * as tus from 'tus-js-client'
import { ApiError, get, post, errorMessage } from '../api'
import { i18n, locale } from '../i18n'
import { sha256Of } from './digest'
import { averageSpeed } from './uploadSpeed'
import type { KnownContent, Resource, ResourceCard, UnfinishedUploads, UploadState } from './types'

export type Stage = 'checking' | 'waiting' | 'sending' | 'paused' | 'known' | 'done' | 'failed'

export interface UploadItem {
  id: number
  name: string
  size: number
  sent: number
  stage: Stage
  /** Bytes per second; null while unknown. */
  speed: number | null
  /** The link is down and the upload retries by itself. */
  retrying: boolean
  problem: string | null
  /** Resource of the library with the same content. */
  existing: ResourceCard | null
  /** Name of another upload with the same content. */
  duplicateOf: string | null
  resource: string | null
  /** State of the server's processing; null until the upload is complete. */
  preview: ResourceCard['preview'] | null
  versionOf: string | null
}

/** Resource of which the file becomes a new version. */
export interface VersionTarget {
  resource: string
  title: string
  changes: string
}

interface UploadWork {
  file: File
  path: string
  target: VersionTarget | null
  upload: tus.Upload | null
  sha256: string | null
  samples: { at: number; bytes: number }[]
}

/** Concurrent uploads; they share a school's uplink. */
const MAX_CONCURRENT = 3
const RETRY_DELAYS_MS = [1000, 3000, 5000, 10_000, 20_000, 30_000]
/** Window over which the speed is averaged. */
const SPEED_WINDOW_MS = 4000
const POLL_MS = 1500

export const uploads = reactive<UploadItem[]>([])
/** Incremented whenever an upload changed the library; lists watch it and reload. */
export const libraryRevision = ref(0)
export const unfinished = ref<UploadState[]>([])
export const quota = ref<{ usedBytes: number; totalBytes: number } | null>(null)
export const busy = computed(() =>
  uploads.some(({ stage }) => ['checking', 'waiting', 'sending'].includes(stage)),
)

const works = new Map<number, UploadWork>()
let next = 1

/** Adds files. Duplicates wait for a decision by the user; the others are uploaded. */
export async function addFiles(
  files: { file: File; path: string }[],
  target: VersionTarget | null = null,
) {
  const added = files.map(({ file, path }) => {
    const id = next++
    works.set(id, { file, path, target, upload: null, sha256: null, samples: [] })
    uploads.unshift({
      id,
      name: file.name,
      size: file.size,
      sent: 0,
      stage: 'checking',
      speed: null,
      retrying: false,
      problem: null,
      existing: null,
      duplicateOf: null,
      resource: null,
      preview: null,
      versionOf: target?.title ?? null,
    })
    return uploads.find((item) => item.id === id)!
  })
  for (const item of added) {
    await check(item)
    startWaiting()
  }
}

async function check(item: UploadItem) {
  const work = works.get(item.id)
  if (!work || item.stage !== 'checking') return
  if (work.file.size === 0) return fail(item, i18n.global.t('library.upload.empty_file'))
  try {
    if (!work.target) await findDuplicate(item, work)
  } catch (error) {
    // An unreadable file cannot be uploaded; an unreachable server is retried by the upload.
    if (!(error instanceof ApiError)) return fail(item, i18n.global.t('library.upload.unreadable'))
  }
  item.sent = 0
  if (item.stage === 'checking')
    item.stage = item.existing || item.duplicateOf ? 'known' : 'waiting'
}

/** Looks for the same content among the uploads and in the library. */
async function findDuplicate(item: UploadItem, work: UploadWork) {
  const digest = await sha256Of(work.file, (bytes) => {
    item.sent = bytes
    return item.stage === 'checking'
  })
  if (!digest) return
  work.sha256 = digest
  const duplicate = uploads.find(
    (other) => other !== item && works.get(other.id)?.sha256 === digest,
  )
  item.duplicateOf = duplicate?.name ?? null
  const known = await post<KnownContent>('/api/uploads/known', {
    sha256s: [digest],
  })
  item.existing = known.items[0]?.resource ?? null
}

function startWaiting() {
  const free = MAX_CONCURRENT - uploads.filter(({ stage }) => stage === 'sending').length
  const waiting = uploads.filter(({ stage }) => stage === 'waiting').reverse()
  for (const item of waiting.slice(0, Math.max(0, free))) void start(item)
}

async function start(item: UploadItem) {
  const work = works.get(item.id)
  if (!work) return
  item.stage = 'sending'
  item.problem = null
  work.samples = []
  if (!work.upload) {
    work.upload = newUpload(item, work)
    const [previous] = await work.upload.findPreviousUploads()
    if (item.stage !== 'sending') return
    if (previous) work.upload.resumeFromPreviousUpload(previous)
  }
  work.upload.start()
}

function newUpload(item: UploadItem, work: UploadWork): tus.Upload {
  const { file, path, target } = work
  return new tus.Upload(file, {
    endpoint: '/api/uploads',
    retryDelays: RETRY_DELAYS_MS,
    removeFingerprintOnSuccess: true,
    // The same file as a new version of a resource is a separate upload.
    fingerprint: async () =>
      ['tongke', file.name, file.size, file.lastModified, target?.resource ?? ''].join('-'),
    headers: { 'Accept-Language': locale.value },
    metadata: {
      filename: file.name,
      ...(path ? { relativePath: path } : {}),
      ...(target ? { resource: target.resource, changes: target.changes } : {}),
    },
    onProgress: (sent) => trackProgress(item, work, sent),
    onShouldRetry: (error) => {
      const status = error.originalResponse?.getStatus() ?? 0
      item.retrying = status === 0 || status >= 500 || status === 409 || status === 423
      return item.retrying
    },
    onError: (error) => {
      fail(item, uploadErrorMessage(error))
      startWaiting()
    },
    onSuccess: ({ lastResponse }) => {
      item.resource = lastResponse.getHeader('Tongke-Resource') ?? null
      complete(item)
    },
  })
}

function trackProgress(item: UploadItem, work: UploadWork, sent: number) {
  const at = performance.now()
  item.retrying = false
  item.sent = sent
  work.samples.push({ at, bytes: sent })
  work.samples = work.samples.filter((sample) => at - sample.at <= SPEED_WINDOW_MS)
  item.speed = averageSpeed(work.samples)
}

function complete(item: UploadItem) {
  item.stage = 'done'
  item.duplicateOf = null
  item.sent = item.size
  item.speed = null
  item.problem = null
  works.delete(item.id)
  libraryRevision.value += 1
  startWaiting()
  void pollProcessing(item)
}

/** Polls until the server has processed the file. */
async function pollProcessing(item: UploadItem) {
  while (
    item.resource &&
    uploads.includes(item) &&
    (!item.preview || item.preview.state === 'waiting')
  ) {
    try {
      const resource = await get<Resource>(`/api/resources/${item.resource}`)
      item.preview = resource.preview
      if (resource.preview.state === 'failed') item.problem = resource.problem_text
    } catch (error) {
      if (error instanceof ApiError && !error.retryable) return
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  libraryRevision.value += 1
}

function fail(item: UploadItem, problem: string) {
  item.stage = 'failed'
  item.speed = null
  item.retrying = false
  item.problem = problem
}

function uploadErrorMessage(error: Error | tus.DetailedError): string {
  const response = 'originalResponse' in error ? error.originalResponse : null
  if (!response)
    return 'originalRequest' in error
      ? i18n.global.t('error.offline')
      : i18n.global.t('library.upload.failed')
  try {
    const { message } = JSON.parse(response.getBody()) as { message?: unknown }
    if (typeof message === 'string') return message
  } catch {
    // A proxy's answer is not our JSON.
  }
  return i18n.global.t('error.unexpected', { status: response.getStatus() })
}

export async function pause(item: UploadItem) {
  const before = item.stage
  item.stage = 'paused'
  item.speed = null
  item.retrying = false
  if (before === 'sending') await works.get(item.id)?.upload?.abort()
  startWaiting()
}

export function resume(item: UploadItem) {
  item.stage = 'waiting'
  item.problem = null
  startWaiting()
}

/** Removes an upload from the list, and its partial data from the server. */
export async function cancel(item: UploadItem) {
  const work = works.get(item.id)
  const at = uploads.indexOf(item)
  if (at >= 0) uploads.splice(at, 1)
  works.delete(item.id)
  item.stage = 'paused'
  if (work?.upload && !item.resource)
    await work.upload.abort(work.upload.url !== null).catch(() => undefined)
  startWaiting()
  void refreshUploads()
}

/** Creates a resource from content that the server already has, without an upload. */
export async function addDuplicate(item: UploadItem) {
  const work = works.get(item.id)
  if (!work?.sha256) return
  // The duplicate is another upload that may not be complete: upload this item as well.
  if (!item.existing) return resume(item)
  item.stage = 'sending'
  try {
    item.resource = (
      await post<{ id: string }>('/api/resources', { sha256: work.sha256, file_name: item.name })
    ).id
    complete(item)
  } catch (error) {
    fail(item, errorMessage(error))
  }
}

export function clearFinished() {
  for (const item of uploads.filter(({ stage }) => stage === 'done' || stage === 'known')) {
    works.delete(item.id)
    uploads.splice(uploads.indexOf(item), 1)
  }
}

/** Fetches the unfinished uploads of earlier tabs, and the storage quota. */
export async function refreshUploads() {
  const answer = await get<UnfinishedUploads>('/api/uploads')
  const local = new Set([...works.values()].map(({ upload }) => upload?.url?.split('/').at(-1)))
  unfinished.value = answer.items.filter((item) => !item.resource_id && !local.has(item.id))
  quota.value = { usedBytes: answer.used_bytes, totalBytes: answer.quota_bytes }
}
