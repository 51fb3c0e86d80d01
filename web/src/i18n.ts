// Chinese first; English by a button, remembered on this device.

import { computed } from 'vue'
import { createI18n } from 'vue-i18n'
import en from './locales/en'
import zh from './locales/zh'

export type Locale = 'zh' | 'en'
const KEY = 'tongke.locale'

export const i18n = createI18n({
  legacy: false,
  locale: remembered(),
  fallbackLocale: 'zh',
  messages: { zh, en },
})

export const locale = computed(() => i18n.global.locale.value as Locale)

export function setLocale(next: Locale) {
  i18n.global.locale.value = next
  try {
    localStorage.setItem(KEY, next)
  } catch {
    // A browser without storage simply forgets the choice.
  }
  tellDocument()
}

export function tellDocument() {
  document.documentElement.lang = locale.value === 'zh' ? 'zh-CN' : 'en'
}

function remembered(): Locale {
  try {
    return localStorage.getItem(KEY) === 'en' ? 'en' : 'zh'
  } catch {
    return 'zh'
  }
}
