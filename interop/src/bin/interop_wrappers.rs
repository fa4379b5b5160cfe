//! Writes and reads datagrams for a peer that compares: one line asks, one line answers.
//!
//! `write WRAPPERS HEX` is answered with the datagram of these bytes, `read WRAPPERS HEX` with the
//! bytes that the datagram says, or `refused`.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use postbox_interop::KEY;
use postbox_protocol::{
    Base64Serializer, BoxError, ChecksumSerializer, RawSerializer, Serializer, SignedSerializer,
    SigningKey, ZlibSerializer,
};

type Object = Arc<dyn Serializer<Sent = Bytes, Received = Bytes>>;

/// Returns the serializer that a name says, the outermost first: `url-key.zlib`.
fn serializer(name: &str) -> Result<Object, BoxError> {
    let (outer, inner) = name.split_once('.').unwrap_or((name, ""));
    let within: Object = match inner {
        "" => Arc::new(RawSerializer),
        _ => serializer(inner)?,
    };
    let key = || SigningKey::from_base64(KEY);
    Ok(match outer {
        "url" => Arc::new(Base64Serializer::url_safe(within)),
        "standard" => Arc::new(Base64Serializer::standard(within)),
        "url-sum" => Arc::new(Base64Serializer::url_safe(ChecksumSerializer::new(within))),
        "standard-sum" => Arc::new(Base64Serializer::standard(ChecksumSerializer::new(within))),
        "url-key" => Arc::new(Base64Serializer::url_safe(SignedSerializer::new(
            within,
            key()?,
        ))),
        "standard-key" => Arc::new(Base64Serializer::standard(SignedSerializer::new(
            within,
            key()?,
        ))),
        "zlib" => Arc::new(ZlibSerializer::new(within).with_max_len(1 << 20)),
        _ => return Err(format!("no wrapper {outer}").into()),
    })
}

fn answer(line: &str) -> Result<String, BoxError> {
    let mut words = line.split(' ');
    let (Some(what), Some(name), Some(digits)) = (words.next(), words.next(), words.next()) else {
        return Err("not three words".into());
    };
    let serializer = serializer(name)?;
    let bytes = from_hex(digits)?;
    match what {
        "write" => {
            let mut datagram = BytesMut::new();
            serializer.serialize(&bytes.into(), &mut datagram)?;
            Ok(hex(&datagram))
        }
        "read" => Ok(serializer
            .deserialize(&bytes)
            .map_or_else(|_| "refused".to_owned(), |packet| hex(&packet))),
        _ => Err(format!("cannot {what}").into()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &str) -> Result<Vec<u8>, BoxError> {
    (0..digits.len())
        .step_by(2)
        .map(|at| {
            let digits = digits.get(at..at + 2).ok_or("an odd digit")?;
            Ok(u8::from_str_radix(digits, 16)?)
        })
        .collect()
}

fn main() -> Result<(), BoxError> {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        writeln!(output, "{}", answer(&line?)?)?;
        output.flush()?;
    }
    Ok(())
}
