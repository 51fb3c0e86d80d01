import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

// `npm run dev` serves the pages and hands everything else to a `tongke` that runs on this machine.
const server = process.env.TONGKE_URL ?? 'http://127.0.0.1:8080'

export default defineConfig({
  plugins: [vue()],
  define: {
    __VUE_I18N_LEGACY_API__: false,
    __INTLIFY_PROD_DEVTOOLS__: false,
  },
  build: {
    target: 'es2022',
    // hls.js and the management pages are chunks of their own; nobody waits for them on the way into a lesson.
    chunkSizeWarningLimit: 1200,
  },
  server: {
    proxy: {
      '/api': { target: server, ws: true },
      '/media': { target: server },
    },
  },
})
