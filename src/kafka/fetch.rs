//! A consumer of one topic's partitions, and the records that it brings, many at a time.
//!
//! The only place with librdkafka's own calls: the `rdkafka` crate hands out one record at a time, each in an event of
//! its own, which costs more than applying it. What is unsafe stays inside this file.
#![allow(unsafe_code)]
use std::ffi::{CStr, CString};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::bindings as raw;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::record::Record;

/// What librdkafka says aside: its log goes to ours, and its last complaint is kept for INFO.
#[derive(Default)]
pub struct Ear {
    complaint: Mutex<Option<String>>,
    buffered: AtomicU64,
}

impl Ear {
    /// The latest error of the client as a whole (brokers down, authentication), once.
    pub fn take(&self) -> Option<String> {
        self.complaint.lock().take()
    }

    /// Bytes that are fetched and not taken yet, as of about a second ago.
    pub fn buffered(&self) -> u64 {
        self.buffered.load(Ordering::Relaxed)
    }
}

/// Shared with librdkafka's threads.
#[derive(Clone, Default)]
pub struct Hearing(pub Arc<Ear>);

impl ClientContext for Hearing {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug => tracing::trace!("kafka: {fac}: {message}"),
            _ => tracing::debug!("kafka: {fac}: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        self.0.buffered.store(partitions.map(|p| p.fetchq_size).sum(), Ordering::Relaxed);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        *self.0.complaint.lock() = Some(format!("{code}: {reason}"));
    }
}

impl ConsumerContext for Hearing {}

/// A consumer with partitions of its own choice.
pub struct Source {
    // Fields are dropped in order: the client waits for its queues, and for what is in them.
    queue: Arc<Queue>,
    consumer: BaseConsumer<Hearing>,
    topic: String,
    topic_c: CString,
    ear: Arc<Ear>,
    /// The brokers do not tell ids.
    silent: AtomicBool,
}

/// librdkafka's queue of what a consumer received.
struct Queue(NonNull<raw::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are locked inside; every function on them may be called from any thread.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the pointer came from librdkafka, which counts references; this one is ours.
        unsafe { raw::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

impl Source {
    /// Connects lazily: brokers that are down show later.
    pub fn open(config: &ClientConfig, topic: &str) -> KafkaResult<Self> {
        let hearing = Hearing::default();
        let ear = hearing.0.clone();
        let consumer: BaseConsumer<Hearing> = config.create_with_context(hearing)?;
        // SAFETY: the client is alive; the queue is ours.
        let queue = unsafe { raw::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).ok_or(KafkaError::ClientCreation("no consumer queue".into()))?;
        let topic_c =
            CString::new(topic).map_err(|_| KafkaError::ClientCreation("the topic's name".into()))?;
        Ok(Source {
            consumer,
            queue: Arc::new(Queue(queue)),
            topic: topic.into(),
            topic_c,
            ear,
            silent: AtomicBool::new(false),
        })
    }

    pub fn ear(&self) -> &Ear {
        &self.ear
    }

    /// The topic's partitions, or why they cannot be told.
    pub fn partitions(&self, patience: Duration) -> KafkaResult<Vec<i32>> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), patience)?;
        let topic = metadata.topics().iter().find(|t| t.name() == self.topic);
        let Some(topic) = topic else {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        };
        if let Some(error) = topic.error() {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        if topic.partitions().is_empty() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        let mut ids: Vec<i32> = topic.partitions().iter().map(|p| p.id()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// First and next offset of a partition, from its leader.
    pub fn bounds(&self, partition: i32, patience: Duration) -> KafkaResult<(i64, i64)> {
        self.consumer.fetch_watermarks(&self.topic, partition, patience)
    }

    /// The next offset of a partition as the last fetch told it; no network.
    pub fn end(&self, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (0, 0);
        // SAFETY: the client and the name outlive the call; the results are plain integers.
        let error = unsafe {
            raw::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                self.topic_c.as_ptr(),
                partition,
                &mut low,
                &mut high,
            )
        };
        (error == raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// The offsets of the first records at or after a time, per partition; the end where there is none.
    pub fn offsets_at(
        &self,
        ms: i64,
        partitions: &[i32],
        patience: Duration,
    ) -> KafkaResult<Vec<Option<i64>>> {
        let mut list = TopicPartitionList::new();
        for &p in partitions {
            list.add_partition_offset(&self.topic, p, Offset::Offset(ms))?;
        }
        let found = self.consumer.offsets_for_times(list, patience)?;
        let offset = |p: i32| match found.find_partition(&self.topic, p)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok(partitions.iter().map(|&p| offset(p)).collect())
    }

    /// Reads these partitions from these offsets on, and no others.
    pub fn assign(&self, positions: impl Iterator<Item = (i32, i64)>) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            // Before anything is fetched: what the client as a whole has to say stays in the consumer's queue.
            // SAFETY: the client, the name and our queue outlive the calls; the partition's queue is given back.
            unsafe {
                let client = self.consumer.client().native_ptr();
                let own = raw::rd_kafka_queue_get_partition(client, self.topic_c.as_ptr(), partition);
                if let Some(own) = NonNull::new(own).map(Queue) {
                    raw::rd_kafka_queue_forward(own.0.as_ptr(), self.queue.0.as_ptr());
                }
            }
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        self.consumer.assign(&list)
    }

    /// The id that the brokers gave this topic when it was made, so that one of the same name can be told from it.
    /// `None` from brokers that know no ids, or do not say.
    pub fn topic_id(&self, patience: Duration) -> KafkaResult<Option<String>> {
        if self.silent.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let id = self.describe(patience);
        if let Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut)) = id {
            // Whoever has answered for the partitions a moment ago, and does not here, will not.
            self.silent.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        id
    }

    fn describe(&self, patience: Duration) -> KafkaResult<Option<String>> {
        let client = self.consumer.client().native_ptr();
        // SAFETY: each object is checked before use and destroyed once, after the last use of what it owns: the
        // result belongs to the event, the ids to the result.
        unsafe {
            let answers = raw::rd_kafka_queue_new(client);
            let Some(answers) = NonNull::new(answers).map(Queue) else { return Ok(None) };
            let mut names = [self.topic_c.as_ptr()];
            let topics = raw::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            let options = raw::rd_kafka_AdminOptions_new(
                client,
                raw::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            );
            let timeout = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
            let mut why = [0; 128];
            raw::rd_kafka_AdminOptions_set_request_timeout(options, timeout, why.as_mut_ptr(), why.len());
            raw::rd_kafka_DescribeTopics(client, topics, options, answers.0.as_ptr());
            raw::rd_kafka_AdminOptions_destroy(options);
            raw::rd_kafka_TopicCollection_destroy(topics);
            let event = raw::rd_kafka_queue_poll(answers.0.as_ptr(), timeout);
            if event.is_null() {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
            }
            let id = described_id(event);
            raw::rd_kafka_event_destroy(event);
            id
        }
    }

    /// Hears what the client as a whole has to say: `ear` tells. Fails when records came there, which are then lost to
    /// this source.
    pub fn listen(&self) -> Result<(), KafkaError> {
        while let Some(said) = self.consumer.poll(Duration::ZERO) {
            match said {
                Ok(_) => return Err(KafkaError::NoMessageReceived),
                Err(error) => *self.ear.complaint.lock() = Some(error.to_string()),
            }
        }
        Ok(())
    }

    /// Waits for records, at most so long, and takes at most `most` of what is there.
    pub fn fetch(&self, most: usize, patience: Duration, into: &mut Fetched) {
        into.clear();
        let wait = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // Asked for many, librdkafka would wait until it has as many.
        if self.take(1, wait, into) == 1 && most > 1 {
            self.take(most - 1, 0, into);
        }
    }

    fn take(&self, most: usize, wait_ms: i32, into: &mut Fetched) -> usize {
        into.messages.reserve(most);
        // SAFETY: there is room for `most` pointers behind `len`; librdkafka fills so many as it returns, each a
        // message that is ours to destroy.
        unsafe {
            let free = into.messages.as_mut_ptr().add(into.messages.len());
            let n = raw::rd_kafka_consume_batch_queue(self.queue.0.as_ptr(), wait_ms, free.cast(), most);
            let n = usize::try_from(n).unwrap_or(0).min(most);
            into.messages.set_len(into.messages.len() + n);
            n
        }
    }

    /// Ends a `fetch` that waits, from another thread.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let queue = Arc::downgrade(&self.queue);
        move || {
            if let Some(queue) = queue.upgrade() {
                // SAFETY: a reference is held.
                unsafe { raw::rd_kafka_queue_yield(queue.0.as_ptr()) }
            }
        }
    }
}

/// SAFETY: `event` is a live event, which the caller destroys afterwards.
unsafe fn described_id(event: *mut raw::rd_kafka_event_t) -> KafkaResult<Option<String>> {
    // SAFETY: all pointers belong to the event; nothing of them is kept.
    unsafe {
        let error = raw::rd_kafka_event_error(event);
        if error != raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        let result = raw::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Ok(None);
        }
        let mut n = 0;
        let topics = raw::rd_kafka_DescribeTopics_result_topics(result, &mut n);
        if n == 0 || topics.is_null() {
            return Ok(None);
        }
        let topic = *topics;
        let error = raw::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = raw::rd_kafka_error_code(error);
            if code != raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(KafkaError::MetadataFetch(code.into()));
            }
        }
        let id = raw::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return Ok(None);
        }
        let (high, low) =
            (raw::rd_kafka_Uuid_most_significant_bits(id), raw::rd_kafka_Uuid_least_significant_bits(id));
        Ok((high != 0 || low != 0).then(|| format!("{:016x}{:016x}", high as u64, low as u64)))
    }
}

/// Records of one fetch, owned until the next one.
#[derive(Default)]
pub struct Fetched {
    messages: Vec<NonNull<raw::rd_kafka_message_t>>,
}

// SAFETY: messages belong to whoever holds the pointers, on any thread.
unsafe impl Send for Fetched {}

impl Fetched {
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// A record, or the error that came in its place.
    pub fn get(&self, i: usize) -> Option<Result<Message<'_>, FetchError>> {
        let pointer = *self.messages.get(i)?;
        // SAFETY: the message lives until `clear`, which needs this to be borrowed no more.
        let message = unsafe { pointer.as_ref() };
        if message.err == raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Some(Ok(Message { raw: message }));
        }
        // SAFETY: librdkafka's text lives as long as the message; it is copied.
        let text = unsafe {
            let text = raw::rd_kafka_message_errstr(message);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Some(Err(FetchError { code: message.err.into(), partition: message.partition, text }))
    }

    pub fn clear(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: it is ours, and forgotten here.
            unsafe { raw::rd_kafka_message_destroy(message.as_ptr()) }
        }
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What a consumer's queue brings when it has no record.
#[derive(Debug, Clone)]
pub struct FetchError {
    pub code: RDKafkaErrorCode,
    pub partition: i32,
    pub text: String,
}

/// A record of the topic, borrowed from its fetch.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    raw: &'a raw::rd_kafka_message_t,
}

impl<'a> Message<'a> {
    fn headers(&self) -> *mut raw::rd_kafka_headers_t {
        let mut headers = null_mut();
        // SAFETY: the message is alive; the headers belong to it.
        unsafe { raw::rd_kafka_message_headers(self.raw, &mut headers) };
        headers
    }

    /// The headers in their order.
    pub fn for_each_header(&self, mut f: impl FnMut(&str, Option<&[u8]>)) {
        let headers = self.headers();
        if headers.is_null() {
            return;
        }
        for i in 0.. {
            let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the headers live as long as the message; past the last one the call fails.
            unsafe {
                let error = raw::rd_kafka_header_get_all(headers, i, &mut name, &mut value, &mut len);
                if error != raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                    return;
                }
                f(&CStr::from_ptr(name).to_string_lossy(), bytes(value.cast(), len));
            }
        }
    }
}

/// SAFETY: `start` is null, or `len` bytes lie there that live for `'a`.
unsafe fn bytes<'a>(start: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller vouches.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, len) })
}

impl Record for Message<'_> {
    fn key(&self) -> Option<&[u8]> {
        // SAFETY: librdkafka's span, alive with the message.
        unsafe { bytes(self.raw.key.cast(), self.raw.key_len) }
    }

    fn value(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.raw.payload.cast(), self.raw.len) }
    }

    fn topic(&self) -> &str {
        if self.raw.rkt.is_null() {
            return "";
        }
        // SAFETY: the message holds its topic, whose name is a C string that lives with it.
        unsafe { CStr::from_ptr(raw::rd_kafka_topic_name(self.raw.rkt)) }.to_str().unwrap_or("")
    }

    fn partition(&self) -> i32 {
        self.raw.partition
    }

    fn offset(&self) -> i64 {
        self.raw.offset
    }

    fn timestamp(&self) -> Option<i64> {
        // SAFETY: the message is alive; no kind of timestamp is asked for.
        let at = unsafe { raw::rd_kafka_message_timestamp(self.raw, null_mut()) };
        (at >= 0).then_some(at)
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        let headers = self.headers();
        if headers.is_null() {
            return None;
        }
        let name = CString::new(name).ok()?;
        let (mut value, mut len) = (std::ptr::null(), 0);
        // SAFETY: the headers live as long as the message.
        unsafe {
            let error = raw::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut len);
            if error == raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                bytes(value.cast(), len)
            } else {
                None
            }
        }
    }
}
