// WebSocket of a lesson: sends messages, matches answers to requests, detects dead links and
// reconnects with the resume token.

import type { ClientMessage, ServerMessage } from './protocol'

export type SocketState = 'connecting' | 'open' | 'lost' | 'closed'

interface Listener {
  message(message: ServerMessage): void
  state(state: SocketState): void
  /** Called when the socket could not be opened. Returns whether a retry makes sense. */
  refused(): Promise<boolean>
}

/** The server refused a request; its message is shown to the user unchanged. */
export class RequestRefused extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/**
 * The connection closed before the answer arrived; the caller repeats the request after the
 * reconnect.
 */
export class ConnectionLost extends Error {}

/** Interval of the client's pings, the same as of the server's, which JavaScript cannot observe. */
const PING_INTERVAL_MS = 2_000
/**
 * Time without an answer to a ping after which the connection counts as dead, as after a change of
 * network. The server keeps a participant for 10 s after its last message; this leaves half of that
 * for the reconnect.
 */
const PING_TIMEOUT_MS = 4_500
/** Ping timeout after another sign of a dead connection. */
const PROBE_TIMEOUT_MS = 2_000
/** Time in which a socket has to open; after that its network path is gone. */
const OPEN_TIMEOUT_MS = 5_000
/** Exponential reconnect backoff, with ±30 % jitter. */
const MIN_BACKOFF_MS = 400
const MAX_BACKOFF_MS = 5_000
/** Request timeout: one round trip and some work, each of which takes seconds on a slow link. */
const REQUEST_TIMEOUT_MS = 15_000

export class LessonSocket {
  private socket: WebSocket | null = null
  private resume: string | null = null
  private reference = 0
  private pending = new Map<
    number,
    { resolve: (message: ServerMessage) => void; reject: (error: Error) => void; timer: number }
  >()
  private timer = 0
  private pinger = 0
  /** Time of the oldest unanswered ping; 0 if there is none. */
  private pingedAt = 0
  private probeTimer = 0
  private backoffMs = MIN_BACKOFF_MS
  private closed = false

  constructor(
    private readonly lessonId: string,
    private readonly listener: Listener,
  ) {
    addEventListener('online', this.probe)
    this.open()
  }

  /**
   * Sends a message if the socket is open and returns its reference, else 0. Callers repeat lost
   * messages after the next welcome.
   */
  send(message: ClientMessage): number {
    if (this.socket?.readyState !== WebSocket.OPEN) return 0
    const reference = ++this.reference
    this.socket.send(JSON.stringify({ ref: reference, ...message }))
    return reference
  }

  /** Sends a message and resolves with the answer that has the same reference. */
  request(message: ClientMessage): Promise<ServerMessage> {
    return new Promise((resolve, reject) => {
      const reference = this.send(message)
      if (reference === 0) return reject(new ConnectionLost())
      const timer = setTimeout(
        () => this.settle(reference, (request) => request.reject(new ConnectionLost())),
        REQUEST_TIMEOUT_MS,
      )
      this.pending.set(reference, { resolve, reject, timer })
    })
  }

  /** Checks a connection that may be dead with the short timeout; opens a closed one at once. */
  probe = () => {
    if (this.closed || this.socket?.readyState !== WebSocket.OPEN) return this.reopenNow()
    if (this.probeTimer) return
    this.sendPing()
    const since = Date.now()
    this.probeTimer = setTimeout(() => {
      this.probeTimer = 0
      // A later ping has not reached its timeout yet.
      if (this.pingedAt && this.pingedAt <= since) this.reopen(false)
    }, PROBE_TIMEOUT_MS)
  }

  /**
   * Reconnects. `fresh` drops the resume token: the client's state is unusable and the server sends
   * a new one.
   */
  reopen(fresh: boolean) {
    if (fresh) this.resume = null
    this.drop()
    this.listener.state('lost')
    this.open()
  }

  close() {
    this.closed = true
    removeEventListener('online', this.probe)
    this.drop()
    this.listener.state('closed')
  }

  private open() {
    if (this.closed) return
    clearTimeout(this.timer)
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
    const query = this.resume ? `?resume=${encodeURIComponent(this.resume)}` : ''
    const socket = new WebSocket(
      `${scheme}://${location.host}/api/lessons/${this.lessonId}/live${query}`,
    )
    this.socket = socket
    let opened = false
    this.timer = setTimeout(() => this.reconnect(), OPEN_TIMEOUT_MS)
    socket.onopen = () => {
      opened = true
      clearTimeout(this.timer)
      this.pinger = setInterval(() => this.checkPing(), PING_INTERVAL_MS)
    }
    socket.onmessage = (event) => {
      if (socket === this.socket && typeof event.data === 'string') this.receive(event.data)
    }
    socket.onclose = () => {
      if (socket !== this.socket) return
      this.drop()
      if (!this.closed) void this.retryLater(opened)
    }
  }

  private async retryLater(opened: boolean) {
    this.listener.state('lost')
    if (!opened && !(await this.listener.refused())) return
    if (this.closed || this.socket) return
    this.timer = setTimeout(() => this.open(), this.backoffMs * (0.7 + Math.random() * 0.6))
    this.backoffMs = Math.min(this.backoffMs * 2, MAX_BACKOFF_MS)
  }

  private reopenNow() {
    if (this.closed) return
    this.backoffMs = MIN_BACKOFF_MS
    this.reconnect()
  }

  private reconnect() {
    this.drop()
    this.open()
  }

  private receive(text: string) {
    this.pingedAt = 0
    let message: ServerMessage
    try {
      message = JSON.parse(text) as ServerMessage
    } catch {
      return this.reopen(true)
    }
    if (message.type === 'welcome') {
      this.resume = message.resume
      this.backoffMs = MIN_BACKOFF_MS
      this.listener.state('open')
    }
    if (message.type === 'published')
      this.settle(message.ref, (request) => request.resolve(message))
    if (message.type === 'error' && this.pending.has(message.ref)) {
      const { ref, code, message: text } = message
      return this.settle(ref, (request) => request.reject(new RequestRefused(code, text)))
    }
    this.listener.message(message)
  }

  private settle(
    reference: number,
    complete: (request: {
      resolve: (message: ServerMessage) => void
      reject: (error: Error) => void
    }) => void,
  ) {
    const request = this.pending.get(reference)
    if (!request) return
    this.pending.delete(reference)
    clearTimeout(request.timer)
    complete(request)
  }

  private checkPing() {
    if (this.pingedAt && Date.now() - this.pingedAt > PING_TIMEOUT_MS) return this.reopen(false)
    this.sendPing()
  }

  private sendPing() {
    this.pingedAt ||= Date.now()
    this.send({ type: 'ping', at: performance.now() })
  }

  private drop() {
    clearTimeout(this.timer)
    clearTimeout(this.probeTimer)
    clearInterval(this.pinger)
    this.pingedAt = this.probeTimer = 0
    const socket = this.socket
    this.socket = null
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null
      socket.close()
    }
    for (const reference of [...this.pending.keys()])
      this.settle(reference, (request) => request.reject(new ConnectionLost()))
  }
}
