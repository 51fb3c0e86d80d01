// Client of the REST API. Error messages come from the server in the user's language and are shown
// unchanged.

import { i18n, locale } from '../i18n'

/** Error answer of the server; `status` is 0 if there was no answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly field: string | null = null,
  ) {
    super(message)
  }

  /** True for network and server errors, false when the request itself was wrong. */
  get retryable(): boolean {
    return this.status === 0 || this.status >= 500
  }
}

export const get = <T>(path: string): Promise<T> => request<T>('GET', path)
export const post = <T>(path: string, body: unknown = {}): Promise<T> =>
  request<T>('POST', path, body)
export const put = <T>(path: string, body: unknown): Promise<T> => request<T>('PUT', path, body)
export const patch = <T>(path: string, body: unknown): Promise<T> => request<T>('PATCH', path, body)
export const remove = (path: string, body?: unknown): Promise<void> =>
  request<void>('DELETE', path, body)

/** Request timeout; a dead link must not block the caller. */
const REQUEST_TIMEOUT_MS = 15_000

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(path, {
    method,
    credentials: 'same-origin',
    headers: {
      Accept: 'application/json',
      'Accept-Language': locale.value,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  }).catch(() => {
    throw new ApiError(0, 'offline', i18n.global.t('error.offline'))
  })
  if (response.status === 204) return undefined as T
  const answer: unknown = await response.json().catch(() => null)
  if (response.ok && answer !== null) return answer as T
  const problem = (answer ?? {}) as { code?: string; message?: string; field?: string }
  throw new ApiError(
    response.status,
    problem.code ?? 'unexpected',
    problem.message ?? i18n.global.t('error.unexpected', { status: response.status }),
    problem.field ?? null,
  )
}

/** Returns the message to show for anything that was thrown. */
export function errorMessage(error: unknown): string {
  if (error instanceof ApiError) return error.message
  return i18n.global.t('error.page')
}
