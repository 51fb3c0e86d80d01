// Records of one REST collection. `load` keeps its error; `save` and `remove` throw.

import { ref, shallowRef } from 'vue'
import { get, patch, post, remove as removeAt, errorMessage } from '../api'

export function useItems<T extends { id: string }>(path: string) {
  const items = shallowRef<T[] | null>(null)
  const failure = ref<string | null>(null)

  async function load() {
    try {
      items.value = (await get<{ items: T[] }>(path)).items
      failure.value = null
    } catch (error) {
      failure.value = errorMessage(error)
    }
  }

  async function save(id: string | null, values: unknown): Promise<T> {
    const saved = id ? await patch<T>(`${path}/${id}`, values) : await post<T>(path, values)
    await load()
    return saved
  }

  async function remove(id: string) {
    await removeAt(`${path}/${id}`)
    await load()
  }

  const find = (id: string | null) =>
    items.value?.find((one) => one.id === id) as (T & { name?: string }) | undefined

  return {
    path,
    items,
    failure,
    load,
    save,
    remove,
    name: (id: string | null) => find(id)?.name ?? '',
  }
}

export type Items<T extends { id: string }> = ReturnType<typeof useItems<T>>
