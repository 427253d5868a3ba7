//! KAFKA RETRY: dead letters are applied once more, by the pipeline's own thread, in the order in which they lie.
//!
//! A letter in a stream leaves it in the step that applies it. One in a topic cannot leave: how far each partition has
//! been retried is stored in that step. A letter that fails again goes to the end, with the commands that have been run
//! by then.
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::error::RDKafkaErrorCode;

use super::dead::Letter;
use super::definition::OnError;
use super::fetch::{Fetched, Source};
use super::record::{Record, Rendered, Verdict};
use super::runner::{ASK, RECORD_BYTES_MAX, Runner, Stepped, run_commands};
use super::status::Class;
use super::store;
use crate::command::{CommandError, Context};
use crate::server::evict::Room;
use crate::value::cell::Cell;
use crate::value::cell::Type;
use crate::value::stream::Stream;
use crate::value::stream::id::{ID_TEXT_MAX, StreamId};

/// What became of the letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    pub applied: u64,
    /// They are dead letters again.
    pub failed: u64,
}

impl Retried {
    fn total(self) -> u64 {
        self.applied + self.failed
    }

    fn add(&mut self, fate: &Fate) {
        match fate {
            Fate::Applied => self.applied += 1,
            Fate::Failed { .. } => self.failed += 1,
            Fate::Gone => {}
        }
    }
}

type Answer = Result<Retried, String>;

/// One request: how many letters at most, and where the answer goes.
struct Ask {
    most: u64,
    answer: Sender<Answer>,
}

/// The requests for one pipeline's thread.
#[derive(Default)]
pub struct Asks {
    /// None while no thread serves them.
    waiting: Mutex<Option<Vec<Ask>>>,
}

impl Asks {
    pub fn open(&self) {
        *self.waiting.lock() = Some(Vec::new());
    }

    /// Whoever waits is told that nobody answers.
    pub fn close(&self) {
        *self.waiting.lock() = None;
    }

    /// `None` when no thread serves the pipeline. The receiver fails when the thread ends.
    pub fn ask(&self, most: u64) -> Option<Receiver<Answer>> {
        let (answer, receiver) = channel();
        self.waiting.lock().as_mut()?.push(Ask { most, answer });
        Some(receiver)
    }

    fn take(&self) -> Vec<Ask> {
        self.waiting.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// What a step made of a letter.
enum Fate {
    Applied,
    /// So many of its commands have been run by now.
    Failed {
        class: Class,
        why: String,
        done: usize,
    },
    /// Somebody took it meanwhile.
    Gone,
}

/// Letters read from a stream at once.
const LETTERS: usize = 64;
/// Beyond this, fewer.
const LETTERS_BYTES: usize = 4 << 20;
/// How long a dead-letter topic may be silent.
const SILENCE: Duration = Duration::from_secs(30);

impl Runner {
    /// Serves the requests that have come.
    pub(super) fn retry_asked(&mut self) {
        for ask in self.control.asks.take() {
            // After an ALTER the thread that follows this one answers: whoever asked hears nothing here, and asks again.
            if self.stored_now().is_ok_and(|stored| stored.definition != self.work.line) {
                continue;
            }
            let answer = match self.definition.on_error.clone() {
                OnError::Stream(key) => self.retry_stream(key.as_bytes(), ask.most),
                OnError::Dlq(topic) => self.retry_topic(&topic, ask.most),
                OnError::Fail | OnError::Skip => Err("the pipeline keeps no dead letters".into()),
            };
            // A client that went away needs no answer.
            let _ = ask.answer.send(answer);
        }
    }

    /// Why writes are kept out now.
    fn shut(&mut self) -> Result<(), String> {
        if self.control.stopping() {
            return Err("the pipeline ends".into());
        }
        if let Some(why) = self.engine.held() {
            return Err(why);
        }
        match self.engine.room(&mut self.work.worker) {
            Room::None => Err("used memory is over 'maxmemory'".into()),
            _ => Ok(()),
        }
    }

    fn retry_stream(&mut self, stream: &[u8], most: u64) -> Answer {
        let (mut retried, mut after) = (Retried::default(), StreamId::default());
        let Some(last) = self.with_stream(stream, Stream::last_live_id)?.flatten() else {
            return Ok(retried);
        };
        while retried.total() < most {
            let letters = self.with_stream(stream, |s| read_letters(s, after, last))?.unwrap_or_default();
            let Some((newest, _)) = letters.last() else { break };
            let next = newest.next();
            for (id, letter) in letters {
                let Some(letter) = letter.filter(|l| l.pipeline == self.name) else { continue };
                if retried.total() == most {
                    break;
                }
                self.shut()?;
                let mut text = [0; ID_TEXT_MAX];
                let id_text = id.text(&mut text);
                let fate = self.apply_letter(&letter, &[stream], |ctx, fate| {
                    let there =
                        ctx.keys.get_type(stream, Type::Stream)?.is_some_and(|c| stream_of(c).contains(id));
                    let Some(fate) = fate else { return Ok(there) };
                    let again = match fate {
                        Fate::Failed { class, why, done } if *done > letter.done => {
                            Some(letter.again(*class, why, *done))
                        }
                        Fate::Applied => None,
                        _ => return Ok(there),
                    };
                    store::nested(ctx, [b"xdel", stream, id_text])?;
                    if let Some(again) = again {
                        store::nested(ctx, again.xadd(stream))?;
                    }
                    Ok(there)
                })?;
                self.note(&letter, &fate);
                retried.add(&fate);
            }
            let Some(next) = next else { break };
            after = next;
        }
        Ok(retried)
    }

    fn with_stream<R>(&mut self, stream: &[u8], f: impl FnOnce(&Stream) -> R) -> Result<Option<R>, String> {
        let read = |ctx: &mut Context<'_>| {
            ctx.keys.get_type(stream, Type::Stream).map(|cell| cell.map(|c| f(stream_of(c))))
        };
        self.step_on(&[stream], read).map_err(|e| text_of(&e))
    }

    fn retry_topic(&mut self, topic: &str, most: u64) -> Answer {
        let say = |e: rdkafka::error::KafkaError| e.to_string();
        let mut config = self.connection.clone();
        config.set("enable.partition.eof", "true");
        let source = Source::open(&config, topic).map_err(say)?;
        let stored = self.stored_now()?;
        // From the next offset to retry to the end as it is now: what fails again comes behind it.
        let mut left: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        for p in source.partitions(ASK).map_err(say)? {
            let (low, high) = source.bounds(p, ASK).map_err(say)?;
            let from = stored.number(&store::retried_field(topic, p)).unwrap_or(low).max(low);
            if from < high {
                left.insert(p, (from, high));
            }
        }
        source.assign(left.iter().map(|(&p, &(from, _))| (p, from))).map_err(say)?;
        let (mut retried, mut fetched, mut heard) = (Retried::default(), Fetched::default(), Instant::now());
        while !left.is_empty() && retried.total() < most {
            self.shut()?;
            source.fetch(LETTERS, Duration::from_millis(200), &mut fetched);
            if let Some(complaint) = source.ear().take().filter(|_| heard.elapsed() > SILENCE) {
                return Err(complaint);
            }
            if heard.elapsed() > SILENCE {
                return Err(format!("{topic} is silent"));
            }
            for i in 0..fetched.len() {
                heard = Instant::now();
                let message = match fetched.get(i) {
                    Some(Ok(message)) => message,
                    Some(Err(error)) if error.code == RDKafkaErrorCode::PartitionEOF => {
                        left.remove(&error.partition);
                        continue;
                    }
                    Some(Err(error)) => return Err(error.text),
                    None => break,
                };
                let (p, at) = (message.partition(), message.offset());
                let Some(&(from, high)) = left.get(&p) else { continue };
                if at < from {
                    continue;
                }
                if at < high && retried.total() < most {
                    self.shut()?;
                    if let Some(letter) = Letter::from_message(&message).filter(|l| l.pipeline == self.name) {
                        let fate = self.retry_at(topic, p, from, at, letter)?;
                        retried.add(&fate);
                    }
                    left.insert(p, (at + 1, high));
                }
                if at + 1 >= high {
                    left.remove(&p);
                }
            }
        }
        Ok(retried)
    }

    /// A letter at an offset of the dead-letter topic; `from` is what is stored, or nothing is.
    fn retry_at(
        &mut self,
        topic: &str,
        p: i32,
        from: i64,
        at: i64,
        mut letter: Letter,
    ) -> Result<Fate, String> {
        let (next_field, done_field) = (store::retried_field(topic, p), store::retried_done_field(topic, p));
        let key = store::key_of(&self.name);
        let stored = self.stored_now()?;
        if let Some(done) = stored.field(&done_field).and_then(|v| v.split_once(' '))
            && done.0.parse() == Ok(at)
        {
            // A crash came between its commands and its way to the end.
            letter.done = done.1.parse().unwrap_or(letter.done);
        }
        let before = stored.number(&next_field);
        if before.is_some_and(|b| b > from.max(at)) {
            return Ok(Fate::Gone);
        }
        let next = (at + 1).to_string();
        let fate = self.apply_letter(&letter, &[&key], |ctx, fate| {
            let same = store::read(ctx, &key)?.is_some_and(|s| s.number(&next_field) == before);
            match fate {
                Some(Fate::Applied) => {
                    store::nested(ctx, [b"hset", &*key, next_field.as_bytes(), next.as_bytes()])?;
                    store::nested(ctx, [b"hdel", &*key, done_field.as_bytes()])?;
                }
                Some(Fate::Failed { done, .. }) if *done > letter.done => {
                    let value = format!("{at} {done}");
                    store::nested(ctx, [b"hset", &*key, done_field.as_bytes(), value.as_bytes()])?;
                }
                _ => {}
            }
            Ok(same)
        })?;
        self.note(&letter, &fate);
        if let Fate::Failed { class, why, done } = &fate {
            self.send_letter(topic, &letter.again(*class, why, *done)).map_err(|e| e.to_string())?;
            let moved = self.step_on(&[&key], |ctx| {
                store::nested(ctx, [b"hset", &*key, next_field.as_bytes(), next.as_bytes()])?;
                store::nested(ctx, [b"hdel", &*key, done_field.as_bytes()])
            });
            moved.map_err(|e| text_of(&e))?;
        }
        Ok(fate)
    }

    /// Runs a letter's commands as one step. `beside` is called in it twice: with no fate, to tell whether the letter is
    /// still where it was; and with its fate, to note that.
    fn apply_letter(
        &mut self,
        letter: &Letter,
        keys: &[&[u8]],
        beside: impl Fn(&mut Context<'_>, Option<&Fate>) -> Result<bool, CommandError>,
    ) -> Result<Fate, String> {
        let mut rendered = Rendered::new(RECORD_BYTES_MAX);
        let verdict = self.pipeline.render(letter, &mut rendered);
        let engine = self.engine.clone();
        let env = engine.env();
        let commands = rendered.iter().map(|(id, args)| (env.commands.get(id), args));
        let work = &mut self.work;
        let result = engine.step(
            &mut work.worker,
            &mut work.session,
            &mut work.reply,
            keys,
            commands,
            |ctx: &mut Context<'_>| {
                if !beside(ctx, None)? {
                    return Ok((Fate::Gone, 0));
                }
                let mut stepped = Stepped::default();
                let failed = match &verdict {
                    Err(e) => Some((Class::Record, e.to_string(), letter.done)),
                    Ok(Verdict::Apply) => {
                        run_commands(ctx, env.commands.rows(), &rendered, letter.done, &mut stepped)
                    }
                    Ok(_) => None,
                };
                let fate = match failed {
                    None => Fate::Applied,
                    Some((class, why, done)) => Fate::Failed { class, why, done },
                };
                beside(ctx, Some(&fate))?;
                Ok::<_, CommandError>((fate, stepped.commands))
            },
        );
        work.reply.clear();
        let (fate, commands) = result.map_err(|e| text_of(&e))?;
        self.status.with(|f| {
            f.commands += commands;
            f.retried += u64::from(matches!(fate, Fate::Applied));
        });
        Ok(fate)
    }

    fn note(&self, letter: &Letter, fate: &Fate) {
        if let Fate::Failed { class, why, .. } = fate {
            self.fail(*class, letter.partition, letter.offset, why);
        }
    }
}

/// The stream of a cell that is known to hold one.
fn stream_of(cell: &Cell) -> &Stream {
    cell.large()
}

/// Some of a stream's entries; `None` for one that is no letter.
fn read_letters(stream: &Stream, from: StreamId, to: StreamId) -> Vec<(StreamId, Option<Letter>)> {
    let mut bytes = 0;
    let entries = stream.range(from, to).take(LETTERS).map(|(id, fields)| {
        let fields = fields.map(|(name, value)| (name.to_vec(), value.to_vec()));
        (id, Letter::of(fields.inspect(|(name, value)| bytes += name.len() + value.len())), bytes)
    });
    let mut letters = Vec::new();
    for (id, letter, bytes) in entries {
        letters.push((id, letter));
        if bytes > LETTERS_BYTES {
            break;
        }
    }
    letters
}

fn text_of(error: &CommandError) -> String {
    String::from_utf8_lossy(error.as_bytes()).into_owned()
}
