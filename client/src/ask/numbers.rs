use std::hash::{BuildHasher, RandomState};

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
