//! The server on a network in memory.

use std::fs::{self, File};

use postbox::{MemoryNetwork, Serializer, Stats};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::*;

const SERVER: &str = "192.0.2.1:514";

/// Sends each of these from an address, and answers what the file has then, and the counts.
async fn file_of(datagrams: &[(&str, &[u8])]) -> (String, Stats) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let (lines, to_write) = mpsc::channel(2); // so that many wait
    let network = MemoryNetwork::new();
    let server = syslog(lines)
        .bind_memory(&network, SERVER.parse().unwrap())
        .unwrap();
    let file = File::create(&path).unwrap();
    let writing = spawn_blocking(move || lines::write(to_write, file));
    let handle = server.handle();
    let talk = async {
        handle.started().await.unwrap();
        for (client, datagram) in datagrams {
            network
                .send_from(client.parse().unwrap(), datagram, SERVER.parse().unwrap())
                .unwrap();
        }
    };
    let serving = server.serve_until_drained(talk, Duration::from_secs(60));
    serving.await.unwrap();
    let stats = handle.stats();
    assert_eq!(stats.sent, 0, "nothing is ever answered");
    drop(server);
    let written = writing.await.unwrap().unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count() as u64, written);
    (text, stats)
}

/// The columns of one message, from the third on.
async fn columns(datagram: &[u8]) -> String {
    let (text, stats) = file_of(&[("198.51.100.7:514", datagram)]).await;
    assert_eq!(stats.malformed, 0, "{}", datagram.escape_ascii());
    let columns: Vec<&str> = text.trim_end_matches('\n').split('\t').collect();
    assert_eq!(columns.len(), 9, "{text}");
    assert_eq!(columns[0], "198.51.100.7:514");
    columns[1..].join(" | ")
}

/// Its own examples, of section 6.5.
#[tokio::test]
async fn messages_of_rfc_5424() {
    for (datagram, expected) in [
        (
            &b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for lonvick on /dev/pts/8"[..],
            "auth.crit | 2003-10-11T22:14:15.003Z | mymachine.example.com | su | - | ID47 | - | \
             'su root' failed for lonvick on /dev/pts/8",
        ),
        (
            b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            "local4.notice | 2003-08-24T05:14:15.000003-07:00 | 192.0.2.1 | myproc | 8710 | - | - | \
             %% It's time to make the do-nuts.",
        ),
        (
            br#"<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application"][examplePriority@32473 class="high"]"#,
            "local4.notice | 2003-10-11T22:14:15.003Z | h | evntslog | - | ID47 | \
             [exampleSDID@32473 iut=\"3\" eventSource=\"Application\"][examplePriority@32473 class=\"high\"] | ",
        ),
        (b"<0>1 - - - - - -", "kern.emerg | - | - | - | - | - | - | "),
        (b"<191>1 - - - - - - ", "local7.debug | - | - | - | - | - | - | "),
        (
            br#"<13>1 - - - - - [a][b c="\]\"\\"] x [y]"#,
            r#"user.notice | - | - | - | - | - | [a][b c="\]\"\\"] | x [y]"#,
        ),
    ] {
        assert_eq!(columns(datagram).await, expected);
    }
}

/// Its own examples, of section 5.4, and what else is sent.
#[tokio::test]
async fn messages_of_rfc_3164() {
    for (datagram, expected) in [
        (
            &b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8"[..],
            "auth.crit | Oct 11 22:14:15 | mymachine | su | - | - | - | \
             'su root' failed for lonvick on /dev/pts/8",
        ),
        (
            b"<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
            "user.notice | Feb  5 17:32:18 | 10.0.0.99 | - | - | - | - | Use the BFG!",
        ),
        (
            b"<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time",
            "local4.notice | Aug 24 05:34:00 | CST | - | - | - | - | 1987 mymachine myproc[10]: %% It's time",
        ),
        (
            b"<30>Nov 30 18:38:15 box cron.daily[123]: done\n\0",
            "daemon.info | Nov 30 18:38:15 | box | cron.daily | 123 | - | - | done",
        ),
        (
            b"<30>Nov 30 18:38:15 su: without a name",
            "daemon.info | Nov 30 18:38:15 | - | su | - | - | - | without a name",
        ),
        (
            b"<13>anything at all",
            "user.notice | - | - | - | - | - | - | anything at all",
        ),
        (
            b"<13>2 is no version here",
            "user.notice | - | - | - | - | - | - | 2 is no version here",
        ),
        (b"<13>a[1 b", "user.notice | - | - | - | - | - | - | a[1 b"),
        (b"<13>", "user.notice | - | - | - | - | - | - | "),
    ] {
        assert_eq!(columns(datagram).await, expected);
    }
}

#[tokio::test]
async fn no_message_forges_a_line_or_a_column() {
    let forged = b"<13>Nov 30 18:38:15 h\to a\nb[1\n]: text\r\n198.51.100.8:514\tkern.emerg\x1b[2J\x7f\xff\xc2\x85.";
    assert_eq!(
        columns(forged).await,
        "user.notice | Nov 30 18:38:15 | h#011o | a#012b | 1#012 | - | - | \
         text#015#012198.51.100.8:514#011kern.emerg#033[2J#177\u{fffd}#205."
    );
    let forged = b"<13>1 - - - - - [a b=\"\n\"] \xef\xbb\xbfc\0\n";
    assert_eq!(
        columns(forged).await,
        "user.notice | - | - | - | - | - | [a b=\"#012\"] | c#000#012"
    );
}

#[tokio::test]
async fn what_is_no_message_is_counted_and_not_written() {
    let long_name = [b"<13>1 - - ", &[b'a'; 49][..], b" - - - text"].concat();
    let long_parameter = [b"<13>1 - - - - - [", &[b'a'; 33][..], b"]"].concat();
    let bad: Vec<&[u8]> = vec![
        b"",
        b"text",
        b"<",
        b"<>text",
        b"<1",
        b"<192>text",
        b"<999>text",
        b"<1234>text",
        b"<013>text",
        b"<00>text",
        b"<-1>text",
        b"<1 >text",
        b"<13>1 ",
        b"<13>1 - - - - -",
        b"<13>1 - - - - - ",
        b"<13>1 - - - - - text",
        b"<13>1  - - - - -",
        b"<13>1 - h\xc3\xb6st - - - - text",
        b"<13>1 2003-10-11 - - - - - text",
        b"<13>1 2003-10-11T22:14:15 - - - - - text",
        b"<13>1 2003-10-11T22:14:15. - - - - - text",
        b"<13>1 2003-10-11T22:14:15.Z - - - - - text",
        b"<13>1 2003-10-11T22:14:15.1234567Z - - - - - text",
        b"<13>1 2003-10-11t22:14:15Z - - - - - text",
        b"<13>1 2003-10-11T22:14:15+0100 - - - - - text",
        b"<13>1 - - - - - -text",
        b"<13>1 - - - - - [] text",
        b"<13>1 - - - - - [a text",
        b"<13>1 - - - - - [a b] text",
        b"<13>1 - - - - - [a b=c] text",
        b"<13>1 - - - - - [a b=\"c] text",
        b"<13>1 - - - - - [a b=\"c]\"] text",
        b"<13>1 - - - - - [a b=\"c\\",
        b"<13>1 - - - - - [a b=\"c\"d] text",
        b"<13>1 - - - - - [a]text",
        &long_name,
        &long_parameter,
    ];
    for datagram in &bad {
        let parsed = Syslog.deserialize(datagram);
        assert!(parsed.is_err(), "{}: {parsed:?}", datagram.escape_ascii());
    }
    let mut datagrams: Vec<_> = bad.iter().map(|bad| ("192.0.2.2:514", *bad)).collect();
    datagrams.push(("192.0.2.2:514", b"<13>good"));
    let (text, stats) = file_of(&datagrams).await;
    assert_eq!(text, "192.0.2.2:514\tuser.notice\t-\t-\t-\t-\t-\t-\tgood\n");
    assert_eq!(stats.malformed, bad.len() as u64);
}

#[test]
fn a_damaged_message_harms_nobody() {
    let valid = br#"<165>1 2003-10-11T22:14:15.003Z h a 1 ID47 [x y="3" z="\]"] text"#;
    let old = b"<165>Oct 11 22:14:15 host tag[12]: text";
    for valid in [&valid[..], old] {
        for end in 0..=valid.len() {
            let _ = Syslog.deserialize(&valid[..end]);
        }
        for at in 0..valid.len() {
            for byte in 0..=255 {
                let mut damaged = valid.to_vec();
                damaged[at] = byte;
                if let Ok(message) = Syslog.deserialize(&damaged) {
                    let client = SERVER.parse().unwrap();
                    let line = Line { client, message }.to_string();
                    assert!(!line.contains('\n'));
                }
            }
        }
    }
}

/// Far more than the channel has room for, from several clients in turn.
#[tokio::test]
async fn a_burst_is_written_whole_and_each_clients_in_order() {
    let clients = ["192.0.2.2:1", "192.0.2.2:2", "192.0.2.3:1"];
    let messages: Vec<String> = (0..3000).map(|n| format!("<13>x: {}", n / 3)).collect();
    let datagrams: Vec<_> = (messages.iter().enumerate())
        .map(|(n, message)| (clients[n % 3], message.as_bytes()))
        .collect();
    let (text, stats) = file_of(&datagrams).await;
    assert_eq!((stats.received, stats.dropped()), (3000, 0));
    for client in clients {
        let begin = format!("{client}\t");
        let mine = text.lines().filter(|line| line.starts_with(&begin));
        let numbers: Vec<usize> = mine
            .map(|line| line.rsplit('\t').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    }
}

/// A disk that stands still holds up nobody but who sends more than the bounds allow: that is
/// dropped, and counted.
#[tokio::test]
async fn what_is_over_the_bounds_is_counted() {
    let (lines, mut to_write) = mpsc::channel(1);
    let network = MemoryNetwork::new();
    let server = syslog(lines)
        .limits(postbox::Limits::default().client_datagrams(10))
        .bind_memory(&network, SERVER.parse().unwrap())
        .unwrap();
    let (client, address) = ("192.0.2.2:1".parse().unwrap(), SERVER.parse().unwrap());
    let (all_sent, stand_still) = oneshot::channel();
    let writing = tokio::spawn(async move {
        stand_still.await.unwrap();
        let mut written = 0_u64;
        while let Some(line) = to_write.recv().await {
            assert_eq!(line.message.text, written.to_string());
            written += 1;
        }
        written
    });
    let talk = async {
        for n in 0..100 {
            let message = format!("<13>{n}");
            let sent = network.send_from(client, message.as_bytes(), address);
            sent.unwrap();
        }
        let handle = server.handle();
        while handle.stats().received < 100 {
            yield_now().await;
        }
        all_sent.send(()).unwrap();
    };
    let serving = server.serve_until_drained(talk, Duration::from_secs(60));
    serving.await.unwrap();
    let stats = server.handle().stats();
    drop(server);
    let written = writing.await.unwrap();
    assert_eq!(stats.dropped_client_bound, 100 - written);
    // One in the channel, and ten that wait for it: the one whose handler waits is one of them.
    assert_eq!(written, 11);
}
