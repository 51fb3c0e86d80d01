// The signed-in person or classroom.

import { ref } from 'vue'
import { ApiError, get, post, remove, type Me } from './api'

/** `undefined` until loaded, `null` without a session. */
export const me = ref<Me | null | undefined>(undefined)

export async function fetchMe(): Promise<Me | null> {
  if (me.value !== undefined) return me.value
  try {
    me.value = await get<Me>('/api/session')
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error
    me.value = null
  }
  return me.value ?? null
}

export async function signIn(login: string, password: string) {
  me.value = await post<Me>('/api/session', { login, password })
}

export async function signInWithPass(pass: string) {
  me.value = await post<Me>('/api/session/pass', { pass })
}

export async function signOut() {
  await remove('/api/session')
  me.value = null
}
