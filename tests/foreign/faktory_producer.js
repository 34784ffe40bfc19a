// Carries out one thing with the client of faktory-worker, and prints what came of it as JSON.
const { Client } = require("faktory-worker");

const [what, ...rest] = process.argv.slice(2);
const given = rest.map((one) => JSON.parse(one));

const actions = {
  push: async (client, [type, args, options]) =>
    client.push({ jobtype: type, args, ...options }),
  bulk: async (client, [jobs]) => client.pushBulk(jobs),
  info: async (client) => client.info(),
  requeue: async (client, [target]) => client[target].requeue(),
  flush: async (client) => client.flush(),
};

(async () => {
  const client = new Client();
  const found = await actions[what](client, given);
  await client.close();
  console.log(JSON.stringify(found ?? null));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
