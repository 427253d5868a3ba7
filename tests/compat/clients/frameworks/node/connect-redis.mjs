// express-session with connect-redis, over HTTP.
import assert from 'node:assert/strict';
import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import { createClient } from 'redis';

let held = 0;
const equal = (got, wanted) => { assert.deepEqual(got, wanted); held += 1; };

const client = createClient({ socket: { host: process.env.TIDEWATER_HOST, port: Number(process.env.TIDEWATER_PORT) }, password: process.env.TIDEWATER_PASSWORD });
client.on('error', () => {});
await client.connect();

function serve() {
  const app = express();
  app.use(session({ store: new RedisStore({ client, prefix: 'web:', ttl: 100 }), secret: 'x', resave: false, saveUninitialized: false }));
  app.get('/count', (req, res) => { req.session.n = (req.session.n || 0) + 1; res.json(req.session.n); });
  app.get('/look', (req, res) => res.json(req.session.n ?? null));
  app.get('/leave', (req, res) => req.session.destroy((error) => res.json(error ? String(error) : 'left')));
  app.get('/anew', (req, res) => req.session.regenerate(() => { req.session.n = 50; res.json(50); }));
  return new Promise((done) => { const server = app.listen(0, '127.0.0.1', () => done(server)); });
}
const servers = [await serve(), await serve()];

// A browser: it keeps the last cookie.
function browser() {
  let cookie;
  return async (which, path) => {
    const answer = await fetch(`http://127.0.0.1:${servers[which].address().port}${path}`, { headers: cookie ? { cookie } : {} });
    cookie = answer.headers.get('set-cookie')?.split(';')[0] ?? cookie;
    return answer.json();
  };
}

const [ann, bob] = [browser(), browser()];
equal(await ann(0, '/look'), null);
equal(await client.dbSize(), 0);
equal(await ann(0, '/count'), 1);
equal(await ann(1, '/count'), 2);
equal(await bob(0, '/count'), 1);
equal(await ann(0, '/count'), 3);
const keys = await client.keys('web:*');
equal(keys.length, 2);
for (const key of keys) equal((await client.ttl(key)) > 90, true);
const store = new RedisStore({ client, prefix: 'web:' });
equal((await store.all()).map(({ n }) => n).sort(), [1, 3]);
equal((await store.ids()).length, 2);
equal(await store.length(), 2);
equal(await ann(1, '/leave'), 'left');
equal(await ann(0, '/look'), null);
equal(await bob(1, '/anew'), 50);
equal(await bob(0, '/look'), 50);
equal((await client.keys('web:*')).length, 1);
// The server ends the connection; sessions go on over the next one.
const other = client.duplicate();
other.on('error', () => {});
await other.connect();
const again = new Promise((done) => { client.once('ready', done); });
await other.sendCommand(['CLIENT', 'KILL', 'ID', String(await client.clientId())]);
await again;
equal(await bob(1, '/count'), 51);
await store.clear();
equal(await bob(0, '/look'), null);
console.log(`${held} checks`);
process.exit(0);
