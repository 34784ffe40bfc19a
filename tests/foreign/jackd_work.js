// Workers and producers with the client "jackd": jobs of all kinds, each done once.
"use strict";

const assert = require("assert");
const Jackd = require("jackd");

const port = Number(process.env.BEANSTALKD_PORT);
const JOBS = 200;
const WORKERS = 8;

async function connected() {
  const client = new Jackd();
  await client.connect({ host: "127.0.0.1", port });
  return client;
}

async function rejects(promise, words) {
  await assert.rejects(promise, (error) => words.test(String(error.message || error)));
}

// --- many at once -------------------------------------------------------------------

async function work(done, failing) {
  const client = await connected();
  await client.watch("orders");
  await client.ignore("default");
  for (;;) {
    const { id, payload } = await client.reserve();
    const text = payload.toString();
    if (text === "stop") {
      await client.delete(id);
      break;
    }
    if (failing.delete(text)) {
      await client.release(id, { priority: 0, delay: 0 });
    } else {
      await client.delete(id);
      done.push(text);
    }
  }
  await client.quit();
}

async function manyAtOnce() {
  const producer = await connected();
  await producer.use("orders");
  const names = Array.from({ length: JOBS }, (_, number) => `order ${number} \u00e4\r\n`);
  const done = [];
  const failing = new Set(names.filter((_, number) => number % 7 === 0));
  const workers = Array.from({ length: WORKERS }, () => work(done, failing));
  const ids = new Set();
  for (const name of names) ids.add(await producer.put(name));
  assert.strictEqual(ids.size, JOBS);
  for (const _ of workers) await producer.put("stop", { priority: 4294967295 });
  await Promise.all(workers);
  assert.deepStrictEqual(done.sort(), names.sort());
  assert.strictEqual(failing.size, 0);
  assert.match((await producer.statsTube("orders")).toString(), /current-jobs-ready: 0/);
  await producer.quit();
}

// --- each command -------------------------------------------------------------------

async function eachCommand() {
  const client = await connected();
  assert.strictEqual(await client.use("tube-1"), "tube-1");
  assert.strictEqual(await client.getCurrentTube(), "tube-1");
  assert.strictEqual(Number(await client.watch("tube-1")), 2);
  assert.strictEqual(Number(await client.ignore("default")), 1);
  await rejects(client.ignore("tube-1"), /NOT_IGNORED/);
  await rejects(client.peekReady(), /NOT_FOUND/);

  const late = await client.put("late", { priority: 10 });
  const soon = await client.put("soon", { priority: 5 });
  const delayed = await client.put("delayed", { delay: 3600 });
  assert.strictEqual((await client.peekReady()).id, soon);
  assert.strictEqual((await client.peekDelayed()).id, delayed);
  assert.strictEqual((await client.peek(late)).payload.toString(), "late");

  const first = await client.reserve();
  assert.strictEqual(first.id, soon);
  await client.touch(first.id);
  await client.bury(first.id, 7);
  assert.strictEqual((await client.peekBuried()).id, soon);
  await client.kickJob(soon);
  assert.strictEqual((await client.reserveJob(delayed)).payload.toString(), "delayed");
  await client.release(delayed, { delay: 3600, priority: 1 });
  assert.strictEqual(Number(await client.kick(10)), 1);
  assert.strictEqual((await client.reserveWithTimeout(0)).id, delayed);
  assert.match((await client.statsJob(delayed)).toString(), /state: reserved/);
  await client.delete(delayed);
  await rejects(client.delete(delayed), /NOT_FOUND/);
  await client.delete(soon);
  await client.delete(late);
  await rejects(client.reserveWithTimeout(0), /TIMED_OUT/);

  // Its pause-tube lacks the end of the line, and is never answered by anybody.

  assert.match((await client.stats()).toString(), /current-jobs-buried: 0/);
  assert.match((await client.listTubes()).toString(), /- tube-1/);
  assert.match((await client.listTubesWatched()).toString(), /- tube-1/);
  await client.quit();
}

async function main() {
  await eachCommand();
  await manyAtOnce();
  console.log("all done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
