import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ToPage } from './protocol'
import { LessonSocket, type Link } from './socket'

/** A socket whose server is the test. */
class Wire {
  static all: Wire[] = []
  static readonly OPEN = 1
  readyState = 0
  sent: { type: string }[] = []
  onopen: (() => void) | null = null
  onclose: (() => void) | null = null
  onmessage: ((event: { data: string }) => void) | null = null

  constructor(readonly url: string) {
    Wire.all.push(this)
  }

  opens() {
    this.readyState = Wire.OPEN
    this.onopen?.()
  }

  says(message: Partial<ToPage>) {
    this.onmessage?.({ data: JSON.stringify(message) })
  }

  send(text: string) {
    this.sent.push(JSON.parse(text) as { type: string })
  }

  close() {
    this.readyState = 3
  }
}

const newest = () => Wire.all.at(-1)!

describe('the socket of a lesson', () => {
  const links: Link[] = []
  let online: () => void = () => undefined
  let socket: LessonSocket

  beforeEach(() => {
    vi.useFakeTimers()
    vi.stubGlobal('WebSocket', Wire)
    vi.stubGlobal('location', { protocol: 'http:', host: 'school' })
    vi.stubGlobal('addEventListener', (_: string, listener: () => void) => (online = listener))
    vi.stubGlobal('removeEventListener', () => undefined)
    Wire.all = []
    links.length = 0
    socket = new LessonSocket('l', {
      message: () => undefined,
      link: (link) => links.push(link),
      refused: () => Promise.resolve(true),
    })
    newest().opens()
    newest().says({ type: 'welcome', resume: 'token' } as Partial<ToPage>)
  })
  afterEach(() => {
    socket.close()
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  const answerFor = (seconds: number) => {
    for (let at = 0; at < seconds; at += 1) {
      vi.advanceTimersByTime(1000)
      newest().says({ type: 'pong', at: 0 })
    }
  }

  it('stays while its pings are answered, however quiet the lesson is', () => {
    answerFor(120)
    expect(Wire.all.length).toBe(1)
  })

  it('a line that died without a word is opened anew in time to keep the place in the lesson', () => {
    answerFor(30)
    vi.advanceTimersByTime(8_000)
    expect(Wire.all.length).toBe(2)
    expect(newest().url).toContain('resume=token')
    expect(links.at(-1)).toBe('lost')
  })

  it('a page that slept for an hour asks first before it gives its line up', () => {
    vi.setSystemTime(Date.now() + 3_600_000)
    vi.advanceTimersByTime(2_000)
    newest().says({ type: 'pong', at: 0 })
    answerFor(10)
    expect(Wire.all.length).toBe(1)
  })

  it('a change of network is looked into at once', () => {
    answerFor(10)
    online()
    vi.advanceTimersByTime(2_000)
    expect(Wire.all.length).toBe(2)
  })

  it('a doubt that the server answers changes nothing', () => {
    online()
    newest().says({ type: 'pong', at: 0 })
    vi.advanceTimersByTime(1_900)
    newest().says({ type: 'pong', at: 0 })
    vi.advanceTimersByTime(1_000)
    expect(Wire.all.length).toBe(1)
  })

  it('does not wait for ever for a socket that does not open', () => {
    socket.reopen(false)
    vi.advanceTimersByTime(5_000)
    expect(Wire.all.length).toBe(3)
  })
})
