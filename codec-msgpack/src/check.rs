//! Tells whether a datagram is exactly one MessagePack value, before any type is asked.
//!
//! rmp-serde reads the first value and leaves the rest, trusts a length as far as 1 MiB, and
//! follows nested enums until the stack ends. What passes here has no bytes left over, lengths that
//! are true, and a bounded depth: then a type can only find that it is another value than expected.

/// How many arrays and maps may stand within one another: as many as in JSON.
pub(crate) const MAX_DEPTH: usize = 127;

/// Where another crate of the program asks serde_json for `raw_value`, its `Value` takes a map with
/// this key for a JSON document in a text, and parses texts within texts until the stack ends.
const RAW_VALUE: &[u8] = b"$serde_json::private::RawValue";

/// What is wrong with a datagram, and at which byte.
#[derive(Debug, thiserror::Error)]
#[error("{problem} at byte {position}")]
pub(crate) struct Malformed {
    problem: &'static str,
    pub(crate) position: usize,
}

/// Checks the datagram without recursion and without allocations.
pub(crate) fn check(datagram: &[u8]) -> Result<(), Malformed> {
    let mut scan = Scan {
        datagram,
        position: 0,
    };
    // How many values are still to come in each array and map that is open.
    let mut to_come = [0; MAX_DEPTH];
    let mut depth = 0;
    loop {
        let begin = scan.position;
        if let Some(values) = scan.value()? {
            let Some(level) = to_come.get_mut(depth) else {
                return Err(Malformed {
                    problem: "more than 127 arrays and maps within one another",
                    position: begin,
                });
            };
            *level = values;
            depth += 1;
        }
        while depth > 0 && to_come[depth - 1] == 0 {
            depth -= 1;
        }
        if depth == 0 {
            return scan.end();
        }
        to_come[depth - 1] -= 1;
    }
}

struct Scan<'a> {
    datagram: &'a [u8],
    position: usize,
}

impl<'a> Scan<'a> {
    /// Passes a value, or the head of an array or a map: then tells how many values follow.
    #[inline]
    fn value(&mut self) -> Result<Option<usize>, Malformed> {
        let marker = self.take(1)?[0];
        match marker {
            // Small integers, nil, the booleans.
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => {}
            0x80..=0x8f => return Ok(Some(2 * usize::from(marker & 0x0f))),
            0x90..=0x9f => return Ok(Some(usize::from(marker & 0x0f))),
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f))?,
            0xc1 => {
                return Err(Malformed {
                    problem: "0xc1, which MessagePack never uses,",
                    position: self.position - 1,
                });
            }
            0xc4..=0xc6 => self.skip_counted(1 << (marker - 0xc4), 0)?,
            // The length of an extension does not count the byte that tells its kind.
            0xc7..=0xc9 => self.skip_counted(1 << (marker - 0xc7), 1)?,
            0xca => self.skip(4)?,
            0xcb => self.skip(8)?,
            0xcc..=0xcf => self.skip(1 << (marker - 0xcc))?,
            0xd0..=0xd3 => self.skip(1 << (marker - 0xd0))?,
            0xd4..=0xd8 => self.skip((1 << (marker - 0xd4)) + 1)?,
            0xd9..=0xdb => {
                let length = self.length(1 << (marker - 0xd9))?;
                self.text(length)?;
            }
            0xdc | 0xdd => return self.length(2 << (marker - 0xdc)).map(Some),
            0xde | 0xdf => {
                let entries = self.length(2 << (marker - 0xde))?;
                return Ok(Some(entries.saturating_mul(2)));
            }
        }
        Ok(None)
    }

    /// Returns the next bytes and passes them.
    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.datagram[self.position..];
        let Some(bytes) = rest.get(..count) else {
            return Err(Malformed {
                problem: "cut short",
                position: self.datagram.len(),
            });
        };
        self.position += count;
        Ok(bytes)
    }

    fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.take(count).map(drop)
    }

    /// Reads a length of `size` bytes.
    fn length(&mut self, size: usize) -> Result<usize, Malformed> {
        let bytes = self.take(size)?;
        Ok(bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn skip_counted(&mut self, size: usize, more: usize) -> Result<(), Malformed> {
        let length = self.length(size)?;
        self.skip(more)?;
        self.skip(length)
    }

    fn text(&mut self, length: usize) -> Result<(), Malformed> {
        let begin = self.position;
        let text = self.take(length)?;
        match str::from_utf8(text) {
            Ok(_) if text == RAW_VALUE => Err(Malformed {
                problem: "the key by which serde_json parses a text",
                position: begin,
            }),
            Ok(_) => Ok(()),
            Err(error) => Err(Malformed {
                problem: "invalid UTF-8",
                position: begin + error.valid_up_to(),
            }),
        }
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.position == self.datagram.len() {
            Ok(())
        } else {
            Err(Malformed {
                problem: "bytes left over",
                position: self.position,
            })
        }
    }
}
