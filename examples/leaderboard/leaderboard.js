'use strict';
// A leaderboard over HTTP: one sorted set, whose members are players.
//
//     POST /players/NAME {"points": 10}   adds points; answers with score and rank
//     GET /players/NAME                   score, rank, and the neighbours
//     DELETE /players/NAME                takes a player off the board
//     GET /top?n=10                       the best

const http = require('node:http');
const { createClient } = require('redis');

const BOARD = 'leaderboard';
const client = createClient({ url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' });
client.on('error', (error) => console.error(`redis: ${error.message}`));

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const ranked = (players, first) => players.map(({ value, score }, i) => ({ rank: first + i, name: value, score }));

async function add(name, body) {
  const { points } = body;
  if (typeof points !== 'number' || !Number.isFinite(points)) throw new Refused(400, 'points must be a number');
  // In one step, so that the rank belongs to the score.
  const [score, rank] = await client.multi().zIncrBy(BOARD, points, name).zRevRank(BOARD, name).exec();
  return { name, score, rank: rank + 1 };
}

async function show(name) {
  const [score, rank] = await client.multi().zScore(BOARD, name).zRevRank(BOARD, name).exec();
  if (rank === null) throw new Refused(404, 'no such player');
  const first = Math.max(0, rank - 1);
  const around = await client.zRangeWithScores(BOARD, first, rank + 1, { REV: true });
  return { name, score, rank: rank + 1, around: ranked(around, first + 1) };
}

async function remove(name) {
  if (!(await client.zRem(BOARD, name))) throw new Refused(404, 'no such player');
  return { removed: name };
}

async function top(query) {
  const n = Math.min(Number(query.get('n') ?? 10), 100);
  if (!Number.isInteger(n) || n < 1) throw new Refused(400, 'n must be a positive number');
  const [players, all] = await client.multi().zRangeWithScores(BOARD, 0, n - 1, { REV: true }).zCard(BOARD).exec();
  return { players: ranked(players, 1), of: all };
}

async function json(request) {
  let text = '';
  for await (const part of request) text += part;
  try {
    return JSON.parse(text) ?? {};
  } catch {
    throw new Refused(400, 'the body must be JSON');
  }
}

async function answer(request) {
  const url = new URL(request.url, 'http://localhost');
  const player = /^\/players\/([^/]+)$/.exec(url.pathname);
  if (request.method === 'GET' && url.pathname === '/top') return top(url.searchParams);
  if (!player) throw new Refused(404, 'no such page');
  const name = decodeURIComponent(player[1]);
  if (request.method === 'GET') return show(name);
  if (request.method === 'DELETE') return remove(name);
  if (request.method === 'POST') return add(name, await json(request));
  throw new Refused(405, 'GET, POST or DELETE');
}

const server = http.createServer(async (request, response) => {
  let status = 200;
  let body;
  try {
    body = await answer(request);
  } catch (error) {
    status = error.status ?? 500;
    body = { error: error.message };
  }
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
});

async function main() {
  await client.connect();
  server.listen(Number(process.env.PORT ?? 7002), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, async () => {
      server.close();
      server.closeAllConnections();
      await client.close();
    });
  }
}

main();
