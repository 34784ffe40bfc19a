// A worker of faktory-worker: what it does it writes down, a line each.
const { appendFileSync, existsSync, writeFileSync } = require("fs");
const faktory = require("faktory-worker");

const DONE = process.env.DONE;
const note = (word, what) => appendFileSync(DONE, `${word} ${what}\n`);

faktory.register("work", async (number) => {
  note("work", number);
});

faktory.register("flaky", async (number) => {
  const tried = `${DONE}-${number}`;
  if (!existsSync(tried)) {
    writeFileSync(tried, "");
    throw new Error(`number ${number} is not ready`);
  }
  note("flaky", number);
});

faktory.register("boom", async (number) => {
  note("boom", number);
  throw new TypeError("always");
});

faktory.register("slow", async (number, ms) => {
  note("slow-begun", number);
  await new Promise((resolve) => setTimeout(resolve, ms));
  note("slow", number);
});

faktory
  .work({
    wid: process.argv[2],
    concurrency: 10,
    beatInterval: 0.2,
    timeout: 20,
    queues: ["high", "default"],
  })
  .then((worker) => {
    worker.on("fail", ({ job, error }) => note("failed", `${job.jid} ${error.message}`));
    note("ready", process.argv[2]);
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
