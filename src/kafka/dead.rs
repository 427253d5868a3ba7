//! Records that could not be applied, on their way to a dead-letter topic or stream and back.
//!
//! A letter holds the record as it came and where it came from. In a stream these are fields; in a topic the record is
//! as it was, and the rest are headers that begin with `tidewater.`.
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::fetch::Message;
use super::record::Record;
use super::status::Class;

/// One failed record with its origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    pub pipeline: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub class: String,
    pub error: String,
    /// Commands of the record that had been run when one failed.
    pub done: usize,
}

/// Headers of a record in a dead-letter topic that are ours.
const OURS: &str = "tidewater.";

impl Letter {
    pub fn new(pipeline: &str, message: &Message<'_>, class: Class, error: &str, done: usize) -> Self {
        let mut letter = Letter {
            pipeline: pipeline.into(),
            topic: message.topic().into(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().unwrap_or(-1),
            key: message.key().map(<[u8]>::to_vec),
            value: message.value().map(<[u8]>::to_vec),
            headers: Vec::new(),
            class: class.name().into(),
            error: error.into(),
            done,
        };
        message.for_each_header(|name, value| letter.headers.push((name.into(), value.map(<[u8]>::to_vec))));
        letter
    }

    /// After it failed once more.
    pub fn again(&self, class: Class, error: &str, done: usize) -> Self {
        Letter { class: class.name().into(), error: error.into(), done, ..self.clone() }
    }

    /// An entry of a stream; `None` for one that is no letter.
    pub fn of(fields: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Option<Self> {
        let mut letter = Letter::default();
        for (name, value) in fields {
            match &*name {
                b"key" => letter.key = Some(value),
                b"value" => letter.value = Some(value),
                name => match name.strip_prefix(b"header:") {
                    Some(name) => {
                        letter.headers.push((String::from_utf8_lossy(name).into_owned(), Some(value)));
                    }
                    None => letter.set(name, &value)?,
                },
            }
        }
        (!letter.pipeline.is_empty()).then_some(letter)
    }

    /// A record of a dead-letter topic; `None` for one that is no letter.
    pub fn from_message(message: &Message<'_>) -> Option<Self> {
        let mut letter = Letter {
            key: message.key().map(<[u8]>::to_vec),
            value: message.value().map(<[u8]>::to_vec),
            ..Letter::default()
        };
        let mut sound = true;
        message.for_each_header(|name, value| match name.strip_prefix(OURS) {
            Some(name) => sound &= letter.set(name.as_bytes(), value.unwrap_or_default()).is_some(),
            None => letter.headers.push((name.into(), value.map(<[u8]>::to_vec))),
        });
        (sound && !letter.pipeline.is_empty()).then_some(letter)
    }

    /// Sets a field of `origin`; others are somebody else's.
    fn set(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"pipeline" => self.pipeline = text(),
            b"topic" => self.topic = text(),
            b"class" => self.class = text(),
            b"error" => self.error = text(),
            b"partition" => self.partition = text().parse().ok()?,
            b"offset" => self.offset = text().parse().ok()?,
            b"timestamp" => self.timestamp = text().parse().ok()?,
            b"done" => self.done = text().parse().ok()?,
            _ => {}
        }
        Some(())
    }

    fn origin(&self) -> [(&'static str, String); 8] {
        [
            ("pipeline", self.pipeline.clone()),
            ("topic", self.topic.clone()),
            ("partition", self.partition.to_string()),
            ("offset", self.offset.to_string()),
            ("timestamp", self.timestamp.to_string()),
            ("class", self.class.clone()),
            ("error", self.error.clone()),
            ("done", self.done.to_string()),
        ]
    }

    /// The command that adds it to a stream.
    pub fn xadd(&self, stream: &[u8]) -> Vec<Vec<u8>> {
        let mut args = vec![b"xadd".to_vec(), stream.to_vec(), b"*".to_vec()];
        for (name, value) in self.origin() {
            args.extend([name.into(), value.into_bytes()]);
        }
        let (key, value) = (self.key.as_ref().map(|v| ("key", v)), self.value.as_ref().map(|v| ("value", v)));
        for (name, value) in key.into_iter().chain(value) {
            args.extend([name.into(), value.clone()]);
        }
        for (name, value) in &self.headers {
            args.extend([format!("header:{name}").into_bytes(), value.clone().unwrap_or_default()]);
        }
        args
    }
}

impl Record for Letter {
    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn topic(&self) -> &str {
        &self.topic
    }

    fn partition(&self) -> i32 {
        self.partition
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp(&self) -> Option<i64> {
        (self.timestamp >= 0).then_some(self.timestamp)
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(n, _)| n == name).and_then(|(_, value)| value.as_deref())
    }
}

/// Counts what arrived and what did not.
#[derive(Default)]
struct Counts {
    arrived: AtomicU32,
    lost: AtomicU32,
}

#[derive(Clone, Default)]
struct Receipts(Arc<Counts>);

impl ClientContext for Receipts {}

impl ProducerContext for Receipts {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        let count = if result.is_ok() { &self.0.arrived } else { &self.0.lost };
        count.fetch_add(1, Ordering::Release);
    }
}

/// A producer of dead letters.
pub struct DeadLetters {
    producer: BaseProducer<Receipts>,
    receipts: Receipts,
}

/// How long one letter may take to arrive.
const DELIVERY: Duration = Duration::from_secs(30);

impl DeadLetters {
    pub fn open(connection: &ClientConfig) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        // The rest of a connection's properties are a consumer's.
        for (name, value) in connection.config_map() {
            let ours = ["bootstrap.servers", "security.protocol", "client.id"].contains(&name);
            if ours || name.starts_with("sasl.") || name.starts_with("ssl.") || name.starts_with("enable.ssl")
            {
                config.set(name, value);
            }
        }
        // A pipeline waits for each letter.
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("delivery.timeout.ms", DELIVERY.as_millis().to_string());
        let receipts = Receipts::default();
        let producer = config.create_with_context(receipts.clone())?;
        Ok(DeadLetters { producer, receipts })
    }

    /// Sends a letter and waits until the brokers have it. Fails when they do not, or `stop` says so.
    pub fn send(&self, topic: &str, letter: &Letter, stop: &dyn Fn() -> bool) -> Result<(), KafkaError> {
        let mut headers = OwnedHeaders::new();
        for (name, value) in &letter.headers {
            headers = headers.insert(Header { key: name, value: value.as_deref() });
        }
        for (name, value) in letter.origin() {
            headers = headers.insert(Header { key: &format!("{OURS}{name}"), value: Some(value.as_bytes()) });
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).headers(headers);
        record.key = letter.key.as_deref();
        record.payload = letter.value.as_deref();
        if letter.timestamp >= 0 {
            record = record.timestamp(letter.timestamp);
        }
        let counts = &self.receipts.0;
        let before = counts.arrived.load(Ordering::Acquire);
        self.producer.send(record).map_err(|(error, _)| error)?;
        let began = Instant::now();
        while counts.arrived.load(Ordering::Acquire) == before {
            self.producer.poll(Duration::from_millis(50));
            if counts.lost.load(Ordering::Acquire) > 0 || stop() || began.elapsed() > DELIVERY {
                self.producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
                return Err(KafkaError::MessageProduction(rdkafka::error::RDKafkaErrorCode::MessageTimedOut));
            }
        }
        Ok(())
    }
}
