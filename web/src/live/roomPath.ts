// Path that a classroom's device returns to: its own URL, whose pass signs it in again if the
// session was lost. Kept in sessionStorage only; the tab's history contains the URL anyway.

const KEY = 'tongke.room'

export function rememberRoomPath(path: string) {
  try {
    sessionStorage.setItem(KEY, path)
  } catch {
    // Without storage the device returns to the day's timetable.
  }
}

export function roomPath(): string {
  try {
    return sessionStorage.getItem(KEY) ?? '/'
  } catch {
    return '/'
  }
}
