//! Segmentation offload: several datagrams as one, in both directions.

use super::*;
use crate::transport::sys::disable_checksums;

/// Two servers' sockets that talk to each other, both with offloads.
fn pair(addr: &str) -> (Arc<ServerSocket>, Arc<ServerSocket>) {
    (open(addr), open(addr))
}

/// Sends the payloads, and returns what arrives with the size of its segments.
fn across(addr: &str, payloads: &[&[u8]]) -> Vec<(Vec<u8>, usize)> {
    let (from, to) = pair(addr);
    run(async {
        let mut sender = udp(from, true).unwrap();
        let mut receiver = udp(Arc::clone(&to), true).unwrap();
        let mut batch = RecvBatch::new(32, 65_535);
        // The first receive switches coalescing on.
        let pending = poll_fn(|cx| std::task::Poll::Ready(receiver.poll_recv(cx, &mut batch)));
        assert!(pending.await.is_pending());
        let (bytes, datagrams) = outgoing(addr_of(&to), None, payloads);
        assert!(send_all(&mut sender, &bytes, &datagrams).await.is_empty());
        answer(
            &mut sender,
            addr_of(&to),
            None,
            b"the end, longer than others",
        )
        .await;
        let mut all = Vec::new();
        loop {
            for (meta, bytes) in recv_all(&mut receiver, &mut batch, 1).await {
                if bytes.starts_with(b"the end") {
                    return all;
                }
                assert!(!meta.truncated);
                all.push((bytes, meta.segment));
            }
        }
    })
}

#[test]
fn runs_of_equal_datagrams_travel_as_one() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let seen = across(addr, &[b"aaa", b"bbb", b"ccc", b"dd", b"eee", b"fff"]);
        let expected = [(b"aaabbbcccdd".to_vec(), 3), (b"eeefff".to_vec(), 3)];
        assert_eq!(seen, expected);
    }
}

/// Asks in batches of messages of so many datagrams each, then gives answers of two bytes in steps
/// of so many each, and returns the sizes of the messages that come back.
fn answered(slots: usize, asked: &[&[usize]], answers: &[usize]) -> Vec<usize> {
    let (serving, asking) = pair("127.0.0.1:0");
    let (server, client) = (addr_of(&serving), addr_of(&asking));
    run(async {
        let mut serving = udp(serving, true).unwrap();
        let mut asking = udp(asking, true).unwrap();
        let mut batch = RecvBatch::new(slots, 65_535);
        for transport in [&mut serving, &mut asking] {
            // The first receive switches coalescing on.
            let pending = poll_fn(|cx| std::task::Poll::Ready(transport.poll_recv(cx, &mut batch)));
            assert!(pending.await.is_pending());
        }
        for messages in asked {
            for count in *messages {
                let (bytes, datagrams) = outgoing(server, None, &vec![&b"?"[..]; *count]);
                assert!(send_all(&mut asking, &bytes, &datagrams).await.is_empty());
            }
            recv(&mut serving, &mut batch).await.unwrap();
            assert_eq!(batch.len(), messages.len(), "all are there, as they left");
        }
        for count in answers {
            let (bytes, datagrams) = outgoing(client, None, &vec![&b"ab"[..]; *count]);
            assert!(send_all(&mut serving, &bytes, &datagrams).await.is_empty());
        }
        let (mut left, mut sizes) = (2 * answers.iter().sum::<usize>(), Vec::new());
        while left > 0 {
            for (meta, _) in recv_all(&mut asking, &mut batch, 1).await {
                left -= meta.len;
                sizes.push(meta.len);
            }
        }
        sizes
    })
}

#[test]
fn answers_leave_as_the_datagrams_came_that_they_answer() {
    assert_eq!(answered(8, &[&[1, 1, 1]], &[3]), [2, 2, 2], "one by one");
    assert_eq!(answered(8, &[&[3]], &[3]), [6], "as one");
    assert_eq!(answered(8, &[&[1, 3, 1]], &[3]), [6], "some as one");
    assert_eq!(
        answered(8, &[&[1, 1, 1], &[3]], &[3]),
        [6],
        "the last as one"
    );
}

#[test]
fn answers_to_what_came_alone_as_one_leave_in_two_parts_unless_it_was_there_already() {
    assert_eq!(answered(8, &[&[16]], &[16]), [16, 16]);
    assert_eq!(answered(8, &[&[21]], &[21]), [22, 20]);
    assert_eq!(answered(8, &[&[15]], &[15]), [30], "too few for two");
    assert_eq!(answered(8, &[&[16, 16]], &[32]), [64], "two came");
    assert_eq!(answered(8, &[&[16]], &[17]), [34], "one more waits");
    assert_eq!(
        answered(8, &[&[16], &[16]], &[16]),
        [32],
        "was there already"
    );
}

#[test]
fn answers_leave_as_one_where_there_are_more_than_datagrams_or_the_batch_is_full() {
    assert_eq!(answered(8, &[&[1, 1, 1]], &[4]), [8]);
    assert_eq!(answered(8, &[&[1, 1, 1]], &[3, 3]), [2, 2, 2, 6]);
    assert_eq!(answered(3, &[&[1, 1, 1]], &[3]), [6]);
}

#[test]
fn empty_datagrams_and_growing_ones_travel_alone() {
    let seen = across(
        "127.0.0.1:0",
        &[b"", b"a", b"bb", b"ccc", b"", b"", b"dd", b""],
    );
    let bytes: Vec<_> = seen.iter().map(|(bytes, _)| bytes.as_slice()).collect();
    assert_eq!(bytes, [&b""[..], b"a", b"bb", b"ccc", b"", b"", b"dd", b""]);
    assert!(seen.iter().all(|(bytes, segment)| bytes.len() == *segment));
}

#[test]
fn runs_are_bounded_by_number_and_length() {
    let small = across("127.0.0.1:0", &[&b"12345"[..]; 150]);
    let lens: Vec<_> = small
        .iter()
        .map(|(bytes, segment)| (bytes.len(), *segment))
        .collect();
    assert_eq!(lens, [(320, 5), (320, 5), (110, 5)]);

    let large = vec![7; 20_000];
    let lens: Vec<_> = across("127.0.0.1:0", &[&large[..]; 5])
        .iter()
        .map(|(bytes, segment)| (bytes.len(), *segment))
        .collect();
    assert_eq!(lens, [(60_000, 20_000), (40_000, 20_000)]);
}

#[test]
fn h13_a_run_leaves_from_the_asked_address() {
    let socket = open("0.0.0.0:0");
    let port = addr_of(&socket).port();
    run(async {
        let mut transport = udp(socket, true).unwrap();
        let client = client("127.0.0.1");
        client.send_to(b"ask", ("127.0.0.4", port)).unwrap();
        client.send_to(b"ask", ("127.0.0.5", port)).unwrap();
        let all = recv_all(&mut transport, &mut RecvBatch::new(4, 65_535), 2).await;
        let to = client.local_addr().unwrap();
        let (bytes, mut datagrams) = outgoing(to, all[0].0.local, &[b"aa", b"bb", b"cc", b"dd"]);
        for datagram in &mut datagrams[2..] {
            datagram.local = all[1].0.local; // another client to us: not the same run
        }
        assert!(
            send_all(&mut transport, &bytes, &datagrams)
                .await
                .is_empty()
        );
        for (payload, ip) in [(b"aa", 4), (b"bb", 4), (b"cc", 5), (b"dd", 5)] {
            let from = SocketAddr::from(([127, 0, 0, ip], port));
            assert_eq!(hear(&client), (payload.to_vec(), from));
        }
    });
}

#[test]
fn a_client_without_offloads_gets_single_datagrams() {
    let socket = open("127.0.0.1:0");
    run(async {
        let mut transport = udp(socket, true).unwrap();
        let client = client("127.0.0.1");
        let (bytes, datagrams) = outgoing(client.local_addr().unwrap(), None, &[&b"xyz"[..]; 10]);
        match send(&mut transport, &bytes, &datagrams).await {
            Sent::Left(left) => assert_eq!(left, 10),
            Sent::Failed(error) => panic!("{error}"),
        }
        for _ in 0..10 {
            assert_eq!(hear(&client).0, b"xyz");
        }
    });
}

#[test]
fn datagrams_that_do_not_touch_are_not_joined() {
    let (from, to) = pair("127.0.0.1:0");
    run(async {
        let mut sender = udp(from, true).unwrap();
        let mut receiver = udp(Arc::clone(&to), true).unwrap();
        let (bytes, mut datagrams) = outgoing(addr_of(&to), None, &[b"aa", b"..", b"cc"]);
        datagrams.remove(1);
        assert!(send_all(&mut sender, &bytes, &datagrams).await.is_empty());
        let all = recv_all(&mut receiver, &mut RecvBatch::new(4, 65_535), 2).await;
        assert_eq!((&all[0].1[..], &all[1].1[..]), (&b"aa"[..], &b"cc"[..]));
    });
}

#[test]
fn v7_where_runs_fail_datagrams_are_sent_singly() {
    let socket = open("127.0.0.1:0");
    disable_checksums(&socket).unwrap(); // the kernel refuses to cut a message without them
    run(async {
        let mut transport = udp(socket, true).unwrap();
        let client = client("127.0.0.1");
        let to = client.local_addr().unwrap();
        for _ in 0..2 {
            let (bytes, datagrams) = outgoing(to, None, &[b"1", b"2", b"3"]);
            let failed = send_all(&mut transport, &bytes, &datagrams).await;
            assert!(failed.is_empty(), "{failed:?}");
            for payload in [b"1", b"2", b"3"] {
                assert_eq!(hear(&client).0, payload);
            }
        }
    });
}

#[test]
fn v7_a_run_that_fails_singly_too_switches_nothing_off() {
    let socket = open("0.0.0.0:0");
    run(async {
        let mut transport = udp(socket, true).unwrap();
        let to = client("127.0.0.1").local_addr().unwrap();
        let not_ours = Some("192.0.2.1".parse().unwrap());
        let local = LocalAddr {
            asked: to.ip(),
            reply_from: not_ours,
            interface: 0,
        };
        let (bytes, datagrams) = outgoing(to, Some(local), &[b"1", b"2", b"3"]);
        let before = transport.segment_limit();
        let failed = send_all(&mut transport, &bytes, &datagrams).await;
        assert_eq!(failed.len(), 3);
        assert_eq!(transport.segment_limit(), before);
    });
}

#[test]
fn l4_a_coalesced_datagram_that_does_not_fit_is_truncated() {
    let (from, to) = pair("127.0.0.1:0");
    run(async {
        let mut sender = udp(from, true).unwrap();
        let mut receiver = udp(Arc::clone(&to), true).unwrap();
        let mut large = RecvBatch::new(4, 65_535);
        answer(&mut sender, addr_of(&to), None, b"first").await;
        recv_all(&mut receiver, &mut large, 1).await;
        let (bytes, datagrams) = outgoing(addr_of(&to), None, &[b"aa", b"bb", b"cc"]);
        assert!(send_all(&mut sender, &bytes, &datagrams).await.is_empty());
        drop(receiver);
        // Coalescing is on already, as after a first serving with other settings.
        let mut again = udp(to, false).unwrap();
        let all = recv_all(&mut again, &mut RecvBatch::new(4, 5), 1).await;
        assert_eq!(all[0].1, b"aabbc");
        assert_eq!((all[0].0.segment, all[0].0.truncated), (2, true));
    });
}
