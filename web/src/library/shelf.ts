// What the library's page shows: a list by filters, or what a search found, with the facets beside it.

import { computed, onBeforeUnmount, ref } from 'vue'
import { ApiError, get, sentence } from '../api'
import { curriculum } from './curriculum'
import { RESOURCE_TYPES, type Found, type Hit, type ResourceCard, type Words } from './shapes'

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

/** What the one box finds, in the order of its tabs. */
export const KINDS = ['resource', 'recording', 'collection', 'person', 'school'] as const
export type Kind = (typeof KINDS)[number]

type Facet = (typeof FACETS)[number]
/** What a kind can be narrowed by: people, schools and collections have no grade and no subject. */
const NARROWED_BY: Record<Kind, readonly Facet[]> = {
  resource: FACETS,
  recording: ['subject', 'grade'],
  collection: [],
  person: [],
  school: [],
}
/** In which orders what was found makes sense, the usual one first. */
const FOUND_BY: Record<Kind, readonly string[]> = {
  resource: ['relevance', 'newest', 'most_used', 'best_rated'],
  recording: ['relevance', 'newest'],
  collection: ['relevance', 'newest'],
  person: ['relevance'],
  school: ['relevance'],
}
const LISTED_BY = ['updated', 'created', 'title', 'uses', 'rating']

export interface Asked {
  tab: Tab
  words: string
  /** Which kind of what was found is shown; `''` leaves it to the search. */
  kind: Kind | ''
  chosen: Record<string, string>
  sort: string
  /** From 1. */
  page: number
}

type Values = { value: string; count: number | null }[]

export function useShelf(asked: () => Asked) {
  /** The words that what is shown answers; while the next answer is on its way, those of the one before. */
  const answered = ref<string | null>(null)
  const items = ref<{ card: ResourceCard; hit?: Hit }[] | null>(null)
  /** What was found besides resources: lessons, collections, people, schools. */
  const others = ref<Hit[]>([])
  const kind = ref<Kind>('resource')
  const total = ref(0)
  /** How many of them can be leafed through. */
  const reachable = ref(0)
  const approximate = ref(false)
  const counted = ref<Found['facets']>({})
  /** How many of each kind have the words, whatever they are narrowed by. */
  const kinds = ref<{ kind: Kind; count: number }[]>([])
  const words = ref<Words | null>(null)
  const failure = ref<string | null>(null)
  let turn = 0
  onBeforeUnmount(() => (turn = -1))

  const isFound = computed(() => Boolean(answered.value))
  const sorts = computed(() => (isFound.value ? FOUND_BY[kind.value] : LISTED_BY))

  /** With counts where the whole library is looked at; one's own shelf is narrowed by the curriculum's words. */
  const facets = computed<Record<string, Values>>(() => {
    const known: Record<string, readonly string[] | undefined> = {
      type: RESOURCE_TYPES,
      subject: words.value?.subjects,
      grade: words.value?.grades,
      stage: words.value?.stages,
    }
    const { tab, chosen } = asked()
    return Object.fromEntries(
      NARROWED_BY[kind.value].map((name) => {
        const counts: Values =
          tab === 'all' ? (counted.value[name === 'type' ? 'resource_type' : name] ?? []) : []
        // Of what was found only what was counted leads anywhere.
        const values: Values =
          counts.length || isFound.value
            ? counts
            : (known[name] ?? []).map((value) => ({ value, count: null }))
        const mine = chosen[name]
        return [
          name,
          mine && !values.some(({ value }) => value === mine)
            ? [{ value: mine, count: null }, ...values]
            : values,
        ]
      }),
    )
  })

  async function load() {
    const mine = ++turn
    const now = asked()
    if (now.tab === 'collections') return
    try {
      words.value ??= await curriculum()
      const answer = now.words ? await search(now) : await list(now)
      if (mine !== turn) return
      answered.value = now.words
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
      if (mine === turn) {
        failure.value = sentence(error)
        // What is on the screen stays while the line is bad; a changed question must not show an old answer.
        if (!(error instanceof ApiError && error.passing)) items.value = null
      }
    }
  }

  return {
    answered,
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

async function list({ tab, chosen, sort, page }: Asked) {
  const query = new URLSearchParams({
    page: String(page - 1),
    per_page: String(PER_PAGE),
    sort: sort || 'updated',
    ...(tab === 'all' ? {} : { [tab]: 'true' }),
  })
  for (const [name, value] of Object.entries(chosen)) if (value) query.set(name, value)
  // Counts are a help: while the index cannot answer, the curriculum's words stand in for them and the list is whole.
  const counts =
    tab === 'all'
      ? get<Found>(`/api/search?${narrowed({ size: '1' }, chosen)}`).catch(() => null)
      : null
  const [answer, found] = await Promise.all([
    get<{ items: ResourceCard[]; total: number }>(`/api/resources?${query}`),
    counts,
  ])
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

async function search({ words, kind, chosen, sort, page }: Asked) {
  const by = (kind: Kind) =>
    Object.fromEntries(
      NARROWED_BY[kind].flatMap((name) => (chosen[name] ? [[name, chosen[name]]] : [])),
    )
  const find = (kind: Kind) =>
    get<Found>(
      `/api/search?${narrowed({ q: words, kind, sort: FOUND_BY[kind].find((one) => one === sort) ?? 'relevance', page: String(page), size: String(PER_PAGE) }, by(kind))}`,
    )
  let shown = kind || 'resource'
  // What one kind is narrowed by says nothing of how many there are of the others.
  const isNarrowed = Object.keys(by(shown)).length > 0
  const [first, whole] = await Promise.all([
    find(shown),
    isNarrowed
      ? get<Found>(`/api/search?${narrowed({ q: words, kind: shown, size: '1' }, {})}`)
      : null,
  ])
  let found = first
  const { facets } = whole ?? first
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

function narrowed(first: Record<string, string>, chosen: Record<string, string>): URLSearchParams {
  const query = new URLSearchParams({ kind: 'resource', ...first })
  for (const [name, value] of Object.entries(chosen))
    if (value) query.set(name === 'type' ? 'resource_type' : name, value)
  return query
}

/** All cards with one request: a school's line takes its time for each. Those removed since the index saw them are left out. */
async function cards(hits: Hit[]): Promise<{ card: ResourceCard; hit: Hit }[]> {
  if (!hits.length) return []
  const { items } = await get<{ items: ResourceCard[] }>(
    `/api/resources?ids=${hits.map(({ id }) => id).join(',')}`,
  )
  const byId = new Map(items.map((card) => [card.id, card]))
  return hits.flatMap((hit) => {
    const card = byId.get(hit.id)
    return card ? [{ card, hit }] : []
  })
}
