//! Base64 in both alphabets: what is read is the one text that is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, decode, write};
use postbox_protocol::{Base64Serializer, RawSerializer};

const URL_SAFE: Base64Serializer<RawSerializer> = Base64Serializer::url_safe(RawSerializer);
const STANDARD: Base64Serializer<RawSerializer> = Base64Serializer::standard(RawSerializer);

fuzz_target!(|data: &[u8]| {
    for (serializer, letters) in [(URL_SAFE, b"-_"), (STANDARD, b"+/")] {
        let one_text = |text: &[u8]| {
            let packet = decode(&serializer, text, 512 + 2 * text.len()).ok()?;
            assert_eq!(write(&serializer, &packet).expect("it was read"), text);
            Some(packet)
        };
        one_text(data);

        let mut input = Input(data);
        let damage = input.damage();
        let packet = input.packet();
        let text = write(&serializer, &packet).expect("bytes can be sent");
        let expected = Base64Serializer::<RawSerializer>::encoded_len(packet.len());
        assert_eq!(text.len(), expected);
        let is_letter =
            |byte: &u8| byte.is_ascii_alphanumeric() || letters.contains(byte) || *byte == b'=';
        assert!(text.iter().all(is_letter));
        assert_eq!(one_text(&text), Some(packet));
        one_text(&damage.of(&text));
    }
});
