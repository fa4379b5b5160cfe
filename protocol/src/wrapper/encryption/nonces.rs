use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::NONCE_LEN;
use super::serializer::Cause;

/// Bytes of a nonce that say who sends, where nonces count.
pub(super) const SENDER_LEN: usize = 16;

/// Where the nonces come from. No two are the same, which is all that the cipher asks of them.
#[derive(Debug)]
pub(super) enum Nonces {
    /// 24 bytes of the operating system's randomness. Even after 2⁶⁴ the chance that two are the
    /// same is 2⁻⁶⁵.
    Random,
    /// 16 random bytes, drawn once, and a counter.
    Counted {
        sender: OnceLock<[u8; SENDER_LEN]>,
        next: AtomicU64,
    },
}

impl Nonces {
    pub(super) const fn counted() -> Self {
        Self::Counted {
            sender: OnceLock::new(),
            next: AtomicU64::new(0),
        }
    }

    /// Returns what both ends have to agree on: it is authenticated with every datagram.
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Random => 0,
            Self::Counted { .. } => 1,
        }
    }

    pub(super) fn draw(&self) -> Result<[u8; NONCE_LEN], Cause> {
        let (sender, next) = match self {
            Self::Random => return random(),
            Self::Counted { sender, next } => (sender, next),
        };
        let sender = match sender.get() {
            Some(sender) => sender,
            None => {
                let drawn = random()?;
                sender.get_or_init(|| drawn)
            }
        };
        let number = next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1))
            .map_err(|_| Cause::UsedUp)?;
        let mut nonce = [0; NONCE_LEN];
        nonce[..SENDER_LEN].copy_from_slice(sender);
        nonce[SENDER_LEN..].copy_from_slice(&number.to_be_bytes());
        Ok(nonce)
    }
}

fn random<const LEN: usize>() -> Result<[u8; LEN], Cause> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).map_err(|cause| Cause::NoRandomness(cause.into()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_that_count_have_one_sender_and_differ() {
        let nonces = Nonces::counted();
        let drawn: Vec<_> = (0..300).map(|_| nonces.draw().unwrap()).collect();
        for (number, nonce) in (0_u64..).zip(&drawn) {
            assert_eq!(nonce[..SENDER_LEN], drawn[0][..SENDER_LEN]);
            assert_eq!(nonce[SENDER_LEN..], number.to_be_bytes());
        }
        assert_ne!(
            Nonces::counted().draw().unwrap()[..SENDER_LEN],
            drawn[0][..SENDER_LEN]
        );
    }

    #[test]
    fn nonces_that_count_never_begin_again() {
        let nonces = Nonces::Counted {
            sender: OnceLock::from([7; SENDER_LEN]),
            next: AtomicU64::new(u64::MAX - 1),
        };
        assert!(nonces.draw().is_ok());
        for _ in 0..3 {
            assert!(matches!(nonces.draw(), Err(Cause::UsedUp)));
        }
    }

    #[test]
    fn nonces_at_random_differ() {
        let mut drawn: Vec<_> = (0..300).map(|_| Nonces::Random.draw().unwrap()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 300);
    }
}
