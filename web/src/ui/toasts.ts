// Transient notifications; errors stay longer.

import { reactive } from 'vue'

export interface Toast {
  id: number
  tone: 'good' | 'bad' | 'calm'
  text: string
}

export const toasts = reactive<Toast[]>([])
let next = 1

export function toast(text: string, tone: Toast['tone'] = 'calm') {
  const same = toasts.find((one) => one.text === text)
  if (same) return
  const id = next++
  toasts.push({ id, tone, text })
  // Long enough to read a Chinese sentence twice.
  setTimeout(() => dismiss(id), tone === 'bad' ? 9000 : 4000)
}

export function dismiss(id: number) {
  const at = toasts.findIndex((one) => one.id === id)
  if (at >= 0) toasts.splice(at, 1)
}
