//! H11 and L11: what a stranger causes is logged, and with a limit.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod fault;
mod limits;
mod loggers;
mod losses;
mod malformed;
mod spans;

use postbox_protocol::DatagramParseError;
use postbox_server::{ClientFault, ContextVar, RecvError, ServerBuilder};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use crate::common::*;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("it blew up");
    }
}

static BOMB: ContextVar<Arc<Bomb>> = ContextVar::new("bomb");

/// A handler, which panics when it is dropped if it has armed itself.
struct Armed<F> {
    handler: Pin<Box<F>>,
    armed: Arc<AtomicBool>,
}

impl<F: Future> Future for Armed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.handler.as_mut().poll(cx)
    }
}

impl<F> Drop for Armed<F> {
    fn drop(&mut self) {
        assert!(!self.armed.load(Ordering::Relaxed), "it blew up");
    }
}

/// Echoes, or ends as the client tells it to.
fn obedient() -> ServerBuilder {
    raw_server(|client, mut requests| {
        let armed = Arc::new(AtomicBool::new(false));
        let arm = Arc::clone(&armed);
        let handler = async move {
            let request = requests.recv().await?;
            match &request[..] {
                b"fail" => return Err("told to".into()),
                b"fault" => return Err(ClientFault::new("told to").into()),
                b"bad" => return Err(RecvError::Parse(parse_error()).into()),
                b"perhaps bad" => return Err(Outer(parse_error()).into()),
                b"silent" => return Err(RecvError::TimedOut.into()),
                b"crash" => {
                    let message = "told to".into();
                    return Err(RecvError::Crashed { message }.into());
                }
                b"panic" => panic!("told to"),
                b"drop" => arm.store(true, Ordering::Relaxed),
                b"variable" => BOMB.set(Arc::new(Bomb)),
                _ => client.send(request).await?,
            }
            Ok(())
        };
        let handler = Box::pin(handler);
        Armed { handler, armed }
    })
}

fn parse_error() -> DatagramParseError {
    DatagramParseError::Deserialize("no number".into())
}

/// An error around a parse error that is perhaps not the client's.
#[derive(Debug, thiserror::Error)]
#[error("somebody's")]
struct Outer(#[source] DatagramParseError);

/// The number in a field of a record.
fn number(record: &Record, field: &str) -> u64 {
    let mut fields = record.fields.split(' ');
    let value = fields.find_map(|text| text.strip_prefix(field)?.strip_prefix('='));
    value
        .unwrap_or_else(|| panic!("{field} in {record:?}"))
        .parse()
        .unwrap()
}

/// How many failures these records tell of.
fn told(records: &[Record]) -> u64 {
    let more = |record: &Record| record.message.ends_with(" more");
    let of = |record: &Record| number(record, "suppressed") + u64::from(!more(record));
    records.iter().map(of).sum()
}
