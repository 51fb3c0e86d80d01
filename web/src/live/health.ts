// When a peer connection needs help. A radio that blinks comes back by itself; after that an ICE restart is the cure.

/** RFC 8445 leaves it to us; a short loss of the line repairs itself well within this. */
const PATIENCE_MS = 3_000
/** A restart that has not connected by now did not work. */
const RESTART_WITHIN_MS = 8_000

/** Calls `unwell` at the first sign, `trouble` when the connection is lost, and again while it stays lost. Returns the way to stop. */
export function watchHealth(
  connection: RTCPeerConnection,
  unwell: () => void,
  trouble: () => void,
): () => void {
  let timer = 0
  const look = () => {
    const state = connection.connectionState
    clearTimeout(timer)
    if (state === 'disconnected' || state === 'failed') unwell()
    if (state === 'disconnected') timer = setTimeout(act, PATIENCE_MS)
    if (state === 'failed') act()
    if (state === 'new' || state === 'connecting') timer = setTimeout(act, RESTART_WITHIN_MS)
  }
  const act = () => {
    clearTimeout(timer)
    if (connection.connectionState === 'connected' || connection.connectionState === 'closed')
      return
    timer = setTimeout(act, RESTART_WITHIN_MS)
    trouble()
  }
  connection.addEventListener('connectionstatechange', look)
  return () => {
    clearTimeout(timer)
    connection.removeEventListener('connectionstatechange', look)
  }
}
