//! The limit for benches/kafka: a consumer of the `rdkafka` crate that does nothing with what it gets.
//!
//!     kafka_discard BOOTSTRAP TOPIC PARTITIONS RECORDS
//!
//! Prints the seconds from the first record to the last.
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [servers, topic, partitions, records] = args.as_slice() else {
        // `cargo bench` runs every bench without arguments.
        println!("kafka_discard BOOTSTRAP TOPIC PARTITIONS RECORDS; benches/kafka runs it");
        return;
    };
    let partitions: i32 = partitions.parse().expect("a number of partitions");
    let records: u64 = records.parse().expect("a number of records");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "kafka-discard")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for p in 0..partitions {
        list.add_partition_offset(topic, p, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("an assignment");
    let (mut seen, mut began) = (0, None);
    while seen < records {
        if let Some(message) = consumer.poll(Duration::from_secs(1)) {
            message.expect("a record");
            began.get_or_insert_with(Instant::now);
            seen += 1;
        }
    }
    println!("{:.3}", began.map_or(0.0, |at| at.elapsed().as_secs_f64()));
}
