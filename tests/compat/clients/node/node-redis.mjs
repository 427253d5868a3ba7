// node-redis, over RESP2 and RESP3.
import { createClient, ErrorReply, RESP_TYPES, WatchError } from 'redis';
import { big, equal, every, fails, host, ok, password, port, range, run, sorted, until } from './checks.mjs';

let RESP = 2;
const quiet = () => {};

async function other(more = {}) {
  const client = createClient({ socket: { host, port }, password, RESP, ...more });
  client.on('error', quiet); // what matters fails its own call
  await client.connect();
  return client;
}
const open = (resp) => async () => {
  RESP = resp;
  const client = await other();
  await client.flushAll();
  return client;
};
const close = (client) => { if (client.isOpen) client.destroy(); };
const blocked = (client) => until('a blocked client', async () => /blocked_clients:1\r/.test(await client.info('clients')));
const plain = (map) => ({ ...map });

const groups = {
  async connecting(c) {
    equal(await c.ping(), 'PONG');
    const once = { host, port, reconnectStrategy: false };
    await fails(other({ socket: once, password: 'wrong' }), Error, /WRONGPASS/);
    if (RESP === 2) {
      const anonymous = await other({ socket: once, password: undefined });
      await fails(anonymous.get('k'), ErrorReply, /^NOAUTH/);
      close(anonymous);
    } else {
      await fails(other({ socket: once, password: undefined }), Error, /^NOAUTH/);
    }
    const three = await other({ database: 3, username: 'default', name: 'three' });
    await three.set('k', 'in 3');
    const info = await three.clientInfo();
    equal([info.db, info.name, info.resp, info.libName.startsWith('node-redis')], [3, 'three', RESP, true]);
    equal(await c.get('k'), null);
    await c.select(3);
    equal(await c.get('k'), 'in 3');
    close(three);
    const byUrl = createClient({ url: `redis://:${password}@${host}:${port}/3`, RESP });
    await byUrl.connect();
    equal(await byUrl.get('k'), 'in 3');
    await byUrl.close();
  },
  async strings(c) {
    equal(await c.set('s', 'hello'), 'OK');
    equal(await c.append('s', ' world'), 11);
    equal(await c.getRange('s', 0, 4), 'hello');
    equal(await c.set('s', 'x', { condition: 'NX' }), null);
    equal(await c.set('s', 'x', { GET: true }), 'hello world');
    equal(await c.mSet({ a: '1', b: '2' }), 'OK');
    equal(await c.mGet(['a', 'none', 'b']), ['1', null, '2']);
    equal(await c.incrBy('a', 41), 42);
    equal(await c.incrByFloat('a', 0.5), '42.5');
    equal(await c.setBit('bits', 7, 1), 0);
    equal(await c.bitCount('bits'), 1);
    equal(await c.bitOp('NOT', 'not', 'bits'), 1);
    equal(await c.bitField('f', [{ operation: 'SET', encoding: 'u8', offset: 0, value: 255 }, { operation: 'INCRBY', encoding: 'u8', offset: 0, increment: 10 }]), [0, 9]);
    equal(await c.getDel('s'), 'x');
  },
  async lists_and_sets(c) {
    equal(await c.rPush('l', ['a', 'b', 'c']), 3);
    equal(await c.lRange('l', 0, -1), ['a', 'b', 'c']);
    equal(await c.lMove('l', 'm', 'LEFT', 'RIGHT'), 'a');
    equal(await c.lPopCount('l', 5), ['b', 'c']);
    equal(await c.lmPop('m', 'LEFT'), ['m', ['a']]);
    equal(await c.sAdd('s', ['1', '2', '3']), 3);
    equal(sorted(await c.sMembers('s')), ['1', '2', '3']);
    await c.sAdd('t', ['3', '4']);
    equal(await c.sInter(['s', 't']), ['3']);
    equal(await c.sInterCard(['s', 't']), 1);
    equal(sorted(await c.sDiff(['s', 't'])), ['1', '2']);
  },
  async sorted_sets_and_hashes(c) {
    equal(await c.zAdd('z', [{ score: 1, value: 'a' }, { score: 2.5, value: 'b' }, { score: Infinity, value: 'c' }]), 3);
    equal((await c.zRangeWithScores('z', 0, -1)).map(plain), [{ value: 'a', score: 1 }, { value: 'b', score: 2.5 }, { value: 'c', score: Infinity }]);
    equal(await c.zIncrBy('z', 0.25, 'b'), 2.75);
    equal(await c.zRange('z', '(1', '+inf', { BY: 'SCORE', LIMIT: { offset: 0, count: 1 } }), ['b']);
    equal(await c.zScore('z', 'c'), Infinity);
    equal(await c.zmScore('z', ['a', 'none']), [1, null]);
    equal(plain(await c.zPopMin('z')), { value: 'a', score: 1 });
    equal(await c.hSet('h', { f: 'v', g: '1' }), 2);
    equal(plain(await c.hGetAll('h')), { f: 'v', g: '1' });
    equal(await c.hIncrBy('h', 'g', 4), 5);
    equal(await c.hmGet('h', ['f', 'none']), ['v', null]);
    equal(await c.hExpire('h', ['f', 'none'], 100), [1, -2]);
    const [ttl] = await c.hTTL('h', ['f']);
    ok(ttl > 0 && ttl <= 100);
    equal(await c.hPersist('h', ['f']), [1]);
  },
  async streams(c) {
    const ids = [];
    for (let n = 0; n < 5; n += 1) ids.push(await c.xAdd('x', '*', { n: String(n) }));
    equal(await c.xLen('x'), 5);
    equal((await c.xRange('x', '-', '+', { COUNT: 1 })).map(({ id, message }) => [id, plain(message)]), [[ids[0], { n: '0' }]]);
    equal(await c.xGroupCreate('x', 'g', '0'), 'OK');
    await fails(c.xGroupCreate('x', 'g', '0'), ErrorReply, /^BUSYGROUP/);
    const got = await c.xReadGroup('g', 'one', { key: 'x', id: '>' }, { COUNT: 3 });
    equal(got[0].messages.map(({ id }) => id), ids.slice(0, 3));
    equal(await c.xAck('x', 'g', ids[0]), 1);
    equal((await c.xPending('x', 'g')).pending, 2);
    equal((await c.xAutoClaim('x', 'g', 'two', 0, '0')).messages.map(({ id }) => id), ids.slice(1, 3));
    const [group] = await c.xInfoGroups('x');
    equal([group.name, group.consumers, group.pending], ['g', 2, 2]);
    equal((await c.xInfoStream('x')).length, 5);
    equal(await c.xTrim('x', 'MAXLEN', 2), 3);
  },
  async geo_and_hyperloglog(c) {
    equal(await c.geoAdd('g', [{ longitude: 13.361389, latitude: 38.115556, member: 'Palermo' }, { longitude: 15.087269, latitude: 37.502669, member: 'Catania' }]), 2);
    equal(await c.geoDist('g', 'Palermo', 'Catania', 'km'), 166.2742);
    equal(await c.geoSearch('g', { longitude: 15, latitude: 37 }, { radius: 100, unit: 'km' }), ['Catania']);
    equal(Math.round((await c.geoPos('g', 'Palermo'))[0].longitude * 1000), 13361);
    equal(await c.pfAdd('p', range(1000, String)), 1);
    const n = await c.pfCount('p');
    ok(n > 950 && n < 1050, n);
  },
  async expiry(c) {
    equal(await c.set('k', 'v', { expiration: { type: 'PX', value: 30 } }), 'OK');
    await until('the key to expire', async () => (await c.get('k')) === null);
    equal(await c.ttl('k'), -2);
    await c.setEx('k', 100, 'v');
    ok((await c.ttl('k')) >= 99);
    equal(await c.persist('k'), 1);
    equal(await c.ttl('k'), -1);
  },
  async pipelining(c) {
    // This client pipelines what is called in one turn.
    const got = await Promise.all(range(5000, (i) => [c.set(`p:${i}`, String(i)), c.get(`p:${i}`)]).flat());
    equal(got.filter((_, i) => i % 2), range(5000, String));
    const mixed = await c.multi().set('a', 'x').incr('a').get('a').execAsPipeline().catch((e) => e);
    ok(mixed instanceof Error && /not an integer/.test(mixed.errorIndexes ? mixed.replies[1].message : mixed.message), mixed);
  },
  async transactions(c) {
    equal(await c.multi().set('a', 1).incr('a').exec(), ['OK', 2]);
    await c.watch('a');
    equal(await c.multi().incr('a').exec(), [3]);
    const second = await other();
    await c.watch('a');
    await second.set('a', '100');
    await fails(c.multi().set('a', '0').exec(), WatchError, /./);
    equal(await c.get('a'), '100');
    close(second);
    await fails(c.multi().set('a', '0').addCommand(['SET', 'a']).exec(), Error, /EXECABORT|wrong number/);
    equal(await c.get('a'), '100');
  },
  async subscriptions(c) {
    const heard = await other();
    const messages = [];
    await heard.subscribe('news', (message, channel) => messages.push([channel, message]));
    await heard.pSubscribe('n*', (message, channel) => messages.push(['n*', channel, message]));
    await heard.sSubscribe('shard', (message) => messages.push(['sharded', message]), true);
    equal(await c.publish('news', 'one'), 2);
    await until('both messages', () => messages.length === 2);
    equal(messages, [['news', 'one'], ['n*', 'news', 'one']]);
    equal(await c.pubSubChannels('n*'), ['news']);
    if (RESP === 3) equal(await heard.get('none'), null); // RESP3: commands go on next to subscriptions
    await heard.unsubscribe('news');
    equal(await c.publish('news', 'two'), 1);
    equal(await c.sPublish('shard', every), 1);
    await until('the sharded message', () => messages.length === 4);
    equal(messages[3], ['sharded', every]);
    close(heard);
  },
  async blocking(c) {
    const second = await other();
    for (const [call, push, wanted] of [
      [() => c.blPop(['none', 'q'], 20), () => second.rPush('q', '1'), { key: 'q', element: '1' }],
      [() => c.brPop('q', 20), () => second.rPush('q', '2'), { key: 'q', element: '2' }],
      [() => c.blMove('q', 'r', 'LEFT', 'LEFT', 20), () => second.rPush('q', '3'), '3'],
      [() => c.bzPopMin('z', 20), () => second.zAdd('z', { score: 1.5, value: 'm' }), { key: 'z', value: 'm', score: 1.5 }],
    ]) {
      const waiting = call();
      await blocked(second);
      await push();
      const got = await waiting;
      equal(typeof got === 'string' ? got : plain(got), wanted);
    }
    const waiting = c.xRead({ key: 'x', id: '$' }, { BLOCK: 20_000 });
    await blocked(second);
    const id = await second.xAdd('x', '*', { a: '1' });
    equal((await waiting)[0].messages[0].id, id);
    const began = Date.now();
    equal(await c.blPop('none', 0.2), null);
    ok(Date.now() - began > 150);
    close(second);
  },
  async iteration(c) {
    await Promise.all(range(3000, (i) => [c.set(`key:${i}`, String(i)), c.hSet('hash', `f${i}`, i), c.sAdd('set', String(i)), c.zAdd('zset', { score: i, value: `m${i}` })]).flat());
    const all = async (pages) => {
      const got = [];
      for await (const page of pages) got.push(...page);
      return got;
    };
    equal(sorted(new Set(await all(c.scanIterator({ MATCH: 'key:*', COUNT: 100 })))), sorted(range(3000, (i) => `key:${i}`)));
    equal((await all(c.hScanIterator('hash'))).length, 3000);
    equal(sorted(new Set(await all(c.sScanIterator('set')))), sorted(range(3000, String)));
    equal((await all(c.zScanIterator('zset', { MATCH: 'm1*' }))).length, 1111);
  },
  async big_and_binary(c) {
    const buffers = c.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    equal(String(await buffers.set('big', big)), 'OK');
    ok((await buffers.get('big')).equals(big), '20 MB came back otherwise');
    await buffers.set(every, every);
    equal(await buffers.get(every), every);
    equal(await c.set('clé', 'zwölf 🐘'), 'OK');
    equal(await c.get('clé'), 'zwölf 🐘');
  },
  async errors(c) {
    await c.rPush('l', '1');
    await fails(c.get('l'), ErrorReply, /^WRONGTYPE/);
    await fails(c.sendCommand(['NOSUCH', 'x']), ErrorReply, /^ERR unknown command 'NOSUCH'/);
    await fails(c.sendCommand(['GET']), ErrorReply, /wrong number of arguments/);
    await fails(c.select(1000), ErrorReply, /out of range/);
  },
  async reconnecting(c) {
    await c.set('k', 'v');
    const second = await other();
    const again = new Promise((done) => { c.once('ready', done); });
    equal(await second.clientKill({ filter: 'ID', id: await c.clientId() }), 1);
    await again;
    equal(await c.get('k'), 'v');
    const heard = await other();
    const messages = [];
    await heard.subscribe('news', (m) => messages.push(m));
    const subscribed = new Promise((done) => { heard.once('ready', done); });
    equal(await second.sendCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub']), 1);
    await subscribed;
    await until('its subscription', async () => (await second.publish('news', 'again')) === 1);
    await until('the message', () => messages.length > 0);
    equal(messages[0], 'again');
    close(heard);
    close(second);
  },
  async server(c) {
    ok(/redis_version:7\./.test(await c.info()));
    equal(plain(await c.configGet('maxmemory-policy')), { 'maxmemory-policy': 'noeviction' });
    equal(await c.configSet('maxmemory-policy', 'noeviction'), 'OK');
    ok((await c.commandCount()) > 200);
    ok((await c.command()).some(({ name }) => name === 'get'));
    equal((await c.commandInfo(['get']))[0].arity, 2);
    equal(await c.dbSize(), 0);
    ok((await c.clientList()).length >= 1);
    ok((await c.memoryStats()).peakAllocated !== 0);
  },
};

await run([['RESP2', open(2), close], ['RESP3', open(3), close]], groups);
