// Chinese by default; English by a button, rememberedLocale in localStorage.

import { computed } from 'vue'
import { createI18n } from 'vue-i18n'
import en from './locales/en'
import zh from './locales/zh'

export type Locale = 'zh' | 'en'
const KEY = 'tongke.locale'

export const i18n = createI18n({
  legacy: false,
  locale: rememberedLocale(),
  fallbackLocale: 'zh',
  messages: { zh, en },
})

export const locale = computed(() => i18n.global.locale.value as Locale)

export function setLocale(next: Locale) {
  i18n.global.locale.value = next
  try {
    localStorage.setItem(KEY, next)
  } catch {
    // Without storage the choice is lost with the tab.
  }
  applyDocumentLanguage()
}

export function applyDocumentLanguage() {
  document.documentElement.lang = locale.value === 'zh' ? 'zh-CN' : 'en'
}

function rememberedLocale(): Locale {
  try {
    return localStorage.getItem(KEY) === 'en' ? 'en' : 'zh'
  } catch {
    return 'zh'
  }
}
