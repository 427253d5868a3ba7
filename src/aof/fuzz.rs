//! What must hold for a file of any bytes, checked by panicking. The fuzz target calls it, and so does a test.
use super::manifest::Manifest;
use super::reader::{Chunk, ReadError, Reader};
use crate::resp::request::{ParseLimits, Parser, Status};
use std::io::Cursor;

/// The commands of a file, as far as they go, and how it ended: where it is whole up to, or what error.
type Outcome = (Vec<Vec<Vec<u8>>>, Result<(), (u64, bool, u64)>);

fn read(bytes: &[u8], piece: usize) -> Outcome {
    let mut reader =
        Reader::with_pieces(Box::new(Cursor::new(bytes.to_vec())), piece).expect("memory can be read");
    let mut chunk = Chunk::default();
    let mut all = Vec::new();
    let mut end = 0;
    let ended = loop {
        match reader.next_chunk(&mut chunk) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(ReadError::Truncated { whole, line, .. }) => break Err((whole, false, line)),
            Err(ReadError::Format { whole, at, line, .. }) => {
                assert!(at >= whole && at <= bytes.len() as u64);
                break Err((whole, true, line));
            }
            Err(other) => panic!("{other}"),
        }
        assert_eq!(chunk.offset(), end, "chunks follow each other");
        end = chunk.end();
        assert!(end > chunk.offset() && end == reader.offset());
        let steps: usize =
            chunk.steps().map(|step| step.commands().len() + 2 * usize::from(step.is_transaction)).sum();
        assert_eq!(steps, chunk.len(), "every command is in one step");
        for command in chunk.commands() {
            assert_eq!(bytes.get(usize::try_from(command.offset).unwrap_or(usize::MAX)), Some(&b'*'));
            all.push(command.args.iter().map(<[u8]>::to_vec).collect());
        }
    };
    assert_eq!(end, ended.map_or_else(|(whole, ..)| whole, |()| bytes.len() as u64));
    (all, ended)
}

/// 1. The size of the pieces in which a file is read changes nothing.
/// 2. Cut where it is said to be whole, it reads to its end, with the same commands.
/// 3. The parser of requests finds the same commands.
/// 4. Manifests of any bytes are read without harm.
pub fn check(data: &[u8]) {
    let outcome = read(data, 1 << 20);
    for piece in [1, usize::from(data.first().copied().unwrap_or(0)) % 61 + 2] {
        assert_eq!(read(data, piece), outcome, "pieces of {piece}");
    }
    let (commands, ended) = outcome;
    if let Err((whole, ..)) = ended {
        let whole = data.get(..usize::try_from(whole).unwrap_or(usize::MAX)).expect("within the file");
        assert_eq!(read(whole, 64), (commands.clone(), Ok(())));
    }

    let limits = ParseLimits { max_bulk: usize::MAX, ..Default::default() };
    let (mut rest, mut parser) = (data, Parser::new());
    for command in &commands {
        while rest.first() == Some(&b'#') {
            let line = rest.iter().position(|&b| b == b'\n').expect("the annotation's end");
            rest = rest.get(line + 1..).unwrap_or_default();
        }
        // Leading zeros are no number to clients.
        let Ok(Status::Complete { consumed }) = parser.next(rest, &limits) else { break };
        assert!(parser.args(rest).iter().eq(command.iter().map(Vec::as_slice)));
        rest = rest.get(consumed..).unwrap_or_default();
    }

    if let Ok(manifest) = Manifest::parse(data) {
        let text = manifest.text();
        assert!(text.is_empty() || Manifest::parse(&text) == Ok(manifest));
    }
}
