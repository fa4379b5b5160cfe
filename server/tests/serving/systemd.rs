//! V13: sockets from the environment, and what systemd is told. An environment belongs to a
//! process: so each test starts the test program once more, with itself as systemd.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use postbox_server::{BindError, stop_signal};

use crate::common::service::*;
use crate::common::*;

/// Set in the program that is started.
const INSIDE: &str = "POSTBOX_INSIDE_SYSTEMD";

/// Until the deadline of a stop that has none.
const LONG: Duration = Duration::from_secs(3600);

fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// What is run inside, on a runtime with threads of its own.
fn inside(body: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(body);
}

/// The same on this thread alone.
fn inside_alone(body: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(body);
}

/// The service manager: what is told to it.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("postbox-{}-{next}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        Self { path, socket }
    }

    fn told(&self) -> String {
        let mut buffer = [0; 100];
        let len = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len])
            .trim_end()
            .to_owned()
    }

    /// What was told and is not taken yet.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 100];
        let mut rest = Vec::new();
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(len) => rest.push(
                    String::from_utf8_lossy(&buffer[..len])
                        .trim_end()
                        .to_owned(),
                ),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return rest,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        fs::remove_file(&self.path).unwrap();
    }
}

/// This test once more, with `socket` as file descriptor 3, and `settings` of the shell.
fn start(test: &str, socket: impl Into<OwnedFd>, settings: &str) -> Command {
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-ec",
            &format!("exec 3<&0 0</dev/null; {settings} exec \"$@\""),
        ])
        .arg("sh")
        .arg(env::current_exe().unwrap())
        .args(["--nocapture", "--exact", &format!("{module}::{test}")])
        .env(INSIDE, "1")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::from(socket.into()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// All its sockets are for this very process.
const GIVEN: &str = "LISTEN_FDS=1 LISTEN_PID=$$";

fn udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    socket
}

fn passes(output: io::Result<Output>) {
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{text}{errors}");
}

fn terminate(child: &Child) {
    let kill = ["-TERM", &child.id().to_string()].map(str::to_owned);
    assert!(Command::new("kill").args(kill).status().unwrap().success());
}

#[test]
fn v13_given_sockets_are_served_and_handed_over_and_systemd_is_told() {
    if is_inside() {
        return inside(async {
            let server = echo().bind_from_env().unwrap();
            for name in ["LISTEN_FDS", "LISTEN_PID"] {
                assert!(env::var_os(name).is_none(), "{name}");
            }
            let again = echo().bind_from_env();
            assert!(matches!(again, Err(BindError::NoneInherited)));
            server
                .serve_with_systemd(stop_signal(), LONG)
                .await
                .unwrap();
            // Its predecessor's options are its own: nothing was set back.
            server.close().await;
        });
    }
    let (manager, socket, client) = (Manager::new(), udp(), udp());
    client.connect(socket.local_addr().unwrap()).unwrap();
    client.send(b"before").unwrap(); // it waits for whoever serves
    let test = "v13_given_sockets_are_served_and_handed_over_and_systemd_is_told";
    let child = start(test, socket.try_clone().unwrap(), GIVEN)
        .env("NOTIFY_SOCKET", &manager.path)
        .spawn()
        .unwrap();
    assert_eq!(manager.told(), "READY=1");
    let mut buffer = [0; 20];
    for question in ["before", "now"] {
        if question == "now" {
            client.send(b"now").unwrap();
        }
        let len = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], question.as_bytes());
    }
    terminate(&child);
    assert_eq!(manager.told(), "STOPPING=1");
    passes(child.wait_with_output());
    assert_eq!(manager.rest(), [""; 0]);
    client.send(b"after").unwrap();
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"after");
    assert_eq!(from, client.local_addr().unwrap());
}

/// What comes between the signal and its end is left to the next, where a drain would take it.
#[test]
fn v13_a_given_socket_is_handed_over_and_another_is_drained() {
    if is_inside() {
        return inside_alone(async {
            for given in [true, false] {
                let server = echo().bind_from_env_or("127.0.0.1:0").await.unwrap();
                let (handle, client) = (server.handle(), udp());
                client.connect(handle.addresses()[0]).unwrap();
                let signal = async {
                    handle.started().await.unwrap();
                    // On one thread the worker has no turn between this and the stop.
                    client.send(b"late").unwrap();
                };
                let serving = server.serve_with_systemd(signal, LONG);
                serving.await.unwrap();
                let received = handle.stats().received;
                assert_eq!(received, u64::from(!given), "given: {given}");
            }
        });
    }
    let test = "v13_a_given_socket_is_handed_over_and_another_is_drained";
    passes(start(test, udp(), GIVEN).output());
}

#[test]
fn v13_what_was_not_given_is_an_error_and_another_address_is_bound() {
    let test = "v13_what_was_not_given_is_an_error_and_another_address_is_bound";
    if is_inside() {
        return inside(async {
            let none = echo().bind_from_env();
            assert!(matches!(&none, Err(BindError::NoneInherited)), "{none:?}");
            assert!(env::var_os("LISTEN_FDS").is_none());
            let server = echo().bind_from_env_or("127.0.0.1:0").await.unwrap();
            assert_eq!(server.handle().addresses().len(), 1);
        });
    }
    // Nothing; nothing of it; for another process, such as the one that started this.
    for settings in [
        "",
        "LISTEN_FDS=0 LISTEN_PID=$$",
        "LISTEN_FDS=1 LISTEN_PID=$PPID",
    ] {
        passes(start(test, udp(), settings).output());
    }
}

#[test]
fn v13_what_is_no_udp_socket_is_named_by_its_number_and_name() {
    let test = "v13_what_is_no_udp_socket_is_named_by_its_number_and_name";
    if is_inside() {
        let Err(error) = echo().bind_from_env() else {
            panic!("it is served");
        };
        let wanted = env::var("WANTED").unwrap();
        assert_eq!(error.to_string(), wanted);
        return;
    }
    let file = || fs::File::open("/dev/null").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let names = "LISTEN_FDNAMES=http:dns LISTEN_FDS=2 LISTEN_PID=$$";
    let told = |what| format!("cannot serve file descriptor {what}, of LISTEN_FDS");
    for (command, wanted) in [
        (start(test, tcp, GIVEN), told("3")),
        (start(test, file(), names), told("3 (http)")),
        (
            start(test, udp(), &format!("exec 4</dev/null; {names}")),
            told("4 (dns)"),
        ),
    ] {
        let mut command = command;
        passes(command.env("WANTED", wanted).output());
    }
}

#[test]
fn v13_the_watchdog_is_told_while_every_worker_makes_turns() {
    /// Of each half of the watchdog's time.
    const HALF: Duration = Duration::from_millis(10);
    if is_inside() {
        return inside(async {
            let told = env::var("NOTIFY_SOCKET").unwrap();
            let tell = move |what: &str| {
                let socket = UnixDatagram::unbound().unwrap();
                socket.send_to(what.as_bytes(), &told).unwrap();
            };
            let handler = raw_server(move |_, mut requests| {
                let tell = tell.clone();
                async move {
                    requests.recv().await?;
                    tell("held");
                    thread::sleep(20 * HALF); // what no handler should do
                    tell("free");
                    Ok(())
                }
            });
            // The runtime's other threads have work, so their clock goes on.
            let runtime = tokio::runtime::Handle::current();
            thread::spawn(move || {
                loop {
                    runtime.spawn(async {});
                    thread::sleep(HALF / 10);
                }
            });
            let server = handler.bind_from_env().unwrap();
            server
                .serve_with_systemd(stop_signal(), LONG)
                .await
                .unwrap();
        });
    }
    let (manager, socket) = (Manager::new(), udp());
    let test = "v13_the_watchdog_is_told_while_every_worker_makes_turns";
    let child = start(test, socket.try_clone().unwrap(), GIVEN)
        .env("NOTIFY_SOCKET", &manager.path)
        .env("WATCHDOG_USEC", (2 * HALF).as_micros().to_string())
        .spawn()
        .unwrap();
    while manager.told() != "READY=1" {}
    for _ in 0..3 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
    udp().send_to(b"x", socket.local_addr().unwrap()).unwrap();
    while manager.told() != "held" {}
    // The worker may have made its turn just before it was held.
    let told = manager.told();
    assert!(told == "free" || told == "WATCHDOG=1" && manager.told() == "free");
    assert_eq!(manager.told(), "WATCHDOG=1", "and again");
    terminate(&child);
    while manager.told() != "STOPPING=1" {}
    passes(child.wait_with_output());
}

#[test]
fn v13_a_stop_during_service_init_is_told_and_no_readiness() {
    if is_inside() {
        return inside(async {
            let builder = echo_with_init(|_| Box::pin(std::future::pending()));
            let server = builder.bind_from_env().unwrap();
            server.serve_with_systemd(async {}, LONG).await.unwrap();
        });
    }
    let manager = Manager::new();
    let test = "v13_a_stop_during_service_init_is_told_and_no_readiness";
    let mut command = start(test, udp(), GIVEN);
    passes(command.env("NOTIFY_SOCKET", &manager.path).output());
    assert_eq!(manager.rest(), ["STOPPING=1"]);
}

#[test]
fn v13_what_systemd_does_not_take_changes_nothing() {
    if is_inside() {
        return inside(async {
            let server = echo().bind_from_env().unwrap();
            let handle = server.handle();
            let started = async { handle.started().await.unwrap() };
            server.serve_with_systemd(started, LONG).await.unwrap();
        });
    }
    let test = "v13_what_systemd_does_not_take_changes_nothing";
    let mut command = start(test, udp(), GIVEN);
    passes(command.env("NOTIFY_SOCKET", "/nonexistent/notify").output());
}
