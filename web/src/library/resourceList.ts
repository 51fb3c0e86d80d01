// State of the library page: a filtered list or search results, with facets.

import { computed, onBeforeUnmount, ref } from 'vue'
import { ApiError, get, errorMessage } from '../api'
import { curriculum } from './curriculum'
import {
  RESOURCE_TYPES,
  type SearchResults,
  type Hit,
  type ResourceCard,
  type ResourceList,
  type CurriculumTerms,
} from './types'

export const FACETS = [
  'type',
  'subject',
  'grade',
  'stage',
  'edition',
  'volume',
  'file_type',
] as const
export const PER_PAGE = 24
export type Tab = 'all' | 'mine' | 'to_review' | 'collections'

/** Kinds of search results, in the order of their tabs. */
export const KINDS = ['resource', 'recording', 'collection', 'person', 'school'] as const
export type Kind = (typeof KINDS)[number]

type Facet = (typeof FACETS)[number]
/** Facets that apply to a kind of result. */
const FACETS_OF: Record<Kind, readonly Facet[]> = {
  resource: FACETS,
  recording: ['subject', 'grade'],
  collection: [],
  person: [],
  school: [],
}
/** Sort orders of search results facetParams kind, the default first. */
const SEARCH_SORTS: Record<Kind, readonly string[]> = {
  resource: ['relevance', 'newest', 'most_used', 'best_rated'],
  recording: ['relevance', 'newest'],
  collection: ['relevance', 'newest'],
  person: ['relevance'],
  school: ['relevance'],
}
/** Sort orders of the list, the default first. */
const LIST_SORTS = ['updated', 'created', 'title', 'uses', 'rating']

export interface ResourceQuery {
  tab: Tab
  text: string
  /** Kind of result that is shown; `''` chooses the first kind with results. */
  kind: Kind | ''
  chosen: Record<string, string>
  sort: string
  /** From 1. */
  page: number
}

type Values = { value: string; count: number | null }[]

export function useResourceList(query: () => ResourceQuery) {
  /**
   * Search text of the results that are shown, which is the previous one while a request is
   * pending.
   */
  const loadedQuery = ref<string | null>(null)
  const items = ref<{ card: ResourceCard; hit?: Hit }[] | null>(null)
  /** Results that are not resources: lessons, collections, people, schools. */
  const others = ref<Hit[]>([])
  const kind = ref<Kind>('resource')
  const total = ref(0)
  /** Number of results that pagination can reach. */
  const reachable = ref(0)
  const approximate = ref(false)
  const counted = ref<SearchResults['facets']>({})
  /** Number of results per kind, without the selected facets. */
  const kinds = ref<{ kind: Kind; count: number }[]>([])
  const terms = ref<CurriculumTerms | null>(null)
  const failure = ref<string | null>(null)
  /** Number of the newest request; older answers are dropped. */
  let newest = 0
  onBeforeUnmount(() => (newest = -1))

  const isFound = computed(() => Boolean(loadedQuery.value))
  const sorts = computed(() => (isFound.value ? SEARCH_SORTS[kind.value] : LIST_SORTS))

  /**
   * Values per facet: counted facetParams the index for the unfiltered library, otherwise the
   * curriculum's terms.
   */
  const facets = computed<Record<string, Values>>(() => {
    const known: Record<string, readonly string[] | undefined> = {
      type: RESOURCE_TYPES,
      subject: terms.value?.subjects,
      grade: terms.value?.grades,
      stage: terms.value?.stages,
    }
    const { tab, chosen } = query()
    return Object.fromEntries(
      FACETS_OF[kind.value].map((name) => {
        const counts: Values =
          tab === 'all' ? (counted.value[name === 'type' ? 'resource_type' : name] ?? []) : []
        // For search results only the counted values have results.
        const values: Values =
          counts.length || isFound.value
            ? counts
            : (known[name] ?? []).map((value) => ({ value, count: null }))
        const selected = chosen[name]
        return [
          name,
          selected && !values.some(({ value }) => value === selected)
            ? [{ value: selected, count: null }, ...values]
            : values,
        ]
      }),
    )
  })

  async function load() {
    const request = ++newest
    const now = query()
    if (now.tab === 'collections') return
    try {
      terms.value ??= await curriculum()
      const answer = now.text ? await search(now) : await list(now)
      if (request !== newest) return
      loadedQuery.value = now.text
      items.value = answer.items
      others.value = answer.others
      kind.value = answer.kind
      total.value = answer.total
      reachable.value = answer.reachable
      approximate.value = answer.approximate
      counted.value = answer.facets
      kinds.value = answer.kinds
      failure.value = null
    } catch (error) {
      if (request === newest) {
        failure.value = errorMessage(error)
        // A transient error keeps the results; any other error must not leave results of another
        // query.
        if (!(error instanceof ApiError && error.retryable)) items.value = null
      }
    }
  }

  return {
    loadedQuery,
    items,
    others,
    kind,
    kinds,
    sorts,
    total,
    reachable,
    approximate,
    facets,
    failure,
    load,
  }
}

async function list({ tab, chosen, sort, page }: ResourceQuery) {
  const query = new URLSearchParams({
    page: String(page - 1),
    per_page: String(PER_PAGE),
    sort: sort || 'updated',
    ...(tab === 'all' ? {} : { [tab]: 'true' }),
  })
  for (const [name, value] of Object.entries(chosen)) if (value) query.set(name, value)
  // Facet counts are optional: while the index is unavailable, the curriculum's terms replace them.
  const counts =
    tab === 'all'
      ? get<SearchResults>(`/api/search?${searchParams({ size: '1' }, chosen)}`).catch(() => null)
      : null
  const [answer, found] = await Promise.all([get<ResourceList>(`/api/resources?${query}`), counts])
  return {
    items: answer.items.map((card) => ({ card })),
    others: [],
    kind: 'resource' as const,
    total: answer.total,
    reachable: answer.total,
    approximate: false,
    facets: found?.facets ?? {},
    kinds: [],
  }
}

async function search({ text, kind, chosen, sort, page }: ResourceQuery) {
  const facetParams = (kind: Kind) =>
    Object.fromEntries(
      FACETS_OF[kind].flatMap((name) => (chosen[name] ? [[name, chosen[name]]] : [])),
    )
  const find = (kind: Kind) =>
    get<SearchResults>(
      `/api/search?${searchParams({ q: text, kind, sort: SEARCH_SORTS[kind].find((one) => one === sort) ?? 'relevance', page: String(page), size: String(PER_PAGE) }, facetParams(kind))}`,
    )
  let shown = kind || 'resource'
  // The counts of the other kinds need a second search without this kind's facets.
  const isFiltered = Object.keys(facetParams(shown)).length > 0
  const [first, unfiltered] = await Promise.all([
    find(shown),
    isFiltered
      ? get<SearchResults>(`/api/search?${searchParams({ q: text, kind: shown, size: '1' }, {})}`)
      : null,
  ])
  let found = first
  const { facets } = unfiltered ?? first
  const kinds = KINDS.map((kind) => ({
    kind,
    count: facets.kind?.find(({ value }) => value === kind)?.count ?? 0,
  }))
  const elsewhere = kinds.find(({ count }) => count > 0)
  if (!kind && !found.total && elsewhere && elsewhere.kind !== 'resource')
    found = await find((shown = elsewhere.kind))
  const items = shown === 'resource' ? await cards(found.hits) : []
  return {
    items,
    others: shown === 'resource' ? [] : found.hits,
    kind: shown,
    kinds,
    total: found.total,
    reachable: found.reachable,
    approximate: found.approximate,
    facets: found.facets,
  }
}

function searchParams(
  first: Record<string, string>,
  chosen: Record<string, string>,
): URLSearchParams {
  const query = new URLSearchParams({ kind: 'resource', ...first })
  for (const [name, value] of Object.entries(chosen))
    if (value) query.set(name === 'type' ? 'resource_type' : name, value)
  return query
}

/**
 * Fetches all cards with one request, to save round trips. Resources deleted since they were
 * indexed are omitted.
 */
async function cards(hits: Hit[]): Promise<{ card: ResourceCard; hit: Hit }[]> {
  if (!hits.length) return []
  const { items } = await get<ResourceList>(
    `/api/resources?ids=${hits.map(({ id }) => id).join(',')}`,
  )
  const byId = new Map(items.map((card) => [card.id, card]))
  return hits.flatMap((hit) => {
    const card = byId.get(hit.id)
    return card ? [{ card, hit }] : []
  })
}
