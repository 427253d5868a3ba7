// A cache beside a slow source: filled through Lettuce with a time to live, and a near copy that keyspace notifications make stale.
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisURI;
import io.lettuce.core.SetArgs;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

final class LettuceCache {
    static final Map<String, String> near = new ConcurrentHashMap<>();
    static final AtomicInteger asked = new AtomicInteger();

    static String load(RedisCommands<String, String> c, String name, long millis) {
        String key = "user:" + name;
        String value = near.get(key);
        if (value == null) {
            value = c.get(key);
            if (value == null) {
                value = name + " from the source, time " + asked.incrementAndGet();
                c.set(key, value, SetArgs.Builder.px(millis));
            }
            near.put(key, value);
        }
        return value;
    }

    public static void main(String[] args) {
        RedisClient client = RedisClient.create(RedisURI.builder().withHost(Checks.HOST).withPort(Checks.PORT).withPassword(Checks.PASSWORD.toCharArray()).build());
        RedisCommands<String, String> c = client.connect().sync(), other = client.connect().sync();
        Checks.run("cache", () -> {
            Checks.equal(c.configSet("notify-keyspace-events", "Kg$x"), "OK");
            Checks.equal(c.configGet("notify-keyspace-events").get("notify-keyspace-events").length(), 4);
            StatefulRedisPubSubConnection<String, String> ear = client.connectPubSub();
            Map<String, String> events = new ConcurrentHashMap<>();
            ear.addListener(new RedisPubSubAdapter<>() {
                @Override
                public void message(String pattern, String channel, String event) {
                    String key = channel.substring(channel.indexOf(':') + 1);
                    if (event.equals("expire")) return; // a new time to live is no new value
                    near.remove(key);
                    events.put(key, event);
                }
            });
            ear.sync().psubscribe("__keyspace@0__:user:*");

            Checks.equal(load(c, "ann", 100_000), "ann from the source, time 1");
            Checks.until("the news of the own write", () -> "set".equals(events.remove("user:ann")));
            near.clear();
            Checks.equal(load(c, "ann", 100_000), "ann from the source, time 1");
            Checks.equal(near.size(), 1);
            Checks.equal(asked.get(), 1);

            other.set("user:ann", "changed");
            Checks.until("the near copy to go", () -> !near.containsKey("user:ann"));
            Checks.equal(load(c, "ann", 100_000), "changed");

            other.del("user:ann");
            Checks.until("the near copy to go", () -> !near.containsKey("user:ann"));
            Checks.equal(load(c, "ann", 40), "ann from the source, time 2");
            // Nobody reads the key: the server finds by itself that it has expired, and says so.
            Checks.until("the end of its time", () -> "expired".equals(events.get("user:ann")));
            Checks.until("the near copy to go", () -> !near.containsKey("user:ann"));
            Checks.equal(load(c, "ann", 100_000), "ann from the source, time 3");
            Checks.ok(c.pttl("user:ann") > 90_000, c.pttl("user:ann"));
        });
        client.shutdown(0, 1, TimeUnit.SECONDS);
        Checks.end();
    }
}
