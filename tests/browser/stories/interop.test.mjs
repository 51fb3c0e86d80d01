// Interoperability: GStreamer's webrtcbin publishes by WHIP, aiortc plays by WHEP.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import {
  eventually,
  inboundStats,
  byTestId,
  waitForVideo,
  screenshot,
  visibleVideos,
} from '../harness/browser.mjs'
import { CAST, prepare } from '../harness/fixtures.mjs'
import { root } from '../harness/paths.mjs'
import { School } from '../harness/school.mjs'

const run = promisify(execFile)
const PYTHON = '/usr/bin/python3' // Debian's Python, which has the packages of python3-gi and python3-aiortc.

describe('external WHIP and WHEP programs in a lesson', { concurrency: false }, () => {
  let school, teacher, room

  before(async () => {
    await prepare()
    // libnice never uses loopback: the server has to listen on the machine's other addresses.
    school = await School.open({ env: { TONGKE_MEDIA__LISTEN: '0.0.0.0' } })
    teacher = await school.startedLesson()
    room = await school.roomInLesson('柳林', 'willow')
    await waitForVideo(room, CAST.teacher)
  })
  after(() => school?.close())

  async function token(kind) {
    const reply = await school.api(teacher, 'POST', `/api/lessons/${school.lesson.id}/tokens`, {
      kind,
      label: `${kind} 试用`,
    })
    assert.equal(reply.ok(), true, await reply.text())
    const made = await reply.json()
    return { ...made, url: new URL(made.url, school.base).href }
  }

  for (const codec of ['h264', 'vp8']) {
    test(`an encoder publishes ${codec} by WHIP, the classroom sees it, and it leaves no ghost`, async () => {
      const { url, token: secret } = await token('whip')
      const encoder = spawn(
        PYTHON,
        [join(root, 'tests/foreign/whip_publish.py'), url, secret, codec],
        { stdio: ['ignore', 'pipe', 'pipe'] },
      )
      let said = ''
      for (const stream of [encoder.stdout, encoder.stderr])
        stream.on('data', (bytes) => {
          said += bytes
        })
      const ended = new Promise((resolve) => encoder.on('exit', resolve))
      try {
        await eventually('the encoder is connected', () => /"connection": "connected"/.test(said), {
          within: 15_000,
        }).catch((error) => {
          throw new Error(`${error.message}\n${said}`)
        })
        assert.match(said, /"status": 201/)
        assert.match(said, /"type": "application\/sdp"/)
        await eventually(
          "the encoder is on the teacher's wall",
          async () => (await byTestId(teacher, 'wall-tile').count()) === 2,
        )
        // The encoder's video has no strip: it is the one that decodes to no member of CAST.
        await eventually('its picture is seen', async () =>
          (await visibleVideos(teacher)).some(
            (picture) => picture.who === null && picture.width > 0 && picture.test === 'wall-tile',
          ),
        )
        const before = await inboundStats(teacher)
        await teacher.waitForTimeout(1500)
        const moving = (await inboundStats(teacher)).filter(
          (one) =>
            one.kind === 'video' &&
            one.framesDecoded > (before.find(({ mid }) => mid === one.mid)?.framesDecoded ?? 0),
        )
        assert.ok(moving.length >= 2, 'both the room and the encoder are decoded')
        await screenshot(teacher, `whip-${codec}`)
      } finally {
        encoder.kill('SIGINT')
      }
      await ended
      assert.match(said, /"deleted": 20\d/)
      await eventually(
        'the encoder left',
        async () => (await byTestId(teacher, 'wall-tile').count()) === 1,
      )
    })
  }

  test('a player watches by WHEP, with picture and sound', async () => {
    const { url, token: secret } = await token('whep')
    const watching = run(PYTHON, [join(root, 'tests/foreign/whep_play.py'), url, secret, '6'], {
      timeout: 40_000,
    })
    await byTestId(teacher, 'players-count').waitFor()
    assert.match(await byTestId(teacher, 'players-count').innerText(), /1/)
    assert.equal(await byTestId(teacher, 'players-count').getAttribute('title'), 'whep 试用')
    assert.equal(await byTestId(room, 'players-count').count(), 0, 'a classroom has no use for it')
    await screenshot(teacher, 'whep')
    const { stdout } = await watching
    await eventually(
      'the player is no longer counted',
      async () => (await byTestId(teacher, 'players-count').count()) === 0,
    )
    const seen = JSON.parse(stdout.trim().split('\n').at(-1))
    console.log(`aiortc: ${JSON.stringify(seen)}`)
    assert.equal(seen.status, 201)
    assert.equal(seen.type, 'application/sdp')
    assert.equal(seen.state, 'connected')
    assert.ok(seen.frames > 20, `${seen.frames} frames in 6 s`)
    assert.ok(seen.loudest > 500, `the loudest sample was ${seen.loudest}`)
    assert.ok([200, 204].includes(seen.deleted))
  })

  test('a wrong token, a wrong kind and a revoked token are refused', async () => {
    const whep = await token('whep')
    const whip = await token('whip')
    const offer = (url, bearer, body = 'v=0\r\n') =>
      fetch(url, {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${bearer}`,
          'Content-Type': 'application/sdp',
        },
        body,
      })
    assert.equal((await offer(whip.url, 'nonsense')).status, 401)
    assert.ok([401, 403].includes((await offer(whip.url, whep.token)).status))
    assert.ok(
      [400, 415, 422].includes((await offer(whip.url, whip.token, 'this is not SDP')).status),
    )
    const list = await (
      await school.api(teacher, 'GET', `/api/lessons/${school.lesson.id}/tokens`)
    ).json()
    for (const { id } of list.items ?? list.tokens ?? list)
      await school.api(teacher, 'DELETE', `/api/lessons/${school.lesson.id}/tokens/${id}`)
    assert.equal((await offer(whip.url, whip.token)).status, 401)
  })
})
