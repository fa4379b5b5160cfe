//! The rules of receiving.

use std::fmt;

use crate::Serializer;
use crate::conformance::Conformance;

impl<Near, Far> Conformance<Near, Far>
where
    Near: Serializer<Sent: PartialEq + fmt::Debug>,
    Far: Serializer<Sent = Near::Received, Received = Near::Sent>,
{
    pub(super) fn marks_its_end(&self) {
        let rule = "marks its end";
        for packet in &self.packets {
            let datagram = self.datagram(rule, packet);
            for byte in &self.padding {
                self.says(rule, &followed_by(&datagram, &[*byte]), packet);
            }
            if !self.end_marked {
                continue;
            }
            for length in 0..datagram.len() {
                self.refuses(rule, &datagram[..length]);
            }
            for byte in (0..=u8::MAX).filter(|byte| !self.padding.contains(byte)) {
                self.refuses(rule, &followed_by(&datagram, &[byte]));
            }
            self.refuses(rule, &followed_by(&datagram, &datagram));
        }
    }

    pub(super) fn survives_damage(&self) {
        let rule = "survives damage";
        for packet in &self.packets {
            let datagram = self.datagram(rule, packet);
            for length in 0..datagram.len() {
                // An error or a value, either will do: what counts is the return.
                let _ = self.deserialize(rule, &datagram[..length]);
            }
            for position in 0..datagram.len() {
                let mut damaged = datagram.to_vec();
                for byte in replacements(datagram[position]) {
                    damaged[position] = byte;
                    let _ = self.deserialize(rule, &damaged);
                }
            }
            self.says(rule, &datagram, packet);
        }
    }
}

fn followed_by(datagram: &[u8], rest: &[u8]) -> Vec<u8> {
    [datagram, rest].concat()
}

/// Returns the byte with each of its bits turned, and the ends of the ranges that formats know.
fn replacements(byte: u8) -> impl Iterator<Item = u8> {
    (0..u8::BITS)
        .map(move |bit| byte ^ (1 << bit))
        .chain([0x00, 0x7f, 0x80, 0xff])
}
