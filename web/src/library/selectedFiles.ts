// Files from a file input or a drop; folders are walked recursively.

export interface SelectedFile {
  file: File
  /** Path inside the selected folder; empty for a single file. */
  path: string
}

export function filesFromInput(input: HTMLInputElement): SelectedFile[] {
  const selected = [...(input.files ?? [])].map((file) => ({ file, path: file.webkitRelativePath }))
  // Lets the user select the same file again.
  input.value = ''
  return selected.filter(isWanted)
}

export async function filesFromDrop(transfer: DataTransfer): Promise<SelectedFile[]> {
  // Entries must be read before the first await, after which the browser empties the list.
  const entries = [...transfer.items]
    .filter((item) => item.kind === 'file')
    .map((item) => item.webkitGetAsEntry())
  const files = [...transfer.files].map((file) => ({ file, path: '' }))
  if (entries.some((entry) => entry === null)) return files.filter(isWanted)
  const all = await Promise.all(entries.map((entry) => walk(entry!)))
  return all.flat().filter(isWanted)
}

async function walk(entry: FileSystemEntry): Promise<SelectedFile[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    )
    return [{ file, path: entry.fullPath.includes('/', 1) ? entry.fullPath.slice(1) : '' }]
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const inside: SelectedFile[] = []
  for (;;) {
    // readEntries() returns at most 100 entries per call, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    )
    if (!some.length) return inside
    for (const one of some) inside.push(...(await walk(one)))
  }
}

/** Excludes hidden files and the temporary files of operating systems and office programs. */
function isWanted({ file }: SelectedFile): boolean {
  return !/^(\.|~\$|Thumbs\.db$|desktop\.ini$)/i.test(file.name)
}
