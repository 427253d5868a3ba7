//! Crashes, failures and both, at every operation of a run of the writer: what was said to be durable is read back, in order.
//!
//! The data set is a list of numbers: the n-th thing that happened is n. So whatever is read back must be 0, 1, 2, ... up to
//! somewhere, and not before what was promised.
use super::load::{self, LoadError, Refused, Sink};
use super::reader::Chunk;
use super::store::Sizes;
use super::sync_log::BLOCK;
use super::writer::{Cut, Health};
use super::{BaseFormat, Layout, Store, Writer};
use crate::base::disk::fault::{Fault, FaultDisk, Op};
use crate::base::disk::{Disk, DiskRead};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

fn layout() -> Layout {
    Layout::new(Path::new("/data"), "dir", "x.aof")
}

fn disk(seed: u64) -> FaultDisk {
    let disk = FaultDisk::new(seed);
    disk.create_dir(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn push(out: &mut Vec<u8>, n: u64) {
    let n = n.to_string();
    // Every fourth as a transaction.
    let (begin, end) = match n.ends_with(['3', '7']) {
        true => ("*1\r\n$5\r\nMULTI\r\n", "*1\r\n$4\r\nEXEC\r\n"),
        false => ("", ""),
    };
    let _ = write!(out, "{begin}*2\r\n$3\r\nadd\r\n${}\r\n{n}\r\n{end}", n.len());
}

#[derive(Default)]
struct Numbers(Vec<u64>);

impl Sink for Numbers {
    fn rdb(&mut self, _: &mut dyn DiskRead, _: u64) -> Result<u64, Refused> {
        Err(Refused { offset: Some(9), reason: "Bad RDB".into() })
    }

    fn commands(&mut self, chunk: Chunk) -> Result<Chunk, Refused> {
        for command in chunk.steps().flat_map(|step| step.commands().collect::<Vec<_>>()) {
            let number = command.args.get(1).and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
            let reason = || format!("Unknown command '{}'", command.args.name().escape_ascii());
            let refused = || Refused { offset: Some(command.offset), reason: reason() };
            self.0.push(number.ok_or_else(refused)?);
        }
        Ok(chunk)
    }
}

fn read_back(disk: &FaultDisk) -> Result<(Store, Vec<u64>), LoadError> {
    let mut store = Store::load(Arc::new(disk.clone()), layout())?;
    store.take_over_old_style()?;
    store.recover_from_sync_log()?;
    let mut numbers = Numbers::default();
    load::load(&store, load::Options { load_truncated: true }, &mut numbers, |_| ())?;
    Ok((store, numbers.0))
}

#[derive(Clone, Copy, Debug)]
enum Do {
    Add(u64),
    Sync,
    Rotate,
    Base,
    Adopt,
    Clean,
}
use Do::*;

/// As a server's thread would drive the writer.
struct Driver {
    disk: FaultDisk,
    writer: Writer,
    log: Option<usize>,
    /// How many numbers there are, how many of them the writer took, and how many are promised.
    count: u64,
    written: u64,
    durable: u64,
    /// Durable once the pending file is adopted.
    synced: u64,
    cut: Option<(Cut, u64)>,
    has_base: bool,
}

/// Room for two or three groups, so that it is full often.
const SYNC_LOG: usize = 3 * BLOCK;
/// Without a sync log and with one.
const BOTH: [Option<usize>; 2] = [None, Some(SYNC_LOG)];

impl Driver {
    fn start(disk: &FaultDisk) -> Result<Driver, Box<dyn std::error::Error>> {
        Driver::start_with(disk, None)
    }

    fn start_with(disk: &FaultDisk, log: Option<usize>) -> Result<Driver, Box<dyn std::error::Error>> {
        let (mut store, numbers) = read_back(disk)?;
        store.remove_temporary_files();
        let count = numbers.len() as u64;
        if store.manifest().is_empty() {
            store.create_dir()?;
            base(disk, count)?;
            store.adopt_base(BaseFormat::Aof)?;
        }
        let (disk, mut writer) = (disk.clone(), Writer::open(store)?);
        writer.use_sync_log(log)?;
        let (cut, has_base) = (None, false);
        Ok(Driver { disk, writer, log, count, written: count, durable: count, synced: 0, cut, has_base })
    }

    fn flush(&mut self) -> bool {
        let mut bytes = Vec::new();
        (self.written..self.count).for_each(|n| push(&mut bytes, n));
        let done = self.writer.append(&bytes).is_ok();
        if done {
            self.written = self.count;
        }
        done
    }

    fn sync(&mut self) {
        let _ = self.writer.use_sync_log(self.log);
        if self.flush() && self.writer.sync().is_ok() {
            self.synced = self.count;
            if !self.writer.is_pending() {
                self.durable = self.count;
            }
        }
    }

    fn run(&mut self, step: Do) {
        match step {
            Add(n) => {
                self.count += n;
                self.flush();
            }
            Sync => self.sync(),
            Rotate => {
                self.flush();
                if let Ok(cut) = self.writer.rotate() {
                    self.cut = Some((cut, self.count));
                    (self.written, self.synced) = (self.count, self.count);
                }
                self.has_base = false;
            }
            Base => {
                let Some((_, count)) = self.cut else { return };
                self.has_base = base(&self.disk, count).is_ok();
            }
            Adopt => {
                let Some((cut, count)) = self.cut.take().filter(|_| self.has_base) else { return };
                let was_pending = self.writer.is_pending();
                if self.writer.adopt_base(cut, BaseFormat::Aof).is_ok() {
                    self.durable = self.durable.max(count);
                    if was_pending {
                        self.durable = self.durable.max(self.synced);
                    }
                }
            }
            Clean => {
                let _ = self.writer.remove_history();
            }
        }
    }
}

fn base(disk: &FaultDisk, count: u64) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    (0..count).for_each(|n| push(&mut bytes, n));
    let mut file = disk.create(&layout().temp_base())?;
    file.write_all(&bytes)?;
    file.sync_all()
}

const SCRIPT: &[Do] = &[
    Add(2),
    Sync,
    Add(1),
    Add(3),
    Sync,
    Add(2),
    Rotate,
    Add(1),
    Sync,
    Base,
    Add(1),
    Adopt,
    Add(1),
    Sync,
    Clean,
    Add(2),
    // A rewrite that comes to nothing, and one after it.
    Rotate,
    Add(1),
    Sync,
    Base,
    Rotate,
    Add(2),
    Base,
    Sync,
    Add(1),
    Adopt,
    Clean,
    Add(1),
    Sync,
    Add(4),
];

/// Runs the script until the power fails. What was there then, and what was promised.
fn run(disk: &FaultDisk, log: Option<usize>) -> (u64, u64) {
    let Ok(mut driver) = Driver::start_with(disk, log) else { return (0, 0) };
    for &step in SCRIPT {
        if disk.is_off() {
            break;
        }
        driver.run(step);
    }
    (driver.count, driver.durable)
}

/// What is there after the crash, checked; then a second life, with another crash.
fn check(disk: &FaultDisk, count: u64, durable: u64, story: &str) {
    check_with(disk, count, durable, None, story);
}

fn check_with(disk: &FaultDisk, count: u64, durable: u64, log: Option<usize>, story: &str) {
    let numbers = match read_back(disk) {
        Ok((_, numbers)) => numbers,
        Err(e) => panic!("{story}: {e}\n{}", disk.log().join("\n")),
    };
    let all: Vec<u64> = (0..numbers.len() as u64).collect();
    assert_eq!(numbers, all, "{story}: in order, none missing\n{}", disk.log().join("\n"));
    let found = numbers.len() as u64;
    assert!(
        found >= durable && found <= count,
        "{story}: {found} of {count}, {durable} promised\n{}",
        disk.log().join("\n")
    );
    let mut driver = Driver::start_with(disk, log).unwrap_or_else(|e| panic!("{story}: {e}"));
    assert_eq!(driver.count, found);
    for step in [Add(2), Sync, Rotate, Add(1), Base, Adopt, Clean, Add(1), Sync] {
        driver.run(step);
    }
    assert_eq!((driver.durable, driver.writer.health()), (found + 4, Health::Good), "{story}");
    disk.crash_losing_all();
    assert_eq!(read_back(disk).unwrap().1.len() as u64, found + 4, "{story}");
    let files = disk.list(layout().dir()).unwrap();
    // The log has been made use of, and is gone.
    assert_eq!(files.len(), 3, "{story}: a manifest, a base, an incremental file: {files:?}");
}

fn operations(log: Option<usize>) -> u64 {
    let disk = disk(0);
    let (count, durable) = run(&disk, log);
    assert_eq!((count, durable), (22, 18));
    disk.ops()
}

#[test]
fn a_crash_at_any_operation_loses_nothing_promised() {
    for log in BOTH {
        let all = operations(log);
        assert!(all > 60, "{all}");
        for seed in 0..12 {
            for at in 2..=all {
                let disk = disk(seed);
                disk.crash_at(at);
                let (count, durable) = run(&disk, log);
                assert_eq!(disk.is_off(), at < all, "{at}");
                disk.crash();
                check_with(&disk, count, durable, log, &format!("log {log:?}, seed {seed}, crash at {at}"));
            }
        }
    }
}

/// Nothing is on disk then but what was synced: the rest is in the log.
#[test]
fn a_crash_that_loses_all_it_can_loses_nothing_promised() {
    for log in BOTH {
        for at in 2..=operations(log) {
            let disk = disk(at);
            disk.crash_at(at);
            let (count, durable) = run(&disk, log);
            disk.crash_losing_all();
            check_with(&disk, count, durable, log, &format!("log {log:?}, crash at {at}"));
        }
    }
}

#[test]
fn a_process_that_is_killed_loses_nothing_written() {
    for log in BOTH {
        for at in 2..=operations(log) {
            let disk = disk(at);
            disk.crash_at(at);
            let (count, durable) = run(&disk, log);
            disk.kill();
            check_with(&disk, count, durable, log, &format!("log {log:?}, killed at {at}"));
        }
    }
}

/// An operation fails, the script goes on; what is promised holds, and a rewrite mends what is left.
#[test]
fn a_failure_at_any_operation_is_survived() {
    for (log, fault) in BOTH.into_iter().flat_map(|log| [(log, Fault::Io), (log, Fault::Full)]) {
        for at in 2..operations(log) {
            let disk = disk(at);
            disk.fail_at(at, fault);
            let story = format!("log {log:?}, {fault:?} at {at}");
            let Ok(mut driver) = Driver::start_with(&disk, log) else { continue };
            SCRIPT.iter().for_each(|&step| driver.run(step));
            let mut rewrites = 0;
            while driver.writer.health() != Health::Good || driver.written < driver.count {
                rewrites += 1;
                assert!(rewrites < 3, "{story}: {:?}", driver.writer.health());
                [Sync, Rotate, Base, Adopt, Sync].into_iter().for_each(|step| driver.run(step));
            }
            [Clean, Add(1), Sync].into_iter().for_each(|step| driver.run(step));
            assert_eq!(driver.durable, driver.count, "{story}");
            disk.crash_losing_all();
            check_with(&disk, driver.count, driver.durable, log, &story);
        }
    }
}

#[test]
fn a_failure_and_then_a_crash_lose_nothing_promised() {
    for (log, fault) in BOTH.into_iter().flat_map(|log| [(log, Fault::Io), (log, Fault::Full)]) {
        let all = operations(log);
        for failed in 2..all {
            // A log makes every run three times as long.
            let step = if log.is_some() { 4 } else { 1 } + failed as usize % 3;
            for crash in (failed + 1..all + 6).step_by(step) {
                let disk = disk(failed * 1000 + crash);
                disk.fail_at(failed, fault);
                disk.crash_at(crash);
                let (count, durable) = run(&disk, log);
                disk.crash();
                let story = format!("log {log:?}, {fault:?} at {failed}, crash at {crash}");
                check_with(&disk, count, durable, log, &story);
            }
        }
    }
}

/// A log that breaks costs the log; one that is full, or wanted no longer, a sync of the file.
#[test]
fn syncs_go_to_the_log_and_when_it_fails_to_the_file() {
    let disk = disk(1);
    let mut driver = Driver::start_with(&disk, Some(SYNC_LOG)).unwrap();
    let count = |disk: &FaultDisk, op: Op| {
        let name = format!("{op:?} ");
        disk.log().iter().filter(|line| line.contains(&name)).count()
    };
    let syncs = count(&disk, Op::Sync);
    for _ in 0..8 {
        [Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    }
    // Of four groups three fit.
    assert_eq!((count(&disk, Op::Overwrite), count(&disk, Op::Sync) - syncs), (6, 2));
    assert_eq!(driver.writer.file_lag_bytes(), 0);
    [Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    assert!(driver.writer.file_lag_bytes() > 0 && driver.writer.unsynced_bytes() == 0);
    disk.fail(Op::Overwrite, Fault::Io, 1);
    [Add(1), Sync, Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    assert_eq!((driver.durable, driver.writer.health()), (11, Health::Good));
    assert_eq!((count(&disk, Op::Overwrite), driver.writer.file_lag_bytes()), (8, 0));
    assert!(!disk.exists(&layout().sync_log()).unwrap());
    // A new file, a new attempt.
    for step in [Rotate, Base, Adopt, Clean, Add(1), Sync, Add(1), Sync] {
        driver.run(step);
    }
    assert_eq!(count(&disk, Op::Overwrite), 9);
    driver.log = None;
    [Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    assert!(driver.writer.file_lag_bytes() == 0 && !disk.exists(&layout().sync_log()).unwrap());
    disk.crash_losing_all();
    check(&disk, 14, 14, "after the log");
}

/// The file's sync fails after the log has vouched: what was promised is in the log, whatever became of the file.
#[test]
fn what_a_failed_sync_took_from_the_file_is_in_the_log() {
    let disk = disk(1);
    let mut driver = Driver::start_with(&disk, Some(SYNC_LOG)).unwrap();
    [Add(3), Sync, Add(2), Sync].into_iter().for_each(|step| driver.run(step));
    disk.fail(Op::Sync, Fault::Io, 1);
    assert!(driver.writer.sync_file().is_err());
    [Add(1), Sync, Rotate, Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    assert_eq!(driver.durable, 5);
    disk.crash_losing_all();
    check_with(&disk, 7, 5, Some(SYNC_LOG), "a failed sync of the file");
}

#[test]
fn a_log_that_does_not_fit_the_file_stops_the_start() {
    let disk = disk(1);
    let mut driver = Driver::start_with(&disk, Some(SYNC_LOG)).unwrap();
    [Add(3), Sync].into_iter().for_each(|step| driver.run(step));
    disk.crash_losing_all();
    let incr = layout().path("x.aof.1.incr.aof");
    let mut other = Vec::new();
    push(&mut other, 9);
    disk.open_append(&incr).unwrap().write_all(&other).unwrap();
    let e = read_back(&disk).map(|_| ()).unwrap_err().to_string();
    assert!(
        e.starts_with("The sync log /data/dir/x.aof.sync does not fit the append-only file x.aof.1.incr.aof"),
        "{e}"
    );
    assert_eq!(disk.read(&incr, 1 << 20).unwrap(), other, "nothing is changed");
    disk.remove(&layout().sync_log()).unwrap();
    assert_eq!(read_back(&disk).unwrap().1, [9]);
}

/// As in a copy that was made while the server ran.
#[test]
fn a_log_that_goes_on_behind_the_files_end_is_not_used() {
    let disk = disk(1);
    let mut driver = Driver::start_with(&disk, Some(SYNC_LOG)).unwrap();
    [Add(3), Sync].into_iter().for_each(|step| driver.run(step));
    driver.writer.sync_file().unwrap();
    [Add(2), Sync].into_iter().for_each(|step| driver.run(step));
    disk.kill();
    let incr = layout().path("x.aof.1.incr.aof");
    let mut bytes = Vec::new();
    push(&mut bytes, 0);
    disk.create(&incr).unwrap().write_all(&bytes).unwrap();
    assert_eq!(read_back(&disk).unwrap().1, [0]);
    assert!(!disk.exists(&layout().sync_log()).unwrap(), "the file will grow past it");
    let mut driver = Driver::start_with(&disk, Some(SYNC_LOG)).unwrap();
    [Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    disk.crash_losing_all();
    check(&disk, 2, 2, "after the copy");
}

#[test]
fn a_full_disk_is_waited_out() {
    let disk = disk(1);
    let mut driver = Driver::start(&disk).unwrap();
    [Add(3), Sync].into_iter().for_each(|step| driver.run(step));
    disk.set_capacity(Some(disk.used() + 10));
    [Add(1), Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    assert!(matches!(driver.writer.health(), Health::Failing(why) if why.contains("write")));
    let before = driver.writer.incr_bytes();
    assert_eq!(
        disk.size(&layout().path(driver.writer.name())).unwrap(),
        before,
        "the short write was undone"
    );
    disk.set_capacity(None);
    driver.run(Sync);
    assert_eq!((driver.writer.health(), driver.durable), (Health::Good, 5));
    assert!(driver.writer.incr_bytes() > before && driver.writer.unsynced_bytes() == 0);
    disk.crash_losing_all();
    check(&disk, 5, 5, "full");
}

#[test]
fn after_a_failed_sync_only_a_rewrite_helps() {
    let disk = disk(1);
    let mut driver = Driver::start(&disk).unwrap();
    [Add(3), Sync, Add(2)].into_iter().for_each(|step| driver.run(step));
    disk.fail(Op::Sync, Fault::Io, 1);
    [Sync, Sync, Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    assert!(matches!(driver.writer.health(), Health::Failed(why) if why.contains("fsync")));
    assert_eq!(driver.durable, 3);
    [Rotate, Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    assert!(matches!(driver.writer.health(), Health::Recovering(_)) && driver.writer.is_pending());
    assert_eq!(driver.durable, 3, "what is written now counts later");
    [Base, Adopt].into_iter().for_each(|step| driver.run(step));
    assert_eq!((driver.writer.health(), driver.durable), (Health::Good, 7));
    driver.run(Clean);
    assert_eq!(
        driver.writer.manifest().text(),
        b"file x.aof.2.base.aof seq 2 type b\nfile x.aof.2.incr.aof seq 2 type i\n"
    );
    disk.crash_losing_all();
    check(&disk, 7, 7, "failed sync");
}

#[test]
fn switched_on_at_run_time_it_counts_after_the_first_rewrite() {
    let disk = disk(1);
    // Files of an earlier time are the truth until then.
    let mut driver = Driver::start(&disk).unwrap();
    [Add(2), Sync].into_iter().for_each(|step| driver.run(step));
    let (store, closed) = driver.writer.close();
    closed.unwrap();
    let (mut writer, cut) = Writer::open_pending(store).unwrap();
    let mut bytes = Vec::new();
    push(&mut bytes, 2);
    writer.append(&bytes).unwrap();
    writer.sync().unwrap();
    assert!(writer.is_pending() && writer.health() == Health::Good);
    disk.kill();
    assert_eq!(read_back(&disk).unwrap().1, [0, 1]);

    let (store, _) = read_back(&disk).unwrap();
    assert!(disk.exists(&layout().temp_incr()).unwrap());
    store.remove_temporary_files();
    assert!(!disk.exists(&layout().temp_incr()).unwrap());
    assert!(writer.adopt_base(cut, BaseFormat::Aof).is_err(), "of another life");
    let (mut writer, cut) = Writer::open_pending(store).unwrap();
    // The first try comes to nothing.
    writer.abandon_base();
    let again = writer.rotate().unwrap();
    assert_eq!((again, writer.health()), (cut, Health::Good));
    writer.append(&bytes).unwrap();
    writer.sync().unwrap();
    base(&disk, 2).unwrap();
    writer.adopt_base(again, BaseFormat::Rdb).unwrap();
    assert!(writer.total_bytes() > writer.base_bytes() && writer.base_bytes() > 0 && !writer.is_pending());
    assert_eq!(writer.name(), "x.aof.2.incr.aof");
    assert!(writer.adopt_base(again, BaseFormat::Rdb).is_err(), "a cut is used once");
    disk.crash_losing_all();
    assert_eq!(read_back(&disk).unwrap().1, [0, 1, 2]);
}

#[test]
fn a_rewrite_without_a_writer_leaves_only_a_base() {
    let disk = disk(1);
    let mut driver = Driver::start(&disk).unwrap();
    [Add(2), Sync].into_iter().for_each(|step| driver.run(step));
    let (mut store, _) = driver.writer.close();
    base(&disk, 2).unwrap();
    store.adopt_base(BaseFormat::Aof).unwrap();
    let kept = "file x.aof.2.base.aof seq 2 type b\nfile x.aof.1.incr.aof seq 1 type h\nfile x.aof.1.base.aof seq 1 type h\n";
    assert_eq!(String::from_utf8(store.manifest().text()).unwrap(), kept);
    store.remove_history().unwrap();
    disk.crash_losing_all();
    assert_eq!(disk.list(layout().dir()).unwrap().len(), 2);
    check(&disk, 2, 2, "off");
}

#[test]
fn an_old_single_file_is_taken_over() {
    let mut bytes = Vec::new();
    (0..5).for_each(|n| push(&mut bytes, n));
    for seed in 0..6 {
        for at in 0..12 {
            let disk = disk(seed);
            let mut file = disk.create(&layout().old_style()).unwrap();
            file.write_all(&bytes).unwrap();
            file.sync_all().unwrap();
            disk.sync_dir(Path::new("/data")).unwrap();
            disk.crash_at(disk.ops() + at);
            let _ = read_back(&disk);
            disk.crash();
            let (store, numbers) = read_back(&disk).unwrap();
            assert_eq!(numbers, [0, 1, 2, 3, 4], "crash at {at}");
            assert_eq!(store.manifest().text(), b"file x.aof seq 1 type b\n");
            assert!(!disk.exists(&layout().old_style()).unwrap());
            check(&disk, 5, 5, "taken over");
        }
    }
    // With a manifest of its own, or a file already in the directory, it is left alone.
    let disk = disk(1);
    drop(Driver::start(&disk).unwrap());
    disk.create(&layout().old_style()).unwrap().write_all(&bytes).unwrap();
    assert!(read_back(&disk).unwrap().1.is_empty());
    assert!(disk.exists(&layout().old_style()).unwrap());
}

fn put(disk: &FaultDisk, name: &str, bytes: &[u8]) {
    disk.create_dir(layout().dir()).unwrap();
    disk.create(&layout().path(name)).unwrap().write_all(bytes).unwrap();
}

fn refusal(disk: &FaultDisk, load_truncated: bool) -> String {
    let store = match Store::load(Arc::new(disk.clone()), layout()) {
        Ok(store) => store,
        Err(e) => return e.to_string(),
    };
    load::load(&store, load::Options { load_truncated }, &mut Numbers::default(), |_| ())
        .unwrap_err()
        .to_string()
}

#[test]
fn what_cannot_be_loaded_is_said_in_words_that_people_search_for() {
    let disk = disk(1);
    let whole = b"*2\r\n$3\r\nadd\r\n$1\r\n0\r\n".as_slice();
    put(&disk, "x.aof.manifest", b"file x.aof.1.base.aof seq 1 type b\nfile x.aof.1.incr.aof seq 1 type i\n");
    put(&disk, "x.aof.1.base.aof", whole);
    let text = refusal(&disk, true);
    assert!(text.contains("x.aof.1.incr.aof ") && text.contains("No such file or directory"), "{text}");
    put(&disk, "x.aof.1.incr.aof", &[whole, b"!!!", whole].concat());
    let text = refusal(&disk, true);
    assert!(
        text.starts_with("Bad file format reading the append only file x.aof.1.incr.aof: at offset 20: "),
        "{text}"
    );
    put(&disk, "x.aof.1.incr.aof", &[whole, b"*1\r\n$3\r\nbla\r\n"].concat());
    let text = refusal(&disk, true);
    assert_eq!(text, "Unknown command 'bla' reading the append only file x.aof.1.incr.aof at offset 20");
    put(&disk, "x.aof.1.incr.aof", &[whole, b"*1\r\n"].concat());
    let text = refusal(&disk, false);
    assert!(
        text.starts_with("Unexpected end of file reading the append only file x.aof.1.incr.aof: "),
        "{text}"
    );
    assert_eq!(disk.size(&layout().path("x.aof.1.incr.aof")).unwrap(), 24, "nothing is changed");
    let (store, numbers) = read_back(&disk).unwrap();
    assert_eq!((numbers.len(), store.sizes().unwrap()), (2, Sizes { base: 20, total: 40 }));
    put(&disk, "x.aof.1.base.aof", &[whole, b"*1\r\n"].concat());
    assert!(refusal(&disk, true).starts_with("Fatal error: the truncated file is not the last file"));
    put(&disk, "x.aof.1.base.aof", b"REDIS0009");
    assert!(
        refusal(&disk, true).starts_with("Bad RDB reading the append only file x.aof.1.base.aof at offset 9")
    );
    put(&disk, "x.aof.manifest", b"\n");
    assert!(refusal(&disk, true).ends_with("Invalid AOF manifest file format"));
}

/// What a failed write left out comes before everything in the next file, so that must not follow this one.
#[test]
fn a_rewrite_after_a_failed_write_leaves_no_gap() {
    let disk = disk(1);
    let mut driver = Driver::start(&disk).unwrap();
    [Add(3), Sync].into_iter().for_each(|step| driver.run(step));
    disk.fail(Op::Write, Fault::Full, 2);
    [Add(1), Rotate, Add(1), Sync].into_iter().for_each(|step| driver.run(step));
    assert!(matches!(driver.writer.health(), Health::Recovering(_)) && driver.writer.is_pending());
    assert_eq!(driver.durable, 3);
    disk.crash();
    check(&disk, 5, 3, "a gap");
}

#[test]
fn files_that_lost_their_manifest_are_not_written_over() {
    let disk = disk(1);
    let mut driver = Driver::start(&disk).unwrap();
    [Add(3), Sync].into_iter().for_each(|step| driver.run(step));
    disk.remove(&layout().manifest()).unwrap();
    let incr = disk.read(&layout().path("x.aof.1.incr.aof"), 1 << 20).unwrap();
    let driver = Driver::start(&disk).unwrap();
    assert_eq!((driver.count, driver.writer.name()), (0, std::ffi::OsStr::new("x.aof.2.incr.aof")));
    assert_eq!(disk.read(&layout().path("x.aof.1.incr.aof"), 1 << 20).unwrap(), incr);
}
