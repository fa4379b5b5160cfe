//! The server on a network in memory. Time is tokio's, paused.

use postbox::{MemoryNetwork, Stats};
use tokio::time::timeout;

use super::*;

const SERVER: &str = "192.0.2.1:8125";

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    /// What was written since.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *lock(&self.0))).unwrap()
    }
}

/// Lets somebody send to a server that writes each ten seconds, and then stops it. Answers what it
/// writes at the end.
async fn serve(talk: impl AsyncFnOnce(&dyn Fn(&[u8]), &Output)) -> (String, Stats) {
    let output = Output::default();
    let network = MemoryNetwork::new();
    let (client, address) = ("192.0.2.2:1".parse().unwrap(), SERVER.parse().unwrap());
    let server = statsd(Duration::from_secs(10), output.clone())
        .bind_memory(&network, address)
        .unwrap();
    let send = |datagram: &[u8]| network.send_from(client, datagram, address).unwrap();
    let handle = server.handle();
    let talking = async {
        handle.started().await.unwrap();
        talk(&send, &output).await;
    };
    let serving = server.serve_until_drained(talking, Duration::from_secs(60));
    serving.await.unwrap();
    let stats = handle.stats();
    assert_eq!(stats.sent, 0, "nothing is ever answered");
    (output.take(), stats)
}

/// What is written of these datagrams, without the line that ends it.
async fn sum(datagrams: &[&str]) -> String {
    let (text, stats) = serve(async |send, _| {
        for datagram in datagrams {
            send(datagram.as_bytes());
        }
    })
    .await;
    assert_eq!(stats.malformed, 0);
    let (lines, end) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(end.ends_with("bad_lines 0 over_bound 0"), "{end}");
    lines.to_owned()
}

#[tokio::test(start_paused = true)]
async fn each_kind_is_summed_up_in_its_way() {
    for (datagrams, expected) in [
        (&["a:1|c", "a:2|c", "a:-5|c"][..], "counter a -2"),
        (&["a:3|c|@0.1", "a:1|c|@0.5", "a:1|c|@1"], "counter a 33"),
        (&["a:0.25|c"], "counter a 0.25"),
        (&["g:5|g", "g:7.5|g"], "gauge g 7.5"),
        (&["g:+5|g", "g:-7|g", "g:+0.5|g"], "gauge g -1.5"),
        (&["g:9|g", "g:0|g\ng:-5|g"], "gauge g -5"), // how a negative one is set
        (
            &["t:10|ms", "t:1|ms", "t:4|ms"],
            "timer t count 3 lower 1 mean 5 upper 10",
        ),
        (
            &["t:10|h", "t:20|ms|@0.25"],
            "timer t count 5 lower 10 mean 15 upper 20",
        ),
        (&["s:ann|s\ns:bob|s", "s:ann|s"], "set s 2"),
        (
            &["a:1|c\r\n\na:2|g\na:3|ms\na:4|s\n"],
            "counter a 1\ngauge a 2\ntimer a count 1 lower 3 mean 3 upper 3\nset a 1",
        ),
    ] {
        assert_eq!(sum(datagrams).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn each_flush_begins_anew_but_for_gauges() {
    let (last, _) = serve(async |send, output| {
        send(b"a:1|c\nb:2|g\nc:3|ms\nd:4|s");
        sleep(Duration::from_secs(10)).await; // until all else waits
        let first = "counter a 1\ngauge b 2\ntimer c count 1 lower 3 mean 3 upper 3\nset d 1\n\
                     flush metrics 4 bad_lines 0 over_bound 0\n";
        sleep(Duration::from_secs(1)).await;
        assert_eq!(output.take(), first);
        sleep(Duration::from_secs(10)).await;
        let second = "gauge b 2\nflush metrics 0 bad_lines 0 over_bound 0\n";
        assert_eq!(output.take(), second);
        send(b"a:5|c\nb:+1|g");
    })
    .await;
    let last_one = "counter a 5\ngauge b 3\nflush metrics 2 bad_lines 0 over_bound 0\n";
    assert_eq!(last, last_one);
}

#[tokio::test(start_paused = true)]
async fn a_gauge_that_nobody_sets_is_forgotten() {
    serve(async |send, output| {
        send(b"old:1|g\nnew:1|g");
        sleep(Duration::from_secs(601)).await;
        assert_eq!(output.take().matches("gauge old 1").count(), 60);
        send(b"new:2|g");
        sleep(Duration::from_secs(20)).await;
        let text = output.take();
        assert_eq!(text.matches("gauge old 1").count(), 1, "{text}");
        assert_eq!(text.matches("gauge new 2").count(), 2, "{text}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_line_is_counted_and_its_neighbours_are_too() {
    let long = format!("{}:1|c", "a".repeat(256));
    let bad = [
        "a",
        ":1|c",
        "a:1",
        "a:|c",
        "a:1|",
        "a:1|x",
        "a:x|c",
        "a:inf|c",
        "a:nan|g",
        "a:1e999|c",
        "a:1|c|0.5",
        "a:1|c|@0",
        "a:1|c|@2",
        "a:1|c|@-1",
        "a:1|c|@nan",
        "a:1|c|@",
        "a:1|c|@1|x",
        "a:1|c|#tag:b",
        "a b:1|c",
        "a\tb:1|c",
        "ä:1|c",
        "a:|s",
        "a:b c|s",
        &long,
    ];
    let (text, stats) = serve(async |send, _| {
        for line in bad {
            send(line.as_bytes());
            send(format!("good:1|c\n{line}\ngood:1|c").as_bytes());
        }
        for datagram in [&b""[..], b"\n\n", b"a:\xff|s"] {
            send(datagram);
        }
    })
    .await;
    let count = bad.len();
    assert_eq!(stats.malformed, count as u64 + 3);
    let expected = format!(
        "counter good {}\nflush metrics {} bad_lines {count} over_bound 0\n",
        2 * count,
        2 * count
    );
    assert_eq!(text, expected);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_names_is_bounded() {
    let (text, _) = serve(async |send, output| {
        for name in 0..10_001 {
            send(format!("n{name}:1|{}", ["c", "g", "ms", "s"][name % 4]).as_bytes());
        }
        send(b"n0:1|c\nn1:1|g\nn2:1|ms\nn3:2|s"); // those that are known go on
        send(b"n0:1|g"); // of another kind it is another name
        sleep(Duration::from_secs(11)).await;
        let text = output.take();
        assert_eq!(text.lines().count(), 10_001);
        assert!(text.contains("counter n0 2\n") && text.contains("set n3 2\n"));
        assert!(text.ends_with("flush metrics 10004 bad_lines 0 over_bound 2\n"));
        send(b"n10000:1|c"); // only gauges have kept theirs
    })
    .await;
    assert!(text.contains("counter n10000 1\n"));
    assert!(text.ends_with("flush metrics 1 bad_lines 0 over_bound 0\n"));

    let (text, _) = serve(async |send, _| {
        for first in (0..100_000).step_by(1000) {
            let members = first..first + 1000;
            let lines: String = members.map(|n| format!("s{}:{n}|s\n", n % 2)).collect();
            send(lines.as_bytes());
        }
        send(b"s0:-1|s\ns2:0|s");
        send(b"s0:0|s");
    })
    .await;
    let end =
        "set s0 50000\nset s1 50000\nset s2 0\nflush metrics 100001 bad_lines 0 over_bound 2\n";
    assert_eq!(text, end);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_write_ends() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let network = MemoryNetwork::new();
    let server = statsd(Duration::from_secs(1), Full)
        .bind_memory(&network, SERVER.parse().unwrap())
        .unwrap();
    let serving = timeout(Duration::from_secs(60), server.serve_forever());
    let error = serving.await.expect("it ends by itself").unwrap_err();
    let mut chain = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    assert!(chain.any(|error| error.to_string().contains("no storage space")));
}
