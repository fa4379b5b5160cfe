//! The server on a network in memory.

use std::time::UNIX_EPOCH;

use postbox::{Conditions, MemoryNetwork, MemorySocket, Stats};
use tokio::time::timeout;

use super::*;

const SERVER: &str = "192.0.2.1:123";

/// Lets a client talk with a server, for a minute at the most.
async fn talk(talk: impl AsyncFnOnce(&MemoryNetwork, &MemorySocket)) -> Stats {
    let network = MemoryNetwork::new();
    let server = sntp()
        .bind_memory(&network, SERVER.parse().unwrap())
        .unwrap();
    let client = network.socket("192.0.2.2:0".parse().unwrap()).unwrap();
    let talking = timeout(Duration::from_secs(60), talk(&network, &client));
    server
        .serve_until(async { talking.await.unwrap() })
        .await
        .unwrap();
    assert!(client.try_recv_from().is_err(), "it was answered once more");
    server.handle().stats()
}

fn send(client: &MemorySocket, datagram: &[u8]) {
    client.send_to(datagram, SERVER.parse().unwrap()).unwrap();
}

async fn recv(client: &MemorySocket) -> Vec<u8> {
    client.recv_from().await.unwrap().0
}

/// What a client of this version sends: nothing but its own time, 0x1122334455667788.
fn question(version: u8) -> Vec<u8> {
    let mut question = vec![0; 48];
    question[0] = 3 << 6 | version << 3 | 3; // its clock is not set
    question[2] = 6;
    question[40..].copy_from_slice(&0x1122_3344_5566_7788_u64.to_be_bytes());
    question
}

fn number(answer: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(answer[at..at + 8].try_into().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_client_of_any_version_is_answered_in_its_own() {
    for version in 1..=4 {
        let stats = talk(async |_, client| {
            send(client, &question(version));
            let answer = recv(client).await;
            assert_eq!(answer.len(), 48);
            assert_eq!(answer[0], version << 3 | 4, "no leap second, mode 4");
            assert_eq!((answer[1], answer[2], answer[3] as i8), (10, 6, -20));
            assert_eq!(answer[4..12], [0, 0, 0, 0, 0, 0, 2, 143], "10 ms");
            assert_eq!(answer[12..16], *b"LOCL");
            assert_eq!(number(&answer, 24), 0x1122_3344_5566_7788);
            // Clients refuse a clock that was set after it was asked.
            assert!(number(&answer, 16) <= number(&answer, 40));
        })
        .await;
        assert_eq!((stats.received, stats.sent), (1, 1));
    }
}

/// The kernel's time is the network's here, which begins in 1970.
#[tokio::test(start_paused = true)]
async fn it_tells_when_the_kernel_received_the_question_and_when_it_answers() {
    let network = MemoryNetwork::new();
    network.set_conditions(Conditions::default().delay(Duration::from_millis(1500)));
    let server = sntp()
        .bind_memory(&network, SERVER.parse().unwrap())
        .unwrap();
    let client = network.socket("192.0.2.2:0".parse().unwrap()).unwrap();
    let asking = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        let asked = network.time().duration_since(UNIX_EPOCH).unwrap();
        send(&client, &question(4));
        let before = timestamp(SystemTime::now());
        let answer = recv(&client).await;
        let after = timestamp(SystemTime::now());
        let unix = number(&answer, 32) - (2_208_988_800 << 32);
        let nanos = (u128::from(unix) * 1_000_000_000) >> 32;
        let arrived = asked + Duration::from_millis(1500);
        assert!(
            nanos.abs_diff(arrived.as_nanos()) <= 1,
            "{nanos} {arrived:?}"
        );
        assert_eq!(number(&answer, 16), number(&answer, 32) >> 32 << 32);
        let transmitted = number(&answer, 40);
        assert!(before <= transmitted && transmitted <= after);
    };
    server.serve_until(asking).await.unwrap();
}

fn timestamp(time: SystemTime) -> u64 {
    number(&serialized(time), 40)
}

fn serialized(transmitted: SystemTime) -> Vec<u8> {
    use postbox::Serializer;
    let mut datagram = bytes::BytesMut::new();
    let question = Ntp.deserialize(&question(4)).unwrap();
    let answer = Answer {
        question,
        received: transmitted,
        transmitted,
    };
    Ntp.serialize(&answer, &mut datagram).unwrap();
    datagram.to_vec()
}

#[test]
fn times_are_as_the_rfc_writes_them() {
    let at = |seconds, nanos| timestamp(UNIX_EPOCH + Duration::new(seconds, nanos));
    // RFC 5905, figure 4: the first day of 1970, and the first of its second era.
    assert_eq!(at(0, 0), 2_208_988_800 << 32);
    assert_eq!(
        at(1_000_000_000, 500_000_000),
        3_208_988_800 << 32 | 1 << 31
    );
    assert_eq!(at(0, 999_999_999) as u32, u32::MAX - 4);
    assert_eq!(at(2_085_978_495, 0), 0xffff_ffff << 32);
    assert_eq!(at(2_085_978_496, 250_000_000), 1 << 30); // 7 February 2036, 06:28:16
}

#[tokio::test(start_paused = true)]
async fn what_is_no_clients_question_is_never_answered() {
    let valid = question(4);
    let mut bad: Vec<_> = (0..48).map(|end| valid[..end].to_vec()).collect();
    for first in 0..=255_u8 {
        if first & 7 != 3 || !(1..=4).contains(&(first >> 3 & 7)) {
            let mut datagram = valid.clone();
            datagram[0] = first;
            bad.push(datagram);
        }
    }
    // Queries of ntpq and of ntpdc's monlist.
    bad.push([&[0x16, 2, 0, 1][..], &[0; 8]].concat());
    bad.push([&[0x17, 0, 3, 0x2a][..], &[0; 188]].concat());
    assert_eq!(bad.len(), 48 + (256 - 4 * 4) + 2);
    let stats = talk(async |_, client| {
        for datagram in &bad {
            send(client, datagram);
        }
        send(client, &valid);
        assert_eq!(number(&recv(client).await, 24), number(&valid, 40));
    })
    .await;
    assert_eq!(stats.malformed, bad.len() as u64);
    assert_eq!((stats.sent, stats.handlers_returned), (1, 1));
}

/// No answer is longer than its question, so nobody can be flooded by way of this server.
#[tokio::test(start_paused = true)]
async fn what_follows_the_header_is_ignored() {
    talk(async |_, client| {
        for more in [4, 20, 24, 1024] {
            let mut datagram = question(4);
            datagram.resize(48 + more, 0x5a);
            send(client, &datagram);
            assert_eq!(recv(client).await.len(), 48);
        }
    })
    .await;
}
