//! The signature: nothing passes but what was signed, untouched.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, decode, secret, write};
use postbox_protocol::{RawSerializer, SignatureError, SignedSerializer, SigningKey};

fuzz_target!(|data: &[u8]| {
    let serializer = SignedSerializer::new(RawSerializer, SigningKey::new(&secret(data)));
    let is_refused = |datagram: &[u8]| {
        let error = decode(&serializer, datagram, 512).expect_err("nobody signed it");
        assert!(error.is::<SignatureError>());
        assert_eq!(error.to_string(), "the signature is wrong");
    };
    is_refused(data);

    let mut input = Input(data);
    let damage = input.damage();
    let packet = input.packet();
    let datagram = write(&serializer, &packet).expect("bytes can be sent");
    assert_eq!(datagram.len(), packet.len() + 32);
    let received = decode(&serializer, &datagram, 512 + datagram.len());
    assert_eq!(received.expect("it was signed"), packet);

    let damaged = damage.of(&datagram);
    if damaged != datagram {
        is_refused(&damaged);
    }
    for length in [0, 31, 32, datagram.len() - 1] {
        is_refused(&datagram[..length.min(datagram.len() - 1)]);
    }
});
