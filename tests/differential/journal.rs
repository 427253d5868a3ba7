//! The journal tells the whole story: whoever replays it has the same data.
use std::time::Duration;

use tidewater::journal::{Patience, Reader};

use super::generate::Generator;
use crate::support::Local;
use crate::support::wire::Args;

/// The commands that a reader finds.
pub fn commands(reader: &mut Reader) -> Vec<Args> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next(Patience::NONE) {
        bytes.extend_from_slice(&chunk.bytes);
    }
    parse(&bytes)
}

/// Arrays of bulk strings, one after the other.
fn parse(mut rest: &[u8]) -> Vec<Args> {
    fn line(from: &mut &[u8], kind: u8) -> usize {
        let end = from.iter().position(|b| *b == b'\n').expect("a line");
        assert_eq!(from[0], kind, "{}", String::from_utf8_lossy(&from[..end]));
        let n = std::str::from_utf8(&from[1..end - 1]).unwrap().parse().unwrap();
        *from = &from[end + 1..];
        n
    }
    let mut all = Vec::new();
    while !rest.is_empty() {
        let n = line(&mut rest, b'*');
        let args = (0..n).map(|_| {
            let len = line(&mut rest, b'$');
            let arg = rest[..len].to_vec();
            assert_eq!(&rest[len..len + 2], b"\r\n");
            rest = &rest[len + 2..];
            arg
        });
        all.push(args.collect());
    }
    all
}

/// All there is to say about the data: what DEBUG DIGEST says, and each key's TTL.
fn state(local: &mut Local) -> Vec<String> {
    let mut out = vec![local.run("DEBUG DIGEST")];
    for db in 0..super::DATABASES {
        local.run(&format!("SELECT {db}"));
        for key in parse(&local.raw(&["KEYS", "*"])).remove(0) {
            let ttl = local.run_args(&[b"PEXPIRETIME".as_slice(), &key]);
            let ty = local.run_args(&[b"TYPE".as_slice(), &key]);
            let digest = local.run_args(&[b"DEBUG".as_slice(), b"DIGEST-VALUE", &key]);
            out.push(format!("{db} {} {ty} {ttl} {digest}", String::from_utf8_lossy(&key)));
            if ty == "stream" {
                let ask: [&[&[u8]]; 3] =
                    [&[b"XINFO", b"GROUPS", &key], &[b"XPENDING", &key, b"g"], &[b"XPENDING", &key, b"h"]];
                let answers = ask.map(|args| String::from_utf8_lossy(&local.raw(args)).into_owned());
                out.push(format!("{db} {} {}", String::from_utf8_lossy(&key), answers.concat()));
            }
        }
    }
    out[1..].sort();
    out
}

#[test]
fn replaying_the_journal_gives_the_same_data() {
    let seed = super::seed();
    println!("TIDEWATER_SEED={seed}");
    let first = Local::new();
    let mut reader = first.engine.env().journal.subscribe();
    let mut generator = Generator::new(seed);
    let mut clients = [first.another(), first.another()];
    let mut blocked = Vec::new();
    let mut clock = first.another();
    for n in 0..super::STEPS {
        let c = n % 7 / 5;
        let step = generator.step(c);
        if step.args[0].eq_ignore_ascii_case(b"CONFIG") {
            // There is no configuration in process.
            continue;
        }
        let in_multi = clients[c].session().in_multi();
        let reply = clients[c].raw(&step.args);
        if reply.is_empty() && !in_multi && clients[c].session().client.waiter.lock().is_some() {
            blocked.push(std::mem::replace(&mut clients[c], first.another()));
        }
        if n % 50 == 0 {
            clock.advance(Duration::from_millis(3));
        }
    }
    for client in &mut clients {
        client.run("DISCARD");
    }
    // What is due must have gone on the first one, so that the journal says so.
    clock.advance(Duration::ZERO);
    let expected = state(&mut clients[0]);
    assert!(expected.len() > 20, "a stream leaves something behind");

    let second = Local::new();
    second.clock.advance(Duration::from_secs(1_000_000_000));
    let mut loader = second.loader();
    let commands = commands(&mut reader);
    assert!(commands.len() > super::STEPS / 5, "only {} effects", commands.len());
    for args in &commands {
        let reply = loader.raw(args);
        assert!(!reply.starts_with(b"-"), "{:?}: {}", super::show(args), String::from_utf8_lossy(&reply));
    }
    let got = state(&mut loader);
    let different: Vec<_> = expected.iter().filter(|line| !got.contains(line)).take(10).collect();
    let instead: Vec<_> = got.iter().filter(|line| !expected.contains(line)).take(10).collect();
    assert!(different.is_empty() && instead.is_empty(), "seed {seed:#x}: {different:#?} became {instead:#?}");
}
