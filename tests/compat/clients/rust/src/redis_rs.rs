//! redis-rs against Tidewater, over RESP2 and RESP3: its blocking connection, the multiplexed one, and the one that reconnects.

mod shared;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::geo::{Coord, RadiusOptions, RadiusOrder, Unit};
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamInfoConsumersReply, StreamInfoGroupsReply, StreamInfoStreamReply, StreamMaxlen,
    StreamPendingCountReply, StreamPendingReply, StreamRangeReply, StreamReadOptions, StreamReadReply,
};
use redis::{
    cmd, pipe, AsyncCommands, AsyncConnectionConfig, Client, Commands, Connection, Direction, ExistenceCheck, ExpireOption, Expiry, PushInfo,
    PushKind, RedisResult, SetExpiry, SetOptions, Value,
};
use shared::{big, end, equal, fails, group, next, ok, url, Own};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
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
    let wrong = url(if resp == 3 { "?protocol=resp3" } else { "" }).replace(":secret@", ":wrong@");
    let refused = Client::open(wrong).unwrap().get_connection().map(|_| ()).unwrap_err();
    ok(refused.kind() == redis::ErrorKind::AuthenticationFailed || refused.code() == Some("WRONGPASS"), refused);
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

fn strings_and_bits(c: &mut Connection, _: u8) {
    c.set::<_, _, ()>("s", "hello").unwrap();
    equal(c.append::<_, _, i64>("s", " world").unwrap(), 11);
    equal(c.getrange::<_, String>("s", 0, 4).unwrap(), "hello".into());
    equal(c.setrange::<_, _, i64>("s", 6, "there").unwrap(), 11);
    equal(c.strlen::<_, i64>("s").unwrap(), 11);
    equal(c.set_nx::<_, _, bool>("s", "x").unwrap(), false);
    let options = SetOptions::default().conditional_set(ExistenceCheck::XX).get(true).with_expiration(SetExpiry::EX(100));
    equal(c.set_options::<_, _, Option<String>>("s", "x", options).unwrap(), Some("hello there".into()));
    equal(c.get_ex::<_, String>("s", Expiry::PERSIST).unwrap(), "x".into());
    equal(c.getset::<_, _, String>("s", "y").unwrap(), "x".into());
    equal(c.get_del::<_, String>("s").unwrap(), "y".into());
    equal(c.get::<_, Option<String>>("s").unwrap(), None);
    equal(c.incr::<_, _, i64>("n", 42).unwrap(), 42);
    equal(c.decr::<_, _, i64>("n", 2).unwrap(), 40);
    equal(c.incr::<_, _, f64>("n", 0.5).unwrap(), 40.5);
    c.mset::<_, _, ()>(&[("a", 1), ("b", 2)]).unwrap();
    equal(c.mset_nx::<_, _, bool>(&[("a", 1), ("c", 2)]).unwrap(), false);
    equal(c.mget::<_, Vec<Option<i64>>>(&["a", "none", "b"]).unwrap(), vec![Some(1), None, Some(2)]);
    equal(c.setbit::<_, bool>("bits", 7, true).unwrap(), false);
    equal(c.getbit::<_, bool>("bits", 7).unwrap(), true);
    equal(c.bitcount::<_, i64>("bits").unwrap(), 1);
    equal(c.bit_not::<_, _, i64>("not", "bits").unwrap(), 1);
    equal(c.get::<_, Vec<u8>>("not").unwrap(), vec![0xfe]);
    equal(c.bit_or::<_, _, i64>("or", &["bits", "not"]).unwrap(), 1);
    equal(cmd("BITPOS").arg("bits").arg(1).query::<i64>(c).unwrap(), 7);
    equal(cmd("BITFIELD").arg("f").arg(&["SET", "u8", "0", "255", "INCRBY", "u8", "0", "10"]).query::<Vec<i64>>(c).unwrap(), vec![0, 9]);
    equal(c.copy::<_, _, &str, bool>("a", "copy", redis::CopyOptions::default()).unwrap(), true);
    let dump: Vec<u8> = cmd("DUMP").arg("a").query(c).unwrap();
    cmd("RESTORE").arg("restored").arg(0).arg(dump).exec(c).unwrap();
    equal(c.get::<_, i64>("restored").unwrap(), 1);
    equal(c.unlink::<_, i64>(&["restored", "none"]).unwrap(), 1);
    equal(c.object_encoding::<_, String>("a").unwrap(), "int".into());
    equal(c.key_type::<_, String>("a").unwrap(), "string".into());
}

fn lists_and_sets(c: &mut Connection, _: u8) {
    let words = |of: &[&str]| of.iter().map(|w| w.to_string()).collect::<Vec<_>>();
    equal(c.rpush::<_, _, i64>("l", &["a", "b", "c"]).unwrap(), 3);
    equal(c.lpush::<_, _, i64>("l", "0").unwrap(), 4);
    equal(c.linsert_after::<_, _, _, i64>("l", "a", "a2").unwrap(), 5);
    c.lset::<_, _, ()>("l", 0, "first").unwrap();
    equal(c.lrange::<_, Vec<String>>("l", 0, -1).unwrap(), words(&["first", "a", "a2", "b", "c"]));
    equal(c.lindex::<_, Option<String>>("l", -1).unwrap(), Some("c".into()));
    equal(c.lpos::<_, _, Vec<i64>>("l", "b", redis::LposOptions::default().count(0)).unwrap(), vec![3]);
    equal(c.lrem::<_, _, i64>("l", 0, "a2").unwrap(), 1);
    equal(c.lpop::<_, Vec<String>>("l", NonZeroUsize::new(2)).unwrap(), words(&["first", "a"]));
    equal(c.lmove::<_, _, String>("l", "m", Direction::Left, Direction::Right).unwrap(), "b".into());
    equal(c.lmpop::<_, Option<(String, Vec<String>)>>(2, &["none", "m"], Direction::Left, 5).unwrap(), Some(("m".into(), words(&["b"]))));
    equal(c.lmpop::<_, Option<(String, Vec<String>)>>(1, "none", Direction::Left, 5).unwrap(), None);
    equal(c.llen::<_, i64>("l").unwrap(), 1);
    equal(cmd("SORT").arg("l").arg("ALPHA").query::<Vec<String>>(c).unwrap(), words(&["c"]));

    equal(c.sadd::<_, _, i64>("set", &[1, 2, 3]).unwrap(), 3);
    equal(c.smembers::<_, HashSet<i64>>("set").unwrap(), HashSet::from([1, 2, 3]));
    equal(c.sismember::<_, _, bool>("set", 9).unwrap(), false);
    equal(c.smismember::<_, _, Vec<bool>>("set", &[1, 9]).unwrap(), vec![true, false]);
    equal(c.sadd::<_, _, i64>("t", &[3, 4]).unwrap(), 2);
    equal(c.sinter::<_, HashSet<i64>>(&["set", "t"]).unwrap(), HashSet::from([3]));
    equal(c.sunion::<_, HashSet<i64>>(&["set", "t"]).unwrap(), HashSet::from([1, 2, 3, 4]));
    equal(c.sdiffstore::<_, _, i64>("d", &["set", "t"]).unwrap(), 2);
    equal(c.smove::<_, _, _, bool>("set", "t", 1).unwrap(), true);
    equal(c.srandmember_multiple::<_, Vec<i64>>("t", -5).unwrap().len(), 5);
    equal(c.srem::<_, _, i64>("t", &[1, 9]).unwrap(), 1);
    ok([2, 3].contains(&c.spop::<_, i64>("set").unwrap()), "SPOP");
    equal(c.scard::<_, i64>("set").unwrap(), 1);
}

fn sorted_sets(c: &mut Connection, _: u8) {
    let pair = |member: &str, score: f64| (member.to_string(), score);
    equal(c.zadd_multiple::<_, _, _, i64>("z", &[(1.0, "a"), (2.5, "b"), (f64::INFINITY, "c")]).unwrap(), 3);
    equal(c.zrange_withscores::<_, Vec<(String, f64)>>("z", 0, -1).unwrap(), vec![pair("a", 1.0), pair("b", 2.5), pair("c", f64::INFINITY)]);
    equal(c.zscore::<_, _, Option<f64>>("z", "none").unwrap(), None);
    equal(c.zscore::<_, _, Option<f64>>("z", "c").unwrap(), Some(f64::INFINITY));
    equal(c.zscore_multiple::<_, _, Vec<Option<f64>>>("z", &["a", "none"]).unwrap(), vec![Some(1.0), None]);
    equal(c.zincr::<_, _, _, f64>("z", "b", 0.25).unwrap(), 2.75);
    equal(c.zrangebyscore_limit::<_, _, _, Vec<String>>("z", "(1", "+inf", 0, 1).unwrap(), vec!["b".into()]);
    equal(c.zrevrange_withscores::<_, Vec<(String, f64)>>("z", 1, 1).unwrap(), vec![pair("b", 2.75)]);
    equal(c.zrank::<_, _, Option<i64>>("z", "b").unwrap(), Some(1));
    equal(c.zrevrank::<_, _, Option<i64>>("z", "none").unwrap(), None);
    equal(c.zcount::<_, _, _, i64>("z", 1, 3).unwrap(), 2);
    equal(c.zadd_options::<_, _, _, i64>("z", "a", 0.5, &redis::SortedSetAddOptions::update_only(None).include_changed_count()).unwrap(), 1);
    equal(c.zpopmin::<_, Vec<(String, f64)>>("z", 1).unwrap(), vec![pair("a", 0.5)]);
    equal(c.zmpop_max::<_, Option<(String, Vec<(String, f64)>)>>(&["none", "z"], 1).unwrap(), Some(("z".into(), vec![pair("c", f64::INFINITY)])));
    equal(c.zunionstore_weights::<_, _, _, i64>("u", &[("z", 2.0), ("none", 1.0)]).unwrap(), 1);
    equal(c.zscore::<_, _, f64>("u", "b").unwrap(), 5.5);
    equal(c.zadd_multiple::<_, _, _, i64>("lex", &[(0, "a"), (0, "b"), (0, "c")]).unwrap(), 3);
    equal(c.zrangebylex::<_, _, _, Vec<String>>("lex", "[b", "+").unwrap(), vec!["b".into(), "c".into()]);
    equal(c.zremrangebyrank::<_, i64>("lex", 0, 1).unwrap(), 2);
    equal(c.zrandmember_withscores::<_, Vec<(String, f64)>>("lex", 1).unwrap(), vec![pair("c", 0.0)]);
}

fn hashes(c: &mut Connection, _: u8) {
    // Over RESP2 and RESP3 the field TTLs' replies have the same shape, the map's has not.
    equal(c.hset_multiple::<_, _, _, String>("h", &[("f", "v"), ("g", "1")]).unwrap(), "OK".into());
    equal(c.hset::<_, _, _, i64>("h", "i", "x").unwrap(), 1);
    equal(c.hset_nx::<_, _, _, bool>("h", "i", "y").unwrap(), false);
    equal(c.hgetall::<_, HashMap<String, String>>("h").unwrap(), HashMap::from([("f", "v"), ("g", "1"), ("i", "x")].map(|(k, v)| (k.into(), v.into()))));
    equal(c.hmget::<_, _, Vec<Option<String>>>("h", &["f", "none"]).unwrap(), vec![Some("v".into()), None]);
    equal(c.hget::<_, _, Option<String>>("h", "none").unwrap(), None);
    equal(c.hincr::<_, _, _, i64>("h", "g", 4).unwrap(), 5);
    equal(c.hincr::<_, _, _, f64>("h", "g", 0.5).unwrap(), 5.5);
    equal(c.hexists::<_, _, bool>("h", "f").unwrap(), true);
    equal(c.hkeys::<_, HashSet<String>>("h").unwrap(), HashSet::from(["f", "g", "i"].map(String::from)));
    equal(cmd("HRANDFIELD").arg("h").arg(3).arg("WITHVALUES").query::<Vec<(String, String)>>(c).unwrap().len(), 3);
    equal(c.hexpire::<_, _, Vec<i64>>("h", 100, ExpireOption::NONE, &["f", "none"]).unwrap(), vec![1, -2]);
    equal(c.hexpire::<_, _, Vec<i64>>("h", 50, ExpireOption::GT, "f").unwrap(), vec![0]);
    let ttl = c.httl::<_, _, Vec<i64>>("h", &["f", "g", "none"]).unwrap();
    ok((99..=100).contains(&ttl[0]) && ttl[1..] == [-1, -2], format!("{ttl:?}"));
    ok(c.hexpire_time::<_, _, Vec<i64>>("h", "f").unwrap()[0] > 1_700_000_000, "HEXPIRETIME");
    equal(c.hpersist::<_, _, Vec<i64>>("h", &["f", "g"]).unwrap(), vec![1, -1]);
    equal(c.hpexpire::<_, _, Vec<i64>>("h", 30, ExpireOption::NONE, "i").unwrap(), vec![1]);
    until("the field to expire", || !c.hexists::<_, _, bool>("h", "i").unwrap());
    equal(c.hget_ex::<_, _, Vec<String>>("h", "f", Expiry::EX(100)).unwrap(), vec!["v".into()]);
    ok(c.hpttl::<_, _, Vec<i64>>("h", "f").unwrap()[0] > 90_000, "HPTTL");
    equal(c.hget_del::<_, _, Vec<Option<String>>>("h", &["f", "none"]).unwrap(), vec![Some("v".into()), None]);
    let options = redis::HashFieldExpirationOptions::default().set_expiration(SetExpiry::EX(100));
    equal(c.hset_ex::<_, _, _, bool>("h", &options, &[("j", "1")]).unwrap(), true);
    equal(c.hdel::<_, _, i64>("h", &["g", "j"]).unwrap(), 2);
    equal(c.exists::<_, bool>("h").unwrap(), false);
}

fn geo_and_hyperloglog(c: &mut Connection, _: u8) {
    let palermo = Coord::lon_lat(13.361389, 38.115556);
    equal(c.geo_add::<_, _, i64>("geo", &[(palermo, "Palermo"), (Coord::lon_lat(15.087269, 37.502669), "Catania")]).unwrap(), 2);
    equal(c.geo_dist::<_, _, _, Option<f64>>("geo", "Palermo", "Catania", Unit::Kilometers).unwrap(), Some(166.2742));
    equal(c.geo_dist::<_, _, _, Option<f64>>("geo", "Palermo", "none", Unit::Kilometers).unwrap(), None);
    equal(c.geo_hash::<_, _, Vec<String>>("geo", "Palermo").unwrap(), vec!["sqc8b49rny0".into()]);
    let at = c.geo_pos::<_, _, Vec<Option<Coord<f64>>>>("geo", &["Palermo", "none"]).unwrap();
    ok((at[0].as_ref().unwrap().longitude - 13.361389).abs() < 1e-5 && at[1].is_none(), format!("{at:?}"));
    let options = RadiusOptions::default().with_dist().with_coord().order(RadiusOrder::Asc);
    let near: Vec<redis::geo::RadiusSearchResult> = c.geo_radius("geo", 15.0, 37.0, 200.0, Unit::Kilometers, options).unwrap();
    equal(near.iter().map(|r| (r.name.as_str(), r.dist)).collect::<Vec<_>>(), vec![("Catania", Some(56.4413)), ("Palermo", Some(190.4424))]);
    let search = cmd("GEOSEARCH").arg("geo").arg(&["FROMMEMBER", "Catania", "BYBOX", "10", "10", "km"]).query::<Vec<String>>(c);
    equal(search.unwrap(), vec!["Catania".into()]);
    equal(c.pfadd::<_, _, bool>("p", &["a", "b", "c"]).unwrap(), true);
    equal(c.pfadd::<_, _, bool>("p", "a").unwrap(), false);
    equal(c.pfcount::<_, i64>("p").unwrap(), 3);
    c.pfadd::<_, _, ()>("p2", (0..1000).collect::<Vec<_>>()).unwrap();
    c.pfmerge::<_, _, ()>("merged", &["p", "p2"]).unwrap();
    ok((950..1050).contains(&c.pfcount::<_, i64>("merged").unwrap()), "PFCOUNT");
}

fn streams(c: &mut Connection, resp: u8) {
    let ids: Vec<String> = (0..5).map(|n| c.xadd("x", "*", &[("n", n)]).unwrap()).collect();
    equal(c.xlen::<_, i64>("x").unwrap(), 5);
    let range: StreamRangeReply = c.xrange_count("x", "-", "+", 2).unwrap();
    equal(range.ids.iter().map(|i| (i.id.clone(), i.get::<i64>("n"))).collect::<Vec<_>>(), vec![(ids[0].clone(), Some(0)), (ids[1].clone(), Some(1))]);
    let last: StreamRangeReply = c.xrevrange_count("x", "+", "-", 1).unwrap();
    equal(last.ids[0].id.clone(), ids[4].clone());
    let read: StreamReadReply = c.xread(&["x"], &[&ids[3]]).unwrap();
    equal((read.keys[0].key.as_str(), read.keys[0].ids.len()), ("x", 1));
    equal(c.xread::<_, _, Option<StreamReadReply>>(&["x"], &["$"]).unwrap().map_or(0, |r| r.keys.len()), 0);
    c.xgroup_create::<_, _, _, ()>("x", "g", "0").unwrap();
    fails(c.xgroup_create::<_, _, _, ()>("x", "g", "0"), "BUSYGROUP");
    let options = StreamReadOptions::default().group("g", "one").count(3);
    let got: StreamReadReply = c.xread_options(&["x"], &[">"], &options).unwrap();
    equal(got.keys[0].ids.iter().map(|i| i.id.clone()).collect::<Vec<_>>(), ids[..3].to_vec());
    equal(got.keys[0].ids[2].get::<i64>("n"), Some(2));
    equal(c.xack::<_, _, _, i64>("x", "g", &ids[..1]).unwrap(), 1);
    let pending: StreamPendingReply = c.xpending("x", "g").unwrap();
    equal(pending.count(), 2);
    let detail: StreamPendingCountReply = c.xpending_count("x", "g", "-", "+", 10).unwrap();
    equal(detail.ids.iter().map(|i| (i.id.clone(), i.consumer.as_str(), i.times_delivered)).collect::<Vec<_>>(), vec![(ids[1].clone(), "one", 1), (ids[2].clone(), "one", 1)]);
    let claimed: StreamAutoClaimReply = c.xautoclaim_options("x", "g", "two", 0, "0", StreamAutoClaimOptions::default().count(1)).unwrap();
    equal((claimed.claimed[0].id.clone(), claimed.next_stream_id), (ids[1].clone(), ids[2].clone()));
    let consumers: StreamInfoConsumersReply = c.xinfo_consumers("x", "g").unwrap();
    equal(consumers.consumers.iter().map(|c| (c.name.as_str(), c.pending)).collect::<Vec<_>>(), vec![("one", 1), ("two", 1)]);
    let groups: StreamInfoGroupsReply = c.xinfo_groups("x").unwrap();
    equal((groups.groups[0].name.as_str(), groups.groups[0].pending), ("g", 2));
    let info: StreamInfoStreamReply = c.xinfo_stream("x").unwrap();
    equal((info.length, info.groups, info.first_entry.id), (5, 1, ids[0].clone()));
    equal(c.xdel::<_, _, i64>("x", &ids[..1]).unwrap(), 1);
    equal(c.xtrim::<_, i64>("x", StreamMaxlen::Equals(2)).unwrap(), 2);
    equal(c.xgroup_destroy::<_, _, bool>("x", "g").unwrap(), true);
    // A consumer that waits.
    c.xgroup_create::<_, _, _, ()>("x", "h", "$").unwrap();
    let thread = when_blocked(resp, &["XADD", "x", "*", "n", "9"]);
    let options = StreamReadOptions::default().group("h", "one").block(20_000);
    let got: StreamReadReply = c.xread_options(&["x"], &[">"], &options).unwrap();
    equal(got.keys[0].ids[0].get::<i64>("n"), Some(9));
    thread.join().unwrap();
}

fn expiry(c: &mut Connection, _: u8) {
    c.pset_ex::<_, _, ()>("k", "v", 30).unwrap();
    until("the key to expire", || c.get::<_, Option<String>>("k").unwrap().is_none());
    equal(c.ttl::<_, i64>("k").unwrap(), -2);
    c.set_ex::<_, _, ()>("k", "v", 100).unwrap();
    ok((99..=100).contains(&c.ttl::<_, i64>("k").unwrap()), "TTL");
    ok(c.expire_time::<_, i64>("k").unwrap() > 1_700_000_000, "EXPIRETIME");
    equal(c.persist::<_, bool>("k").unwrap(), true);
    equal(c.pttl::<_, i64>("k").unwrap(), -1);
    equal(c.expire::<_, bool>("k", 100).unwrap(), true);
    equal(c.expire_at::<_, bool>("k", 1).unwrap(), true);
    equal(c.exists::<_, bool>("k").unwrap(), false);
}

/// What RESP3 has and RESP2 has not, as the client's raw values.
fn reply_types(c: &mut Connection, resp: u8) {
    let bulk = |text: &str| Value::BulkString(text.into());
    let three = resp == 3;
    c.zadd::<_, _, _, ()>("z", "m", 2.5).unwrap();
    equal(c.zscore::<_, _, Value>("z", "m").unwrap(), if three { Value::Double(2.5) } else { bulk("2.5") });
    c.hset::<_, _, _, ()>("h", "f", "v").unwrap();
    equal(c.hgetall::<_, Value>("h").unwrap(), if three { Value::Map(vec![(bulk("f"), bulk("v"))]) } else { Value::Array(vec![bulk("f"), bulk("v")]) });
    c.sadd::<_, _, ()>("s", "m").unwrap();
    equal(c.smembers::<_, Value>("s").unwrap(), if three { Value::Set(vec![bulk("m")]) } else { Value::Array(vec![bulk("m")]) });
    let scored = Value::Array(vec![bulk("m"), Value::Double(2.5)]);
    equal(c.zrange_withscores::<_, Value>("z", 0, 0).unwrap(), Value::Array(if three { vec![scored] } else { vec![bulk("m"), bulk("2.5")] }));
    equal(c.get::<_, Value>("none").unwrap(), Value::Nil);
    let info: Value = cmd("INFO").arg("server").query(c).unwrap();
    ok(matches!(info, Value::VerbatimString { .. }) == three, "INFO as a verbatim string");
    let mut example = |of: &str| cmd("DEBUG").arg("PROTOCOL").arg(of).query::<Value>(c).unwrap();
    equal(example("true"), if three { Value::Boolean(true) } else { Value::Int(1) });
    equal(example("null"), Value::Nil);
    ok(matches!(example("bignum"), Value::BigNumber(_)) == three, "a big number");
    ok(matches!(example("attrib"), Value::Attribute { .. }) == three, "an attribute");
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
    // The client's own loop: the first turn meets a conflict and aborts, the second does not.
    let mut turns = 0;
    let got: (i64,) = redis::transaction(c, &["a"], |c, p| {
        let n: i64 = c.get("a")?;
        turns += 1;
        if turns == 1 {
            connect(resp).set::<_, _, ()>("a", 1000)?;
        }
        p.set("a", n * 2).ignore().incr("a", 1).query(c)
    })
    .unwrap();
    equal((turns, got.0, c.get::<_, i64>("a").unwrap()), (2, 2001, 2001));
    let mixed = pipe().set("a", "x").incr("a", 1).get("a").query::<Value>(c);
    fails(mixed, "not an integer");
    equal(c.get::<_, String>("a").unwrap(), "x".into());
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
    equal(cmd("PUBSUB").arg("CHANNELS").arg("n*").query::<Vec<String>>(c).unwrap(), vec!["news".into()]);
    equal(cmd("PUBSUB").arg("NUMSUB").arg("news").query::<HashMap<String, i64>>(c).unwrap(), HashMap::from([("news".into(), 1)]));
    equal(cmd("PUBSUB").arg("NUMPAT").query::<i64>(c).unwrap(), 1);
    heard.unsubscribe("news").unwrap();
    equal(c.publish::<_, _, i64>("news", "x").unwrap(), 1);
    equal(heard.get_message().unwrap().get_payload::<String>().unwrap(), "x".into());
    drop(heard);
    // The connection is an ordinary one again.
    equal(other.ping::<String>().unwrap(), "PONG".into());
}

/// Sharded channels, for which the blocking connection has no call of its own.
fn sharded_channels(c: &mut Connection, resp: u8) {
    let mut other = connect(resp);
    other.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let text = |v: &Value| redis::from_redis_value_ref::<String>(v).unwrap();
    if resp == 3 {
        let (sender, heard) = std::sync::mpsc::channel();
        other.set_push_sender(sender);
        cmd("SSUBSCRIBE").arg("shard").set_no_response(true).exec(&mut other).unwrap();
        until("the subscription", || c.spublish::<_, _, i64>("shard", "hi").unwrap() == 1);
        // Pushes are read while the connection waits for something.
        equal(other.ping::<String>().unwrap(), "PONG".into());
        let wanted = [PushKind::SSubscribe, PushKind::SMessage];
        for kind in wanted {
            let push: PushInfo = heard.recv_timeout(Duration::from_secs(10)).unwrap();
            equal((push.kind.clone(), text(&push.data[0])), (kind.clone(), "shard".into()));
            if kind == PushKind::SMessage {
                equal(text(&push.data[1]), "hi".into());
            }
        }
    } else {
        equal(cmd("SSUBSCRIBE").arg("shard").query::<(String, String, i64)>(&mut other).unwrap(), ("ssubscribe".into(), "shard".into(), 1));
        equal(c.spublish::<_, _, i64>("shard", "hi").unwrap(), 1);
        let message: Vec<String> = redis::from_redis_value(other.recv_response().unwrap()).unwrap();
        equal(message, ["smessage", "shard", "hi"].map(String::from).to_vec());
    }
    equal(cmd("PUBSUB").arg("SHARDCHANNELS").query::<Vec<String>>(c).unwrap(), vec!["shard".into()]);
    equal(c.publish::<_, _, i64>("shard", "to nobody").unwrap(), 0);
}

/// RESP3: messages next to the replies of one connection.
fn pushes(c: &mut Connection, resp: u8) {
    let mut other = connect(resp);
    if resp == 2 {
        return fails(other.subscribe_resp3("news"), "RESP3");
    }
    let (sender, heard) = std::sync::mpsc::channel();
    other.set_push_sender(sender);
    other.subscribe_resp3("news").unwrap();
    other.psubscribe_resp3("n*").unwrap();
    until("both subscriptions", || c.publish::<_, _, i64>("news", "one").unwrap() == 2);
    other.set::<_, _, ()>("k", "v").unwrap();
    equal(other.get::<_, String>("k").unwrap(), "v".into());
    let mut kinds: Vec<PushKind> = Vec::new();
    while !kinds.contains(&PushKind::PMessage) {
        kinds.push(heard.recv_timeout(Duration::from_secs(10)).unwrap().kind);
    }
    for kind in [PushKind::Subscribe, PushKind::PSubscribe, PushKind::Message] {
        ok(kinds.contains(&kind), format!("{kind:?} is not in {kinds:?}"));
    }
    other.unsubscribe_resp3("news").unwrap();
    until("one subscription", || c.publish::<_, _, i64>("news", "two").unwrap() == 1);
}

fn keyspace_events(c: &mut Connection, resp: u8) {
    cmd("CONFIG").arg("SET").arg("notify-keyspace-events").arg("KEA").exec(c).unwrap();
    let mut other = connect(resp);
    let mut heard = other.as_pubsub();
    heard.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    heard.psubscribe("__keyevent@0__:*").unwrap();
    c.set::<_, _, ()>("k", "v").unwrap();
    c.pexpire::<_, ()>("k", 20).unwrap();
    c.rpush::<_, _, ()>("l", "v").unwrap();
    let mut events = HashSet::new();
    while events.len() < 4 {
        let message = heard.get_message().unwrap();
        events.insert((message.get_channel_name().rsplit(':').next().unwrap().to_string(), message.get_payload::<String>().unwrap()));
    }
    let wanted = [("set", "k"), ("expire", "k"), ("expired", "k"), ("rpush", "l")];
    equal(events, wanted.map(|(event, key)| (event.into(), key.into())).into());
    cmd("CONFIG").arg("SET").arg("notify-keyspace-events").arg("").exec(c).unwrap();
}

fn blocking(c: &mut Connection, resp: u8) {
    let thread = when_blocked(resp, &["RPUSH", "q", "v"]);
    equal(c.blpop::<_, Option<(String, String)>>(&["none", "q"], 20.0).unwrap(), Some(("q".into(), "v".into())));
    thread.join().unwrap();
    let thread = when_blocked(resp, &["ZADD", "z", "1.5", "m"]);
    equal(c.bzpopmin::<_, (String, String, f64)>("z", 20.0).unwrap(), ("z".into(), "m".into(), 1.5));
    thread.join().unwrap();
    let thread = when_blocked(resp, &["RPUSH", "q", "w"]);
    equal(c.blmove::<_, _, Option<String>>("q", "r", Direction::Left, Direction::Right, 20.0).unwrap(), Some("w".into()));
    thread.join().unwrap();
    let thread = when_blocked(resp, &["RPUSH", "q", "x", "y", "z"]);
    equal(c.blmpop::<_, Option<(String, Vec<String>)>>(20.0, 2, &["none", "q"], Direction::Left, 2).unwrap(), Some(("q".into(), vec!["x".into(), "y".into()])));
    thread.join().unwrap();
    let thread = when_blocked(resp, &["ZADD", "z", "3", "a", "4.5", "b"]);
    let popped = c.bzmpop_max::<_, Option<(String, Vec<(String, f64)>)>>(20.0, &["none", "z"], 1).unwrap();
    equal(popped, Some(("z".into(), vec![("b".into(), 4.5)])));
    thread.join().unwrap();
    let began = Instant::now();
    equal(c.brpop::<_, Option<(String, String)>>("none", 0.1).unwrap(), None);
    ok(began.elapsed() >= Duration::from_millis(100), "BRPOP was early");
    equal(c.bzpopmax::<_, Option<(String, String, f64)>>("none", 0.05).unwrap(), None);
    equal(cmd("BLMOVE").arg(&["none", "r", "LEFT", "LEFT", "0.05"]).query::<Option<String>>(c).unwrap(), None);
}

fn iteration(c: &mut Connection, _: u8) {
    let mut p = pipe();
    for i in 0..3000 {
        p.set(format!("key:{i}"), i).hset("h", i, i).sadd("s", i).zadd("z", i, i);
    }
    p.exec(c).unwrap();
    equal(c.scan::<String>().unwrap().map(Result::unwrap).collect::<HashSet<_>>().len(), 3003);
    let hashes = c.scan_options::<String>(redis::ScanOptions::default().with_type("hash").with_count(100)).unwrap();
    equal(hashes.map(Result::unwrap).collect::<Vec<_>>(), vec!["h".into()]);
    equal(c.hscan_match::<_, _, (i32, i32)>("h", "1*").unwrap().map(Result::unwrap).collect::<HashSet<_>>().len(), 1111);
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

/// The client goes on with a server that was restarted on its port, with what that held.
fn restarted(_: &mut Connection, resp: u8) {
    let mut own = Own::start();
    let query = if resp == 3 { "?protocol=resp3" } else { "" };
    let client = Client::open(own.url(query)).unwrap();
    let mut c = client.get_connection().unwrap();
    c.set::<_, _, ()>("k", "v").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ConnectionManagerConfig::new().set_min_delay(Duration::from_millis(20)).set_max_delay(Duration::from_millis(200)).set_number_of_retries(50);
    let mut manager = runtime.block_on(ConnectionManager::new_with_config(client.clone(), config)).unwrap();
    let of = |m: &mut ConnectionManager| runtime.block_on(m.get::<_, Option<String>>("k"));
    equal(of(&mut manager).unwrap(), Some("v".into()));
    own.stop();
    ok(c.get::<_, String>("k").unwrap_err().is_unrecoverable_error(), "the blocking connection is gone");
    fails(client.get_connection().map(|_| ()), "refused");
    ok(of(&mut manager).is_err(), "nobody is there");
    own.start_again();
    until("the manager to be back", || of(&mut manager).is_ok());
    equal(of(&mut manager).unwrap(), Some("v".into()));
    equal(client.get_connection().unwrap().get::<_, String>("k").unwrap(), "v".into());
}

/// The multiplexed connection: many tasks on one, and what comes unasked.
fn multiplexed(c: &mut Connection, resp: u8) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel::<PushInfo>();
        let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
        if resp == 3 {
            config = config.set_push_sender(sender);
        }
        let mut m = client(resp).get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let tasks: Vec<_> = (0..200)
            .map(|i| {
                let mut m = m.clone();
                tokio::spawn(async move {
                    m.set::<_, _, ()>(format!("m:{i}"), i).await.unwrap();
                    m.incr::<_, _, ()>("n", 1).await.unwrap();
                    m.get::<_, i32>(format!("m:{i}")).await.unwrap()
                })
            })
            .collect();
        for (i, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), i as i32);
        }
        equal(m.get::<_, i32>("n").await.unwrap(), 200);
        let piped: Vec<i64> = pipe().atomic().incr("n", 1).incr("n", 1).query_async(&mut m).await.unwrap();
        equal(piped, vec![201, 202]);
        let big = big();
        m.set::<_, _, ()>("big", &big).await.unwrap();
        ok(m.get::<_, Vec<u8>>("big").await.unwrap() == big, "20 MB came back otherwise");
        fails(m.lpush::<_, _, ()>("n", 1).await, "WRONGTYPE");
        if resp == 3 {
            m.subscribe("news").await.unwrap();
            m.psubscribe("n*").await.unwrap();
            equal(c.publish::<_, _, i64>("news", "one").unwrap(), 2);
            let mut messages = Vec::new();
            while messages.len() < 2 {
                let push = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.unwrap().unwrap();
                if matches!(push.kind, PushKind::Message | PushKind::PMessage) {
                    messages.push(redis::Msg::from_push_info(push).unwrap().get_payload::<String>().unwrap());
                }
            }
            equal(messages, vec!["one".to_string(), "one".to_string()]);
            equal(m.get::<_, i32>("n").await.unwrap(), 202);
            m.unsubscribe("news").await.unwrap();
        } else {
            let (mut sink, mut stream) = client(resp).get_async_pubsub().await.unwrap().split();
            sink.subscribe(&["news", "sport"]).await.unwrap();
            sink.psubscribe("n*").await.unwrap();
            equal(c.publish::<_, _, i64>("news", "one").unwrap(), 2);
            for _ in 0..2 {
                let message = tokio::time::timeout(Duration::from_secs(10), next(std::pin::Pin::new(&mut stream))).await.unwrap().unwrap();
                equal(message.get_payload::<String>().unwrap(), "one".into());
            }
        }
    });
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
        run(resp, "strings and bits", strings_and_bits);
        run(resp, "lists and sets", lists_and_sets);
        run(resp, "sorted sets", sorted_sets);
        run(resp, "hashes", hashes);
        run(resp, "geo and HyperLogLog", geo_and_hyperloglog);
        run(resp, "streams", streams);
        run(resp, "types of replies", reply_types);
        run(resp, "expiry", expiry);
        run(resp, "pipelines and transactions", pipelines_and_transactions);
        run(resp, "subscriptions", subscriptions);
        run(resp, "sharded channels", sharded_channels);
        run(resp, "pushes", pushes);
        run(resp, "keyspace events", keyspace_events);
        run(resp, "blocking", blocking);
        run(resp, "iteration", iteration);
        run(resp, "big and binary", big_and_binary);
        run(resp, "error replies", errors);
        run(resp, "reconnecting", reconnecting);
        run(resp, "restarted", restarted);
        run(resp, "multiplexed", multiplexed);
        run(resp, "server", server);
    }
    end()
}
