// ioredis, with a connection per group.
import { Redis, ReplyError } from 'ioredis';
import { big, equal, every, fails, host, ok, password, port, range, run, sorted, until } from './checks.mjs';

const options = { host, port, password };

async function open(more = {}) {
  const client = new Redis({ ...options, ...more });
  await client.flushall();
  return client;
}
const other = (more = {}) => new Redis({ ...options, ...more });
const close = (client) => client.disconnect();
const blocked = (client) => until('a blocked client', async () => /blocked_clients:1\r/.test(await client.info('clients')));

const groups = {
  async connecting(c) {
    equal(await c.ping(), 'PONG');
    const anonymous = other({ password: undefined, enableReadyCheck: false });
    await fails(anonymous.get('k'), ReplyError, /^NOAUTH/);
    close(anonymous);
    const wrong = other({ password: 'wrong', enableReadyCheck: false });
    wrong.on('error', () => {});
    await fails(wrong.get('k'), Error, /^(WRONGPASS|NOAUTH)/);
    close(wrong);
    const three = other({ db: 3, username: 'default', connectionName: 'three' });
    await three.set('k', 'in 3');
    ok(/ db=3 /.test(await three.client('INFO')));
    equal(await three.client('GETNAME'), 'three');
    equal(await c.get('k'), null);
    equal(await c.select(3), 'OK');
    equal(await c.get('k'), 'in 3');
    close(three);
    const byUrl = new Redis(`redis://:${password}@${host}:${port}/3`);
    equal(await byUrl.get('k'), 'in 3');
    close(byUrl);
    ok(/lib-name=ioredis/.test(await c.client('INFO')));
  },
  async strings(c) {
    equal(await c.set('s', 'hello'), 'OK');
    equal(await c.append('s', ' world'), 11);
    equal(await c.getrange('s', 0, 4), 'hello');
    equal(await c.set('s', 'x', 'NX'), null);
    equal(await c.set('s', 'x', 'GET'), 'hello world');
    equal(await c.mset({ a: 1, b: 2 }), 'OK');
    equal(await c.mget('a', 'none', 'b'), ['1', null, '2']);
    equal(await c.incrby('a', 41), 42);
    equal(await c.incrbyfloat('a', 0.5), '42.5');
    equal(await c.setbit('bits', 7, 1), 0);
    equal(await c.bitcount('bits'), 1);
    equal(await c.bitop('NOT', 'not', 'bits'), 1);
    equal(await c.getBuffer('not'), Buffer.from([0xfe]));
    equal(await c.bitfield('f', 'SET', 'u8', 0, 255, 'INCRBY', 'u8', 0, 10), [0, 9]);
    equal(await c.getdel('s'), 'x');
  },
  async lists_and_sets(c) {
    equal(await c.rpush('l', 'a', 'b', 'c'), 3);
    equal(await c.lrange('l', 0, -1), ['a', 'b', 'c']);
    equal(await c.lmove('l', 'm', 'LEFT', 'RIGHT'), 'a');
    equal(await c.lpop('l', 5), ['b', 'c']);
    equal(await c.lmpop(1, 'm', 'LEFT'), ['m', ['a']]);
    equal(await c.sadd('s', 1, 2, 3), 3);
    equal(sorted(await c.smembers('s')), ['1', '2', '3']);
    await c.sadd('t', 3, 4);
    equal(await c.sinter('s', 't'), ['3']);
    equal(sorted(await c.sdiff('s', 't')), ['1', '2']);
    equal(await c.smismember('s', 1, 9), [1, 0]);
  },
  async sorted_sets_and_hashes(c) {
    equal(await c.zadd('z', 1, 'a', 2.5, 'b', 3, 'c'), 3);
    equal(await c.zrange('z', 0, -1, 'WITHSCORES'), ['a', '1', 'b', '2.5', 'c', '3']);
    equal(await c.zincrby('z', 0.25, 'b'), '2.75');
    equal(await c.zrangebyscore('z', '(1', '+inf', 'LIMIT', 0, 1), ['b']);
    equal(await c.zrevrank('z', 'c'), 0);
    equal(await c.zpopmin('z'), ['a', '1']);
    equal(await c.zunion(1, 'z', 'WEIGHTS', 2, 'WITHSCORES'), ['b', '5.5', 'c', '6']);
    equal(await c.hset('h', { f: 'v', g: 1 }), 2);
    equal(await c.hgetall('h'), { f: 'v', g: '1' });
    equal(await c.hincrby('h', 'g', 4), 5);
    equal(await c.hmget('h', 'f', 'none'), ['v', null]);
    equal(await c.call('HEXPIRE', 'h', 100, 'FIELDS', 2, 'f', 'none'), [1, -2]);
    const [ttl] = await c.call('HTTL', 'h', 'FIELDS', 1, 'f');
    ok(ttl > 0 && ttl <= 100);
  },
  async streams(c) {
    const ids = [];
    for (let n = 0; n < 5; n += 1) ids.push(await c.xadd('x', '*', 'n', n));
    equal(await c.xlen('x'), 5);
    equal(await c.xrange('x', '-', '+', 'COUNT', 1), [[ids[0], ['n', '0']]]);
    equal(await c.xgroup('CREATE', 'x', 'g', '0'), 'OK');
    await fails(c.xgroup('CREATE', 'x', 'g', '0'), ReplyError, /^BUSYGROUP/);
    const got = await c.xreadgroup('GROUP', 'g', 'one', 'COUNT', 3, 'STREAMS', 'x', '>');
    equal(got[0][1].map(([id]) => id), ids.slice(0, 3));
    equal(await c.xack('x', 'g', ids[0]), 1);
    equal((await c.xpending('x', 'g'))[0], 2);
    equal((await c.xautoclaim('x', 'g', 'two', 0, '0'))[1].map(([id]) => id), ids.slice(1, 3));
    equal((await c.xinfo('GROUPS', 'x'))[0].slice(0, 4), ['name', 'g', 'consumers', 2]);
    equal(await c.xtrim('x', 'MAXLEN', 2), 3);
  },
  async geo_and_hyperloglog(c) {
    equal(await c.geoadd('g', 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania'), 2);
    equal(await c.geodist('g', 'Palermo', 'Catania', 'km'), '166.2742');
    equal(await c.geosearch('g', 'FROMLONLAT', 15, 37, 'BYRADIUS', 100, 'km', 'ASC'), ['Catania']);
    equal(await c.geohash('g', 'Palermo'), ['sqc8b49rny0']);
    equal(await c.pfadd('p', ...range(1000, String)), 1);
    const n = await c.pfcount('p');
    ok(n > 950 && n < 1050, n);
  },
  async expiry(c) {
    equal(await c.set('k', 'v', 'PX', 30), 'OK');
    await until('the key to expire', async () => (await c.get('k')) === null);
    equal(await c.ttl('k'), -2);
    await c.set('k', 'v', 'EX', 100);
    ok((await c.ttl('k')) >= 99);
    equal(await c.persist('k'), 1);
    equal(await c.ttl('k'), -1);
  },
  async pipelining(c) {
    const p = c.pipeline();
    for (let i = 0; i < 5000; i += 1) p.set(`p:${i}`, i).get(`p:${i}`);
    const got = await p.exec();
    equal(got.filter((_, i) => i % 2).map(([error, value]) => [error, value]), range(5000, (i) => [null, String(i)]));
    const mixed = await c.pipeline().set('a', 'x').incr('a').get('a').exec();
    ok(mixed[1][0] instanceof ReplyError);
    equal(mixed[2][1], 'x');
    const auto = other({ enableAutoPipelining: true });
    equal(await Promise.all(range(100, () => auto.incr('n'))), range(100, (i) => i + 1));
    close(auto);
  },
  async transactions(c) {
    equal(await c.multi().set('a', 1).incr('a').exec(), [[null, 'OK'], [null, 2]]);
    await c.watch('a');
    equal(await c.multi().incr('a').exec(), [[null, 3]]);
    const second = other();
    await c.watch('a');
    await second.set('a', 100);
    equal(await c.multi().set('a', 0).exec(), null);
    equal(await c.get('a'), '100');
    close(second);
    await fails(c.multi().set('a', 0).call('SET', 'a').exec(), ReplyError, /^EXECABORT/);
    await c.multi({ pipeline: false });
    equal(await c.set('a', 7), 'QUEUED');
    equal(await c.exec(), [[null, 'OK']]);
  },
  async subscriptions(c) {
    const heard = other();
    const messages = [];
    heard.on('message', (channel, message) => messages.push([channel, message]));
    heard.on('pmessage', (pattern, channel, message) => messages.push([pattern, channel, message]));
    heard.on('smessageBuffer', (channel, message) => messages.push(['sharded', message]));
    equal(await heard.subscribe('news', 'more'), 2);
    equal(await heard.psubscribe('n*'), 3);
    equal(await c.publish('news', 'one'), 2);
    await until('both messages', () => messages.length === 2);
    equal(messages, [['news', 'one'], ['n*', 'news', 'one']]);
    equal(await c.pubsub('CHANNELS', 'n*'), ['news']);
    equal(await heard.unsubscribe('news'), 2);
    equal(await c.publish('news', 'two'), 1);
    equal(await heard.ssubscribe('shard'), 1);
    equal(await c.spublish('shard', every), 1);
    await until('the sharded message', () => messages.length === 4);
    equal(messages[3], ['sharded', every]);
    close(heard);
  },
  async blocking(c) {
    const second = other();
    for (const [call, push, wanted] of [
      [() => c.blpop('none', 'q', 20), () => second.rpush('q', 1), ['q', '1']],
      [() => c.brpop('q', 20), () => second.rpush('q', 2), ['q', '2']],
      [() => c.blmove('q', 'r', 'LEFT', 'LEFT', 20), () => second.rpush('q', 3), '3'],
      [() => c.bzpopmin('z', 20), () => second.zadd('z', 1.5, 'm'), ['z', 'm', '1.5']],
    ]) {
      const waiting = call();
      await blocked(second);
      await push();
      equal(await waiting, wanted);
    }
    const waiting = c.xread('BLOCK', 20_000, 'STREAMS', 'x', '$');
    await blocked(second);
    const id = await second.xadd('x', '*', 'a', 1);
    equal(await waiting, [['x', [[id, ['a', '1']]]]]);
    const began = Date.now();
    equal(await c.blpop('none', 0.2), null);
    ok(Date.now() - began > 150);
    close(second);
  },
  async iteration(c) {
    const p = c.pipeline();
    for (let i = 0; i < 3000; i += 1) p.set(`key:${i}`, i).hset('hash', `f${i}`, i).sadd('set', i).zadd('zset', i, `m${i}`);
    await p.exec();
    const all = async (stream) => {
      const got = [];
      for await (const page of stream) got.push(...page);
      return got;
    };
    equal(sorted(new Set(await all(c.scanStream({ match: 'key:*', count: 100 })))), sorted(range(3000, (i) => `key:${i}`)));
    equal((await all(c.hscanStream('hash'))).length, 6000);
    equal(sorted(new Set(await all(c.sscanStream('set')))), sorted(range(3000, String)));
    equal((await all(c.zscanStream('zset', { match: 'm1*' }))).length, 2222);
  },
  async big_and_binary(c) {
    equal(await c.set('big', big), 'OK');
    ok((await c.getBuffer('big')).equals(big), '20 MB came back otherwise');
    equal(await c.set(every, every), 'OK');
    equal(await c.getBuffer(every), every);
    await c.hset('h', every, every);
    equal((await c.callBuffer('HGETALL', 'h')), [every, every]);
    equal(await c.set('clé', 'zwölf 🐘'), 'OK');
    equal(await c.get('clé'), 'zwölf 🐘');
  },
  async errors(c) {
    await c.rpush('l', 1);
    await fails(c.get('l'), ReplyError, /^WRONGTYPE/);
    await fails(c.call('NOSUCH', 'x'), ReplyError, /^ERR unknown command 'NOSUCH'/);
    await fails(c.call('GET'), ReplyError, /wrong number of arguments/);
    await fails(c.select(1000), ReplyError, /out of range/);
    await fails(c.incr('l'), ReplyError, /^WRONGTYPE/);
  },
  async reconnecting(c) {
    await c.set('k', 'v');
    const second = other();
    const again = new Promise((done) => { c.once('ready', done); });
    equal(await second.client('KILL', 'ID', await c.client('ID')), 1);
    await again;
    equal(await c.get('k'), 'v');
    const heard = other();
    await heard.subscribe('news');
    const subscribed = new Promise((done) => { heard.once('ready', done); });
    equal(await second.client('KILL', 'TYPE', 'pubsub'), 1);
    await subscribed;
    const message = new Promise((done) => { heard.on('message', (_, m) => done(m)); });
    await until('its subscription', async () => (await second.publish('news', 'again')) === 1);
    equal(await message, 'again');
    close(heard);
    close(second);
  },
  async server(c) {
    ok(/redis_version:7\./.test(await c.info()));
    equal(await c.config('GET', 'maxmemory-policy'), ['maxmemory-policy', 'noeviction']);
    equal(await c.config('SET', 'maxmemory-policy', 'noeviction'), 'OK');
    ok((await c.command('COUNT')) > 200);
    equal((await c.command('INFO', 'get'))[0].slice(0, 2), ['get', 2]);
    equal(await c.dbsize(), 0);
    const lines = [];
    const monitor = await c.monitor();
    monitor.on('monitor', (_, args) => lines.push(args));
    await c.set('seen', 1);
    await until('the monitor', () => lines.some((args) => args[0].toLowerCase() === 'set' && args[1] === 'seen'));
    ok(true);
    monitor.disconnect();
  },
};

await run([['RESP2', () => open(), close]], groups);
