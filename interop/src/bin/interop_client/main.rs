//! Postbox's `UdpClient`, checking a server.
//!
//! ```text
//! interop_client LABEL FORMAT COMMAND...
//! ```
//!
//! Starts the server with COMMAND and the addresses to listen on (see `interop_server` for what a
//! server prints and how it ends), runs every check of the format, or of `numbered`, questions with
//! numbers in JSON, over IPv4 and IPv6, and prints a line for each:
//! `ok`, `FAILED` or `skipped`, then LABEL and the check's name. Ends with 1 if one failed.

mod asking;
mod checks;
mod malformed;
mod server;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use postbox_interop::Format;
use tokio::time::timeout;

use asking::*;
use checks::*;
use server::Server;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "LABEL FORMAT COMMAND...";

/// For one check, restarts included.
const CHECK_LIMIT: Duration = Duration::from_secs(30);

/// Prints one line per check and remembers whether one failed.
struct Report {
    label: String,
    failed: bool,
}

impl Report {
    async fn run(&mut self, name: &str, check: impl Future<Output = Result<(), Failure>>) {
        let outcome = match timeout(CHECK_LIMIT, check).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(elapsed.into()),
        };
        match outcome {
            Ok(()) => println!("ok      {}, {name}", self.label),
            Err(failure) => {
                self.failed = true;
                println!("FAILED  {}, {name}: {failure}", self.label);
            }
        }
    }
}

/// Runs the named checks, each a function from the server.
macro_rules! run {
    ($report:ident, $family:ident, $peer:ident: $($check:ident),+ $(,)?) => {
        $($report.run(&format!("{}: {}", $family, stringify!($check)), $check($peer)).await;)+
    };
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args().skip(1);
    let label = arguments.next().ok_or(USAGE)?;
    let format = match arguments.next().ok_or(USAGE)?.as_str() {
        "numbered" => None,
        format => Some(format.parse::<Format>()?),
    };
    let command: Vec<String> = arguments.collect();
    if command.is_empty() {
        return Err(USAGE.into());
    }

    let mut report = Report {
        label,
        failed: false,
    };
    let mut families = Vec::new();
    let mut addresses = Vec::new();
    for (family, host) in [
        ("ipv4", IpAddr::from(Ipv4Addr::LOCALHOST)),
        ("ipv6", IpAddr::from(Ipv6Addr::LOCALHOST)),
    ] {
        if UdpSocket::bind((host, 0)).is_ok() {
            families.push(family);
            addresses.push(SocketAddr::new(host, 0));
        } else {
            println!(
                "skipped {}, {family}: this machine has no {host}",
                report.label
            );
        }
    }
    let mut server = Server::new(command, addresses);
    server.start().await?;

    for (family, address) in families.into_iter().zip(server.addresses.clone()) {
        let Some(format) = format else {
            run!(report, family, address:
                each_of_many_questions_gets_its_own_answer,
                answers_in_the_opposite_order_find_their_questions,
                lost_questions_are_repeated,
                second_answers_are_dropped,
                what_nobody_asked_for_is_received,
            );
            let restarted = a_client_asks_on_after_the_server_was_restarted(address, &mut server);
            let name = format!("{family}: a_client_asks_on_after_the_server_was_restarted");
            report.run(&name, restarted).await;
            continue;
        };
        let peer = Peer { address, format };
        run!(report, family, peer:
            a_request_is_answered_once,
            texts_of_all_kinds_and_sizes_come_back_equal,
            numbers_come_back_exact,
            malformed_datagrams_are_answered_politely,
            requests_sent_at_once_are_answered_in_order,
            several_clients_at_once_get_their_own_answers,
            a_conversation_in_time_is_heard,
            a_conversation_sent_in_one_go_is_heard,
            a_conversation_too_late_is_timed_out,
            a_conversation_survives_a_malformed_datagram,
            garbage_from_the_server_is_a_parse_error_and_no_more,
        );
        let restarted = a_client_goes_on_after_the_server_was_restarted(peer, &mut server);
        let name = format!("{family}: a_client_goes_on_after_the_server_was_restarted");
        report.run(&name, restarted).await;
    }
    server.stop_by_end_of_input().await?;
    Ok(ExitCode::from(u8::from(report.failed)))
}
