import { createRouter, createWebHistory } from 'vue-router'
import { fetchMe } from './session'

declare module 'vue-router' {
  interface RouteMeta {
    /** Accessible without a session. */
    open?: boolean
    /** Without the app's header. */
    bare?: boolean
  }
}

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: '/', name: 'today', component: () => import('./pages/TodayPage.vue') },
    {
      path: '/signin',
      name: 'signin',
      component: () => import('./pages/SignInPage.vue'),
      meta: { open: true, bare: true },
    },
    {
      path: '/setup/:token',
      name: 'setup',
      component: () => import('./pages/SetupPage.vue'),
      props: true,
      meta: { open: true, bare: true },
    },
    {
      path: '/room/:pass',
      name: 'room',
      component: () => import('./pages/RoomPage.vue'),
      props: true,
      meta: { open: true, bare: true },
    },
    {
      path: '/lessons/:id/live',
      name: 'live',
      component: () => import('./live/LivePage.vue'),
      props: true,
      meta: { bare: true },
    },
    {
      path: '/lessons/:id/replay',
      name: 'replay',
      component: () => import('./replay/ReplayPage.vue'),
      props: true,
    },
    {
      path: '/recordings',
      name: 'recordings',
      component: () => import('./pages/RecordingsPage.vue'),
    },
    { path: '/library', name: 'library', component: () => import('./library/LibraryPage.vue') },
    {
      path: '/library/collections/:id',
      name: 'collection',
      component: () => import('./library/CollectionPage.vue'),
      props: true,
    },
    {
      path: '/library/:id',
      name: 'resource',
      component: () => import('./library/ResourcePage.vue'),
      props: true,
    },
    { path: '/account', name: 'account', component: () => import('./pages/AccountPage.vue') },
    {
      path: '/admin/:tab?',
      name: 'admin',
      component: () => import('./admin/AdminPage.vue'),
      props: true,
    },
    {
      path: '/:rest(.*)*',
      name: 'missing',
      component: () => import('./pages/MissingPage.vue'),
      meta: { open: true },
    },
  ],
  scrollBehavior: () => ({ top: 0 }),
})

router.beforeEach(async (to) => {
  if (to.meta.open) return true
  // While the server is unreachable, the page itself reports the error and retries.
  const me = await fetchMe().catch(() => undefined)
  if (me === null)
    return { name: 'signin', query: to.fullPath === '/' ? {} : { next: to.fullPath } }
  const mustChange = me?.kind === 'person' && me.must_change_password
  if (mustChange && to.name !== 'account') return { name: 'account', query: { next: to.fullPath } }
  return true
})

/** A path of this site from a query parameter; `undefined` for anything that leads elsewhere. */
export function localPath(path: unknown): string | undefined {
  return typeof path === 'string' && /^\/(?![/\\])/.test(path) ? path : undefined
}
