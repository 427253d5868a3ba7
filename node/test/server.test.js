'use strict';
// The installed package, with ioredis and node-redis. Run by tests/compat/packages/run, in the folder that it is installed in.

const assert = require('node:assert/strict');
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const Redis = require('ioredis');
const { createClient } = require('redis');
const { ReplyError, Server, StartError, binary } = require('tidewater-server');

const HERE = process.cwd();

async function until(what, holds, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `waited in vain for ${what}`);
    await sleep(10);
  }
}

/** Whether a process runs; one that ended and that nobody has collected does not. */
function there(pid) {
  try {
    return !/^Z/.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, ''));
  } catch {
    return false;
  }
}

/** A client of node-redis, and its end with the test. */
async function client(t, server) {
  const it = createClient({ url: server.url });
  // The server may end first.
  it.on('error', () => {});
  await it.connect();
  t.after(() => it.destroy());
  return it;
}

/** A server, and its end with the test. */
async function start(t, options) {
  const server = await Server.start(options);
  t.after(() => server.stop());
  return server;
}

test('is the installed package, and nothing ran at its installation', () => {
  assert.ok(binary.startsWith(path.join(HERE, 'node_modules')), binary);
  const manifest = JSON.parse(fs.readFileSync(path.join(HERE, 'node_modules', 'tidewater-server', 'package.json')));
  assert.equal(manifest.scripts, undefined);
  assert.equal(manifest.dependencies, undefined);
  assert.deepEqual(manifest.os, ['linux']);
});

test('node-redis', async () => {
  const server = await Server.start();
  const it = await createClient({ url: server.url, RESP: 3 }).connect();
  await it.set('k', 'v', { EX: 100 });
  assert.deepEqual(await it.multi().get('k').incr('n').exec(), ['v', 1]);
  assert.match(await it.info('server'), new RegExp(`process_id:${server.pid}\r\n`));
  assert.equal((await it.configGet('save')).save, '');
  it.destroy();
  const { pid, dir, port } = server;
  assert.equal(server.url, `redis://127.0.0.1:${port}`);
  assert.ok(server.running && fs.existsSync(dir));
  await Promise.all([server.stop(), server.stop()]);
  assert.ok(!server.running && !there(pid) && !fs.existsSync(dir));
  const refused = net.connect(port, '127.0.0.1');
  assert.equal((await once(refused, 'error'))[0].code, 'ECONNREFUSED');
});

test('ioredis', async (t) => {
  const server = await start(t);
  const it = new Redis(server.url);
  t.after(() => it.disconnect());
  assert.equal(await it.set('k', 'v'), 'OK');
  assert.deepEqual(await it.pipeline().get('k').rpush('l', 1, 2).lrange('l', 0, -1).exec(), [[null, 'v'], [null, 2], [null, ['1', '2']]]);
});

test('asyncDispose stops it', async () => {
  const server = await Server.start();
  await server[Symbol.asyncDispose]();
  assert.ok(!there(server.pid));
});

test('import finds the names', () => {
  const code = "import { Server, StartError, binary } from 'tidewater-server'; console.log(typeof Server, typeof StartError, typeof binary)";
  assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' }), 'function function string\n');
});

test('directives, in each spelling', async (t) => {
  const server = await start(t, { maxmemory: '10mb', maxmemoryPolicy: 'allkeys-lru', lfu_decay_time: 7, 'lfu-log-factor': 8,
    appendonly: true, save: [3600, 1], requirepass: 'a b/c', hz: undefined });
  const it = await client(t, server);
  const config = await it.configGet('*');
  const wanted = { maxmemory: '10485760', 'maxmemory-policy': 'allkeys-lru', 'lfu-decay-time': '7', 'lfu-log-factor': '8',
    appendonly: 'yes', save: '3600 1', requirepass: 'a b/c', hz: '10', dir: server.dir };
  for (const [name, value] of Object.entries(wanted)) assert.equal(config[name], value, name);
});

test('a given port, and one that is taken', async (t) => {
  const other = net.createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address();
  await assert.rejects(Server.start({ port }), (e) => e instanceof StartError && e.name === 'StartError' && e.message.includes(String(port)));
  other.close();
  await once(other, 'close');
  assert.equal((await start(t, { port })).port, port);
});

test('execute and flush', async (t) => {
  const server = await start(t, { requirepass: 'a b/c' });
  assert.equal(await server.execute('SET', 'k', 'zwölf'), 'OK');
  assert.equal(await server.execute('get', 'k'), 'zwölf');
  assert.equal(await server.execute('RPUSH', 'l', 1, 2.5, Buffer.from([0, 13, 10]), 3n), 4);
  assert.deepEqual(await server.execute('LRANGE', 'l', 0, -1), ['1', '2.5', '\0\r\n', '3']);
  assert.equal(await server.execute('GET', 'none'), null);
  assert.equal(await server.execute('BLPOP', 'none', 0.05), null);
  assert.deepEqual(await server.execute('GEOPOS', 'none', 'x'), [null]);
  const big = 'ä'.repeat(2_000_000);
  assert.equal(await server.execute('SET', 'big', big), 'OK');
  assert.ok((await server.execute('GET', 'big')) === big);
  await assert.rejects(server.execute('GET', 'l'), (e) => e instanceof ReplyError && e.name === 'ReplyError' && e.message.startsWith('WRONGTYPE '));
  await assert.rejects(server.execute('SET', 'k', null), /not null/);
  await assert.rejects(server.execute(), /has a name/);
  await assert.rejects(server.execute('HELLO', 3), /not of RESP2/);
  const it = await client(t, server);
  await it.select(1);
  await it.set('in', '1');
  assert.equal(await server.execute('DBSIZE'), 3);
  await server.flush();
  assert.deepEqual([await server.execute('DBSIZE'), await it.dbSize()], [0, 0]);
  await server.stop();
  await assert.rejects(server.execute('PING'), /does not run/);
});

test('the clock', async (t) => {
  const server = await start(t, { debug: true });
  const it = await client(t, server);
  await it.set('k', 'v', { EX: 60 });
  await it.set('stays', 'v', { EX: 600 });
  const waiting = server.execute('BLPOP', 'none', 60);
  await until('a blocked client', async () => (await server.execute('INFO', 'clients')).includes('blocked_clients:1\r'));
  await server.advance(61_000);
  assert.equal(await waiting, null);
  assert.equal(await it.get('k'), null);
  const left = await it.ttl('stays');
  assert.ok(left > 530 && left <= 539, left);
  await assert.rejects(server.advance(-1), RangeError);
  await assert.rejects(server.advance(undefined), RangeError);
  await Promise.all(Array.from({ length: 40 }, () => server.advance(10_000)));
  const less = await it.ttl('stays');
  assert.ok(less > 130 && less <= 139, less);
});

test('faults', async (t) => {
  const server = await start(t, { debug: true });
  const it = await client(t, server);
  await server.faults.error('set', "OOM command not allowed when used memory > 'maxmemory'.");
  await assert.rejects(it.set('k', 'v'), /^(\w*Error: )?OOM command not allowed/);
  assert.equal(await it.get('k'), null);
  await server.faults.delay('GET', 80);
  const began = process.hrtime.bigint();
  assert.equal(await it.get('k'), null);
  assert.ok(process.hrtime.bigint() - began >= 80_000_000n);
  await server.faults.clear();
  await it.set('k', 'v');
  await server.faults.dropConnectionAfter(2);
  assert.equal(await server.execute('GET', 'k'), 'v');
  assert.equal(await server.execute('GET', 'k'), 'v');
  await assert.rejects(server.execute('GET', 'k'), (e) => e.code === 'ECONNRESET');
  assert.equal(await server.execute('GET', 'k'), 'v');
});

test('faults can be ended whatever they are', async (t) => {
  const server = await start(t, { debug: true, requirepass: 'secret' });
  const it = await client(t, server);
  await server.faults.error('*', 'ERR down for the test');
  await assert.rejects(it.get('k'), /down for the test/);
  await assert.rejects(server.flush(), /down for the test/);
  await server.faults.clear();
  await server.flush();
  await it.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']);
  await server.faults.error('GET', 'ERR once more');
  await assert.rejects(it.get('k'), /once more/);
});

test('DEBUG is off unless asked for', async (t) => {
  const server = await start(t);
  for (const call of [server.advance(1), server.faults.clear(), server.faults.delay('GET', 1)]) {
    await assert.rejects(call, /debug: true/);
  }
  await assert.rejects(server.execute('DEBUG', 'CLOCK', 'ADVANCE', 1), /DEBUG command not allowed/);
  await (await start(t, { enableDebugCommand: true })).advance(1);
});

test('a program that has moved the clock ends by itself', async () => {
  const code = `require('tidewater-server').Server.start({ debug: true }).then(async (s) => { await s.advance(1); console.log(s.pid); })`;
  const pid = Number(execFileSync(process.execPath, ['-e', code], { encoding: 'utf8', timeout: 20_000 }));
  await until('the server to end', () => !there(pid));
});

test('a given directory stays', async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidewater-given-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  const first = await Server.start({ dir });
  const it = await client(t, first);
  await it.set('k', 'v');
  await first.stop();
  assert.ok(fs.existsSync(path.join(dir, 'dump.rdb')));
  const second = await start(t, { dir });
  assert.equal(await (await client(t, second)).get('k'), 'v');
  await second.stop();
});

for (const [directives, said] of [[{ noSuch: 1 }, /no-such/], [{ maxmemory: 'lots' }, /maxmemory/], [{ bind: '203.0.113.1' }, /203\.0\.113\.1/]]) {
  test(`a start that fails tells why and leaves nothing: ${JSON.stringify(directives)}`, async (t) => {
    const tmp = fs.mkdtempSync(path.join(os.tmpdir(), 'tidewater-empty-'));
    const before = process.env.TMPDIR;
    process.env.TMPDIR = tmp;
    t.after(() => {
      if (before === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = before;
      fs.rmSync(tmp, { recursive: true });
    });
    await assert.rejects(Server.start(directives), (e) => e instanceof StartError && said.test(e.message));
    assert.deepEqual(fs.readdirSync(tmp), []);
  });
}

test('a start that takes too long', async () => {
  await assert.rejects(Server.start({ startTimeout: 0 }), /in time/);
});

test('a directive that would break it', async () => {
  await assert.rejects(Server.start({ daemonize: true }), TypeError);
});

test('twenty at once', async () => {
  const servers = await Promise.all(Array.from({ length: 20 }, () => Server.start()));
  assert.equal(new Set(servers.map((s) => s.port)).size, 20);
  await Promise.all(servers.map((s) => s.stop()));
  assert.ok(!servers.some((s) => there(s.pid)));
});

/** A program that starts a server and says where; then does what is wanted. */
async function program(then) {
  const code = `require('tidewater-server').Server.start().then((s) => { console.log(s.pid + ' ' + s.dir); ${then} })`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'ignore'] });
  child.stdout.setEncoding('utf8');
  const [line] = await once(child.stdout, 'data');
  const [pid, dir] = line.trim().split(' ');
  return { child, pid: Number(pid), dir };
}

for (const then of ['', 'process.exit(3)', 'throw new Error()', 'process.abort()']) {
  test(`a program that ends takes its server along: ${then || 'by itself'}`, async () => {
    const { child, pid, dir } = await program(then);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    await until('the server to end', () => !there(pid));
    await until('the directory to go', () => !fs.existsSync(dir));
  });
}

for (const how of ['SIGKILL', 'SIGTERM', 'SIGINT']) {
  test(`a program that is killed takes its server along: ${how}`, async () => {
    const { child, pid, dir } = await program('setInterval(() => {}, 1000)');
    assert.ok(there(pid));
    child.kill(how);
    await until('the server to end', () => !there(pid));
    await until('the directory to go', () => !fs.existsSync(dir));
  });
}

test('the program, by npx', () => {
  const out = execFileSync('npx', ['--no-install', 'tidewater', '--version'], { encoding: 'utf8', cwd: HERE });
  assert.match(out, /^Tidewater \d/);
});
