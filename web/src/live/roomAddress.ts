// Where a classroom's device goes back to: its own address, whose pass signs it in anew if its session was lost meanwhile.
// Kept for the tab only, beside the address that the tab's history holds anyway.

const KEY = 'tongke.room'

export function rememberRoom(path: string) {
  try {
    sessionStorage.setItem(KEY, path)
  } catch {
    // Without storage the device goes to its day page.
  }
}

export function roomAddress(): string {
  try {
    return sessionStorage.getItem(KEY) ?? '/'
  } catch {
    return '/'
  }
}
