//! The datagrams of statsd: lines of `name:value|type`, as the first server of that name has them.

use std::convert::Infallible;

use bytes::BytesMut;
use postbox::{BoxError, Serializer};

/// The metrics of one datagram, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Datagram {
    pub metrics: Vec<Metric>,
    /// Lines that are none. Whoever wrote them, the others count all the same.
    pub bad_lines: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    pub name: String,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `|c`: to be added.
    Count(f64),
    /// `|ms`, and `|h`: a time or another size, and how many such it stands for.
    Time(f64, f64),
    /// `|g`.
    Gauge(f64),
    /// `|g`, with a sign: to be added.
    GaugeChange(f64),
    /// `|s`: one of a set, which is counted once.
    Member(String),
}

/// The longest name, and the longest value of a set: what is kept of each datagram is bounded.
const LONGEST: usize = 255;

/// Nothing is ever sent.
#[derive(Debug)]
pub struct Statsd;

impl Serializer for Statsd {
    type Sent = Infallible;
    type Received = Datagram;

    fn serialize(&self, nothing: &Infallible, _: &mut BytesMut) -> Result<(), BoxError> {
        match *nothing {}
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Datagram, BoxError> {
        let mut metrics = Vec::new();
        let (mut bad_lines, mut why) = (0, "it has no line");
        let lines = datagram.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            match metric(line) {
                Ok(metric) => metrics.push(metric),
                Err(error) => (bad_lines, why) = (bad_lines + 1, error),
            }
        }
        if metrics.is_empty() {
            return Err(why.into());
        }
        Ok(Datagram { metrics, bad_lines })
    }
}

fn metric(line: &[u8]) -> Result<Metric, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "a line is no text")?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    let (name, rest) = line.split_once(':').ok_or("a line has no value")?;
    let mut fields = rest.split('|');
    let (value, kind, rate) = match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(value), Some(kind), rate, None) => (value, kind, rate),
        (_, Some(_), ..) => return Err("a line has too many fields"),
        _ => return Err("a line has no type"),
    };
    // The rate at which its client sent such lines: so many times as many have happened.
    let rate = match rate.map(|rate| rate.strip_prefix('@').ok_or("a rate has no @")) {
        None => 1.0,
        Some(rate) => number(rate?)?,
    };
    if !(rate > 0.0 && rate <= 1.0) {
        return Err("a rate is not between 0 and 1");
    }
    let value = match kind {
        "c" => Value::Count(number(value)? / rate),
        "ms" | "h" => Value::Time(number(value)?, 1.0 / rate),
        "g" if value.starts_with(['+', '-']) => Value::GaugeChange(number(value)?),
        "g" => Value::Gauge(number(value)?),
        "s" => Value::Member(word(value)?),
        _ => return Err("a type is not known"),
    };
    let name = word(name)?;
    Ok(Metric { name, value })
}

/// A name, or a value of a set: printable, and without spaces, so it is one word where it is shown.
fn word(text: &str) -> Result<String, &'static str> {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    match is_word && text.len() <= LONGEST {
        true => Ok(text.to_owned()),
        false => Err("a name is not 1 to 255 printable characters"),
    }
}

fn number(text: &str) -> Result<f64, &'static str> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or("a value is no number")
}
