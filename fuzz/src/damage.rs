use bytes::Bytes;

/// The bytes that the fuzzer made, taken from the front. When they are used up, zeros come.
#[derive(Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Returns `count` bytes, or what is left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Returns what is left.
    pub fn packet(&self) -> Bytes {
        Bytes::copy_from_slice(self.0)
    }

    /// Takes up to seven changes of four bytes each, which can be done to any datagram.
    pub fn damage(&mut self) -> Damage<'a> {
        let count = usize::from(self.byte() % 8);
        Damage(self.take(4 * count))
    }
}

/// Changes to a datagram: which, where (two bytes), with what.
#[derive(Clone, Copy)]
pub struct Damage<'a>(&'a [u8]);

impl Damage<'_> {
    /// Returns the datagram with the changes, which may come to nothing.
    pub fn of(self, datagram: &[u8]) -> Vec<u8> {
        let mut damaged = datagram.to_vec();
        for &change in self.0.as_chunks::<4>().0 {
            let [kind, low, high, byte] = change;
            let at = usize::from(u16::from_le_bytes([low, high])) % (damaged.len() + 1);
            let inside = at < damaged.len();
            match kind % 6 {
                0 if inside => damaged[at] ^= byte,
                1 if inside => damaged[at] = byte,
                2 if inside => drop(damaged.remove(at)),
                3 => damaged.insert(at, byte),
                4 => damaged.truncate(at),
                5 => damaged.extend_from_within(at..(at + usize::from(byte)).min(damaged.len())),
                _ => {}
            }
        }
        damaged
    }
}
