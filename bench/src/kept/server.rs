//! The server that is stopped, in a process of its own.

use std::io::{self, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{
    BoxError, Client, Handler, Limits, Requests, Server, ServerBuilder, Session, stop_signal,
};
use serde::{Deserialize, Serialize};

use super::question::{LAST, Question};

/// What handlers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// One answer, at once.
    Answer,
    /// One answer, after a look-up of 50 ms.
    Lookup,
    /// Several answers to as many questions.
    Talk,
    /// One answer, and then on and on: half of them in a receive, the others in something else.
    Stay,
}

/// How questions of one address are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    /// Not at all.
    None,
    AnswerFn,
    Concurrency,
    /// By their number.
    Key,
}

/// What a server is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// What its handlers do.
    #[arg(long)]
    pub(super) kind: Kind,
    /// How it tells questions of one address apart.
    #[arg(long, default_value = "none")]
    pub(super) way: Way,
    /// Hands over when it is asked to stop, in place of a drain.
    #[arg(long)]
    pub(super) hands_over: bool,
    /// How long that may take, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    pub(super) within: u64,
    /// The grace after it, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub(super) grace: u64,
    /// What its answers are marked with.
    #[arg(long, default_value_t = 0)]
    pub(super) mark: u8,
}

impl Target {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            way: Way::None,
            hands_over: false,
            within: 10_000,
            grace: 1000,
            mark: 0,
        }
    }

    /// The arguments that say so.
    pub(super) fn arguments(&self) -> Vec<String> {
        let name = |value: Option<PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let kind = name(self.kind.to_possible_value());
        let way = name(self.way.to_possible_value());
        let mut arguments = vec![
            String::from("serve"),
            format!("--kind={kind}"),
            format!("--way={way}"),
            format!("--within={}", self.within),
            format!("--grace={}", self.grace),
            format!("--mark={}", self.mark),
        ];
        arguments.extend(self.hands_over.then(|| String::from("--hands-over")));
        arguments
    }
}

/// What a server tells at its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) received: u64,
    pub(super) accounted: u64,
    /// As of newcomers, which came too late.
    pub(super) dropped_shutdown: u64,
    /// For any other reason.
    pub(super) dropped_otherwise: u64,
    pub(super) kernel_drops: u64,
    pub(super) cancelled: u64,
    /// The warnings and errors in its log.
    pub(super) lines: Vec<String>,
}

struct Handles(Target);

impl Handler for Handles {
    type Request = Bytes;
    type Response = Bytes;

    async fn handle(
        &self,
        client: Client<Bytes>,
        mut requests: Requests<Bytes>,
    ) -> Result<(), BoxError> {
        let mark = self.0.mark;
        let question = Question::read(&requests.recv().await?)?;
        if self.0.kind == Kind::Lookup {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        client.send(question.written(mark)).await?;
        match self.0.kind {
            Kind::Answer | Kind::Lookup => {}
            Kind::Talk => {
                let mut step = question.step;
                while step < LAST {
                    let question = Question::read(&requests.recv().await?)?;
                    step = question.step;
                    client.send(question.written(mark)).await?;
                }
            }
            Kind::Stay if question.number % 2 == 0 => drop(requests.recv().await?),
            Kind::Stay => std::future::pending().await,
        }
        Ok(())
    }
}

async fn look_up(question: Bytes) -> Bytes {
    tokio::time::sleep(Duration::from_millis(50)).await;
    question
}

/// Serves until it is asked to stop: the socket that is its standard input, where that is one.
/// Tells its address on the standard output, and at its end what it has counted.
///
/// # Errors
///
/// Whatever keeps it from serving.
pub fn serve(target: &Target) -> Result<(), BoxError> {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(|| Lines)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve_on(target))
}

async fn serve_on(target: &Target) -> Result<(), BoxError> {
    let limits = Limits::default().grace(Duration::from_millis(target.grace));
    let within = Duration::from_millis(target.within);
    let protocol = DatagramProtocol::new(RawSerializer);
    let builder = match target.way {
        Way::AnswerFn => Server::builder_answer_fn(protocol, look_up),
        _ => Server::builder(protocol, Handles(target.clone())),
    };
    let builder = match target.way {
        Way::None | Way::AnswerFn => builder,
        Way::Concurrency => builder.concurrency(256),
        Way::Key => builder.session_key(Session::be_u64(2)),
    };
    let builder = builder.limits(limits);
    let server = bind(builder).await?;
    let handle = server.handle();
    let (stop, hands_over) = (handle.clone(), target.hands_over);
    let signal = async move {
        let _ = stop_signal().await;
        if hands_over {
            stop.hand_over(within).await;
            std::future::pending::<()>().await;
        }
    };
    let told = handle.clone();
    let started = async move {
        let started = told.started().await;
        println!("{}", told.addresses()[0]);
        let _ = io::stdout().flush();
        started
    };
    let serving = server.serve_until_drained(signal, within);
    let (served, _) = tokio::join!(serving, started);
    served?;
    let stats = handle.stats();
    let told = Told {
        received: stats.received,
        accounted: stats.accounted(),
        dropped_shutdown: stats.dropped_shutdown,
        dropped_otherwise: stats.dropped() - stats.dropped_shutdown,
        kernel_drops: stats.kernel_drops.unwrap_or(0),
        cancelled: stats.handlers_cancelled,
        lines: std::mem::take(&mut *lines()),
    };
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}

async fn bind(builder: ServerBuilder) -> Result<Server, BoxError> {
    let given = UdpSocket::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(match given.local_addr() {
        Ok(_) => builder.from_sockets([given])?,
        Err(_) => builder.bind("127.0.0.1:0").await?,
    })
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lines() -> std::sync::MutexGuard<'static, Vec<String>> {
    LINES
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The log, kept.
struct Lines;

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        lines().push(String::from_utf8_lossy(text).trim().to_owned());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
