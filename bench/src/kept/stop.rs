//! Servers that are stopped under load, by the signal of service managers.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use postbox_server::BoxError;

use super::Outcome;
use super::child::Server;
use super::clients::Clients;
use super::server::{Kind, Target};

/// What was sent so long before the signal has to be answered.
const BEFORE: Duration = Duration::from_millis(10);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks on and on until the server has ended, and takes the answers that have come by then. Returns
/// when it had ended.
fn until_end(clients: &mut Clients, server: &mut Server) -> Result<Instant, BoxError> {
    let begin = Instant::now();
    while !server.has_ended()? {
        clients.turn(true)?;
        if begin.elapsed() > PATIENCE {
            return Err("it does not end".into());
        }
    }
    let end = Instant::now();
    clients.turns(Duration::from_millis(5), false)?;
    Ok(end)
}

/// A stop under load: what was asked is answered, and conversations are finished.
pub(super) fn stop(kind: Kind, outcome: &mut Outcome) -> Result<(), BoxError> {
    let mut server = Server::start(&Target::new(kind), None)?;
    let (count, window) = match kind {
        Kind::Answer => (64, 8),
        Kind::Lookup => (256, 2),
        Kind::Talk | Kind::Stay => (256, 1),
    };
    let mut clients = Clients::new(server.addr, count, window, kind == Kind::Talk)?;
    let time = clients.some_time(100, 200);
    clients.turns(time, true)?;
    let signal = server.terminate()?;
    let end = until_end(&mut clients, &mut server)?;
    let (told, by) = (server.told()?, signal - BEFORE);
    let unanswered = clients.unanswered(by);
    let (begun, finished) = clients.conversations(by);
    outcome.add("asked before", clients.asked_by(by) as f64);
    outcome.add("unanswered", unanswered as f64);
    outcome.add("dropped by the kernel", told.kernel_drops as f64);
    if kind == Kind::Talk {
        outcome.add("conversations", begun as f64);
        outcome.add("unfinished", (begun - finished) as f64);
    }
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    outcome.add("end after the signal, ms", millis(end - signal));
    let last = clients.last_answer().unwrap_or(end);
    outcome.add(
        "after the last answer, ms",
        millis(end.saturating_duration_since(last)),
    );
    outcome.check(unanswered as u64 <= told.kernel_drops, || {
        format!("{unanswered} questions are not answered: {told:?}")
    });
    outcome.check((begun - finished) as u64 <= told.kernel_drops, || {
        format!("{finished} of {begun} conversations are finished: {told:?}")
    });
    outcome.check(told.received == told.accounted, || format!("{told:?}"));
    let only_newcomers = told.dropped_otherwise == 0 && told.cancelled == 0;
    outcome.check(only_newcomers && told.lines.is_empty(), || {
        format!("nothing is cut, and nothing told: {told:?}")
    });
    Ok(())
}

/// A stop with handlers that do not end: what its deadline cuts is counted, and told in one line.
pub(super) fn deadline(outcome: &mut Outcome) -> Result<(), BoxError> {
    const CLIENTS: usize = 64;
    let mut server = Server::start(
        &Target {
            within: 200,
            grace: 100,
            ..Target::new(Kind::Stay)
        },
        None,
    )?;
    let mut clients = Clients::new(server.addr, CLIENTS, 1, false)?;
    clients.turn(true)?;
    let begin = Instant::now();
    while clients.unanswered(Instant::now()) > 0 && begin.elapsed() < PATIENCE {
        clients.turn(false)?;
    }
    let signal = server.terminate()?;
    while !server.has_ended()? {
        std::thread::sleep(Duration::from_millis(1));
    }
    outcome.add(
        "end after the signal, ms",
        signal.elapsed().as_secs_f64() * 1e3,
    );
    let told = server.told()?;
    outcome.add("cut", told.cancelled as f64);
    let says = |what: &str, handlers: usize| {
        let handlers = format!("handlers={handlers} ");
        let lines = told.lines.iter().filter(|line| line.contains(what));
        lines.map(|line| line.contains(&handlers)).eq([true])
    };
    let counted = told.cancelled as usize == CLIENTS / 2 && told.received == told.accounted;
    let holds = says("the drain's deadline has come", CLIENTS)
        && says("cut by the shutdown", CLIENTS / 2)
        && told.lines.len() == 2;
    outcome.check(counted && holds, || format!("{told:?}"));
    Ok(())
}

/// A server hands its socket over under load, and another goes on with it.
pub(super) fn hand_over(outcome: &mut Outcome) -> Result<(), BoxError> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let (first, second) = (1, 2);
    let target = |mark| Target {
        hands_over: mark == first,
        mark,
        ..Target::new(Kind::Answer)
    };
    let mut server = Server::start(&target(first), Some(&socket))?;
    // No more at once than the socket holds: it is nobody's for a while.
    let mut clients = Clients::new(server.addr, 64, 2, false)?;
    let time = clients.some_time(50, 100);
    clients.turns(time, true)?;
    server.terminate()?;
    until_end(&mut clients, &mut server)?;
    let told = server.told()?;
    clients.turn(true)?;
    let held = clients.unanswered(Instant::now());
    let server = Server::start(&target(second), Some(&socket))?;
    let time = clients.some_time(50, 100);
    clients.turns(time, true)?;
    let begin = Instant::now();
    while clients.unanswered(Instant::now()) > 0 && begin.elapsed() < PATIENCE {
        clients.turn(false)?;
    }
    clients.turns(Duration::from_millis(5), false)?;
    drop(server);
    let unanswered = clients.unanswered(Instant::now());
    outcome.add("answered by the first", clients.answered_by(first) as f64);
    outcome.add("by the second", clients.answered_by(second) as f64);
    outcome.add("held by the kernel", held as f64);
    outcome.add("unanswered", unanswered as f64);
    outcome.add("answered twice", clients.doubles as f64);
    outcome.check(unanswered == 0 && clients.doubles == 0 && held > 0, || {
        format!(
            "{unanswered} unanswered, {} twice: {told:?}",
            clients.doubles
        )
    });
    let all = told.received == told.accounted && told.dropped_shutdown == 0;
    outcome.check(all && told.cancelled == 0, || format!("{told:?}"));
    Ok(())
}
