//! Encryption: nothing passes but what was sealed, untouched, and once where replays are refused.
#![no_main]

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, decode, secret, write};
use postbox_protocol::{
    EncryptedSerializer, EncryptionError, EncryptionKeys, Flip, RawSerializer, Serializer,
};

type Encrypted = EncryptedSerializer<RawSerializer>;

/// How far a datagram may come behind the newest of its sender.
const WIDTH: usize = 960;

/// How many senders are remembered, of the three that there are.
const MAX_SENDERS: usize = 2;

/// The secret of what is sent beforehand.
const SECRET: [u8; 32] = *b"what both of the two ends know..";

/// What three senders sent, which refuse replays: the number of each datagram.
static SENT: LazyLock<[Vec<Vec<u8>>; 3]> = LazyLock::new(|| {
    [(), (), ()].map(|()| {
        let sender = encrypted(&SECRET).refusing_replays(0);
        let number = |n: usize| Bytes::copy_from_slice(&n.to_be_bytes());
        (0..3000)
            .map(|n| write(&sender, &number(n)).expect("there is randomness"))
            .collect()
    })
});

fn kinds(secret: &[u8; 32]) -> [Encrypted; 3] {
    let labelled = encrypted(secret).with_labels(b"to client", b"to server");
    [encrypted(secret), encrypted(secret).counting(), labelled]
}

fn encrypted(secret: &[u8; 32]) -> Encrypted {
    EncryptedSerializer::new(RawSerializer, EncryptionKeys::new(1, secret))
}

fuzz_target!(|data: &[u8]| {
    let kinds = kinds(&secret(data));
    for serializer in &kinds {
        assert!(refusal(serializer, data).is_not_authentic());
    }
    let mut input = Input(data);
    match input.byte() % 2 {
        0 => only_what_was_sealed_passes(&kinds, input),
        _ => nothing_passes_twice(input),
    }
});

fn only_what_was_sealed_passes(kinds: &[Encrypted; 3], mut input: Input<'_>) {
    let damage = input.damage();
    let packet = input.packet();
    for sender in kinds {
        let receiver = sender.clone().flip();
        let datagram = write(sender, &packet).expect("there is randomness");
        assert_eq!(datagram.len(), packet.len() + Encrypted::OVERHEAD);
        let received = decode(&receiver, &datagram, 512 + 2 * datagram.len());
        assert_eq!(received.expect("it was sealed"), packet);

        let damaged = damage.of(&datagram);
        if damaged != datagram {
            assert!(refusal(&receiver, &damaged).is_not_authentic());
        }
    }
    // Neither passes for another kind, or for the other direction.
    let datagrams = kinds
        .each_ref()
        .map(|s| write(s, &packet).expect("as before"));
    for (receiver, serializer) in kinds.iter().enumerate() {
        for (sender, datagram) in datagrams.iter().enumerate() {
            let theirs = receiver != sender || receiver == 2;
            assert_eq!(serializer.deserialize(datagram).is_err(), theirs);
        }
    }
}

/// Receives in the order, and with the damage, that the input tells, against a plain model.
fn nothing_passes_twice(mut input: Input<'_>) {
    let keys = EncryptionKeys::new(1, &SECRET);
    let receiver = EncryptedSerializer::new(RawSerializer, keys.clone());
    // A second handle, as another server in the program may be.
    let receiver = receiver.refusing_replays(MAX_SENDERS);
    let receivers = [receiver.clone(), receiver];
    let mut heard = HashMap::<usize, (usize, HashSet<usize>)>::new();
    for step in 0.. {
        let kind = input.byte();
        if input.0.is_empty() || step > 500 {
            break;
        }
        let sender = usize::from(kind % 3);
        let receiver = &receivers[usize::from(kind / 4 % 2)];
        let number = usize::from(input.u16()) % SENT[sender].len();
        let datagram = &SENT[sender][number];
        if kind >= 128 {
            let mut damaged = datagram.clone();
            damaged[number % datagram.len()] ^= kind;
            assert!(refusal(receiver, &damaged).is_not_authentic());
            continue;
        }
        if heard.len() == MAX_SENDERS && !heard.contains_key(&sender) {
            assert!(refusal(receiver, datagram).is_too_many_senders());
            continue;
        }
        let (newest, came) = heard.entry(sender).or_default();
        if number + WIDTH > *newest && came.insert(number) {
            let packet = receiver
                .deserialize(datagram)
                .expect("it came for the first time");
            assert_eq!(packet, number.to_be_bytes()[..]);
            *newest = number.max(*newest);
        } else {
            assert!(refusal(receiver, datagram).is_replay());
        }
    }
    assert_eq!(keys.senders(1), heard.len());
}

fn refusal(serializer: &Encrypted, datagram: &[u8]) -> EncryptionError {
    let error = decode(serializer, datagram, 512 + datagram.len()).expect_err("it must not pass");
    *error.downcast().expect("its own error")
}
