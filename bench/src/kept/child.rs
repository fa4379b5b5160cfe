//! A server in a process of its own, which is sent signals.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use postbox_server::BoxError;
use rustix::process::{Pid, Signal, kill_process};

use super::server::{Target, Told};

/// It ends when this is dropped.
pub(super) struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(super) addr: SocketAddr,
}

impl Server {
    /// Starts one, of this socket or of its own, and waits until it serves.
    pub(super) fn start(target: &Target, socket: Option<&UdpSocket>) -> Result<Self, BoxError> {
        let input = match socket {
            Some(socket) => Stdio::from(OwnedFd::from(socket.try_clone()?)),
            None => Stdio::null(),
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args(target.arguments())
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("it has no output")?;
        let mut server = Self {
            child,
            output: BufReader::new(output),
            addr: ([127, 0, 0, 1], 0).into(),
        };
        server.addr = server.line()?.trim().parse()?;
        Ok(server)
    }

    fn line(&mut self) -> Result<String, BoxError> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }

    /// Asks it to stop. Returns when that was.
    pub(super) fn terminate(&self) -> Result<Instant, BoxError> {
        let pid = Pid::from_child(&self.child);
        let now = Instant::now();
        kill_process(pid, Signal::TERM)?;
        Ok(now)
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> Result<bool, BoxError> {
        match self.child.try_wait()? {
            Some(status) if !status.success() => Err(format!("the server: {status}").into()),
            status => Ok(status.is_some()),
        }
    }

    /// What it told at its end.
    pub(super) fn told(&mut self) -> Result<Told, BoxError> {
        Ok(serde_json::from_str(&self.line()?)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
