// The plug is pulled in mid-lesson: after the next start the lesson can be replayed up to at most two seconds before.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, sees, shot, shown } from '../harness/browser.mjs';
import { CAST, LOOP, prepare, SMALL } from '../harness/fixtures.mjs';
import { School } from '../harness/school.mjs';
import { startServer } from '../harness/server.mjs';

let school;
before(async () => {
  await prepare();
  school = await School.open();
});
after(() => school?.close());

test('a server killed in mid-lesson replays all but the last two seconds', async () => {
  const teacher = await school.startedLesson();
  const room = await school.roomInLesson('柳林', 'willow');
  await sees(room, CAST.teacher);
  // The server knows when it began to record; the recording is counted from there.
  const { started_at: started } = await eventually('the recording has begun', () => school.recording(teacher));
  await teacher.waitForTimeout(15_000);
  const [lastFilmed] = (await shown(teacher)).filter((picture) => picture.who === CAST.teacher.id);
  const killed = Date.now();
  await school.server.kill();

  school.server = await startServer({ data: school.server.data });
  const { password } = school.person('wangxuemei');
  const again = await teacher.context().newPage();
  again.named = 'after';
  await again.request.post(`${school.base}/api/session`, { data: { login: 'wangxuemei', password }, headers: { Origin: school.base } });
  const recording = await eventually('the recording is ready', async () => {
    const now = await school.recording(again);
    return now?.state === 'ready' && now;
  }, { within: 30_000 });
  const lived = killed - Date.parse(started);
  const lost = lived - recording.duration_ms;
  console.log(`killed after ${lived} ms, ${recording.duration_ms} ms replayable, ${lost} ms lost`);
  assert.ok(lost <= 2_000, `${lost} ms lost`);
  assert.ok(lost > -500, `more was recorded than happened: ${lost}`);

  await again.goto(`${school.base}/lessons/${school.lesson.id}/replay`);
  // The pictures themselves say how much is missing: the last one in the replay, and the one before the camera when the plug was pulled.
  const lastSeen = await lastPicture(again, recording.duration_ms / 1000);
  await shot(again, 'recovered');
  const missing = ((lastFilmed.number - lastSeen + LOOP) % LOOP) / SMALL.rate;
  console.log(`the last picture of the replay is ${missing} s older than the last one filmed`);
  assert.ok(missing <= 2.5 || missing > LOOP / SMALL.rate - 0.5, `${missing} s of pictures lost`);
});

/** Plays the last seconds of the replay and gives the number of the last picture that could be read. */
async function lastPicture(page, seconds) {
  const video = page.locator('video[data-test="replay-video"]');
  let last = null;
  await eventually('the replay plays to its end', async () => {
    const now = await video.evaluate(async (element, end) => {
      element.muted = true;
      if (!(element.duration > end - 1)) return null;
      if (element.currentTime < end - 3) element.currentTime = end - 2.5;
      if (element.paused && !element.ended) await element.play().catch(() => {});
      const frame = element.seeking ? null : window.__frames.read(element);
      return { number: frame?.number ?? null, over: element.ended || element.currentTime > element.duration - 0.05 };
    }, seconds);
    last = now?.number ?? last;
    return now?.over && last !== null;
  }, { within: 25_000, every: 30 });
  return last;
}
