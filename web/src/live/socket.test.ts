import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ServerMessage } from './protocol'
import { LessonSocket, type SocketState } from './socket'

/** WebSocket whose server side is the test. */
class FakeWebSocket {
  static all: FakeWebSocket[] = []
  static readonly OPEN = 1
  readyState = 0
  sent: { type: string }[] = []
  onopen: (() => void) | null = null
  onclose: (() => void) | null = null
  onmessage: ((event: { data: string }) => void) | null = null

  constructor(readonly url: string) {
    FakeWebSocket.all.push(this)
  }

  opens() {
    this.readyState = FakeWebSocket.OPEN
    this.onopen?.()
  }

  says(message: Partial<ServerMessage>) {
    this.onmessage?.({ data: JSON.stringify(message) })
  }

  send(text: string) {
    this.sent.push(JSON.parse(text) as { type: string })
  }

  close() {
    this.readyState = 3
  }
}

const newest = () => FakeWebSocket.all.at(-1)!

describe('the socket of a lesson', () => {
  const states: SocketState[] = []
  let online: () => void = () => undefined
  let socket: LessonSocket

  beforeEach(() => {
    vi.useFakeTimers()
    vi.stubGlobal('WebSocket', FakeWebSocket)
    vi.stubGlobal('location', { protocol: 'http:', host: 'school' })
    vi.stubGlobal('addEventListener', (_: string, listener: () => void) => (online = listener))
    vi.stubGlobal('removeEventListener', () => undefined)
    FakeWebSocket.all = []
    states.length = 0
    socket = new LessonSocket('l', {
      message: () => undefined,
      state: (state) => states.push(state),
      refused: () => Promise.resolve(true),
    })
    newest().opens()
    newest().says({ type: 'welcome', resume: 'token' } as Partial<ServerMessage>)
  })
  afterEach(() => {
    socket.close()
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  const answerPingsFor = (seconds: number) => {
    for (let at = 0; at < seconds; at += 1) {
      vi.advanceTimersByTime(1000)
      newest().says({ type: 'pong', at: 0 })
    }
  }

  it('stays open while its pings are answered, however quiet the lesson is', () => {
    answerPingsFor(120)
    expect(FakeWebSocket.all.length).toBe(1)
  })

  it('a connection that dies silently is reopened in time to keep the participant in the lesson', () => {
    answerPingsFor(30)
    vi.advanceTimersByTime(8_000)
    expect(FakeWebSocket.all.length).toBe(2)
    expect(newest().url).toContain('resume=token')
    expect(states.at(-1)).toBe('lost')
  })

  it('a client that slept for an hour pings before it gives up its connection', () => {
    vi.setSystemTime(Date.now() + 3_600_000)
    vi.advanceTimersByTime(2_000)
    newest().says({ type: 'pong', at: 0 })
    answerPingsFor(10)
    expect(FakeWebSocket.all.length).toBe(1)
  })

  it('a change of network is probed at once', () => {
    answerPingsFor(10)
    online()
    vi.advanceTimersByTime(2_000)
    expect(FakeWebSocket.all.length).toBe(2)
  })

  it('a probe that the server answers changes nothing', () => {
    online()
    newest().says({ type: 'pong', at: 0 })
    vi.advanceTimersByTime(1_900)
    newest().says({ type: 'pong', at: 0 })
    vi.advanceTimersByTime(1_000)
    expect(FakeWebSocket.all.length).toBe(1)
  })

  it('gives up on a socket that does not open', () => {
    socket.reopen(false)
    vi.advanceTimersByTime(5_000)
    expect(FakeWebSocket.all.length).toBe(3)
  })
})
