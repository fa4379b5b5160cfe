//! What service managers do: holds the socket, starts a server with it, waits until that is ready,
//! and ends it by SIGTERM.

use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, process};

use postbox_server::BoxError;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::process::{Pid, Signal, kill_process};

use super::Way;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Room for what is asked between two servers: what Postbox asks for its own sockets.
const RECV_BUFFER: usize = 4 << 20;

pub(super) struct Supervisor {
    way: Way,
    look_up: u64,
    /// Closed where each server has its own.
    socket: Option<UdpSocket>,
    addr: SocketAddr,
    started: Cell<usize>,
}

impl Supervisor {
    pub(super) fn new(way: Way, look_up: u64) -> Result<Self, BoxError> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        if set_socket_recv_buffer_size_force(&socket, RECV_BUFFER).is_err() {
            // Not root: as much as net.core.rmem_max allows.
            socket2::SockRef::from(&socket).set_recv_buffer_size(RECV_BUFFER)?;
        }
        Ok(Self {
            way,
            look_up,
            addr: socket.local_addr()?,
            socket: way.keeps_all().then_some(socket),
            started: Cell::new(0),
        })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Starts a server, and waits until it is ready.
    pub(super) fn start(&self) -> Result<Server, BoxError> {
        let number = self.started.replace(self.started.get() + 1);
        let name = format!("postbox-restarts-{}-{:?}-{number}", process::id(), self.way);
        let told = Told::new(env::temp_dir().join(name))?;
        // A shell's process becomes that of the server, so it knows its number.
        let script = match self.socket {
            Some(_) => "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"",
            None => "exec \"$@\"",
        };
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh"]);
        command.arg(env::current_exe()?).arg("serve");
        command.arg(format!("--look-up={}", self.look_up));
        match &self.socket {
            Some(socket) => command.stdin(Stdio::from(OwnedFd::from(socket.try_clone()?))),
            None => command.arg(format!("--bind={}", self.addr)),
        };
        if self.way == Way::ReusePort {
            command.arg("--reuse-port");
        }
        let child = command.env("NOTIFY_SOCKET", &told.path).spawn()?;
        let server = Server { child, told };
        server.expect("READY=1\n")?;
        Ok(server)
    }
}

/// Ends when it is dropped.
pub(super) struct Server {
    child: Child,
    told: Told,
}

impl Server {
    /// Asks it to stop, and waits until it has ended.
    pub(super) fn stop(mut self) -> Result<(), BoxError> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.expect("STOPPING=1\n")?;
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the server: {status}").into()),
        }
    }

    fn expect(&self, what: &str) -> Result<(), BoxError> {
        let mut buffer = [0; 100];
        let len = self.told.socket.recv(&mut buffer)?;
        let told = String::from_utf8_lossy(&buffer[..len]);
        match told == what {
            true => Ok(()),
            false => Err(format!("the server tells {told:?}, not {what:?}").into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a server tells how it goes.
struct Told {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Told {
    fn new(path: PathBuf) -> Result<Self, BoxError> {
        let socket = UnixDatagram::bind(&path)?;
        let told = Self { socket, path };
        told.socket.set_read_timeout(Some(PATIENCE))?;
        Ok(told)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
