//! The addresses of this host.

use std::io;
use std::net::IpAddr;

/// The addresses of all interfaces, each with the number of its interface, or 0 where the system
/// does not tell. It asks the system: some ten microseconds for each of them.
pub(crate) fn host_addresses() -> io::Result<Vec<(IpAddr, u32)>> {
    let interfaces = if_addrs::get_if_addrs()?;
    let address = |one: if_addrs::Interface| (one.ip(), one.index.unwrap_or(0));
    Ok(interfaces.into_iter().map(address).collect())
}
