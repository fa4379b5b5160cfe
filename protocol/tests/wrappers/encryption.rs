//! Authenticated encryption.

use std::collections::HashSet;
use std::error::Error;
use std::thread;

use bytes::{Bytes, BytesMut};
use postbox_protocol::conformance::Conformance;
use postbox_protocol::{
    EncryptedSerializer, EncryptionError, EncryptionKeys, Flip, RawSerializer, Serializer,
};
use proptest::prelude::*;

use super::support::*;

type Encrypted = EncryptedSerializer<RawSerializer>;

fn encrypted() -> Encrypted {
    EncryptedSerializer::new(RAW, EncryptionKeys::new(1, &SECRET))
}

/// Two ends that have keys of their own, as two programs have.
fn refusing_replays(max_senders: usize) -> [Encrypted; 2] {
    [(), ()].map(|()| encrypted().refusing_replays(max_senders))
}

/// Written with libsodium: `SECRET`, the nonce 100 to 123.
const OF_LIBSODIUM: [(&[u8], &str); 2] = [
    (
        b"",
        "016465666768696a6b6c6d6e6f707172737475767778797a7bfb68ad5f1084d34e058162b1de3e5b72",
    ),
    (
        b"hello",
        "016465666768696a6b6c6d6e6f707172737475767778797a7b141695dc908b758bbfd569dd1851752513\
         9262f2a9",
    ),
];

/// The same with counted nonces, the key 200 and the label `client`.
const OF_LIBSODIUM_LABELLED: &str = "c86465666768696a6b6c6d6e6f707172737475767778797a7b141695dc90\
     e011d683fc508cc96ab793e12797167e";

#[test]
fn p1_p4_p6_encrypted_datagrams_conform() {
    for serializer in [encrypted(), encrypted().counting()] {
        Conformance::new(serializer)
            .packets(packets())
            .refuses_datagrams([&b""[..], b"\x01", &[1; 25], &[1; 40], &[1; 41], &[1; 100]])
            .check();
    }
    let server = encrypted().with_labels(b"to client", b"to server");
    Conformance::between(server.clone(), server.flip())
        .packets(packets())
        .refuses_datagrams([write(&encrypted(), b"without labels")])
        .check();
}

#[test]
fn encryption_reads_the_bytes_of_libsodium() {
    for (packet, theirs) in OF_LIBSODIUM {
        assert_eq!(read(&encrypted(), hex(theirs)), packet);
    }
    let labelled = EncryptedSerializer::new(RAW, EncryptionKeys::new(200, &SECRET))
        .counting()
        .with_labels(b"server", b"client");
    assert_eq!(read(&labelled, hex(OF_LIBSODIUM_LABELLED)), "hello");
}

#[test]
fn encryption_refuses_all_damage_to_one_byte() {
    refuses_all_damage(&encrypted());
    refuses_all_damage(&encrypted().counting().with_labels(b"a", b"a"));
    // Also where the same secret has another id.
    let keys = EncryptionKeys::new(1, &SECRET);
    (0..=u8::MAX).for_each(|id| keys.insert(id, &SECRET));
    let serializer = EncryptedSerializer::new(RAW, keys);
    let mut datagram = write(&serializer, b"packet");
    for id in (0..=u8::MAX).filter(|id| *id != 1) {
        datagram[0] = id;
        assert!(serializer.deserialize(&datagram).is_err());
    }
}

#[test]
fn p5_what_is_not_authentic_is_an_error_that_tells_nothing() {
    let good = write(&encrypted(), b"packet");
    let mut wrong = vec![
        vec![],
        good[..1].to_vec(),
        good[..40].to_vec(),
        [2; 60].to_vec(),
    ];
    for position in [0, 1, 24, 25, 30, 31, good.len() - 1] {
        let mut changed = good.clone();
        changed[position] ^= 1;
        wrong.push(changed);
    }
    let other = EncryptedSerializer::new(RAW, EncryptionKeys::new(1, &[0; 32]));
    wrong.push(write(&other, b"packet"));
    wrong.push(write(&encrypted().counting(), b"packet"));
    wrong.push(write(&encrypted().with_labels(b"label", b""), b"packet"));
    for datagram in wrong {
        let error: EncryptionError = refusal(&encrypted(), datagram);
        assert!(error.is_not_authentic());
        assert!(!error.is_replay() && !error.is_too_many_senders());
        assert_eq!(error.to_string(), "not authentic");
        assert_eq!(format!("{error:?}"), "EncryptionError(NotAuthentic)");
        assert!(error.source().is_none());
    }
}

#[test]
fn encryption_hides_the_packet_and_never_says_it_twice_alike() {
    for serializer in [encrypted(), encrypted().counting()] {
        let packet = b"the treasure is here";
        let [one, two] = [(), ()].map(|()| write(&serializer, packet));
        for datagram in [&one, &two] {
            assert!(
                !datagram
                    .windows(4)
                    .any(|part| packet.windows(4).any(|p| p == part))
            );
        }
        assert_ne!(one[1..25], two[1..25]);
        assert_ne!(one[25..], two[25..]);
    }
}

#[test]
fn encryption_uses_no_nonce_twice_whatever_is_cloned_flipped_or_shared() {
    let first = encrypted().counting();
    let serializers = [first.clone(), first.clone().flip(), first];
    let nonces = thread::scope(|scope| {
        let threads = serializers.each_ref().map(|serializer| {
            scope.spawn(|| {
                (0..500)
                    .map(|_| write(serializer, b"")[1..25].to_vec())
                    .collect::<Vec<_>>()
            })
        });
        threads.map(|thread| thread.join().unwrap()).concat()
    });
    let senders: HashSet<_> = nonces.iter().map(|nonce| &nonce[..16]).collect();
    assert_eq!(senders.len(), 1);
    assert_eq!(nonces.iter().collect::<HashSet<_>>().len(), 1500);
}

#[test]
fn encryption_of_one_direction_does_not_pass_for_the_other() {
    let server = encrypted().with_labels(b"to client", b"to server");
    let client = server.clone().flip();
    let answer = write(&server, b"answer");
    assert_eq!(read(&client, &answer), "answer");
    assert!(server.deserialize(&answer).is_err());
    let request = write(&client, b"request");
    assert_eq!(read(&server, &request), "request");
    assert!(client.deserialize(&request).is_err());
}

#[test]
fn encryption_labels_can_have_62_bytes() {
    let longest = encrypted().with_labels(&[7; 62], &[7; 62]);
    assert_eq!(read(&longest, write(&longest, b"packet")), "packet");
    let other = encrypted().with_labels(&[7; 61], &[7; 61]);
    assert!(other.deserialize(&write(&longest, b"packet")).is_err());
}

#[test]
#[should_panic(expected = "the label is longer than 62 bytes")]
fn encryption_labels_have_no_63_bytes() {
    let _ = encrypted().with_labels(&[7; 63], b"");
}

#[test]
fn encryption_keys_rotate_without_losing_a_datagram() {
    let (old, new) = (SECRET, [9; 32]);
    let [ours, theirs] = [(), ()].map(|()| EncryptionKeys::new(1, &old));
    let near = EncryptedSerializer::new(RAW, ours.clone());
    let far = EncryptedSerializer::new(RAW, theirs.clone());
    let under_way = write(&near, b"old");
    assert_eq!(under_way[0], 1);

    ours.insert(2, &new);
    theirs.insert(2, &new);
    assert_eq!(write(&near, b"still old")[0], 1);
    ours.send_with(2).unwrap();
    let renewed = write(&near, b"new");
    assert_eq!(renewed[0], 2);
    assert_eq!(read(&far, &under_way), "old");
    assert_eq!(read(&far, &renewed), "new");
    // Who has not changed over is still heard.
    assert_eq!(read(&near, write(&far, b"late")), "late");

    theirs.send_with(2).unwrap();
    theirs.remove(1).unwrap();
    assert!(far.deserialize(&under_way).is_err());
    assert_eq!(read(&far, &renewed), "new");
}

#[test]
fn encryption_with_a_key_that_is_inserted_again_still_refuses_replays() {
    let keys = EncryptionKeys::new(1, &SECRET);
    let server = EncryptedSerializer::new(RAW, keys.clone()).refusing_replays(10);
    let client = encrypted().counting();
    let datagram = write(&client, b"pay");
    read(&server, &datagram);
    keys.insert(1, &SECRET);
    assert_eq!(keys.senders(1), 1);
    assert!(refusal::<EncryptionError>(&server, &datagram).is_replay());
    assert_eq!(read(&server, write(&client, b"goes on")), "goes on");
    // The same secret under another id has heard nobody.
    keys.insert(2, &SECRET);
    assert_eq!((keys.senders(1), keys.senders(2)), (1, 0));
}

#[test]
fn encryption_keys_of_another_secret_take_the_place_of_the_old() {
    // Also where the differences are alike.
    for positions in [&[0][..], &[15], &[31], &[3, 7]] {
        let keys = EncryptionKeys::new(1, &SECRET);
        let server = EncryptedSerializer::new(RAW, keys.clone()).refusing_replays(10);
        read(&server, write(&encrypted().counting(), b"old"));

        let mut other = SECRET;
        positions.iter().for_each(|position| other[*position] ^= 1);
        keys.insert(1, &other);
        assert_eq!(keys.senders(1), 0);
        let error: EncryptionError = refusal(&server, write(&encrypted().counting(), b"old"));
        assert!(error.is_not_authentic());
        // It is also sent with at once, since the id is the one to send with.
        let renewed = EncryptedSerializer::new(RAW, EncryptionKeys::new(1, &other)).counting();
        assert_eq!(read(&renewed, write(&server, b"new")), "new");
    }
}

#[test]
fn encryption_keys_that_are_not_there_or_in_use_are_told() {
    let keys = EncryptionKeys::new(1, &SECRET);
    let told =
        |result: Result<(), postbox_protocol::EncryptionKeyError>| result.unwrap_err().to_string();
    assert_eq!(told(keys.send_with(2)), "there is no key 2");
    assert_eq!(told(keys.remove(2)), "there is no key 2");
    assert_eq!(told(keys.remove(1)), "key 1 is the one to send with");
    let serializer = EncryptedSerializer::new(RAW, keys);
    assert_eq!(read(&serializer, write(&serializer, b"works")), "works");
}

#[test]
fn encryption_keys_are_not_shown() {
    let keys = EncryptionKeys::new(1, &SECRET);
    keys.insert(7, &SECRET);
    assert_eq!(
        format!("{:?}", EncryptedSerializer::new(RAW, keys)),
        "EncryptedSerializer { serializer: RawSerializer, \
         keys: EncryptionKeys { sending: 1, accepted: [1, 7], .. }, .. }"
    );
}

#[test]
fn encryption_refuses_replays_in_any_order() {
    let [near, far] = refusing_replays(10);
    let datagrams: Vec<_> = (0..960).map(|_| write(&near, b"packet")).collect();
    for datagram in datagrams.iter().rev() {
        assert_eq!(read(&far, datagram), "packet");
        assert!(refusal::<EncryptionError>(&far, datagram).is_replay());
    }
    for datagram in &datagrams {
        let error: EncryptionError = refusal(&far, datagram);
        assert_eq!(
            error.to_string(),
            "a datagram that came before, or too late to tell"
        );
    }
    assert_eq!(read(&far, write(&near, b"the next")), "the next");
    // Clones remember the same, and so do others that have the same keys.
    let refusing = far.clone();
    assert_eq!(read(&far, write(&near, b"one more")), "one more");
    assert!(refusal::<EncryptionError>(&refusing, &datagrams[0]).is_replay());
}

#[test]
fn encryption_refuses_what_comes_too_late_to_tell() {
    let [near, far] = refusing_replays(10);
    let datagrams: Vec<_> = (0..961).map(|_| write(&near, b"packet")).collect();
    read(&far, &datagrams[960]);
    assert!(refusal::<EncryptionError>(&far, &datagrams[0]).is_replay());
    assert_eq!(read(&far, &datagrams[1]), "packet");
}

#[test]
fn encryption_forgets_no_sender_and_refuses_more_than_it_may_remember() {
    let keys = EncryptionKeys::new(1, &SECRET);
    let server = EncryptedSerializer::new(RAW, keys.clone()).refusing_replays(2);
    let clients = [(), (), ()].map(|()| encrypted().counting());
    let firsts = clients.each_ref().map(|client| write(client, b"hello"));
    read(&server, &firsts[0]);
    read(&server, &firsts[1]);
    assert_eq!(keys.senders(1), 2);
    assert_eq!(keys.senders(2), 0);

    let error: EncryptionError = refusal(&server, &firsts[2]);
    assert!(error.is_too_many_senders() && !error.is_replay());
    assert_eq!(error.to_string(), "too many senders for this key");
    assert!(refusal::<EncryptionError>(&server, &firsts[0]).is_replay());
    assert_eq!(read(&server, write(&clients[0], b"goes on")), "goes on");

    // A new key has room again.
    keys.insert(2, &[9; 32]);
    let renewed = EncryptedSerializer::new(RAW, EncryptionKeys::new(2, &[9; 32])).counting();
    assert_eq!(read(&server, write(&renewed, b"hello")), "hello");
}

#[test]
fn encryption_remembers_no_stranger() {
    let keys = EncryptionKeys::new(1, &SECRET);
    let server = EncryptedSerializer::new(RAW, keys.clone()).refusing_replays(1);
    let datagram = write(&encrypted().counting(), b"hello");
    for damaged in damaged(&datagram) {
        let error: EncryptionError = refusal(&server, damaged);
        assert!(error.is_not_authentic());
    }
    assert_eq!(keys.senders(1), 0);
    // Nor was its window moved: the datagram is the first of its sender.
    assert_eq!(read(&server, datagram), "hello");
}

#[test]
fn encryption_passes_one_of_many_replays_at_once() {
    let [near, far] = refusing_replays(10);
    let datagram = write(&near, b"once");
    let passed: usize = thread::scope(|scope| {
        let threads = [(); 4].map(|()| {
            scope.spawn(|| {
                let far = far.clone();
                (0..100)
                    .filter(|_| far.deserialize(&datagram).is_ok())
                    .count()
            })
        });
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    assert_eq!(passed, 1);
}

#[test]
fn encryption_takes_the_memory_it_says() {
    let serializer = encrypted();
    let packet = noise(1000);
    let mut datagram = BytesMut::with_capacity(2000);
    let used = allocation_counter::measure(|| {
        serializer.serialize(&packet, &mut datagram).unwrap();
    });
    assert_eq!(used.count_total, 0);
    // The decrypted bytes, and what the serializer within returns.
    let used = allocation_counter::measure(|| drop(read(&serializer, &datagram)));
    assert_eq!(used.count_total, 2, "{used:?}");
}

#[test]
fn p2_an_encrypted_serializer_flips() {
    let keys = || EncryptionKeys::new(1, &SECRET);
    flips(EncryptedSerializer::new(Length, keys()));
    flips(
        EncryptedSerializer::new(Length, keys())
            .counting()
            .with_labels(b"ask", b"answer"),
    );
}

proptest! {
    #[test]
    fn encrypted_packets_come_back_and_are_longer_by_the_overhead(packet in any_packet()) {
        for serializer in [encrypted(), encrypted().counting()] {
            let datagram = write(&serializer, &packet);
            prop_assert_eq!(datagram.len(), packet.len() + Encrypted::OVERHEAD);
            prop_assert_eq!(read(&serializer, datagram), Bytes::clone(&packet));
        }
    }
}
