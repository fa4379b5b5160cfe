//! Protobuf: every kind of field there is, and unknown ones.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_codec_protobuf_schema::{Everything, NewerPerson, Person};
use postbox_fuzz::{reads, same, write};
use postbox_protocol::Serializer;
use prost::Message;

fuzz_target!(|datagram: &[u8]| {
    // A message in a message is three bytes and takes a kilobyte, a hundred times at most.
    let most = (100 << 10) + 64 * datagram.len();

    let serializer = ProtobufSerializer::<Everything>::new();
    if let Some(packet) = reads(&serializer, datagram, most) {
        let written = write(&serializer, &packet).expect("it was read back");
        assert_eq!(written.len(), packet.encoded_len());
        assert!(depth(&packet) <= 100);
        // What is appended merges, so it is read as it is by hand.
        let twice = serializer.deserialize(&[datagram, datagram].concat());
        let mut merged = packet;
        merged.merge(datagram).expect("it was read");
        same(&merged, &twice.expect("fields are a message"));
    }

    let newer = reads(&ProtobufSerializer::<NewerPerson>::new(), datagram, most);
    let known = reads(&ProtobufSerializer::<Person>::new(), datagram, most);
    if let (Some(newer), Some(known)) = (newer, known) {
        assert_eq!((newer.name, newer.age), (known.name, known.age));
    }
});

fn depth(packet: &Everything) -> usize {
    let mut depth = 0;
    let mut next = packet.next.as_ref();
    while let Some(within) = next {
        depth += 1;
        next = within.next.as_ref();
    }
    depth
}
