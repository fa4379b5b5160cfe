//! 2,000 questions from one port, 200 of them open, each looked up for 50 ms: what a proxy does.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use postbox_server::BoxError;

use super::Outcome;
use super::child::Server;
use super::question::Question;
use super::server::{Kind, Target, Way};

const QUESTIONS: u64 = 2000;
const OPEN: u64 = 200;

/// Asks them all, of a server that tells them apart in this way.
pub(super) fn ask(way: Way, outcome: &mut Outcome) -> Result<(), BoxError> {
    let target = Target {
        way,
        ..Target::new(Kind::Lookup)
    };
    let mut server = Server::start(&target, None)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server.addr)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let send = |number| socket.send(&Question { number, step: 1 }.written(0));
    let began = Instant::now();
    for number in 0..OPEN {
        send(number)?;
    }
    let mut answered = vec![false; QUESTIONS as usize];
    let mut answer = [0; 64];
    for answers in 0..QUESTIONS {
        let Ok(len) = socket.recv(&mut answer) else {
            break; // what is missing is told below
        };
        let question = Question::read(&answer[..len])?;
        answered[usize::try_from(question.number)?] = true;
        if answers + OPEN < QUESTIONS {
            send(answers + OPEN)?;
        }
    }
    outcome.add(
        "ms until all are answered",
        began.elapsed().as_secs_f64() * 1e3,
    );
    let unanswered = answered.iter().filter(|answered| !**answered).count();
    outcome.add("unanswered", unanswered as f64);
    outcome.check(unanswered == 0, || {
        format!("{way:?}: {unanswered} unanswered")
    });
    server.terminate()?;
    let told = server.told()?;
    let dropped = told.dropped_otherwise + told.dropped_shutdown + told.kernel_drops;
    outcome.check(dropped == 0, || format!("{way:?}: {dropped} dropped"));
    Ok(())
}
