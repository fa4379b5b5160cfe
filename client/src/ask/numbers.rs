use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// Numbers that a stranger cannot guess: a counter, hashed with a secret of this client (SipHash,
/// made for that, with a key from the system's random numbers).
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    secret: RandomState,
    count: u64,
}

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.count = self.count.wrapping_add(1);
        self.secret.hash_one(self.count)
    }
}

/// Finds numbers in a table. They are ours and random, or a user's few bits: no stranger can put
/// many into one place of it.
pub(crate) type ByNumber = BuildHasherDefault<NumberHasher>;

#[derive(Debug, Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Spreads also few bits over all: 2^64 by the golden ratio.
        let spread = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
