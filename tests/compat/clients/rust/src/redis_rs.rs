//! redis-rs against Tidewater, over RESP2 and RESP3.

mod shared;

use redis::{cmd, pipe, Client, Commands, Connection, RedisResult, Value};
use shared::{big, end, equal, fails, group, ok, url};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

fn client(resp: u8) -> Client {
    Client::open(url(if resp == 3 { "?protocol=resp3" } else { "" })).unwrap()
}

fn connect(resp: u8) -> Connection {
    client(resp).get_connection().unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn when_blocked(resp: u8, command: &'static [&'static str]) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut other = connect(resp);
        until("a blocked client", || cmd("INFO").arg("clients").query::<String>(&mut other).unwrap().contains("blocked_clients:1\r"));
        cmd(command[0]).arg(&command[1..]).query::<Value>(&mut other).unwrap();
    })
}

/// Every group gets an empty server.
fn run(resp: u8, name: &str, f: fn(&mut Connection, u8)) {
    group(&format!("RESP{resp} {name}"), move || {
        let mut c = connect(resp);
        cmd("FLUSHALL").exec(&mut c).unwrap();
        f(&mut c, resp);
    });
}

fn connecting(c: &mut Connection, resp: u8) {
    equal(cmd("PING").query::<String>(c).unwrap(), "PONG".into());
    let wrong = url("").replace(":secret@", ":wrong@");
    fails(Client::open(wrong).unwrap().get_connection().map(|_| ()), "uthentication");
    let mut anonymous = Client::open(url("").replace(":secret@", "")).unwrap().get_connection().unwrap();
    fails(anonymous.get::<_, Option<String>>("k"), "NOAUTH");
    let mut three = Client::open(url("").replace("/0", "/3")).unwrap().get_connection().unwrap();
    three.set::<_, _, ()>("k", "in 3").unwrap();
    equal(c.get::<_, Option<String>>("k").unwrap(), None);
    cmd("SELECT").arg(3).exec(c).unwrap();
    equal(c.get::<_, Option<String>>("k").unwrap(), Some("in 3".into()));
    let info: String = cmd("CLIENT").arg("INFO").query(c).unwrap();
    ok(info.contains(&format!("resp={resp}")) && info.contains("lib-name=redis-rs"), info);
}

fn types(c: &mut Connection, _: u8) {
    c.set::<_, _, ()>("s", "hello").unwrap();
    equal(c.append::<_, _, i64>("s", " world").unwrap(), 11);
    equal(c.getrange::<_, String>("s", 0, 4).unwrap(), "hello".into());
    equal(c.incr::<_, _, i64>("n", 42).unwrap(), 42);
    equal(c.incr::<_, _, f64>("n", 0.5).unwrap(), 42.5);
    c.mset::<_, _, ()>(&[("a", 1), ("b", 2)]).unwrap();
    equal(c.mget::<_, Vec<Option<i64>>>(&["a", "none", "b"]).unwrap(), vec![Some(1), None, Some(2)]);
    equal(c.setbit::<_, bool>("bits", 7, true).unwrap(), false);
    equal(c.bitcount::<_, i64>("bits").unwrap(), 1);
    equal(cmd("BITFIELD").arg("f").arg(&["SET", "u8", "0", "255", "INCRBY", "u8", "0", "10"]).query::<Vec<i64>>(c).unwrap(), vec![0, 9]);
    equal(c.rpush::<_, _, i64>("l", &["a", "b", "c"]).unwrap(), 3);
    equal(c.lrange::<_, Vec<String>>("l", 0, -1).unwrap(), vec!["a".into(), "b".into(), "c".into()]);
    equal(c.lpop::<_, Vec<String>>("l", std::num::NonZeroUsize::new(2)).unwrap(), vec!["a".into(), "b".into()]);
    equal(c.sadd::<_, _, i64>("set", &[1, 2, 3]).unwrap(), 3);
    equal(c.smembers::<_, HashSet<i64>>("set").unwrap(), HashSet::from([1, 2, 3]));
    equal(c.sismember::<_, _, bool>("set", 9).unwrap(), false);
    equal(c.zadd_multiple::<_, _, _, i64>("z", &[(1.0, "a"), (2.5, "b")]).unwrap(), 2);
    equal(c.zrange_withscores::<_, Vec<(String, f64)>>("z", 0, -1).unwrap(), vec![("a".into(), 1.0), ("b".into(), 2.5)]);
    equal(c.zscore::<_, _, Option<f64>>("z", "none").unwrap(), None);
    equal(c.hset_multiple::<_, _, _, String>("h", &[("f", "v"), ("g", "1")]).unwrap(), "OK".into());
    equal(c.hgetall::<_, HashMap<String, String>>("h").unwrap(), HashMap::from([("f".into(), "v".into()), ("g".into(), "1".into())]));
    equal(c.hincr::<_, _, _, i64>("h", "g", 4).unwrap(), 5);
    equal(c.hexpire::<_, _, Vec<i64>>("h", 100, redis::ExpireOption::NONE, &["f", "none"]).unwrap(), vec![1, -2]);
    equal(cmd("GEOADD").arg("geo").arg(&["13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania"]).query::<i64>(c).unwrap(), 2);
    equal(cmd("GEODIST").arg("geo").arg(&["Palermo", "Catania", "km"]).query::<f64>(c).unwrap(), 166.2742);
    equal(c.pfadd::<_, _, bool>("p", &["a", "b", "c"]).unwrap(), true);
    equal(c.pfcount::<_, i64>("p").unwrap(), 3);
}

fn streams(c: &mut Connection, _: u8) {
    let ids: Vec<String> = (0..5).map(|n| c.xadd("x", "*", &[("n", n)]).unwrap()).collect();
    equal(c.xlen::<_, i64>("x").unwrap(), 5);
    c.xgroup_create::<_, _, _, ()>("x", "g", "0").unwrap();
    fails(c.xgroup_create::<_, _, _, ()>("x", "g", "0"), "BUSYGROUP");
    let options = redis::streams::StreamReadOptions::default().group("g", "one").count(3);
    let got: redis::streams::StreamReadReply = c.xread_options(&["x"], &[">"], &options).unwrap();
    equal(got.keys[0].ids.iter().map(|i| i.id.clone()).collect::<Vec<_>>(), ids[..3].to_vec());
    equal(got.keys[0].ids[2].get::<i64>("n"), Some(2));
    equal(c.xack::<_, _, _, i64>("x", "g", &ids[..1]).unwrap(), 1);
    let pending: redis::streams::StreamPendingReply = c.xpending("x", "g").unwrap();
    equal(pending.count(), 2);
    let groups: redis::streams::StreamInfoGroupsReply = c.xinfo_groups("x").unwrap();
    equal((groups.groups[0].name.as_str(), groups.groups[0].pending), ("g", 2));
}

fn expiry(c: &mut Connection, _: u8) {
    c.pset_ex::<_, _, ()>("k", "v", 30).unwrap();
    until("the key to expire", || c.get::<_, Option<String>>("k").unwrap().is_none());
    equal(cmd("TTL").arg("k").query::<i64>(c).unwrap(), -2);
    c.set_ex::<_, _, ()>("k", "v", 100).unwrap();
    ok((99..=100).contains(&cmd("TTL").arg("k").query::<i64>(c).unwrap()), "TTL");
    equal(c.persist::<_, bool>("k").unwrap(), true);
}

fn pipelines_and_transactions(c: &mut Connection, resp: u8) {
    let mut p = pipe();
    for i in 0..5000 {
        p.set(format!("p:{i}"), i).ignore().get(format!("p:{i}"));
    }
    equal(p.query::<Vec<i32>>(c).unwrap(), (0..5000).collect());
    equal(pipe().atomic().set("a", 1).incr("a", 1).query::<(String, i64)>(c).unwrap(), ("OK".into(), 2));
    let add = |c: &mut Connection, meanwhile: bool| -> RedisResult<Option<(i64,)>> {
        cmd("WATCH").arg("a").exec(c)?;
        let n: i64 = c.get("a")?;
        if meanwhile {
            connect(resp).set::<_, _, ()>("a", 100)?;
        }
        pipe().atomic().set("a", n).ignore().incr("a", 1).query(c)
    };
    equal(add(c, false).unwrap(), Some((3,)));
    equal(add(c, true).unwrap(), None);
    equal(c.get::<_, i64>("a").unwrap(), 100);
    cmd("MULTI").exec(c).unwrap();
    fails(cmd("SET").arg("a").exec(c), "wrong number of arguments");
    let aborted = cmd("EXEC").exec(c);
    equal(aborted.as_ref().unwrap_err().code().map(str::to_owned), Some("EXECABORT".to_owned()));
}

fn subscriptions(c: &mut Connection, resp: u8) {
    let mut other = connect(resp);
    let mut heard = other.as_pubsub();
    heard.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    heard.subscribe("news").unwrap();
    heard.psubscribe("n*").unwrap();
    equal(c.publish::<_, _, i64>("news", &[0u8, 255][..]).unwrap(), 2);
    for pattern in [None, Some("n*".to_string())] {
        let message = heard.get_message().unwrap();
        equal(message.get_payload_bytes(), &[0u8, 255][..]);
        equal(message.get_pattern::<Option<String>>().unwrap(), pattern);
    }
    heard.unsubscribe("news").unwrap();
    equal(c.publish::<_, _, i64>("news", "x").unwrap(), 1);
}

fn blocking(c: &mut Connection, resp: u8) {
    let thread = when_blocked(resp, &["RPUSH", "q", "v"]);
    equal(c.blpop::<_, Option<(String, String)>>(&["none", "q"], 20.0).unwrap(), Some(("q".into(), "v".into())));
    thread.join().unwrap();
    let thread = when_blocked(resp, &["ZADD", "z", "1.5", "m"]);
    equal(c.bzpopmin::<_, (String, String, f64)>("z", 20.0).unwrap(), ("z".into(), "m".into(), 1.5));
    thread.join().unwrap();
    equal(c.brpop::<_, Option<(String, String)>>("none", 0.1).unwrap(), None);
}

fn iteration(c: &mut Connection, _: u8) {
    let mut p = pipe();
    for i in 0..3000 {
        p.set(format!("key:{i}"), i).hset("h", i, i).sadd("s", i).zadd("z", i, i);
    }
    p.exec(c).unwrap();
    equal(c.scan_match::<_, String>("key:*").unwrap().map(Result::unwrap).collect::<HashSet<_>>().len(), 3000);
    equal(c.hscan::<_, (i32, i32)>("h").unwrap().map(Result::unwrap).collect::<HashSet<_>>().len(), 3000);
    equal(c.sscan::<_, i32>("s").unwrap().map(Result::unwrap).collect::<HashSet<_>>(), (0..3000).collect());
    equal(c.zscan::<_, (i32, i32)>("z").unwrap().map(Result::unwrap).collect::<HashSet<_>>().len(), 3000);
}

fn big_and_binary(c: &mut Connection, _: u8) {
    let big = big();
    c.set::<_, _, ()>("big", &big).unwrap();
    ok(c.get::<_, Vec<u8>>("big").unwrap() == big, "20 MB came back otherwise");
    c.set::<_, _, ()>(&big[..256], &big[..512]).unwrap();
    equal(c.get::<_, Vec<u8>>(&big[..256]).unwrap(), big[..512].to_vec());
}

fn errors(c: &mut Connection, _: u8) {
    c.rpush::<_, _, ()>("l", 1).unwrap();
    equal(c.get::<_, String>("l").unwrap_err().code().map(str::to_owned), Some("WRONGTYPE".into()));
    fails(cmd("NOSUCH").arg("x").exec(c), "unknown command 'NOSUCH'");
    fails(cmd("GET").exec(c), "wrong number of arguments");
    fails(c.rename::<_, _, ()>("none", "x"), "no such key");
}

fn reconnecting(c: &mut Connection, resp: u8) {
    let id: i64 = cmd("CLIENT").arg("ID").query(c).unwrap();
    let mut other = connect(resp);
    equal(cmd("CLIENT").arg("KILL").arg("ID").arg(id).query::<i64>(&mut other).unwrap(), 1);
    let lost = cmd("PING").query::<String>(c).unwrap_err();
    ok(lost.is_connection_dropped() || lost.is_io_error(), lost);
    *c = connect(resp);
    equal(cmd("PING").query::<String>(c).unwrap(), "PONG".into());
}

fn server(c: &mut Connection, _: u8) {
    ok(cmd("INFO").query::<String>(c).unwrap().contains("redis_version:7."), "INFO");
    let config: HashMap<String, String> = cmd("CONFIG").arg("GET").arg("maxmemory-policy").query(c).unwrap();
    equal(config["maxmemory-policy"].as_str(), "noeviction");
    ok(cmd("COMMAND").arg("COUNT").query::<i64>(c).unwrap() > 200, "COMMAND COUNT");
    equal(cmd("DBSIZE").query::<i64>(c).unwrap(), 0);
}

fn main() {
    for resp in [2, 3] {
        run(resp, "connecting", connecting);
        run(resp, "types", types);
        run(resp, "streams", streams);
        run(resp, "expiry", expiry);
        run(resp, "pipelines and transactions", pipelines_and_transactions);
        run(resp, "subscriptions", subscriptions);
        run(resp, "blocking", blocking);
        run(resp, "iteration", iteration);
        run(resp, "big and binary", big_and_binary);
        run(resp, "error replies", errors);
        run(resp, "reconnecting", reconnecting);
        run(resp, "server", server);
    }
    end()
}
