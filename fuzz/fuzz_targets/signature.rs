//! The signature: nothing passes but what was signed, untouched.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, NEVER_SENT, SECRET, decode, write};
use postbox_protocol::{RawSerializer, SignatureError, SignedSerializer, SigningKey};

type Signed = SignedSerializer<RawSerializer>;

static OURS: LazyLock<Signed> = LazyLock::new(|| signed(&SECRET));
static THEIRS: LazyLock<Signed> = LazyLock::new(|| signed(&NEVER_SENT));

fn signed(secret: &[u8; 32]) -> Signed {
    SignedSerializer::new(RawSerializer, SigningKey::new(secret))
}

fuzz_target!(|data: &[u8]| {
    is_refused(&THEIRS, data);

    let mut input = Input(data);
    let damage = input.damage();
    let packet = input.packet();
    let datagram = write(&*OURS, &packet).expect("bytes can be sent");
    assert_eq!(datagram.len(), packet.len() + 32);
    let received = decode(&*OURS, &datagram, 512 + datagram.len());
    assert_eq!(received.expect("it was signed"), packet);

    let damaged = damage.of(&datagram);
    if damaged != datagram {
        is_refused(&OURS, &damaged);
    }
    is_refused(&THEIRS, &datagram);
    for length in [0, 31, 32, datagram.len() - 1] {
        is_refused(&OURS, &datagram[..length.min(datagram.len() - 1)]);
    }
});

fn is_refused(serializer: &Signed, datagram: &[u8]) {
    let error = decode(serializer, datagram, 512).expect_err("nobody signed it");
    assert!(error.is::<SignatureError>());
    assert_eq!(error.to_string(), "the signature is wrong");
}
