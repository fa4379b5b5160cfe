/// What a datagram says of congestion: the two bits of its IP header that RFC 3168 section 5
/// defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// Not-ECT, 00: its sender does not take part.
    NotEct,
    /// ECT(1), 01: its sender takes part, or asks for low latency (L4S, RFC 9331).
    Ect1,
    /// ECT(0), 10: its sender takes part.
    Ect0,
    /// CE, 11: a router on its way was congested.
    Ce,
}

impl Ecn {
    /// The two lowest bits of a type of service (IPv4) or traffic class (IPv6); those above are
    /// left out.
    pub fn from_bits(tos: u8) -> Self {
        match tos & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }
}
