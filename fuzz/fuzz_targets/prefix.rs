//! The prefix, of any length: what begins with it passes, without it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, decode, write};
use postbox_protocol::{PrefixError, PrefixedSerializer, RawSerializer};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let length = usize::from(input.byte() % 16);
    let prefix = input.take(length);
    let damage = input.damage();
    let serializer = PrefixedSerializer::new(RawSerializer, prefix.to_vec());

    let passes_if_right = |datagram: &[u8]| {
        let received = decode(&serializer, datagram, 512 + datagram.len());
        match (received, datagram.strip_prefix(prefix)) {
            (Ok(packet), Some(rest)) => assert_eq!(packet, rest),
            (Err(error), None) => assert!(error.is::<PrefixError>()),
            (received, _) => panic!("{datagram:02x?} after {prefix:02x?}: {received:?}"),
        }
    };
    passes_if_right(data);

    let packet = input.packet();
    let datagram = write(&serializer, &packet).expect("bytes can be sent");
    assert_eq!(datagram, [prefix, &packet].concat());
    passes_if_right(&datagram);
    passes_if_right(&damage.of(&datagram));
});
