//! fred against Tidewater, over RESP2 and RESP3.

mod shared;

use fred::clients::SubscriberClient;
use fred::prelude::*;
use fred::types::client::{ClientKillFilter, ClientKillType};
use fred::types::config::ReconnectPolicy;
use fred::types::geo::{GeoPosition, GeoUnit, GeoValue};
use fred::types::lists::{LMoveDirection, ListLocation};
use fred::types::scan::{ScanType, Scanner};
use fred::types::sorted_sets::{ZCmp, ZSort};
use fred::types::streams::XReadResponse;
use fred::types::{CustomCommand, ExpireOptions, Expiration, Key, Map, Message, MessageKind, Resp3Frame, RespVersion, SetOptions, SortOrder, Value};
use futures_core::Stream;
use shared::{big, end, equal, fails, group, next, ok, url, Own};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::Hash;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;

async fn client(resp: u8) -> Client {
    client_of(&url(""), resp).await
}

async fn client_of(url: &str, resp: u8) -> Client {
    let mut config = Config::from_url(url).unwrap();
    config.version = if resp == 3 { RespVersion::RESP3 } else { RespVersion::RESP2 };
    let client = Builder::from_config(config).set_policy(ReconnectPolicy::new_constant(100, 20)).build().unwrap();
    client.init().await.unwrap();
    client
}

/// A command by its words; fred's own calls are used next to it.
async fn words<T: FromValue>(c: &Client, line: &str) -> FredResult<T> {
    let mut args = line.split(' ').map(str::to_owned);
    let name = args.next().unwrap();
    c.custom(CustomCommand::new(name, None::<u16>, false), args.collect::<Vec<_>>()).await
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}

async fn connecting(c: Client, resp: u8) {
    equal(c.ping::<String>(None).await.unwrap(), "PONG".into());
    for (password, said) in [(":wrong@", "WRONGPASS"), ("", if resp == 3 { "NOAUTH" } else { "Authentication" })] {
        let mut config = Config::from_url(&url("").replace(":secret@", password)).unwrap();
        config.version = if resp == 3 { RespVersion::RESP3 } else { RespVersion::RESP2 };
        config.fail_fast = true;
        let refused = Builder::from_config(config).build().unwrap();
        let came = match refused.init().await {
            Ok(_) => refused.get::<Option<String>, _>("k").await.map(|_| ()),
            Err(error) => Err(error),
        };
        fails(came, said);
    }
    c.set::<(), _, _>("k", "in 0", None, None, false).await.unwrap();
    let mut three = Config::from_url(&url("").replace("/0", "/3")).unwrap();
    three.version = RespVersion::RESP2;
    let three = Builder::from_config(three).build().unwrap();
    three.init().await.unwrap();
    equal(three.get::<Option<String>, _>("k").await.unwrap(), None);
    three.quit().await.unwrap();
    let info: String = c.client_info().await.unwrap();
    ok(info.contains(&format!("resp={resp}")), info);
}

async fn strings_and_bits(c: Client, _: u8) {
    c.set::<(), _, _>("s", "hello", None, None, false).await.unwrap();
    equal(c.append::<i64, _, _>("s", " world").await.unwrap(), 11);
    equal(c.getrange::<String, _>("s", 0, 4).await.unwrap(), "hello".into());
    equal(c.setrange::<i64, _, _>("s", 6, "there").await.unwrap(), 11);
    equal(c.strlen::<i64, _>("s").await.unwrap(), 11);
    equal(c.setnx::<bool, _, _>("s", "x").await.unwrap(), false);
    equal(c.set::<Option<String>, _, _>("s", "x", None, Some(SetOptions::NX), false).await.unwrap(), None);
    equal(c.set::<String, _, _>("s", "x", Some(Expiration::EX(100)), Some(SetOptions::XX), true).await.unwrap(), "hello there".into());
    equal(c.getset::<String, _, _>("s", "y").await.unwrap(), "x".into());
    equal(c.getdel::<String, _>("s").await.unwrap(), "y".into());
    equal(c.get::<Option<String>, _>("s").await.unwrap(), None);
    equal(c.incr_by::<i64, _>("n", 42).await.unwrap(), 42);
    equal(c.decr::<i64, _>("n").await.unwrap(), 41);
    equal(c.incr_by_float::<f64, _>("n", 0.5).await.unwrap(), 41.5);
    c.mset(vec![("a", 1), ("b", 2)]).await.unwrap();
    equal(c.msetnx::<bool, _>(vec![("a", 1), ("c", 2)]).await.unwrap(), false);
    equal(c.mget::<Vec<Option<i64>>, _>(vec!["a", "none", "b"]).await.unwrap(), vec![Some(1), None, Some(2)]);
    // fred has no calls for bits.
    equal(words::<i64>(&c, "SETBIT bits 7 1").await.unwrap(), 0);
    equal(words::<i64>(&c, "BITCOUNT bits").await.unwrap(), 1);
    equal(words::<i64>(&c, "BITPOS bits 1").await.unwrap(), 7);
    equal(words::<i64>(&c, "BITOP NOT not bits").await.unwrap(), 1);
    equal(c.get::<Vec<u8>, _>("not").await.unwrap(), vec![0xfe]);
    equal(words::<Vec<i64>>(&c, "BITFIELD f SET u8 0 255 INCRBY u8 0 10").await.unwrap(), vec![0, 9]);
    equal(c.copy::<i64, _, _>("a", "copy", None, false).await.unwrap(), 1);
    let dump: Value = c.dump("a").await.unwrap();
    c.restore::<(), _>("restored", 0, dump, false, false, None, None).await.unwrap();
    equal(c.get::<i64, _>("restored").await.unwrap(), 1);
    equal(c.rename::<String, _, _>("restored", "renamed").await.unwrap(), "OK".into());
    equal(c.unlink::<i64, _>(vec!["renamed", "none"]).await.unwrap(), 1);
    equal(c.exists::<i64, _>(vec!["a", "b", "renamed"]).await.unwrap(), 2);
    equal(c.r#type::<String, _>("a").await.unwrap(), "string".into());
    equal(words::<String>(&c, "OBJECT ENCODING a").await.unwrap(), "int".into());
    c.mset(vec![("one", "ohmytext"), ("two", "mynewtext")]).await.unwrap();
    equal(c.lcs::<String, _, _>("one", "two", false, false, None, false).await.unwrap(), "mytext".into());
}

async fn lists_and_sets(c: Client, _: u8) {
    let texts = |of: &[&str]| of.iter().map(|w| w.to_string()).collect::<Vec<_>>();
    equal(c.rpush::<i64, _, _>("l", vec!["a", "b", "c"]).await.unwrap(), 3);
    equal(c.lpush::<i64, _, _>("l", "0").await.unwrap(), 4);
    equal(c.linsert::<i64, _, _, _>("l", ListLocation::After, "a", "a2").await.unwrap(), 5);
    c.lset::<(), _, _>("l", 0, "first").await.unwrap();
    equal(c.lrange::<Vec<String>, _>("l", 0, -1).await.unwrap(), texts(&["first", "a", "a2", "b", "c"]));
    equal(c.lindex::<Option<String>, _>("l", -1).await.unwrap(), Some("c".into()));
    equal(c.lpos::<Vec<i64>, _, _>("l", "b", None, Some(0), None).await.unwrap(), vec![3]);
    equal(c.lrem::<i64, _, _>("l", 0, "a2").await.unwrap(), 1);
    equal(c.lpop::<Vec<String>, _>("l", Some(2)).await.unwrap(), texts(&["first", "a"]));
    equal(c.lmove::<String, _, _>("l", "m", LMoveDirection::Left, LMoveDirection::Right).await.unwrap(), "b".into());
    equal(c.lmpop::<(String, Vec<String>), _>(vec!["none", "m"], LMoveDirection::Left, Some(5)).await.unwrap(), ("m".into(), texts(&["b"])));
    equal(c.lmpop::<Option<(String, Vec<String>)>, _>("none", LMoveDirection::Left, None).await.unwrap(), None);
    c.rpush::<(), _, _>("l", vec!["z", "x"]).await.unwrap();
    equal(c.sort::<Vec<String>, _, _>("l", None, None, (), Some(SortOrder::Desc), true, None).await.unwrap(), texts(&["z", "x", "c"]));
    equal(c.llen::<i64, _>("l").await.unwrap(), 3);

    equal(c.sadd::<i64, _, _>("set", vec![1, 2, 3]).await.unwrap(), 3);
    equal(c.smembers::<HashSet<i64>, _>("set").await.unwrap(), HashSet::from([1, 2, 3]));
    equal(c.sismember::<bool, _, _>("set", 9).await.unwrap(), false);
    equal(c.smismember::<Vec<bool>, _, _>("set", vec![1, 9]).await.unwrap(), vec![true, false]);
    equal(c.sadd::<i64, _, _>("t", vec![3, 4]).await.unwrap(), 2);
    equal(c.sinter::<HashSet<i64>, _>(vec!["set", "t"]).await.unwrap(), HashSet::from([3]));
    equal(c.sunion::<HashSet<i64>, _>(vec!["set", "t"]).await.unwrap(), HashSet::from([1, 2, 3, 4]));
    equal(c.sdiffstore::<i64, _, _>("d", vec!["set", "t"]).await.unwrap(), 2);
    equal(c.smove::<bool, _, _, _>("set", "t", 1).await.unwrap(), true);
    ok((1..=3).contains(&c.srandmember::<Vec<i64>, _>("t", Some(5)).await.unwrap().len()), "SRANDMEMBER");
    equal(c.srem::<i64, _, _>("t", vec![1, 9]).await.unwrap(), 1);
    ok([2, 3].contains(&c.spop::<i64, _>("set", None).await.unwrap()), "SPOP");
    equal(c.scard::<i64, _>("set").await.unwrap(), 1);
}

async fn sorted_sets(c: Client, _: u8) {
    let pair = |member: &str, score: f64| (member.to_string(), score);
    equal(c.zadd::<i64, _, _>("z", None, None, false, false, vec![(1.0, "a"), (2.5, "b"), (f64::INFINITY, "c")]).await.unwrap(), 3);
    let all = c.zrange::<Vec<(String, f64)>, _, _, _>("z", 0, -1, None, false, None, true).await.unwrap();
    equal(all, vec![pair("a", 1.0), pair("b", 2.5), pair("c", f64::INFINITY)]);
    equal(c.zscore::<Option<f64>, _, _>("z", "none").await.unwrap(), None);
    equal(c.zscore::<f64, _, _>("z", "c").await.unwrap(), f64::INFINITY);
    equal(c.zmscore::<Vec<Option<f64>>, _, _>("z", vec!["a", "none"]).await.unwrap(), vec![Some(1.0), None]);
    equal(c.zincrby::<f64, _, _>("z", 0.25, "b").await.unwrap(), 2.75);
    equal(c.zrangebyscore::<Vec<String>, _, _, _>("z", "(1", "+inf", false, Some((0, 1))).await.unwrap(), vec!["b".into()]);
    let reversed = c.zrange::<Vec<String>, _, _, _>("z", 3.0, 0.0, Some(ZSort::ByScore), true, None, false).await.unwrap();
    equal(reversed, vec!["b".into(), "a".into()]);
    equal(c.zrank::<Option<i64>, _, _>("z", "b", false).await.unwrap(), Some(1));
    equal(c.zrank::<(i64, f64), _, _>("z", "b", true).await.unwrap(), (1, 2.75));
    equal(c.zrevrank::<Option<i64>, _, _>("z", "none", false).await.unwrap(), None);
    equal(c.zcount::<i64, _>("z", 1.0, 3.0).await.unwrap(), 2);
    equal(c.zadd::<i64, _, _>("z", Some(SetOptions::XX), None, true, false, (0.5, "a")).await.unwrap(), 1);
    equal(c.zpopmin::<Vec<(String, f64)>, _>("z", Some(1)).await.unwrap(), vec![pair("a", 0.5)]);
    let popped = c.zmpop::<(String, Vec<(String, f64)>), _>(vec!["none", "z"], ZCmp::Max, Some(1)).await.unwrap();
    equal(popped, ("z".into(), vec![pair("c", f64::INFINITY)]));
    equal(c.zunionstore::<i64, _, _, _>("u", vec!["z", "none"], vec![2.0, 1.0], None).await.unwrap(), 1);
    equal(c.zscore::<f64, _, _>("u", "b").await.unwrap(), 5.5);
    c.zadd::<(), _, _>("lex", None, None, false, false, vec![(0.0, "a"), (0.0, "b"), (0.0, "c")]).await.unwrap();
    equal(c.zrangebylex::<Vec<String>, _, _, _>("lex", "[b", "+", None).await.unwrap(), vec!["b".into(), "c".into()]);
    equal(c.zremrangebyrank::<i64, _>("lex", 0, 1).await.unwrap(), 2);
    equal(c.zrandmember::<Vec<(String, f64)>, _>("lex", Some((1, true))).await.unwrap(), vec![pair("c", 0.0)]);
}

async fn hashes(c: Client, _: u8) {
    let map = |of: &[(&str, &str)]| of.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<HashMap<_, _>>();
    equal(c.hset::<i64, _, _>("h", [("f", "v"), ("g", "1"), ("i", "x")]).await.unwrap(), 3);
    equal(c.hsetnx::<bool, _, _, _>("h", "i", "y").await.unwrap(), false);
    equal(c.hgetall::<HashMap<String, String>, _>("h").await.unwrap(), map(&[("f", "v"), ("g", "1"), ("i", "x")]));
    equal(c.hmget::<Vec<Option<String>>, _, _>("h", vec!["f", "none"]).await.unwrap(), vec![Some("v".into()), None]);
    equal(c.hget::<Option<String>, _, _>("h", "none").await.unwrap(), None);
    equal(c.hincrby::<i64, _, _>("h", "g", 4).await.unwrap(), 5);
    equal(c.hincrbyfloat::<f64, _, _>("h", "g", 0.5).await.unwrap(), 5.5);
    equal(c.hexists::<bool, _, _>("h", "f").await.unwrap(), true);
    equal(c.hkeys::<HashSet<String>, _>("h").await.unwrap(), HashSet::from(["f", "g", "i"].map(String::from)));
    equal(c.hrandfield::<Vec<String>, _>("h", Some((2, false))).await.unwrap().len(), 2);
    equal(c.hstrlen::<i64, _, _>("h", "g").await.unwrap(), 3);
    equal(c.hexpire::<Vec<i64>, _, _>("h", 100, None, vec!["f", "none"]).await.unwrap(), vec![1, -2]);
    equal(c.hexpire::<Vec<i64>, _, _>("h", 50, Some(ExpireOptions::GT), "f").await.unwrap(), vec![0]);
    let ttl = c.httl::<Vec<i64>, _, _>("h", vec!["f", "g", "none"]).await.unwrap();
    ok((99..=100).contains(&ttl[0]) && ttl[1..] == [-1, -2], format!("{ttl:?}"));
    ok(c.hexpire_time::<Vec<i64>, _, _>("h", "f").await.unwrap()[0] > 1_700_000_000, "HEXPIRETIME");
    equal(c.hpersist::<Vec<i64>, _, _>("h", vec!["f", "g"]).await.unwrap(), vec![1, -1]);
    equal(c.hpexpire::<Vec<i64>, _, _>("h", 30, None, "i").await.unwrap(), vec![1]);
    until("the field to expire", || async { !c.hexists::<bool, _, _>("h", "i").await.unwrap() }).await;
    // Younger than fred.
    equal(words::<Vec<String>>(&c, "HGETEX h EX 100 FIELDS 1 f").await.unwrap(), vec!["v".into()]);
    ok(c.hpttl::<Vec<i64>, _, _>("h", "f").await.unwrap()[0] > 90_000, "HPTTL");
    equal(words::<i64>(&c, "HSETEX h EX 100 FIELDS 1 j 1").await.unwrap(), 1);
    equal(words::<Vec<Option<String>>>(&c, "HGETDEL h FIELDS 2 f none").await.unwrap(), vec![Some("v".into()), None]);
    equal(c.hdel::<i64, _, _>("h", vec!["g", "j"]).await.unwrap(), 2);
    equal(c.exists::<i64, _>("h").await.unwrap(), 0);
}

async fn geo_and_hyperloglog(c: Client, _: u8) {
    let place = |lon: f64, lat: f64, name: &str| GeoValue { coordinates: GeoPosition { longitude: lon, latitude: lat }, member: name.into() };
    let places = vec![place(13.361389, 38.115556, "Palermo"), place(15.087269, 37.502669, "Catania")];
    equal(c.geoadd::<i64, _, _>("geo", None, false, places).await.unwrap(), 2);
    equal(c.geodist::<f64, _, _, _>("geo", "Palermo", "Catania", Some(GeoUnit::Kilometers)).await.unwrap(), 166.2742);
    equal(c.geodist::<Option<f64>, _, _, _>("geo", "Palermo", "none", None).await.unwrap(), None);
    equal(c.geohash::<Vec<String>, _, _>("geo", vec!["Palermo"]).await.unwrap(), vec!["sqc8b49rny0".into()]);
    let at = c.geopos::<Vec<Option<(f64, f64)>>, _, _>("geo", vec!["Palermo", "none"]).await.unwrap();
    ok((at[0].unwrap().0 - 13.361389).abs() < 1e-5 && at[1].is_none(), format!("{at:?}"));
    let within = |member: Option<Value>, at: Option<GeoPosition>, km: f64| {
        c.geosearch::<Vec<String>, _>("geo", member, at, Some((km, GeoUnit::Kilometers)), None, Some(SortOrder::Asc), None, false, false, false)
    };
    equal(within(None, Some((15.0, 37.0).into()), 200.0).await.unwrap(), vec!["Catania".into(), "Palermo".into()]);
    equal(within(Some("Catania".into()), None, 10.0).await.unwrap(), vec!["Catania".into()]);
    let near = c.georadius::<Vec<(String, f64)>, _, _>("geo", (15.0, 37.0), 100.0, GeoUnit::Kilometers, false, true, false, None, None, None, None).await;
    equal(near.unwrap(), vec![("Catania".into(), 56.4413)]);
    equal(c.pfadd::<i64, _, _>("p", vec!["a", "b", "c"]).await.unwrap(), 1);
    equal(c.pfadd::<i64, _, _>("p", vec!["a"]).await.unwrap(), 0);
    equal(c.pfcount::<i64, _>("p").await.unwrap(), 3);
    c.pfadd::<(), _, _>("p2", (0..1000).collect::<Vec<i64>>()).await.unwrap();
    c.pfmerge::<(), _, _>("merged", vec!["p", "p2"]).await.unwrap();
    ok((950..1050).contains(&c.pfcount::<i64, _>("merged").await.unwrap()), "PFCOUNT");
}

async fn streams(c: Client, resp: u8) {
    type Entries = XReadResponse<String, String, String, i64>;
    type Entry = (String, HashMap<String, i64>);
    let id = |n: i64| format!("1-{n}");
    for n in 1..=5 {
        equal(c.xadd::<String, _, _, _, _>("x", false, None, id(n), vec![("n", n)]).await.unwrap(), id(n));
    }
    equal(c.xlen::<i64, _>("x").await.unwrap(), 5);
    let range: Vec<Entry> = c.xrange_values("x", "-", "+", Some(2)).await.unwrap();
    equal(range.iter().map(|(id, fields)| (id.as_str(), fields["n"])).collect::<Vec<_>>(), vec![("1-1", 1), ("1-2", 2)]);
    let last: Vec<Entry> = c.xrevrange_values("x", "+", "-", Some(1)).await.unwrap();
    equal(last[0].0.clone(), id(5));
    let read: Entries = c.xread_map(None, None, "x", "1-4").await.unwrap();
    equal(read["x"].len(), 1);
    equal(c.xread::<Value, _, _>(None, None, "x", "$").await.unwrap().is_null(), true);
    c.xgroup_create::<(), _, _, _>("x", "g", "0", false).await.unwrap();
    fails(c.xgroup_create::<(), _, _, _>("x", "g", "0", false).await, "BUSYGROUP");
    let got: Entries = c.xreadgroup_map("g", "one", Some(3), None, false, "x", ">").await.unwrap();
    equal(got["x"].iter().map(|(id, fields)| (id.as_str(), fields["n"])).collect::<Vec<_>>(), vec![("1-1", 1), ("1-2", 2), ("1-3", 3)]);
    equal(c.xack::<i64, _, _, _>("x", "g", "1-1").await.unwrap(), 1);
    let (count, first, newest, of): (i64, String, String, Vec<(String, i64)>) = c.xpending("x", "g", ()).await.unwrap();
    equal((count, first, newest, of), (2, id(2), id(3), vec![("one".into(), 2)]));
    let detail: Vec<(String, String, i64, i64)> = c.xpending("x", "g", ("-", "+", 10)).await.unwrap();
    equal(detail.iter().map(|d| (d.0.as_str(), d.1.as_str(), d.3)).collect::<Vec<_>>(), vec![("1-2", "one", 1), ("1-3", "one", 1)]);
    let (cursor, claimed): (String, Vec<Entry>) = c.xautoclaim_values("x", "g", "two", 0, "0-0", Some(1), false).await.unwrap();
    equal((cursor, claimed[0].0.clone()), (id(3), id(2)));
    let claimed: Vec<Entry> = c.xclaim_values("x", "g", "two", 0, "1-3", None, None, None, false, false).await.unwrap();
    equal(claimed[0].1["n"], 3);
    let consumers: Vec<HashMap<String, Value>> = c.xinfo_consumers("x", "g").await.unwrap();
    equal(consumers.iter().map(|c| (c["name"].as_string().unwrap(), c["pending"].as_i64().unwrap())).collect::<Vec<_>>(), vec![("one".into(), 0), ("two".into(), 2)]);
    let groups: Vec<HashMap<String, Value>> = c.xinfo_groups("x").await.unwrap();
    equal((groups[0]["name"].as_string().unwrap(), groups[0]["consumers"].as_i64().unwrap()), ("g".into(), 2));
    let info: HashMap<String, Value> = c.xinfo_stream("x", false, None).await.unwrap();
    equal((info["length"].as_i64(), info["last-generated-id"].as_string()), (Some(5), Some(id(5))));
    equal(c.xdel::<i64, _, _>("x", "1-1").await.unwrap(), 1);
    equal(c.xtrim::<i64, _, _>("x", ("MAXLEN", "=", 2)).await.unwrap(), 2);
    equal(c.xgroup_destroy::<i64, _, _>("x", "g").await.unwrap(), 1);
    // A consumer that waits.
    c.xgroup_create::<(), _, _, _>("x", "h", "$", false).await.unwrap();
    let add = when_blocked(resp, "XADD x 2-1 n 9");
    let (got, ()) = tokio::join!(c.xreadgroup_map::<String, String, String, i64, _, _, _, _>("h", "one", None, Some(20_000), false, "x", ">"), add);
    equal(got.unwrap()["x"][0].1["n"], 9);
}

async fn expiry(c: Client, _: u8) {
    c.set::<(), _, _>("k", "v", Some(Expiration::PX(30)), None, false).await.unwrap();
    until("the key to expire", || async { c.get::<Option<String>, _>("k").await.unwrap().is_none() }).await;
    equal(c.ttl::<i64, _>("k").await.unwrap(), -2);
    c.set::<(), _, _>("k", "v", Some(Expiration::EX(100)), None, false).await.unwrap();
    ok((99..=100).contains(&c.ttl::<i64, _>("k").await.unwrap()), "TTL");
    ok(c.expire_time::<i64, _>("k").await.unwrap() > 1_700_000_000, "EXPIRETIME");
    equal(c.expire::<i64, _>("k", 200, Some(ExpireOptions::LT)).await.unwrap(), 0);
    equal(c.persist::<i64, _>("k").await.unwrap(), 1);
    equal(c.pttl::<i64, _>("k").await.unwrap(), -1);
    equal(c.expire_at::<i64, _>("k", 1, None).await.unwrap(), 1);
    equal(c.exists::<i64, _>("k").await.unwrap(), 0);
}

/// What RESP3 has and RESP2 has not: the replies as they were framed.
async fn reply_types(c: Client, resp: u8) {
    let kind = |line: &'static str| {
        let c = &c;
        async move {
            let mut args = line.split(' ').map(str::to_owned);
            let name = args.next().unwrap();
            match c.custom_raw(CustomCommand::new(name, None::<u16>, false), args.collect::<Vec<_>>()).await.unwrap() {
                Resp3Frame::Map { .. } => "map",
                Resp3Frame::Set { .. } => "set",
                Resp3Frame::Double { .. } => "double",
                Resp3Frame::Boolean { .. } => "boolean",
                Resp3Frame::BigNumber { .. } => "big number",
                Resp3Frame::VerbatimString { .. } => "verbatim",
                Resp3Frame::Null => "null",
                Resp3Frame::Number { .. } => "number",
                Resp3Frame::BlobString { .. } | Resp3Frame::SimpleString { .. } => "string",
                Resp3Frame::Array { .. } => "array",
                _ => "another",
            }
        }
    };
    c.zadd::<(), _, _>("z", None, None, false, false, (2.5, "m")).await.unwrap();
    c.hset::<(), _, _>("h", ("f", "v")).await.unwrap();
    c.sadd::<(), _, _>("s", "m").await.unwrap();
    for (line, two, three) in [
        ("ZSCORE z m", "string", "double"),
        ("HGETALL h", "array", "map"),
        ("CONFIG GET maxmemory", "array", "map"),
        ("SMEMBERS s", "array", "set"),
        ("INFO server", "string", "verbatim"),
        ("GET none", "null", "null"),
        ("DEBUG PROTOCOL true", "number", "boolean"),
        ("DEBUG PROTOCOL bignum", "string", "big number"),
        ("DEBUG PROTOCOL double", "string", "double"),
        ("DEBUG PROTOCOL null", "null", "null"),
        ("LRANGE none 0 -1", "array", "array"),
    ] {
        equal((line, kind(line).await), (line, if resp == 3 { three } else { two }));
    }
}

async fn pipelines(c: Client, _: u8) {
    let p = c.pipeline();
    for _ in 0..3000 {
        p.incr::<(), _>("p").await.unwrap();
    }
    equal(p.all::<Vec<i64>>().await.unwrap(), (1..=3000).collect());
    let p = c.pipeline();
    p.set::<(), _, _>("a", "x", None, None, false).await.unwrap();
    p.incr::<(), _>("a").await.unwrap();
    p.get::<(), _>("a").await.unwrap();
    let got = p.try_all::<String>().await;
    equal(got.len(), 3);
    ok(got[1].as_ref().is_err_and(|e| e.to_string().contains("not an integer")), "INCR of a text");
    equal(got[2].as_ref().unwrap().as_str(), "x");
    // Without waiting for each: the client sends what comes together.
    let tasks: Vec<_> = (0..500).map(|_| tokio::spawn({ let c = c.clone(); async move { c.incr::<i64, _>("n").await.unwrap() } })).collect();
    let mut seen = HashSet::new();
    for task in tasks {
        seen.insert(task.await.unwrap());
    }
    equal(seen, (1..=500).collect());
}

async fn transactions(c: Client, resp: u8) {
    let t = c.multi();
    t.set::<(), _, _>("a", 1, None, None, false).await.unwrap();
    t.incr::<(), _>("a").await.unwrap();
    equal(t.exec::<(String, i64)>(true).await.unwrap(), ("OK".into(), 2));
    // Doubles what `a` holds, in as many turns as it needs; in the first another client writes meanwhile.
    let other = client(resp).await;
    let mut turns = 0;
    let got = loop {
        turns += 1;
        c.watch("a").await.unwrap();
        let n: i64 = c.get("a").await.unwrap();
        if turns == 1 {
            other.set::<(), _, _>("a", 100, None, None, false).await.unwrap();
        }
        let t = c.multi();
        t.set::<(), _, _>("a", n * 2, None, None, false).await.unwrap();
        t.get::<(), _>("a").await.unwrap();
        let done: Value = t.exec(true).await.unwrap();
        if done.is_null() {
            equal(c.get::<i64, _>("a").await.unwrap(), 100);
            continue;
        }
        break done.convert::<(String, i64)>().unwrap();
    };
    equal((turns, got), (2, ("OK".into(), 200)));
    // Watched, but left alone: UNWATCH lets it pass.
    c.watch("a").await.unwrap();
    other.set::<(), _, _>("a", 5, None, None, false).await.unwrap();
    c.unwatch().await.unwrap();
    let t = c.multi();
    t.incr::<(), _>("a").await.unwrap();
    equal(t.exec::<Vec<i64>>(true).await.unwrap(), vec![6]);
    // An error before EXEC aborts all of it; one within does not undo the others.
    let t = c.multi();
    t.set::<(), _, _>("a", 0, None, None, false).await.unwrap();
    t.custom::<(), String>(CustomCommand::new("SET", None::<u16>, false), vec!["a".to_string()]).await.unwrap();
    fails(t.exec::<Value>(true).await, "wrong number of arguments");
    equal(c.get::<i64, _>("a").await.unwrap(), 6);
    let t = c.multi();
    t.set::<(), _, _>("a", "text", None, None, false).await.unwrap();
    t.incr::<(), _>("a").await.unwrap();
    fails(t.exec::<Value>(false).await, "not an integer");
    equal(c.get::<String, _>("a").await.unwrap(), "text".into());
    other.quit().await.unwrap();
}

async fn heard(rx: &mut Receiver<Message>) -> (MessageKind, String, String) {
    let message = tokio::time::timeout(Duration::from_secs(10), rx.recv()).await.expect("heard nothing").unwrap();
    (message.kind, message.channel.to_string(), message.value.as_string().unwrap())
}

async fn subscriptions(c: Client, resp: u8) {
    let other = client(resp).await;
    let mut rx = other.message_rx();
    other.subscribe("news").await.unwrap();
    other.psubscribe("n*").await.unwrap();
    equal(c.publish::<i64, _, _>("news", "one").await.unwrap(), 2);
    let got = [heard(&mut rx).await, heard(&mut rx).await];
    equal(got, [MessageKind::Message, MessageKind::PMessage].map(|kind| (kind, "news".into(), "one".into())));
    other.ssubscribe(vec!["shard", "other"]).await.unwrap();
    equal(c.spublish::<i64, _, _>("shard", "hi").await.unwrap(), 1);
    equal(heard(&mut rx).await, (MessageKind::SMessage, "shard".into(), "hi".into()));
    equal(c.publish::<i64, _, _>("shard", "to nobody").await.unwrap(), 0);
    equal(c.pubsub_channels::<Vec<String>, _>("n*").await.unwrap(), vec!["news".into()]);
    equal(c.pubsub_numsub::<HashMap<String, i64>, _>("news").await.unwrap(), HashMap::from([("news".into(), 1)]));
    equal(c.pubsub_numpat::<i64>().await.unwrap(), 1);
    equal(c.pubsub_shardnumsub::<HashMap<String, i64>, _>("shard").await.unwrap(), HashMap::from([("shard".into(), 1)]));
    if resp == 3 {
        // Messages come next to replies.
        other.set::<(), _, _>("k", "v", None, None, false).await.unwrap();
        c.publish::<(), _, _>("news", "two").await.unwrap();
        equal(other.get::<String, _>("k").await.unwrap(), "v".into());
        equal(heard(&mut rx).await.2, "two".into());
        equal(heard(&mut rx).await.2, "two".into());
    }
    other.unsubscribe("news").await.unwrap();
    other.sunsubscribe("shard").await.unwrap();
    equal(c.publish::<i64, _, _>("news", "three").await.unwrap(), 1);
    equal(heard(&mut rx).await, (MessageKind::PMessage, "news".into(), "three".into()));
    equal(c.spublish::<i64, _, _>("shard", "hi").await.unwrap(), 0);
    other.punsubscribe("n*").await.unwrap();
    equal(c.publish::<i64, _, _>("news", "four").await.unwrap(), 0);
    other.quit().await.unwrap();
}

/// The client that subscribes again by itself after its connection was killed.
async fn subscribers(c: Client, resp: u8) {
    let mut config = Config::from_url(&url("")).unwrap();
    config.version = if resp == 3 { RespVersion::RESP3 } else { RespVersion::RESP2 };
    let s: SubscriberClient = Builder::from_config(config).set_policy(ReconnectPolicy::new_constant(100, 20)).build_subscriber_client().unwrap();
    s.init().await.unwrap();
    let managing = s.manage_subscriptions();
    let mut rx = s.message_rx();
    s.subscribe("news").await.unwrap();
    s.psubscribe("sp*").await.unwrap();
    s.ssubscribe("shard").await.unwrap();
    equal(c.client_kill::<i64>(vec![ClientKillFilter::Type(ClientKillType::Pubsub)]).await.unwrap(), 1);
    until("its subscriptions", || async {
        c.publish::<i64, _, _>("news", "").await.unwrap() + c.publish::<i64, _, _>("sport", "").await.unwrap() + c.spublish::<i64, _, _>("shard", "").await.unwrap() == 3
    })
    .await;
    c.publish::<(), _, _>("sport", "again").await.unwrap();
    loop {
        let (kind, channel, text) = heard(&mut rx).await;
        if !text.is_empty() {
            break equal((kind, channel, text), (MessageKind::PMessage, "sport".into(), "again".into()));
        }
    }
    managing.abort();
    s.quit().await.unwrap();
}

async fn keyspace_events(c: Client, resp: u8) {
    words::<()>(&c, "CONFIG SET notify-keyspace-events KEA").await.unwrap();
    let other = client(resp).await;
    let mut rx = other.keyspace_event_rx();
    other.psubscribe("__keyevent@0__:*").await.unwrap();
    c.set::<(), _, _>("k", "v", None, None, false).await.unwrap();
    c.pexpire::<(), _>("k", 20, None).await.unwrap();
    c.rpush::<(), _, _>("l", "v").await.unwrap();
    let mut events = HashSet::new();
    while events.len() < 4 {
        let event = tokio::time::timeout(Duration::from_secs(10), rx.recv()).await.expect("no more events").unwrap();
        events.insert((event.operation, event.key.into_string().unwrap(), event.db));
    }
    let wanted = [("set", "k"), ("expire", "k"), ("expired", "k"), ("rpush", "l")];
    equal(events, wanted.map(|(event, key)| (event.to_string(), key.to_string(), 0)).into());
    words::<()>(&c, "CONFIG SET notify-keyspace-events ").await.unwrap();
    other.quit().await.unwrap();
}

/// Another client's command, as soon as one is blocked.
async fn when_blocked(resp: u8, line: &str) {
    let other = client(resp).await;
    until("a blocked client", || async { words::<String>(&other, "INFO clients").await.unwrap().contains("blocked_clients:1\r") }).await;
    words::<()>(&other, line).await.unwrap();
    other.quit().await.unwrap();
}

async fn blocking(c: Client, resp: u8) {
    let (got, ()) = tokio::join!(c.blpop::<(String, String), _>(vec!["none", "q"], 20.0), when_blocked(resp, "RPUSH q v"));
    equal(got.unwrap(), ("q".into(), "v".into()));
    let (left, right) = (LMoveDirection::Left, LMoveDirection::Right);
    let (got, ()) = tokio::join!(c.blmove::<String, _, _>("q", "r", left, right, 20.0), when_blocked(resp, "RPUSH q w"));
    equal(got.unwrap(), "w".into());
    let popping = c.blmpop::<(String, Vec<String>), _>(20.0, vec!["none", "q"], LMoveDirection::Left, Some(2));
    let (got, ()) = tokio::join!(popping, when_blocked(resp, "RPUSH q x y z"));
    equal(got.unwrap(), ("q".into(), vec!["x".into(), "y".into()]));
    let (got, ()) = tokio::join!(c.bzpopmin::<(String, String, f64), _>("z", 20.0), when_blocked(resp, "ZADD z 1.5 m"));
    equal(got.unwrap(), ("z".into(), "m".into(), 1.5));
    let popping = c.bzmpop::<(String, Vec<(String, f64)>), _>(20.0, vec!["none", "z"], ZCmp::Max, None);
    let (got, ()) = tokio::join!(popping, when_blocked(resp, "ZADD z 3 a 4.5 b"));
    equal(got.unwrap(), ("z".into(), vec![("b".into(), 4.5)]));
    let reading = c.xread_map::<String, String, String, i64, _, _>(None, Some(20_000), "x", "$");
    let (got, ()) = tokio::join!(reading, when_blocked(resp, "XADD x 1-1 n 1"));
    equal(got.unwrap()["x"][0].0.clone(), "1-1".into());
    // fred makes an error of the empty reply; its own timeout is off.
    let late = |got: FredResult<Value>| ok(got.as_ref().is_err_and(|e| *e.kind() == ErrorKind::Timeout), format!("{got:?}"));
    let began = Instant::now();
    late(c.brpop("none", 0.1).await);
    ok(began.elapsed() >= Duration::from_millis(100), "BRPOP was early");
    late(c.bzpopmax("none", 0.05).await);
    late(c.blmove("none", "r", LMoveDirection::Left, LMoveDirection::Left, 0.05).await);
    equal(c.ping::<String>(None).await.unwrap(), "PONG".into());
}

/// What the pages of a scan hold together; more than one there must be.
async fn all<S: Scanner, K: Eq + Hash, V>(scan: impl Stream<Item = FredResult<S>>, of: impl Fn(S::Page) -> Vec<(K, V)>) -> HashMap<K, V> {
    let (mut scan, mut seen, mut pages) = (std::pin::pin!(scan), HashMap::new(), 0);
    while let Some(page) = next(scan.as_mut()).await {
        let mut page = page.unwrap();
        seen.extend(of(page.take_results().unwrap()));
        pages += 1;
        page.next();
    }
    ok(pages > 1, format!("{pages} page of a scan"));
    seen
}

async fn iteration(c: Client, _: u8) {
    let p = c.pipeline();
    for i in 0..3000i64 {
        p.set::<(), _, _>(format!("key:{i}"), i, None, None, false).await.unwrap();
        p.sadd::<(), _, _>("s", i).await.unwrap();
        p.hset::<(), _, _>("h", (format!("f{i}"), i)).await.unwrap();
        p.zadd::<(), _, _>("z", None, None, false, false, (i as f64, format!("m{i}"))).await.unwrap();
    }
    p.all::<Value>().await.unwrap();
    let keys = |keys: Vec<Key>| keys.into_iter().map(|k| (k.into_string().unwrap(), ())).collect();
    equal(all(c.scan("*", Some(100), None), keys).await.len(), 3003);
    equal(all(c.scan("key:1*", Some(100), None), keys).await.len(), 1111);
    equal(all(c.scan("*", Some(100), Some(ScanType::Hash)), keys).await, HashMap::from([("h".into(), ())]));
    let members = |members: Vec<Value>| members.into_iter().map(|m| (m.as_i64().unwrap(), ())).collect();
    equal(all(c.sscan("s", "*", Some(100)), members).await, (0..3000).map(|i| (i, ())).collect());
    let fields = |fields: Map| fields.inner().into_iter().map(|(k, v)| (k.into_string().unwrap(), v.as_i64().unwrap())).collect();
    let got = all(c.hscan("h", "f1*", Some(100)), fields).await;
    equal((got.len(), got["f1999"]), (1111, 1999));
    let scored = |members: Vec<(Value, f64)>| members.into_iter().map(|(m, score)| (m.as_string().unwrap(), score)).collect();
    let got = all(c.zscan("z", "*", Some(100)), scored).await;
    equal((got.len(), got["m2999"]), (3000, 2999.0));
    let (cursor, page): (String, Vec<String>) = c.scan_page("0", "*", Some(10), None).await.unwrap();
    ok(cursor != "0" && page.len() >= 10, "SCAN's first page");
}

async fn big_and_binary(c: Client, _: u8) {
    let big = big();
    c.set::<(), _, _>("big", &big[..], None, None, false).await.unwrap();
    ok(c.get::<Vec<u8>, _>("big").await.unwrap() == big, "20 MB came back otherwise");
    c.set::<(), _, _>(&big[..256], &big[..512], None, None, false).await.unwrap();
    equal(c.get::<Vec<u8>, _>(&big[..256]).await.unwrap(), big[..512].to_vec());
}

async fn errors(c: Client, _: u8) {
    c.rpush::<(), _, _>("l", 1).await.unwrap();
    fails(c.get::<String, _>("l").await, "WRONGTYPE");
    fails(words::<()>(&c, "NOSUCH x").await, "unknown command 'NOSUCH'");
    fails(words::<()>(&c, "GET").await, "wrong number of arguments");
}

async fn reconnecting(c: Client, resp: u8) {
    let other = client(resp).await;
    let id: i64 = c.client_id().await.unwrap();
    equal(other.client_kill::<i64>(vec![ClientKillFilter::ID(id.to_string())]).await.unwrap(), 1);
    until("another connection", || async { c.client_id::<i64>().await.is_ok_and(|now| now != id) }).await;
    equal(c.ping::<String>(None).await.unwrap(), "PONG".into());
    equal(other.client_kill::<i64>(vec![ClientKillFilter::Type(ClientKillType::Pubsub)]).await.unwrap(), 0);
    other.quit().await.unwrap();
}

/// The client goes on with a server that was restarted on its port, with what that held.
async fn restarted(_: Client, resp: u8) {
    let mut own = Own::start();
    let c = client_of(&own.url(""), resp).await;
    c.set::<(), _, _>("k", "v", None, None, false).await.unwrap();
    let mut back = c.reconnect_rx();
    let mut lost = c.error_rx();
    own.stop();
    tokio::time::timeout(Duration::from_secs(10), lost.recv()).await.expect("the loss is noticed").unwrap();
    own.start_again();
    tokio::time::timeout(Duration::from_secs(10), back.recv()).await.expect("the client is back").unwrap();
    equal(c.get::<String, _>("k").await.unwrap(), "v".into());
    equal(c.incr::<i64, _>("n").await.unwrap(), 1);
    c.quit().await.unwrap();
}

async fn server(c: Client, _: u8) {
    ok(words::<String>(&c, "INFO").await.unwrap().contains("redis_version:7."), "INFO");
    let config: HashMap<String, String> = words(&c, "CONFIG GET maxmemory-policy").await.unwrap();
    equal(config["maxmemory-policy"].as_str(), "noeviction");
    equal(c.dbsize::<i64>().await.unwrap(), 0);
}

macro_rules! run {
    ($($name:ident)*) => {
        for resp in [2, 3] {
            $(group(&format!("RESP{resp} {}", stringify!($name)), move || {
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
                    let c = client(resp).await;
                    c.flushall::<()>(false).await.unwrap();
                    $name(c, resp).await;
                });
            });)*
        }
    };
}

fn main() {
    run!(connecting strings_and_bits lists_and_sets sorted_sets hashes geo_and_hyperloglog streams reply_types expiry pipelines transactions
        subscriptions subscribers keyspace_events blocking iteration big_and_binary errors reconnecting restarted server);
    end()
}
