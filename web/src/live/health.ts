// Watches a peer connection. A short loss of the link heals by itself; a longer one needs an ICE
// restart.

/**
 * Grace period in `disconnected` before an ICE restart; a short loss of the link heals well within
 * it.
 */
const DISCONNECTED_GRACE_MS = 3_000
/** Time a (re)start has to reach `connected` before it counts as failed. */
const CONNECT_TIMEOUT_MS = 8_000

/**
 * Calls `onDegraded` at the first sign of onLost and `onLost` when the connection is lost,
 * repeatedly while it stays lost. Returns a function that stops watching.
 */
export function watchHealth(
  connection: RTCPeerConnection,
  onDegraded: () => void,
  onLost: () => void,
): () => void {
  let timer = 0
  const check = () => {
    const state = connection.connectionState
    clearTimeout(timer)
    if (state === 'disconnected' || state === 'failed') onDegraded()
    if (state === 'disconnected') timer = setTimeout(restart, DISCONNECTED_GRACE_MS)
    if (state === 'failed') restart()
    if (state === 'new' || state === 'connecting') timer = setTimeout(restart, CONNECT_TIMEOUT_MS)
  }
  const restart = () => {
    clearTimeout(timer)
    if (connection.connectionState === 'connected' || connection.connectionState === 'closed')
      return
    timer = setTimeout(restart, CONNECT_TIMEOUT_MS)
    onLost()
  }
  connection.addEventListener('connectionstatechange', check)
  return () => {
    clearTimeout(timer)
    connection.removeEventListener('connectionstatechange', check)
  }
}
