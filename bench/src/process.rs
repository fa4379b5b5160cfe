//! A server in a process of its own, and what it costs.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use postbox_protocol::BoxError;
use procfs::ProcResult;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::echo::Style;
use crate::peers::{Order, Peer};

/// The processors to use, looked up before this thread is kept on one of them: the first is the
/// server's, the second the generator's.
static PROCESSORS: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect()
});

/// A running server. It ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    // The server would fail to write to a pipe that nobody reads.
    output: BufReader<ChildStdout>,
    /// Where it serves.
    pub(crate) addr: SocketAddrV4,
}

/// Processor time of a process so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// What it ran, by the scheduler's exact account.
    pub(crate) ran: Duration,
    /// Ticks of the kernel's clock that found it running, and how many of them in user space.
    pub(crate) ticks: u64,
    pub(crate) user_ticks: u64,
}

impl Process {
    /// Starts a server on its processor; this thread goes to the other one.
    ///
    /// # Errors
    ///
    /// If it does not start, or tells no address.
    pub(crate) fn start(order: &Order, python: Option<&Path>) -> Result<Self, BoxError> {
        let command = match (order.peer, python) {
            (Peer::EasynetworkAsyncio | Peer::EasynetworkUvloop, Some(python)) => {
                let mut command = Command::new(python);
                let source = include_str!("peers/easynetwork.py");
                let is_uvloop = order.peer == Peer::EasynetworkUvloop;
                command.args(["-c", source, if is_uvloop { "uvloop" } else { "asyncio" }]);
                command.arg(if order.codec == crate::echo::Codec::Raw {
                    "raw"
                } else {
                    "json"
                });
                command.arg(if order.style == Style::Oneshot {
                    "oneshot"
                } else {
                    "session"
                });
                command
            }
            (Peer::EasynetworkAsyncio | Peer::EasynetworkUvloop, None) => {
                return Err("EasyNetwork needs --python".into());
            }
            _ => own_command(order)?,
        };
        Self::spawn(command).map_err(|error| format!("{:?}: {error}", order.peer).into())
    }

    /// The same with any program that tells its address in a line, and ends with its input.
    ///
    /// # Errors
    ///
    /// If it does not start, or tells no address.
    pub(crate) fn spawn(mut command: Command) -> Result<Self, BoxError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // The child inherits the processor. With only one there is nothing to choose.
        let pair = PROCESSORS.first().zip(PROCESSORS.get(1));
        if let Some((server, _)) = pair {
            pin(*server)?;
        }
        let child = command.spawn();
        if let Some((_, generator)) = pair {
            pin(*generator)?;
        }
        let mut child = child?;
        let output = child.stdout.take().ok_or("it has no output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let addr = line.trim().parse();
        let addr = addr.map_err(|_| "it did not start")?;
        Ok(Self {
            child,
            output,
            addr,
        })
    }

    /// Says a line, and answers the one that comes back: of servers that talk so.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub(crate) fn ask(&mut self, question: &str) -> Result<String, BoxError> {
        let input = self.child.stdin.as_mut().ok_or("it has no input")?;
        writeln!(input, "{question}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }

    /// What it has run so far.
    ///
    /// # Errors
    ///
    /// If /proc does not tell.
    pub(crate) fn cpu(&self) -> Result<Cpu, BoxError> {
        let process = self.proc()?;
        let stat = process.stat()?;
        let mut ran = 0;
        for task in process.tasks()? {
            ran += task?.schedstat()?.sum_exec_runtime;
        }
        Ok(Cpu {
            ran: Duration::from_nanos(ran),
            ticks: stat.utime + stat.stime,
            user_ticks: stat.utime,
        })
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    ///
    /// If /proc does not tell.
    pub(crate) fn memory(&self) -> Result<u64, BoxError> {
        let kilobytes = self.proc()?.status()?.vmrss;
        Ok(kilobytes.ok_or("it is gone")? * 1024)
    }

    fn proc(&self) -> ProcResult<procfs::process::Process> {
        procfs::process::Process::new(self.child.id() as i32)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take()); // which ends it
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps this thread, and all that it starts from now on, on one processor.
fn pin(cpu: usize) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)
}

fn own_command(order: &Order) -> Result<Command, BoxError> {
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    };
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("serve")
        .args(["--peer", &name(order.peer.to_possible_value())])
        .args(["--codec", &name(order.codec.to_possible_value())])
        .args(["--style", &name(order.style.to_possible_value())])
        .args(["--clients", &order.clients.to_string()])
        .args(["--largest", &order.largest.to_string()]);
    if order.multi {
        command.arg("--multi");
    }
    if order.offloads {
        command.arg("--offloads");
    }
    if order.no_offloads {
        command.arg("--no-offloads");
    }
    Ok(command)
}
