//! What is asked, and answered with the same and a mark.

use std::array::TryFromSliceError;

use bytes::Bytes;

/// The last step of a conversation; the first is 1.
pub(super) const LAST: u8 = 5;

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    /// No other has it.
    pub(super) number: u64,
    pub(super) step: u8,
}

impl Question {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, TryFromSliceError> {
        let [step, _mark, number @ ..] = <[u8; 10]>::try_from(bytes)?;
        let number = u64::from_be_bytes(number);
        Ok(Self { number, step })
    }

    /// With the mark of who answers.
    pub(super) fn written(self, mark: u8) -> Bytes {
        let mut bytes = vec![self.step, mark];
        bytes.extend(self.number.to_be_bytes());
        bytes.into()
    }
}
