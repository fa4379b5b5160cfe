//! The server process under test.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Failure;

/// The command, and what was started with it.
pub(crate) struct Server {
    command: Vec<String>,
    pub(crate) addresses: Vec<SocketAddr>,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn new(command: Vec<String>, addresses: Vec<SocketAddr>) -> Self {
        Self {
            command,
            addresses,
            process: None,
        }
    }

    /// Starts it; a second start asks for the ports that the first one was given.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        let mut process = Command::new(&self.command[0])
            .args(&self.command[1..])
            .args(self.addresses.iter().map(SocketAddr::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or("the server has no output")?;
        let mut lines = BufReader::new(output).lines();
        let mut listening = Vec::new();
        loop {
            let line = timeout(Duration::from_secs(10), lines.next_line()).await??;
            match line.as_deref() {
                Some("ready") => break,
                Some(line) => match line.strip_prefix("listening on ") {
                    Some(address) => listening.push(address.parse()?),
                    None => return Err(format!("the server said {line:?} too early").into()),
                },
                None => return Err("the server ended before it was ready".into()),
            }
        }
        if listening.len() != self.addresses.len() {
            return Err(format!("asked for {:?}, got {listening:?}", self.addresses).into());
        }
        self.addresses = listening;
        self.process = Some(process);
        Ok(())
    }

    pub(crate) async fn stop_by_end_of_input(&mut self) -> Result<ExitStatus, Failure> {
        let mut process = self.process.take().ok_or("the server is not running")?;
        drop(process.stdin.take());
        Ok(timeout(Duration::from_secs(10), process.wait()).await??)
    }
}
