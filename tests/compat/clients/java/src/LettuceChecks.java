// Lettuce against Tidewater: the synchronous and the asynchronous API, over RESP2 and RESP3.
import io.lettuce.core.ClientOptions;
import io.lettuce.core.Consumer;
import io.lettuce.core.GeoArgs;
import io.lettuce.core.KeyValue;
import io.lettuce.core.KillArgs;
import io.lettuce.core.LMoveArgs;
import io.lettuce.core.Limit;
import io.lettuce.core.Range;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisException;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.ScanArgs;
import io.lettuce.core.ScanIterator;
import io.lettuce.core.ScoredValue;
import io.lettuce.core.SetArgs;
import io.lettuce.core.StreamMessage;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.XReadArgs;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.async.RedisAsyncCommands;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.codec.ByteArrayCodec;
import io.lettuce.core.codec.StringCodec;
import io.lettuce.core.output.StatusOutput;
import io.lettuce.core.protocol.CommandArgs;
import io.lettuce.core.protocol.CommandType;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

final class LettuceChecks {
    static ProtocolVersion protocol;
    static RedisClient client;

    static RedisURI.Builder uri() {
        return RedisURI.builder().withHost(Checks.HOST).withPort(Checks.PORT).withTimeout(Duration.ofSeconds(30));
    }

    interface WithCommands {
        void run(RedisCommands<String, String> c, RedisCommands<String, String> other) throws Exception;
    }

    static void group(String name, WithCommands group) {
        Checks.run(protocol + " " + name, () -> {
            try (StatefulRedisConnection<String, String> one = client.connect(); StatefulRedisConnection<String, String> two = client.connect()) {
                one.sync().flushall();
                group.run(one.sync(), two.sync());
            }
        });
    }

    static void whenBlocked(RedisCommands<String, String> other, Checks.Group push) {
        Checks.meanwhile(() -> {
            Checks.until("a blocked client", () -> other.info("clients").contains("blocked_clients:1\r"));
            push.run();
        });
    }

    static void all() {
        group("connecting", (c, other) -> {
            Checks.equal(c.ping(), "PONG");
            Checks.fails(RedisException.class, "nable to connect", () -> client.connect(uri().withPassword("wrong".toCharArray()).build()));
            if (protocol == ProtocolVersion.RESP2) {
                RedisClient plain = RedisClient.create(uri().build());
                plain.setOptions(ClientOptions.builder().protocolVersion(protocol).pingBeforeActivateConnection(false).build());
                try (StatefulRedisConnection<String, String> anonymous = plain.connect()) {
                    Checks.fails(RedisCommandExecutionException.class, "NOAUTH", () -> anonymous.sync().get("k"));
                }
                plain.shutdown(0, 1, TimeUnit.SECONDS);
            } else {
                Checks.fails(RedisException.class, "nable to connect", () -> client.connect(uri().build()));
            }
            try (StatefulRedisConnection<String, String> three = client.connect(uri().withAuthentication("default", Checks.PASSWORD.toCharArray()).withDatabase(3).withClientName("three").build())) {
                three.sync().set("k", "in 3");
                String info = three.sync().clientInfo();
                Checks.ok(info.contains(" db=3 ") && info.contains("name=three") && info.toLowerCase().contains("lib-name=lettuce"), info);
                Checks.ok(info.contains("resp=" + (protocol == ProtocolVersion.RESP3 ? 3 : 2)), info);
            }
            Checks.equal(c.get("k"), null);
            Checks.equal(c.select(3), "OK");
            Checks.equal(c.get("k"), "in 3");
        });
        group("strings and bits", (c, other) -> {
            Checks.equal(c.set("s", "hello"), "OK");
            Checks.equal(c.append("s", " world"), 11L);
            Checks.equal(c.getrange("s", 0, 4), "hello");
            Checks.equal(c.set("s", "x", SetArgs.Builder.nx()), null);
            Checks.equal(c.setGet("s", "x"), "hello world");
            Checks.equal(c.mset(Map.of("a", "1", "b", "2")), "OK");
            Checks.equal(c.mget("a", "none"), List.of(KeyValue.just("a", "1"), KeyValue.empty("none")));
            Checks.equal(c.incrby("a", 41), 42L);
            Checks.equal(c.incrbyfloat("a", 0.5), 42.5);
            Checks.equal(c.setbit("bits", 7, 1), 0L);
            Checks.equal(c.bitcount("bits"), 1L);
            Checks.equal(c.bitopNot("not", "bits"), 1L);
            Checks.equal(c.getdel("s"), "x");
        });
        group("collections", (c, other) -> {
            Checks.equal(c.rpush("l", "a", "b", "c"), 3L);
            Checks.equal(c.lrange("l", 0, -1), List.of("a", "b", "c"));
            Checks.equal(c.lmove("l", "m", LMoveArgs.Builder.leftRight()), "a");
            Checks.equal(c.lpop("l", 5), List.of("b", "c"));
            Checks.equal(c.sadd("s", "1", "2", "3"), 3L);
            Checks.equal(c.smembers("s"), Set.of("1", "2", "3"));
            c.sadd("t", "3", "4");
            Checks.equal(c.sinter("s", "t"), Set.of("3"));
            Checks.equal(c.smismember("s", "1", "9"), List.of(true, false));
            Checks.equal(c.zadd("z", ScoredValue.just(1, "a"), ScoredValue.just(2.5, "b"), ScoredValue.just(Double.POSITIVE_INFINITY, "c")), 3L);
            Checks.equal(c.zrangeWithScores("z", 0, 1), List.of(ScoredValue.just(1, "a"), ScoredValue.just(2.5, "b")));
            Checks.equal(c.zincrby("z", 0.25, "b"), 2.75);
            Checks.equal(c.zrangebyscore("z", Range.from(Range.Boundary.excluding(1), Range.Boundary.unbounded()), Limit.create(0, 1)), List.of("b"));
            Checks.equal(c.zscore("z", "c"), Double.POSITIVE_INFINITY);
            Checks.equal(c.zpopmin("z"), ScoredValue.just(1, "a"));
            Checks.equal(c.hset("h", Map.of("f", "v", "g", "1")), 2L);
            Checks.equal(c.hgetall("h"), Map.of("f", "v", "g", "1"));
            Checks.equal(c.hincrby("h", "g", 4), 5L);
            Checks.equal(c.hexpire("h", 100, "f", "none"), List.of(1L, -2L));
            long ttl = c.httl("h", "f").get(0);
            Checks.ok(ttl > 0 && ttl <= 100, ttl);
            Checks.equal(c.geoadd("geo", 13.361389, 38.115556, "Palermo"), 1L);
            Checks.equal(c.geoadd("geo", 15.087269, 37.502669, "Catania"), 1L);
            Checks.equal(c.geodist("geo", "Palermo", "Catania", GeoArgs.Unit.km), 166.2742);
            Checks.equal(c.pfadd("p", "a", "b", "c"), 1L);
            Checks.equal(c.pfcount("p"), 3L);
        });
        group("streams", (c, other) -> {
            List<String> ids = new ArrayList<>();
            for (int n = 0; n < 5; n++) ids.add(c.xadd("x", Map.of("n", "" + n)));
            Checks.equal(c.xlen("x"), 5L);
            Checks.equal(c.xrange("x", Range.unbounded(), Limit.from(1)).get(0).getBody(), Map.of("n", "0"));
            Checks.equal(c.xgroupCreate(XReadArgs.StreamOffset.from("x", "0"), "g"), "OK");
            Checks.fails(RedisCommandExecutionException.class, "BUSYGROUP", () -> c.xgroupCreate(XReadArgs.StreamOffset.from("x", "0"), "g"));
            List<StreamMessage<String, String>> got = c.xreadgroup(Consumer.from("g", "one"), XReadArgs.Builder.count(3), XReadArgs.StreamOffset.lastConsumed("x"));
            Checks.equal(got.stream().map(StreamMessage::getId).toList(), ids.subList(0, 3));
            Checks.equal(c.xack("x", "g", ids.get(0)), 1L);
            Checks.equal(c.xpending("x", "g").getCount(), 2L);
            Checks.equal(c.xclaim("x", Consumer.from("g", "two"), 0, ids.get(1)).get(0).getId(), ids.get(1));
            Checks.equal(c.xinfoGroups("x").size(), 1);
            Checks.equal(c.xtrim("x", 2), 3L);
        });
        group("expiry", (c, other) -> {
            Checks.equal(c.set("k", "v", SetArgs.Builder.px(30)), "OK");
            Checks.until("the key to expire", () -> c.get("k") == null);
            Checks.equal(c.ttl("k"), -2L);
            c.setex("k", 100, "v");
            Checks.ok(c.ttl("k") >= 99, c.ttl("k"));
            Checks.equal(c.persist("k"), true);
            Checks.equal(c.ttl("k"), -1L);
        });
        group("pipelining", (c, other) -> {
            StatefulRedisConnection<String, String> connection = client.connect();
            RedisAsyncCommands<String, String> async = connection.async();
            connection.setAutoFlushCommands(false);
            List<RedisFuture<String>> got = new ArrayList<>();
            for (int i = 0; i < 5000; i++) {
                async.set("p:" + i, "" + i);
                got.add(async.get("p:" + i));
            }
            connection.flushCommands();
            boolean right = true;
            for (int i = 0; i < 5000; i++) right &= got.get(i).get(10, TimeUnit.SECONDS).equals("" + i);
            Checks.ok(right, "replies out of order");
            connection.setAutoFlushCommands(true);
            async.set("a", "x");
            RedisFuture<Long> bad = async.incr("a");
            RedisFuture<String> good = async.get("a");
            Checks.equal(good.get(10, TimeUnit.SECONDS), "x");
            Checks.fails(Exception.class, "not an integer", bad::get);
            Checks.equal(connection.reactive().get("a").block(), "x");
            connection.close();
        });
        group("transactions", (c, other) -> {
            c.multi();
            c.set("a", "1");
            c.incr("a");
            Checks.equal(c.exec().stream().toList(), List.of("OK", 2L));
            c.watch("a");
            other.set("a", "100");
            c.multi();
            c.set("a", "0");
            TransactionResult aborted = c.exec();
            Checks.ok(aborted.wasDiscarded(), aborted);
            Checks.equal(c.get("a"), "100");
            c.multi();
            RedisFuture<String> bad = c.getStatefulConnection().async().dispatch(CommandType.SET, new StatusOutput<>(StringCodec.UTF8), new CommandArgs<>(StringCodec.UTF8).addKey("a"));
            Checks.fails(RedisCommandExecutionException.class, "EXECABORT", c::exec);
            Checks.ok(bad.isDone(), "the bad one has no reply");
            Checks.equal(c.get("a"), "100");
        });
        group("subscriptions", (c, other) -> {
            BlockingQueue<String> heard = new LinkedBlockingQueue<>();
            try (StatefulRedisPubSubConnection<String, String> ear = client.connectPubSub()) {
                ear.addListener(new RedisPubSubAdapter<>() {
                    @Override
                    public void message(String channel, String message) {
                        heard.add(channel + " " + message);
                    }

                    @Override
                    public void message(String pattern, String channel, String message) {
                        heard.add(pattern + " " + channel + " " + message);
                    }

                    @Override
                    public void smessage(String channel, String message) {
                        heard.add("sharded " + message);
                    }
                });
                ear.sync().subscribe("news");
                ear.sync().psubscribe("n*");
                ear.sync().ssubscribe("shard");
                Checks.equal(c.publish("news", "one"), 2L);
                Checks.equal(heard.poll(10, TimeUnit.SECONDS), "news one");
                Checks.equal(heard.poll(10, TimeUnit.SECONDS), "n* news one");
                Checks.equal(c.spublish("shard", "hi"), 1L);
                Checks.equal(heard.poll(10, TimeUnit.SECONDS), "sharded hi");
                Checks.equal(c.pubsubChannels(), List.of("news"));
                ear.sync().unsubscribe("news");
                Checks.equal(c.publish("news", "two"), 1L);
                Checks.equal(heard.poll(10, TimeUnit.SECONDS), "n* news two");
                // A killed subscriber subscribes again by itself.
                Checks.equal(c.clientKill(KillArgs.Builder.typePubsub()), 1L);
                Checks.until("its subscription", () -> c.publish("next", "again") == 1);
                Checks.equal(heard.poll(10, TimeUnit.SECONDS), "n* next again");
            }
        });
        group("blocking", (c, other) -> {
            whenBlocked(other, () -> other.rpush("q", "1"));
            Checks.equal(c.blpop(20, "none", "q"), KeyValue.just("q", "1"));
            whenBlocked(other, () -> other.rpush("q", "2"));
            Checks.equal(c.blmove("q", "r", LMoveArgs.Builder.leftLeft(), 20), "2");
            whenBlocked(other, () -> other.zadd("z", 1.5, "m"));
            Checks.equal(c.bzpopmin(20, "z"), KeyValue.just("z", ScoredValue.just(1.5, "m")));
            whenBlocked(other, () -> other.xadd("x", new io.lettuce.core.XAddArgs().id("5-5"), Map.of("a", "1")));
            Checks.equal(c.xread(XReadArgs.Builder.block(20_000), XReadArgs.StreamOffset.latest("x")).get(0).getId(), "5-5");
            Checks.equal(c.brpop(0.1, "none"), null);
        });
        group("iteration", (c, other) -> {
            RedisAsyncCommands<String, String> async = c.getStatefulConnection().async();
            for (int i = 0; i < 3000; i++) {
                async.set("key:" + i, "v");
                async.hset("hash", "f" + i, "v");
                async.sadd("set", "" + i);
                async.zadd("zset", (double) i, "m" + i);
            }
            Checks.equal(ScanIterator.scan(c, ScanArgs.Builder.matches("key:*").limit(100)).stream().distinct().count(), 3000L);
            Checks.equal(ScanIterator.hscan(c, "hash").stream().distinct().count(), 3000L);
            Checks.equal(ScanIterator.sscan(c, "set").stream().distinct().count(), 3000L);
            Checks.equal(ScanIterator.zscan(c, "zset", ScanArgs.Builder.matches("m1*")).stream().distinct().count(), 1111L);
        });
        group("big and binary", (c, other) -> {
            byte[] big = Checks.big(), every = Checks.every();
            try (StatefulRedisConnection<byte[], byte[]> bytes = client.connect(ByteArrayCodec.INSTANCE)) {
                Checks.equal(bytes.sync().set("big".getBytes(), big), "OK");
                Checks.equal(bytes.sync().get("big".getBytes()), big);
                Checks.equal(bytes.sync().set(every, every), "OK");
                Checks.equal(bytes.sync().get(every), every);
            }
            c.set("clé", "zwölf 🐘");
            Checks.equal(c.get("clé"), "zwölf 🐘");
        });
        group("error replies", (c, other) -> {
            c.rpush("l", "1");
            Checks.fails(RedisCommandExecutionException.class, "WRONGTYPE", () -> c.get("l"));
            Checks.fails(RedisCommandExecutionException.class, "no such key", () -> c.rename("none", "x"));
            Checks.fails(RedisCommandExecutionException.class, "wrong number of arguments", () -> c.dispatch(CommandType.GET, new StatusOutput<>(StringCodec.UTF8)));
        });
        group("reconnecting", (c, other) -> {
            c.set("k", "v");
            long before = c.clientId();
            Checks.equal(other.clientKill(KillArgs.Builder.id(before)), 1L);
            Checks.until("the connection to be gone", () -> !other.clientList().contains("id=" + before + " "));
            Checks.until("another connection", () -> {
                try {
                    return c.clientId() != before;
                } catch (RedisException lost) { // a command that was on its way when it ended
                    return false;
                }
            });
            Checks.equal(c.get("k"), "v");
        });
        group("server", (c, other) -> {
            Checks.ok(c.info().contains("redis_version:7."), c.info());
            Checks.equal(c.configGet("maxmemory-policy"), Map.of("maxmemory-policy", "noeviction"));
            Checks.equal(c.configSet("maxmemory-policy", "noeviction"), "OK");
            Checks.ok(c.commandCount() > 200, c.commandCount());
            Checks.equal(((List<?>) c.commandInfo("get").get(0)).get(0), "get");
            Checks.ok(c.command().size() > 200, "COMMAND");
            Checks.equal(c.dbsize(), 0L);
        });
    }

    public static void main(String[] args) {
        client = RedisClient.create(uri().withPassword(Checks.PASSWORD.toCharArray()).build());
        for (ProtocolVersion each : List.of(ProtocolVersion.RESP2, ProtocolVersion.RESP3)) {
            protocol = each;
            client.setOptions(ClientOptions.builder().protocolVersion(each).build());
            all();
        }
        client.shutdown(0, 1, TimeUnit.SECONDS);
        Checks.end();
    }
}
