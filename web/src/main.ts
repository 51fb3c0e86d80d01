import { createApp } from 'vue'
import App from './App.vue'
import { i18n, applyDocumentLanguage } from './i18n'
import { router } from './router'
import './styles/tokens.css'
import './styles/base.css'

applyDocumentLanguage()
createApp(App).use(i18n).use(router).mount('#app')
