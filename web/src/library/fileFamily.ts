// File types grouped by their icon. Pure.

/** Returns the group of a file type, as sniffed by the server. */
export function fileFamily(
  type: string,
):
  | 'deck'
  | 'document'
  | 'sheet'
  | 'pdf'
  | 'picture'
  | 'sound'
  | 'film'
  | 'text'
  | 'archive'
  | 'file' {
  if (['pptx', 'ppt', 'odp', 'dps'].includes(type)) return 'deck'
  if (['docx', 'doc', 'odt', 'rtf', 'wps'].includes(type)) return 'document'
  if (['xlsx', 'xls', 'ods', 'et'].includes(type)) return 'sheet'
  if (type === 'pdf') return 'pdf'
  if (['png', 'jpeg', 'gif', 'webp', 'bmp'].includes(type)) return 'picture'
  if (type === 'audio') return 'sound'
  if (type === 'video') return 'film'
  if (['md', 'txt', 'html'].includes(type)) return 'text'
  return type === 'zip' ? 'archive' : 'file'
}
