'use strict';
// A small site whose sessions are in the server, by express-session and connect-redis: a shopping cart that survives a
// restart of the site, is the same at each of its programs, and is forgotten after SESSION_SECONDS (1800) of silence.
//
//     POST /login {"name": "ann"}    POST /cart {"item": "tea"}    GET /cart    POST /logout

const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');

const client = createClient({ url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' });
client.on('error', (error) => console.error(`redis: ${error.message}`));
const seconds = Number(process.env.SESSION_SECONDS ?? 1800);

const app = express();
app.use(express.json());
app.use(
  session({
    store: new RedisStore({ client, prefix: 'session:', ttl: seconds }),
    // On a real site this is a secret of yours; all programs of the site share it.
    secret: process.env.SESSION_SECRET ?? 'for this example only',
    name: 'id',
    resave: false,
    saveUninitialized: false,
    rolling: true,
    cookie: { httpOnly: true, sameSite: 'lax', maxAge: seconds * 1000 },
  }),
);

app.post('/login', (request, response, next) => {
  const { name } = request.body ?? {};
  if (typeof name !== 'string' || name === '') return response.status(400).json({ error: 'a name is needed' });
  // A fresh id, so that nobody can plant one that he knows.
  return request.session.regenerate((error) => {
    if (error) return next(error);
    Object.assign(request.session, { name, cart: [] });
    return response.json({ name });
  });
});

const known = (request, response, next) => {
  if (request.session.name) return next();
  return response.status(401).json({ error: 'log in first' });
};

app.get('/cart', known, ({ session: { name, cart } }, response) => response.json({ name, cart }));

app.post('/cart', known, (request, response) => {
  request.session.cart.push(String(request.body?.item));
  response.json({ cart: request.session.cart });
});

app.post('/logout', known, (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.clearCookie('id').json({})));
});

async function main() {
  await client.connect();
  const server = app.listen(Number(process.env.PORT ?? 7003), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, async () => {
      server.close();
      server.closeAllConnections();
      await client.close();
    });
  }
}

main();
