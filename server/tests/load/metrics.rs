//! L7: what a server counts and measures, given to a `metrics` recorder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use postbox_server::{Client, Requests, ServerBuilder, Stats};

use crate::common::*;
use crate::{contract, paused};

/// A recorder in memory.
#[derive(Default)]
struct Seen {
    /// By name and labels, as Prometheus prints them.
    values: Mutex<BTreeMap<String, Arc<Value>>>,
    described: Mutex<BTreeMap<String, (Option<Unit>, String)>>,
}

#[derive(Default)]
struct Value(Mutex<Vec<f64>>);

impl Value {
    fn set(&self, value: f64) {
        *self.0.lock().unwrap() = vec![value];
    }
}

impl CounterFn for Value {
    fn increment(&self, _: u64) {
        panic!("counters are told as they are");
    }
    fn absolute(&self, value: u64) {
        self.set(value as f64);
    }
}

impl GaugeFn for Value {
    fn increment(&self, _: f64) {
        panic!("gauges are told as they are");
    }
    fn decrement(&self, _: f64) {
        panic!("gauges are told as they are");
    }
    fn set(&self, value: f64) {
        Self::set(self, value);
    }
}

impl HistogramFn for Value {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl Seen {
    fn value(&self, key: &Key) -> Arc<Value> {
        let described = self.described.lock().unwrap();
        assert!(described.contains_key(key.name()), "{key}");
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        let mut values = self.values.lock().unwrap();
        Arc::clone(values.entry(name).or_default())
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>, help: SharedString) {
        let what = (unit, help.into_owned());
        let mut described = self.described.lock().unwrap();
        described.insert(name.as_str().to_owned(), what);
    }

    /// What was told last, or all that a histogram was given.
    fn of(&self, name: &str) -> Vec<f64> {
        let values = self.values.lock().unwrap();
        let value = values.get(name).unwrap_or_else(|| panic!("no {name}"));
        value.0.lock().unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        self.values.lock().unwrap().keys().cloned().collect()
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        assert!(name.as_str().ends_with("_total"), "{name:?}");
        self.describe(&name, unit, help);
    }
    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, help);
    }
    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        assert!(name.as_str().ends_with("_seconds") && unit == Some(Unit::Seconds));
        self.describe(&name, unit, help);
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.value(key))
    }
}

const HANDLERS: &str = "postbox_handler_duration_seconds{server=test}";
const QUEUE: &str = "postbox_queue_duration_seconds{server=test}";

/// The metric of each figure, and its value.
fn expected(stats: &Stats) -> BTreeMap<String, f64> {
    let name = |name: &str| match name {
        "queued" => "postbox_queued_datagrams{server=test}".to_owned(),
        "queued_bytes" | "waiting_clients" | "client_tasks" => {
            format!("postbox_{name}{{server=test}}")
        }
        "answers_forgotten" | "answers_abandoned" | "receive_errors" | "send_errors"
        | "tasks_cancelled" | "kernel_drops" => format!("postbox_{name}_total{{server=test}}"),
        _ => match name.split_once('_') {
            Some(("dropped", reason)) => {
                format!("postbox_datagrams_dropped_total{{server=test,reason={reason}}}")
            }
            Some(("handlers", outcome)) => {
                format!("postbox_handlers_total{{server=test,outcome={outcome}}}")
            }
            _ => format!("postbox_datagrams_{name}_total{{server=test}}"),
        },
    };
    let figures = stats.iter();
    figures
        .map(|figure| (name(figure.name), figure.value as f64))
        .collect()
}

/// Does what its request says.
async fn obey(
    client: Client<Bytes>,
    mut requests: Requests<Bytes>,
) -> Result<(), postbox_server::BoxError> {
    let request = requests.recv().await?;
    match &request[..] {
        b"fail" => return Err("no such thing".into()),
        b"wait" => drop(requests.recv().await?),
        _ => {}
    }
    client.send(request).await?;
    Ok(())
}

/// A handler that works a second on each of two requests, here or in another task.
fn working(elsewhere: bool) -> ServerBuilder {
    raw_server(move |client, mut requests| async move {
        let work = async move {
            for _ in 0..2 {
                let request = requests.recv().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
                client.send(request).await?;
            }
            Ok(())
        };
        match elsewhere {
            true => tokio::spawn(work).await?,
            false => work.await,
        }
    })
}

fn about(times: &[f64], expected: &[f64]) -> bool {
    let near = |(one, other): (&f64, &f64)| (one - other).abs() <= other / 16.0 + 0.002;
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.len() == expected.len() && times.iter().zip(expected).all(near)
}

contract! {
    async fn l7_every_figure_is_a_metric_with_its_unit_and_labels_of_fixed_sets(world: World) {
        let builder = raw_server(obey).admit(|incoming| incoming.len() != 6);
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        for text in ["refuse", "fail", "hello", "wait"] {
            peer.send(text).await;
        }
        assert_eq!(peer.recv_text().await, "hello");
        let stats = server.settled(4).await;
        server.stats_where(|stats| stats.waiting_clients == 1).await;
        let (seen, metrics) = (Seen::default(), server.handle.metrics("test"));
        metrics::with_local_recorder(&seen, || metrics.record());
        let expected = expected(&server.handle.stats());
        for (name, value) in &expected {
            assert_eq!(seen.of(name), [*value], "{name}");
        }
        assert_eq!(stats.dropped_refused, 1);
        let refused = "postbox_datagrams_refused_total{server=test,part=check}";
        assert_eq!(seen.of(refused), [1.0]);
        let buffers = server.handle.sockets();
        let granted = buffers.iter().map(|socket| socket.recv_buffer_size().unwrap()).min();
        let buffer = "postbox_receive_buffer_bytes{server=test}";
        if let Some(granted) = granted {
            assert_eq!(seen.of(buffer), [granted as f64]);
        }
        // And nothing else: no times, which were not asked for.
        let others = [refused, buffer];
        for name in seen.names() {
            assert!(expected.contains_key(&name) || others.contains(&&*name), "{name}");
        }
        for (name, (unit, help)) in &*seen.described.lock().unwrap() {
            let bytes = name.ends_with("_bytes");
            assert_eq!(*unit, Some(if bytes { Unit::Bytes } else { Unit::Count }), "{name}");
            assert!(help.len() > 10, "{name}: {help}");
        }
        // As it is then, also once serving has ended.
        peer.send("end").await;
        peer.recv().await;
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        metrics::with_local_recorder(&seen, || metrics.record());
        assert_eq!(seen.of("postbox_waiting_clients{server=test}"), [0.0]);
        let sent = "postbox_datagrams_sent_total{server=test}";
        assert_eq!(seen.of(sent), [handle.stats().sent as f64]);
        assert!(world.logs.take()[0].message.contains("no such thing"));
    }
}

paused! {
    async fn l7_handlers_and_queues_are_measured_where_asked_for_and_told_once(world: World) {
        for elsewhere in [false, true] {
            let server = world.serve(working(elsewhere).measure_times(true).grace(Duration::ZERO)).await;
            let peer = world.peer(server.addr).await;
            peer.send("first").await;
            server.stats_where_time_passes(|stats| stats.handed_out == 1).await;
            peer.send("second").await; // waits for the rest of the first one's second
            for text in ["first", "second"] {
                assert_eq!(peer.recv_text().await, text);
            }
            server.stats_where_time_passes(|stats| stats.handlers_returned == 1).await;
            let (seen, metrics) = (Seen::default(), server.handle.metrics("test"));
            let record = || metrics::with_local_recorder(&seen, || metrics.record());
            record();
            assert!(about(&seen.of(HANDLERS), &[2.0]), "{:?}", seen.of(HANDLERS));
            assert!(about(&seen.of(QUEUE), &[0.0, 1.0]), "{:?}", seen.of(QUEUE));
            record(); // nothing new
            assert_eq!((seen.of(HANDLERS).len(), seen.of(QUEUE).len()), (1, 2));
            // A run that a shutdown cancels was as long as it was.
            peer.send("third").await;
            server.stats_where_time_passes(|stats| stats.handed_out == 3).await;
            server.stop().await.unwrap();
            record();
            assert_eq!((seen.of(HANDLERS).len(), seen.of(QUEUE).len()), (2, 3));
        }
    }
}
