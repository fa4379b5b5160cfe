//! Which numbers can work, of all that a server is configured with.

use std::ops::RangeInclusive;

use super::limits::MOST_CLIENTS;
use super::{Limits, Sessions};
use crate::error::BindError;
use crate::transport::socket::SocketConfig;

/// More than machines have processors. The kernel lets 65,535 sockets share a port.
const MOST_WORKERS: usize = 4096;

/// What a system call takes.
const MOST_BUFFER: usize = i32::MAX as usize;

/// Names the first number that cannot work.
pub(crate) fn check(
    limits: &Limits,
    workers: usize,
    sessions: &Sessions,
    sockets: &SocketConfig,
) -> Result<(), BindError> {
    limits.check()?;
    let of_prefix = limits.max_clients_per_prefix().unwrap_or(1);
    check_one("clients_per_prefix", of_prefix, 1..=MOST_CLIENTS)?;
    check_one("concurrency", sessions.concurrency, 1..=MOST_CLIENTS)?;
    check_one("workers", workers, 1..=MOST_WORKERS)?;
    let SocketConfig {
        recv_buffer,
        send_buffer,
        tos,
        ttl,
        ..
    } = sockets;
    check_one("recv_buffer", recv_buffer.unwrap_or(0), 0..=MOST_BUFFER)?;
    check_one("send_buffer", send_buffer.unwrap_or(0), 0..=MOST_BUFFER)?;
    check_one("tos", tos.unwrap_or(0) as usize, 0..=255)?;
    check_one("ttl", ttl.unwrap_or(1) as usize, 1..=255)
}

pub(super) fn check_one(
    name: &'static str,
    value: usize,
    range: RangeInclusive<usize>,
) -> Result<(), BindError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(BindError::Limit { name, value, range })
}
