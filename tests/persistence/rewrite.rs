//! The rewrite of the append-only file as commands.
use super::{Folder, Running, until};
use crate::support::wire::Wire;

/// Everything of which commands tell, made by commands.
const LINES: &[&str] = &[
    "SET text some",
    "SET number -12",
    "APPEND number 3",
    "SETRANGE large 200000 x",
    "RPUSH list a 1 -5 b",
    "SADD ints 1 2 3",
    "SADD words a b 3",
    "ZADD zset 1 a 2.5 b -inf c 0.1 d",
    "HSET hash f v g 1",
    "HPEXPIREAT hash 4000000000000 FIELDS 1 f",
    "HSET gone f v g 1",
    "HPEXPIRE gone 50 FIELDS 1 f",
    "SET soon v PX 50",
    "PEXPIREAT list 4000000000001",
    "XADD stream 1-1 f v",
    "XADD stream 2-1 f v g w",
    "XADD stream 3-1 f v",
    "XADD stream 9-1 f v",
    "XDEL stream 9-1 1-1",
    "XGROUP CREATE stream readers 0",
    "XGROUP CREATE stream others $ ENTRIESREAD 3",
    "XREADGROUP GROUP readers me COUNT 2 STREAMS stream >",
    "XCLAIM stream readers you 0 2-1 RETRYCOUNT 7 JUSTID",
    "XGROUP CREATECONSUMER stream others idle",
    "XGROUP CREATE empty g 0 MKSTREAM",
    "XADD emptied 5-5 f v",
    "XDEL emptied 5-5",
    "SELECT 3",
    "SET text elsewhere",
    "SELECT 0",
];

#[test]
fn every_type_goes_round_as_commands() {
    let folder = Folder::new("commands");
    let options = [
        "--appendonly",
        "yes",
        "--aof-use-rdb-preamble",
        "no",
        "--save",
        "",
        "--aof-timestamp-enabled",
        "yes",
    ];
    let server = Running::start(&folder, &[&options[..], &["--enable-debug-command", "yes"]].concat());
    let mut client = Wire::connect(server.port);
    for (line, reply) in LINES.iter().zip(client.pipeline(LINES)) {
        assert!(!reply.is_error(), "{line}: {}", reply.show());
    }
    // More than one command takes.
    for i in 0..1000 {
        client.pipeline(&[
            &format!("RPUSH longlist {i}"),
            &format!("SADD table m{i}"),
            &format!("ZADD tree {i}.5 m{i}"),
            &format!("HSET fields f{i} v{i}"),
            &format!("HPEXPIREAT fields {} FIELDS 1 f{i}", 4_000_000_000_000u64 + i),
            &format!("XADD log {i}-7 n {i}"),
        ]);
    }
    until("two have expired", || {
        client.ask("EXISTS soon").int() == Some(0) && client.ask("HLEN gone").int() == Some(1)
    });
    let questions = [
        "DEBUG DIGEST",
        "DBSIZE",
        "HPEXPIRETIME hash FIELDS 2 f g",
        "HPEXPIRETIME fields FIELDS 2 f0 f999",
        "PEXPIRETIME list",
        "XINFO STREAM stream",
        "XINFO GROUPS stream",
        "XPENDING stream readers - + 10 you",
        "XPENDING stream readers",
        "XINFO GROUPS empty",
        "XINFO STREAM emptied",
        "GET large",
    ];
    let look = |client: &mut Wire| -> Vec<String> {
        let told = client.pipeline(&questions).into_iter();
        // Without what the shape of a tree tells, and how long ago something was.
        let told = told.zip(questions).map(|(node, question)| match question {
            "XINFO STREAM stream" | "XINFO STREAM emptied" => {
                let parts =
                    node.parts.chunks(2).filter(|p| !p[0].raw.windows(10).any(|w| w == b"radix-tree"));
                parts.map(|p| p[1].show()).collect::<Vec<_>>().join(" ")
            }
            "XPENDING stream readers - + 10 you" => {
                format!("{} {}", node.parts[0].parts[0].show(), node.parts[0].parts[3].show())
            }
            _ => node.raw.escape_ascii().to_string(),
        });
        told.collect()
    };
    let before = look(&mut client);
    assert!(!client.ask("BGREWRITEAOF").is_error());
    until("the rewrite", || server.link().info("aof_rewrite_in_progress") == "0");
    assert_eq!(server.link().info("aof_last_bgrewrite_status"), "ok");
    let dir = folder.path().join("appendonlydir");
    let base = std::fs::read(dir.join("appendonly.aof.2.base.aof")).expect("a base of commands");
    assert!(base.starts_with(b"#TS:"), "{}", base[..20].escape_ascii());
    assert!(!base.windows(5).any(|w| w == b"REDIS"));
    assert_eq!(client.ask("DEBUG LOADAOF").raw, b"+OK\r\n", "{}", server.log());
    for ((before, after), question) in before.iter().zip(look(&mut client)).zip(questions) {
        assert_eq!(*before, after, "{question}");
    }
    assert!(!server.log().contains("were refused"), "{}", server.log());
    assert_eq!(client.ask("CONFIG SET aof-use-rdb-preamble yes").raw, b"+OK\r\n");
    assert!(!client.ask("BGREWRITEAOF").is_error());
    until("the rewrite", || server.link().info("aof_rewrite_in_progress") == "0");
    assert!(dir.join("appendonly.aof.3.base.rdb").exists());
}

/// FLUSHALL saves the empty dump where there are save points; BGSAVE waits for that brief save.
#[test]
fn a_delay_of_the_next_save_does_not_catch_the_one_that_flushall_began() {
    let folder = Folder::new("delay");
    let server = Running::start(&folder, &["--save", "3600 1"]);
    let mut client = Wire::connect(server.port);
    for _ in 0..20 {
        let replies = client.pipeline(&[
            "FLUSHALL",
            "SET k v",
            "CONFIG SET rdb-key-save-delay 10000000",
            "BGSAVE",
            "CONFIG SET rdb-key-save-delay 0",
        ]);
        assert_eq!(replies[3].raw, b"+Background saving started\r\n");
        until("the save's end", || {
            let info = client.pipeline(&["INFO persistence"]).remove(0);
            String::from_utf8_lossy(&info.raw).contains("rdb_bgsave_in_progress:0")
        });
    }
}
