// The one WebSocket of a lesson: opens, asks, hears, and opens again by itself with the same place in the lesson.

import type { FromPage, ToPage } from './protocol'

export type Link = 'connecting' | 'open' | 'lost' | 'closed'

interface Listener {
  message(message: ToPage): void
  link(link: Link): void
  /** The socket could not be opened. Answers whether trying again has any sense. */
  refused(): Promise<boolean>
}

/** Refused by the server: its sentence is shown as it is. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/** The line went away before the answer came; what was asked will be asked again after the reconnect. */
export class LineLost extends Error {}

/** As often as the server's own pings, which a page cannot hear. */
const PING_EVERY_MS = 2_000
/** A ping that nothing answered for so long: the line is dead although no one said so, as after a change of network. The server keeps our
 *  place for ten seconds after it last heard us; this leaves half of them for the way back. */
const SILENCE_MS = 4_500
/** The same when something else already speaks against the line. */
const DOUBT_MS = 2_000
/** A socket that has not opened by now asks over a way that is gone. */
const OPENS_WITHIN_MS = 5_000
const FIRST_WAIT_MS = 400
const LONGEST_WAIT_MS = 5_000
/** An offer is answered within one round trip and a little work; a slow line has seconds of both. */
const ANSWER_WITHIN_MS = 15_000

export class LessonSocket {
  private socket: WebSocket | null = null
  private resume: string | null = null
  private reference = 0
  private waiting = new Map<
    number,
    { resolve: (message: ToPage) => void; reject: (error: Error) => void; timer: number }
  >()
  private timer = 0
  private pinger = 0
  /** Since when a ping has had no answer; 0 while none is under way. */
  private askedAt = 0
  private doubt = 0
  private waitMs = FIRST_WAIT_MS
  private over = false

  constructor(
    private readonly lessonId: string,
    private readonly listener: Listener,
  ) {
    addEventListener('online', this.doubtLine)
    this.open()
  }

  /** Sends if the line is there. What is lost with the line is said again after the next welcome by whoever said it. */
  say(message: FromPage): number {
    if (this.socket?.readyState !== WebSocket.OPEN) return 0
    const reference = ++this.reference
    this.socket.send(JSON.stringify({ ref: reference, ...message }))
    return reference
  }

  /** Sends and waits for the answer that carries the same number. */
  ask(message: FromPage): Promise<ToPage> {
    return new Promise((resolve, reject) => {
      const reference = this.say(message)
      if (reference === 0) return reject(new LineLost())
      const timer = setTimeout(
        () => this.settle(reference, (one) => one.reject(new LineLost())),
        ANSWER_WITHIN_MS,
      )
      this.waiting.set(reference, { resolve, reject, timer })
    })
  }

  /** The line may have died: finds out soon instead of waiting for a silence. */
  doubtLine = () => {
    if (this.over || this.socket?.readyState !== WebSocket.OPEN) return this.hurry()
    if (this.doubt) return
    this.knock()
    const since = Date.now()
    this.doubt = setTimeout(() => {
      this.doubt = 0
      // A younger ping than ours has not had its time yet.
      if (this.askedAt && this.askedAt <= since) this.reopen(false)
    }, DOUBT_MS)
  }

  /** Connects anew. `fresh`: as someone who was never here, because what the page holds no longer fits. */
  reopen(fresh: boolean) {
    if (fresh) this.resume = null
    this.drop()
    this.listener.link('lost')
    this.open()
  }

  close() {
    this.over = true
    removeEventListener('online', this.doubtLine)
    this.drop()
    this.listener.link('closed')
  }

  private open() {
    if (this.over) return
    clearTimeout(this.timer)
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
    const query = this.resume ? `?resume=${encodeURIComponent(this.resume)}` : ''
    const socket = new WebSocket(
      `${scheme}://${location.host}/api/lessons/${this.lessonId}/live${query}`,
    )
    this.socket = socket
    let opened = false
    this.timer = setTimeout(() => this.again(), OPENS_WITHIN_MS)
    socket.onopen = () => {
      opened = true
      clearTimeout(this.timer)
      this.pinger = setInterval(() => this.ping(), PING_EVERY_MS)
    }
    socket.onmessage = (event) => {
      if (socket === this.socket && typeof event.data === 'string') this.hear(event.data)
    }
    socket.onclose = () => {
      if (socket !== this.socket) return
      this.drop()
      if (!this.over) void this.later(opened)
    }
  }

  private async later(opened: boolean) {
    this.listener.link('lost')
    if (!opened && !(await this.listener.refused())) return
    if (this.over || this.socket) return
    this.timer = setTimeout(() => this.open(), this.waitMs * (0.7 + Math.random() * 0.6))
    this.waitMs = Math.min(this.waitMs * 2, LONGEST_WAIT_MS)
  }

  private hurry() {
    if (this.over) return
    this.waitMs = FIRST_WAIT_MS
    this.again()
  }

  private again() {
    this.drop()
    this.open()
  }

  private hear(text: string) {
    this.askedAt = 0
    let message: ToPage
    try {
      message = JSON.parse(text) as ToPage
    } catch {
      return this.reopen(true)
    }
    if (message.type === 'welcome') {
      this.resume = message.resume
      this.waitMs = FIRST_WAIT_MS
      this.listener.link('open')
    }
    if (message.type === 'published') this.settle(message.ref, (one) => one.resolve(message))
    if (message.type === 'error' && this.waiting.has(message.ref)) {
      const { ref, code, message: sentence } = message
      return this.settle(ref, (one) => one.reject(new Refused(code, sentence)))
    }
    this.listener.message(message)
  }

  private settle(
    reference: number,
    how: (one: { resolve: (message: ToPage) => void; reject: (error: Error) => void }) => void,
  ) {
    const one = this.waiting.get(reference)
    if (!one) return
    this.waiting.delete(reference)
    clearTimeout(one.timer)
    how(one)
  }

  private ping() {
    if (this.askedAt && Date.now() - this.askedAt > SILENCE_MS) return this.reopen(false)
    this.knock()
  }

  private knock() {
    this.askedAt ||= Date.now()
    this.say({ type: 'ping', at: performance.now() })
  }

  private drop() {
    clearTimeout(this.timer)
    clearTimeout(this.doubt)
    clearInterval(this.pinger)
    this.askedAt = this.doubt = 0
    const socket = this.socket
    this.socket = null
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null
      socket.close()
    }
    for (const reference of [...this.waiting.keys()])
      this.settle(reference, (one) => one.reject(new LineLost()))
  }
}
