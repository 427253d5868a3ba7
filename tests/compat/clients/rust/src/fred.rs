//! fred against Tidewater, over RESP2 and RESP3.

mod shared;

use fred::prelude::*;
use fred::types::client::{ClientKillFilter, ClientKillType};
use fred::types::config::ReconnectPolicy;
use fred::types::{CustomCommand, Expiration, RespVersion, Value};
use shared::{big, end, equal, fails, group, ok, url};
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

async fn client(resp: u8) -> Client {
    let mut config = Config::from_url(&url("")).unwrap();
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
    let mut config = Config::from_url(&url("").replace(":secret@", ":wrong@")).unwrap();
    config.fail_fast = true;
    let wrong = Builder::from_config(config).build().unwrap();
    fails(wrong.init().await.map(|_| ()), "WRONGPASS");
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

async fn types(c: Client, _: u8) {
    c.set::<(), _, _>("s", "hello", None, None, false).await.unwrap();
    equal(c.append::<i64, _, _>("s", " world").await.unwrap(), 11);
    equal(c.incr_by::<i64, _>("n", 42).await.unwrap(), 42);
    equal(c.mget::<Vec<Option<String>>, _>(vec!["s", "none"]).await.unwrap(), vec![Some("hello world".into()), None]);
    equal(words::<i64>(&c, "SETBIT bits 7 1").await.unwrap(), 0);
    equal(words::<i64>(&c, "BITCOUNT bits").await.unwrap(), 1);
    equal(c.rpush::<i64, _, _>("l", vec!["a", "b", "c"]).await.unwrap(), 3);
    equal(c.lrange::<Vec<String>, _>("l", 0, -1).await.unwrap(), vec!["a".into(), "b".into(), "c".into()]);
    equal(c.sadd::<i64, _, _>("set", vec![1, 2, 3]).await.unwrap(), 3);
    equal(c.scard::<i64, _>("set").await.unwrap(), 3);
    equal(c.zadd::<i64, _, _>("z", None, None, false, false, vec![(1.0, "a"), (2.5, "b")]).await.unwrap(), 2);
    equal(c.zrange::<Vec<(String, f64)>, _, _, _>("z", 0, -1, None, false, None, true).await.unwrap(), vec![("a".into(), 1.0), ("b".into(), 2.5)]);
    equal(c.zscore::<Option<f64>, _, _>("z", "none").await.unwrap(), None);
    equal(c.hset::<i64, _, _>("h", [("f", "v"), ("g", "1")]).await.unwrap(), 2);
    equal(c.hgetall::<HashMap<String, String>, _>("h").await.unwrap(), HashMap::from([("f".into(), "v".into()), ("g".into(), "1".into())]));
    equal(words::<Vec<i64>>(&c, "HEXPIRE h 100 FIELDS 2 f none").await.unwrap(), vec![1, -2]);
    equal(words::<i64>(&c, "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania").await.unwrap(), 2);
    equal(c.geodist::<f64, _, _, _>("geo", "Palermo", "Catania", None).await.unwrap().round(), 166274.0);
    equal(c.pfadd::<i64, _, _>("p", vec!["a", "b", "c"]).await.unwrap(), 1);
    equal(c.pfcount::<i64, _>("p").await.unwrap(), 3);
}

async fn streams(c: Client, _: u8) {
    for n in 0..3 {
        equal(c.xadd::<String, _, _, _, _>("x", false, None, format!("1-{}", n + 1), vec![("n", n)]).await.unwrap(), format!("1-{}", n + 1));
    }
    c.xgroup_create::<(), _, _, _>("x", "g", "0", false).await.unwrap();
    fails(c.xgroup_create::<(), _, _, _>("x", "g", "0", false).await, "BUSYGROUP");
    let got: fred::types::streams::XReadResponse<String, String, String, i64> = c.xreadgroup_map("g", "one", Some(2), None, false, "x", ">").await.unwrap();
    equal(got["x"].iter().map(|(id, fields)| (id.as_str(), fields["n"])).collect::<Vec<_>>(), vec![("1-1", 0), ("1-2", 1)]);
    equal(c.xack::<i64, _, _, _>("x", "g", "1-1").await.unwrap(), 1);
    equal(c.xlen::<i64, _>("x").await.unwrap(), 3);
}

async fn expiry(c: Client, _: u8) {
    c.set::<(), _, _>("k", "v", Some(Expiration::PX(30)), None, false).await.unwrap();
    until("the key to expire", || async { c.get::<Option<String>, _>("k").await.unwrap().is_none() }).await;
    equal(c.ttl::<i64, _>("k").await.unwrap(), -2);
    c.set::<(), _, _>("k", "v", Some(Expiration::EX(100)), None, false).await.unwrap();
    ok((99..=100).contains(&c.ttl::<i64, _>("k").await.unwrap()), "TTL");
}

async fn pipelines_and_transactions(c: Client, resp: u8) {
    let p = c.pipeline();
    for _ in 0..3000 {
        p.incr::<(), _>("p").await.unwrap();
    }
    equal(p.all::<Vec<i64>>().await.unwrap(), (1..=3000).collect());
    let t = c.multi();
    t.set::<(), _, _>("a", 1, None, None, false).await.unwrap();
    t.incr::<(), _>("a").await.unwrap();
    equal(t.exec::<(String, i64)>(true).await.unwrap(), ("OK".into(), 2));
    let other = client(resp).await;
    words::<()>(&c, "WATCH a").await.unwrap();
    other.set::<(), _, _>("a", 100, None, None, false).await.unwrap();
    let t = c.multi();
    t.set::<(), _, _>("a", 0, None, None, false).await.unwrap();
    equal(t.exec::<Value>(true).await.ok().filter(|v| !v.is_null()).is_none(), true);
    equal(c.get::<i64, _>("a").await.unwrap(), 100);
    other.quit().await.unwrap();
}

async fn subscriptions(c: Client, resp: u8) {
    let other = client(resp).await;
    let mut heard = other.message_rx();
    other.subscribe("news").await.unwrap();
    other.psubscribe("n*").await.unwrap();
    equal(c.publish::<i64, _, _>("news", "one").await.unwrap(), 2);
    for _ in 0..2 {
        let message = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.unwrap().unwrap();
        equal((message.channel.to_string(), message.value.as_string()), ("news".to_string(), Some("one".into())));
    }
    other.unsubscribe("news").await.unwrap();
    equal(c.publish::<i64, _, _>("news", "two").await.unwrap(), 1);
    other.quit().await.unwrap();
}

async fn blocking(c: Client, resp: u8) {
    let other = client(resp).await;
    let push = async {
        until("a blocked client", || async { words::<String>(&other, "INFO clients").await.unwrap().contains("blocked_clients:1\r") }).await;
        other.rpush::<(), _, _>("q", "v").await.unwrap();
    };
    let (got, ()) = tokio::join!(c.blpop::<(String, String), _>(vec!["none", "q"], 20.0), push);
    equal(got.unwrap(), ("q".into(), "v".into()));
    let late = c.blpop::<Option<(String, String)>, _>("none", 0.1).await;
    ok(matches!(late, Ok(None)) || late.is_err_and(|e| matches!(e.kind(), ErrorKind::Timeout | ErrorKind::NotFound)), "BLPOP did not time out");
    other.quit().await.unwrap();
}

async fn iteration(c: Client, _: u8) {
    let p = c.pipeline();
    for i in 0..3000 {
        p.set::<(), _, _>(format!("key:{i}"), i, None, None, false).await.unwrap();
        p.sadd::<(), _, _>("s", i).await.unwrap();
    }
    p.all::<Value>().await.unwrap();
    for command in ["SCAN", "SSCAN s"] {
        let (mut cursor, mut seen) = ("0".to_string(), std::collections::HashSet::new());
        loop {
            let page: (String, Vec<String>) = words(&c, &format!("{command} {cursor} COUNT 100")).await.unwrap();
            seen.extend(page.1);
            cursor = page.0;
            if cursor == "0" {
                break;
            }
        }
        equal(seen.len(), if command == "SCAN" { 3001 } else { 3000 });
    }
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
    run!(connecting types streams expiry pipelines_and_transactions subscriptions blocking iteration big_and_binary errors reconnecting server);
    end()
}
