// Form fields that lessons and series share: teachers and classrooms.

import type { Classroom, Field, Person } from './types'

interface Sources {
  people: Person[] | null
  classrooms: Classroom[] | null
}

export function staffingFields(
  t: (key: string) => string,
  { people, classrooms }: Sources,
): Field[] {
  const teachers = (people ?? [])
    .filter((one) => one.role === 'teacher')
    .map((one) => ({
      value: one.id,
      label: one.school ? `${one.name}（${one.school.name}）` : one.name,
    }))
  const rooms = (classrooms ?? []).map((one) => ({
    value: one.id,
    label: `${one.name}（${one.school.name}）`,
  }))
  return [
    {
      name: 'lead_id',
      label: t('lesson_role.lead'),
      kind: 'select',
      required: true,
      options: teachers,
    },
    { name: 'assistant_ids', label: t('lesson_role.assistant'), kind: 'many', options: teachers },
    {
      name: 'lead_classroom_id',
      label: t('lesson_role.lead_room'),
      kind: 'select',
      options: rooms,
      hint: t('admin.lead_room_hint'),
    },
    { name: 'classroom_ids', label: t('lesson_role.listening'), kind: 'many', options: rooms },
  ]
}
