//! What is written of each message: a line of columns, which a tab separates.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;

use tokio::sync::mpsc;

use crate::wire::Message;

/// A message, and who sent it: the host that it names is what its sender says.
#[derive(Debug)]
pub struct Line {
    pub client: SocketAddr,
    pub message: Message,
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.message;
        let facility = FACILITIES[usize::from(message.facility)];
        let severity = SEVERITIES[usize::from(message.severity)];
        write!(f, "{}\t{facility}.{severity}", self.client)?;
        for column in [
            &message.timestamp,
            &message.hostname,
            &message.app_name,
            &message.process_id,
            &message.message_id,
            &message.structured_data,
        ] {
            write!(f, "\t{}", Escaped(column.as_deref().unwrap_or("-")))?;
        }
        write!(f, "\t{}", Escaped(&message.text))
    }
}

/// No message begins a line or a column of its own: control characters are written as `#012`, in
/// octal, as other servers do it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(char::is_control) {
            let (before, after) = rest.split_at(at);
            f.write_str(before)?;
            let mut after = after.chars();
            after
                .next()
                .map_or(Ok(()), |control| write!(f, "#{:03o}", u32::from(control)))?;
            rest = after.as_str();
        }
        f.write_str(rest)
    }
}

/// Writes lines until nobody sends any more, and answers how many. The file has all of them
/// whenever none waits. It blocks, so it has a thread.
pub fn write(mut lines: mpsc::Receiver<Line>, file: File) -> io::Result<u64> {
    let mut file = BufWriter::new(file);
    let mut count = 0;
    while let Some(line) = lines.blocking_recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            writeln!(file, "{line}")?;
            count += 1;
            next = lines.try_recv().ok();
        }
        file.flush()?;
    }
    Ok(count)
}
