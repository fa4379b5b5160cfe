//! The number of a question: what has one passes, and is read back, with any number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, decode, write};
use postbox_protocol::{Numbered, NumberedError, NumberedSerializer, RawSerializer};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut number = [0; 8];
    number.fill_with(|| input.byte());
    let damage = input.damage();
    let serializer = NumberedSerializer::new(RawSerializer);

    let passes_if_right = |datagram: &[u8]| {
        let received = decode(&serializer, datagram, 512 + datagram.len());
        match (received, datagram) {
            (Ok(packet), [1, number @ ..]) if number.len() >= 8 => {
                let (number, rest) = number.split_at(8);
                assert_eq!(packet.number.to_be_bytes(), number);
                assert_eq!(packet.packet, rest);
                let number = (packet.number != 0).then_some(packet.number);
                assert_eq!(NumberedSerializer::number_of(datagram), number);
            }
            (Err(error), _) => {
                assert!(error.is::<NumberedError>());
                assert!(datagram.len() < 9 || datagram[0] != 1);
                assert_eq!(NumberedSerializer::number_of(datagram), None);
            }
            (received, _) => panic!("{datagram:02x?}: {received:?}"),
        }
    };
    passes_if_right(data);

    let packet = Numbered::new(u64::from_be_bytes(number), input.packet());
    let datagram = write(&serializer, &packet).expect("bytes can be sent");
    assert_eq!(datagram, [&[1], &number[..], &packet.packet].concat());
    passes_if_right(&datagram);
    passes_if_right(&damage.of(&datagram));
});
