// Jedis against Tidewater, over RESP2 and RESP3.
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import redis.clients.jedis.AbstractTransaction;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.GeoCoordinate;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.RedisClient;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.args.BitOP;
import redis.clients.jedis.args.GeoUnit;
import redis.clients.jedis.args.ListDirection;
import redis.clients.jedis.exceptions.JedisConnectionException;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.params.GeoSearchParam;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.params.XReadGroupParams;
import redis.clients.jedis.params.XReadParams;
import redis.clients.jedis.resps.ScanResult;
import redis.clients.jedis.resps.StreamEntry;
import redis.clients.jedis.resps.Tuple;

final class JedisChecks {
    static RedisProtocol protocol;

    static DefaultJedisClientConfig.Builder config() {
        return DefaultJedisClientConfig.builder().protocol(protocol).password(Checks.PASSWORD).socketTimeoutMillis(30_000);
    }

    static Jedis connect(DefaultJedisClientConfig.Builder config) {
        return new Jedis(new HostAndPort(Checks.HOST, Checks.PORT), config.build());
    }

    static Jedis connect() {
        return connect(config());
    }

    static void whenBlocked(Checks.Group... pushes) {
        Checks.meanwhile(() -> {
            try (Jedis other = connect()) {
                Checks.until("a blocked client", () -> other.info("clients").contains("blocked_clients:1\r"));
            }
            for (Checks.Group push : pushes) push.run();
        });
    }

    interface WithClient {
        void run(Jedis c) throws Exception;
    }

    static void group(String name, WithClient group) {
        Checks.run(protocol + " " + name, () -> {
            try (Jedis c = connect()) {
                c.flushAll();
                group.run(c);
            }
        });
    }

    static void all() {
        group("connecting", c -> {
            Checks.equal(c.ping(), "PONG");
            Checks.fails(JedisDataException.class, "NOAUTH", () -> connect(config().password(null)).ping());
            Checks.fails(JedisDataException.class, "WRONGPASS", () -> connect(config().password("wrong")).ping());
            try (Jedis three = connect(config().user("default").database(3).clientName("three"))) {
                three.set("k", "in 3");
                Checks.equal(three.clientGetname(), "three");
                Checks.ok(three.clientInfo().contains(" db=3 "), three.clientInfo());
                Checks.ok(three.clientInfo().contains("resp=" + (protocol == RedisProtocol.RESP3 ? 3 : 2)), three.clientInfo());
            }
            Checks.equal(c.get("k"), null);
            Checks.equal(c.select(3), "OK");
            Checks.equal(c.get("k"), "in 3");
        });
        group("strings and bits", c -> {
            Checks.equal(c.set("s", "hello"), "OK");
            Checks.equal(c.append("s", " world"), 11L);
            Checks.equal(c.getrange("s", 0, 4), "hello");
            Checks.equal(c.set("s", "x", SetParams.setParams().nx()), null);
            Checks.equal(c.setGet("s", "x"), "hello world");
            Checks.equal(c.mset("a", "1", "b", "2"), "OK");
            Checks.equal(c.mget("a", "b"), List.of("1", "2"));
            Checks.equal(c.incrBy("a", 41), 42L);
            Checks.equal(c.incrByFloat("a", 0.5), 42.5);
            Checks.equal(c.setbit("bits", 7, true), false);
            Checks.equal(c.bitcount("bits"), 1L);
            Checks.equal(c.bitop(BitOP.NOT, "not", "bits"), 1L);
            Checks.equal(c.bitfield("f", "SET", "u8", "0", "255", "INCRBY", "u8", "0", "10"), List.of(0L, 9L));
            Checks.equal(c.getDel("s"), "x");
        });
        group("collections", c -> {
            Checks.equal(c.rpush("l", "a", "b", "c"), 3L);
            Checks.equal(c.lrange("l", 0, -1), List.of("a", "b", "c"));
            Checks.equal(c.lmove("l", "m", ListDirection.LEFT, ListDirection.RIGHT), "a");
            Checks.equal(c.lpop("l", 5), List.of("b", "c"));
            Checks.equal(c.sadd("s", "1", "2", "3"), 3L);
            Checks.equal(c.smembers("s"), Set.of("1", "2", "3"));
            c.sadd("t", "3", "4");
            Checks.equal(c.sinter("s", "t"), Set.of("3"));
            Checks.equal(c.smismember("s", "1", "9"), List.of(true, false));
            Checks.equal(c.zadd("z", Map.of("a", 1.0, "b", 2.5, "c", Double.POSITIVE_INFINITY)), 3L);
            Checks.equal(c.zrangeWithScores("z", 0, -1), List.of(new Tuple("a", 1.0), new Tuple("b", 2.5), new Tuple("c", Double.POSITIVE_INFINITY)));
            Checks.equal(c.zincrby("z", 0.25, "b"), 2.75);
            Checks.equal(c.zrangeByScore("z", "(1", "+inf", 0, 1), List.of("b"));
            Checks.equal(c.zpopmin("z"), new Tuple("a", 1.0));
            Checks.equal(c.hset("h", Map.of("f", "v", "g", "1")), 2L);
            Checks.equal(c.hgetAll("h"), Map.of("f", "v", "g", "1"));
            Checks.equal(c.hincrBy("h", "g", 4), 5L);
            Checks.equal(c.hexpire("h", 100, "f", "none"), List.of(1L, -2L));
            long ttl = c.httl("h", "f").get(0);
            Checks.ok(ttl > 0 && ttl <= 100, ttl);
            Checks.equal(c.geoadd("geo", Map.of("Palermo", new GeoCoordinate(13.361389, 38.115556), "Catania", new GeoCoordinate(15.087269, 37.502669))), 2L);
            Checks.equal(c.geodist("geo", "Palermo", "Catania", GeoUnit.KM), 166.2742);
            Checks.equal(c.geosearch("geo", GeoSearchParam.geoSearchParam().fromLonLat(15, 37).byRadius(100, GeoUnit.KM)).get(0).getMemberByString(), "Catania");
            Checks.equal(c.pfadd("p", "a", "b", "c"), 1L);
            Checks.equal(c.pfcount("p"), 3L);
        });
        group("streams", c -> {
            StreamEntryID[] ids = new StreamEntryID[5];
            for (int n = 0; n < 5; n++) ids[n] = c.xadd("x", StreamEntryID.NEW_ENTRY, Map.of("n", "" + n));
            Checks.equal(c.xlen("x"), 5L);
            Checks.equal(c.xrange("x", "-", "+", 1).get(0).getFields(), Map.of("n", "0"));
            Checks.equal(c.xgroupCreate("x", "g", new StreamEntryID("0-0"), false), "OK");
            Checks.fails(JedisDataException.class, "BUSYGROUP", () -> c.xgroupCreate("x", "g", new StreamEntryID("0-0"), false));
            List<Map.Entry<String, List<StreamEntry>>> got = c.xreadGroup("g", "one", XReadGroupParams.xReadGroupParams().count(3), Map.of("x", StreamEntryID.XREADGROUP_UNDELIVERED_ENTRY));
            Checks.equal(got.get(0).getValue().stream().map(StreamEntry::getID).toList(), List.of(ids[0], ids[1], ids[2]));
            Checks.equal(c.xack("x", "g", ids[0]), 1L);
            Checks.equal(c.xpending("x", "g").getTotal(), 2L);
            Checks.equal(c.xinfoGroups("x").get(0).getName(), "g");
            Checks.equal(c.xinfoStream("x").getLength(), 5L);
            Checks.equal(c.xtrim("x", 2, false), 3L);
        });
        group("expiry", c -> {
            Checks.equal(c.set("k", "v", SetParams.setParams().px(30)), "OK");
            Checks.until("the key to expire", () -> c.get("k") == null);
            Checks.equal(c.ttl("k"), -2L);
            c.setex("k", 100, "v");
            Checks.ok(c.ttl("k") >= 99, c.ttl("k"));
            Checks.equal(c.persist("k"), 1L);
            Checks.equal(c.ttl("k"), -1L);
        });
        group("pipelining", c -> {
            Pipeline p = c.pipelined();
            for (int i = 0; i < 5000; i++) {
                p.set("p:" + i, "" + i);
                p.get("p:" + i);
            }
            List<Object> got = p.syncAndReturnAll();
            boolean right = true;
            for (int i = 0; i < 5000; i++) right &= got.get(2 * i + 1).equals("" + i);
            Checks.ok(right && got.size() == 10_000, "replies out of order");
            p.set("a", "x");
            Response<Long> bad = p.incr("a");
            Response<String> good = p.get("a");
            p.sync();
            Checks.fails(JedisDataException.class, "not an integer", bad::get);
            Checks.equal(good.get(), "x");
        });
        group("transactions", c -> {
            AbstractTransaction t = c.multi();
            t.set("a", "1");
            t.incr("a");
            Checks.equal(t.exec(), List.of("OK", 2L));
            try (Jedis other = connect()) {
                c.watch("a");
                other.set("a", "100");
            }
            t = c.multi();
            t.set("a", "0");
            Checks.equal(t.exec(), null);
            Checks.equal(c.get("a"), "100");
            AbstractTransaction broken = c.multi();
            broken.set("a", "0");
            broken.sendCommand(redis.clients.jedis.Protocol.Command.SET, "a");
            Checks.fails(JedisDataException.class, "EXECABORT", broken::exec);
            Checks.equal(c.get("a"), "100");
        });
        group("subscriptions", c -> {
            BlockingQueue<String> heard = new ArrayBlockingQueue<>(10);
            JedisPubSub ear = new JedisPubSub() {
                @Override
                public void onMessage(String channel, String message) {
                    heard.add(channel + " " + message);
                }

                @Override
                public void onPMessage(String pattern, String channel, String message) {
                    heard.add(pattern + " " + channel + " " + message);
                }

                @Override
                public void onSubscribe(String channel, int n) {
                    heard.add("subscribed " + channel);
                }
            };
            Thread thread = Checks.meanwhile(() -> {
                try (Jedis own = connect()) {
                    own.subscribe(ear, "news");
                }
            });
            Checks.equal(heard.poll(10, TimeUnit.SECONDS), "subscribed news");
            ear.psubscribe("n*");
            Checks.until("the pattern", () -> c.pubsubNumPat() == 1);
            Checks.equal(c.publish("news", "one"), 2L);
            Checks.equal(heard.poll(10, TimeUnit.SECONDS), "news one");
            Checks.equal(heard.poll(10, TimeUnit.SECONDS), "n* news one");
            Checks.equal(c.pubsubChannels(), List.of("news"));
            ear.unsubscribe();
            ear.punsubscribe();
            thread.join(10_000);
            Checks.equal(c.publish("news", "two"), 0L);
        });
        group("blocking", c -> {
            try (Jedis other = connect()) {
                whenBlocked(() -> other.rpush("q", "1"));
                Checks.equal(c.blpop(20, "none", "q"), List.of("q", "1"));
                whenBlocked(() -> other.rpush("q", "2"));
                Checks.equal(c.blmove("q", "r", ListDirection.LEFT, ListDirection.LEFT, 20), "2");
                whenBlocked(() -> other.zadd("z", 1.5, "m"));
                Checks.equal(c.bzpopmin(20, "z").getValue().getScore(), 1.5);
                whenBlocked(() -> other.xadd("x", new StreamEntryID(5, 5), Map.of("a", "1")));
                Checks.equal(c.xread(XReadParams.xReadParams().block(20_000), Map.of("x", StreamEntryID.XREAD_NEW_ENTRY)).get(0).getValue().get(0).getID(), new StreamEntryID(5, 5));
                Checks.equal(c.brpop(0.1, "none"), null);
            }
        });
        group("iteration", c -> {
            Pipeline p = c.pipelined();
            for (int i = 0; i < 3000; i++) {
                p.set("key:" + i, "v");
                p.hset("hash", "f" + i, "v");
                p.sadd("set", "" + i);
                p.zadd("zset", i, "m" + i);
            }
            p.sync();
            Set<String> keys = new HashSet<>(), fields = new HashSet<>(), members = new HashSet<>(), scored = new HashSet<>();
            ScanParams params = new ScanParams().match("key:*").count(100);
            ScanResult<String> page = null;
            do keys.addAll((page = c.scan(page == null ? "0" : page.getCursor(), params)).getResult()); while (!page.isCompleteIteration());
            Checks.equal(keys.size(), 3000);
            page = null;
            do members.addAll((page = c.sscan("set", page == null ? "0" : page.getCursor())).getResult()); while (!page.isCompleteIteration());
            Checks.equal(members.size(), 3000);
            ScanResult<Map.Entry<String, String>> pairs = null;
            do (pairs = c.hscan("hash", pairs == null ? "0" : pairs.getCursor())).getResult().forEach(e -> fields.add(e.getKey())); while (!pairs.isCompleteIteration());
            Checks.equal(fields.size(), 3000);
            ScanResult<Tuple> tuples = null;
            do (tuples = c.zscan("zset", tuples == null ? "0" : tuples.getCursor())).getResult().forEach(e -> scored.add(e.getElement())); while (!tuples.isCompleteIteration());
            Checks.equal(scored.size(), 3000);
        });
        group("big and binary", c -> {
            byte[] big = Checks.big(), every = Checks.every();
            Checks.equal(c.set("big".getBytes(), big), "OK");
            Checks.equal(c.get("big".getBytes()), big);
            Checks.equal(c.set(every, every), "OK");
            Checks.equal(c.get(every), every);
            c.set("clé", "zwölf 🐘");
            Checks.equal(c.get("clé"), "zwölf 🐘");
        });
        group("error replies", c -> {
            c.rpush("l", "1");
            Checks.fails(JedisDataException.class, "WRONGTYPE", () -> c.get("l"));
            Checks.fails(JedisDataException.class, "unknown command 'NOSUCH'", () -> c.sendCommand(() -> "NOSUCH".getBytes(), "x"));
            Checks.fails(JedisDataException.class, "no such key", () -> c.rename("none", "x"));
        });
        group("reconnecting", c -> {
            c.set("k", "v");
            try (Jedis other = connect()) {
                Checks.equal(other.clientKill(redis.clients.jedis.params.ClientKillParams.clientKillParams().id("" + c.clientId())), 1L);
            }
            Checks.fails(JedisConnectionException.class, "", () -> c.get("k"));
            // A pool throws the broken connection away, and its next one is whole.
            try (RedisClient pool = RedisClient.builder().hostAndPort(Checks.HOST, Checks.PORT).clientConfig(config().clientName("pooled").build()).build(); Jedis other = connect()) {
                Checks.equal(pool.get("k"), "v");
                String line = other.clientList().lines().filter(l -> l.contains("name=pooled")).findFirst().orElseThrow();
                Checks.equal(other.clientKill(redis.clients.jedis.params.ClientKillParams.clientKillParams().id(line.replaceAll("^id=(\\d+).*", "$1"))), 1L);
                Checks.fails(JedisConnectionException.class, "", () -> pool.get("k"));
                Checks.equal(pool.get("k"), "v");
            }
        });
        group("server", c -> {
            Checks.ok(c.info().contains("redis_version:7."), c.info());
            Checks.equal(c.configGet("maxmemory-policy"), Map.of("maxmemory-policy", "noeviction"));
            Checks.equal(c.configSet("maxmemory-policy", "noeviction"), "OK");
            Checks.ok(c.commandCount() > 200, c.commandCount());
            Checks.equal(c.commandInfo("get").get("get").getArity(), 2L);
            Checks.equal(c.dbSize(), 0L);
            Checks.ok(c.memoryUsage("none") == null, "memory of nothing");
        });
    }

    public static void main(String[] args) {
        for (RedisProtocol each : List.of(RedisProtocol.RESP2, RedisProtocol.RESP3)) {
            protocol = each;
            all();
        }
        Checks.end();
    }
}
