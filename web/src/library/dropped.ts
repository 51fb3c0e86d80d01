// Files out of a drop or a chooser, folders walked through.

export interface Chosen {
  file: File
  /** Path inside the chosen folder; empty for a single file. */
  path: string
}

export function fromInput(input: HTMLInputElement): Chosen[] {
  const chosen = [...(input.files ?? [])].map((file) => ({ file, path: file.webkitRelativePath }))
  // So that the same file can be chosen again.
  input.value = ''
  return chosen.filter(isWanted)
}

export async function fromDrop(transfer: DataTransfer): Promise<Chosen[]> {
  // Entries must be taken before the first await: after it the browser has emptied the list.
  const entries = [...transfer.items]
    .filter((item) => item.kind === 'file')
    .map((item) => item.webkitGetAsEntry())
  const files = [...transfer.files].map((file) => ({ file, path: '' }))
  if (entries.some((entry) => entry === null)) return files.filter(isWanted)
  const all = await Promise.all(entries.map((entry) => walk(entry!)))
  return all.flat().filter(isWanted)
}

async function walk(entry: FileSystemEntry): Promise<Chosen[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    )
    return [{ file, path: entry.fullPath.includes('/', 1) ? entry.fullPath.slice(1) : '' }]
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const inside: Chosen[] = []
  for (;;) {
    // A reader gives at most a hundred at a time, and nothing at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    )
    if (!some.length) return inside
    for (const one of some) inside.push(...(await walk(one)))
  }
}

/** What systems and office programs leave lying about is nobody's courseware. */
function isWanted({ file }: Chosen): boolean {
  return !/^(\.|~\$|Thumbs\.db$|desktop\.ini$)/i.test(file.name)
}
