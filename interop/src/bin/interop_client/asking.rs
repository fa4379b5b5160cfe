//! What `ask` makes of a server's answers: one function per check. `numbered.py` says which texts
//! are answered in which way.

use std::net::SocketAddr;
use std::time::Duration;

use postbox_client::{AskError, AskTimes, AskingClient, NumberedMatching, UdpClient, UdpRecvError};
use postbox_codec_json::JsonSerializer;
use postbox_interop::{Answer, Ask, Reply};
use postbox_protocol::{DatagramProtocol, Numbered, NumberedSerializer};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;
use crate::server::Server;

/// Long enough to say that nothing more was sent.
const QUIET: Duration = Duration::from_millis(300);

/// So long that nothing is repeated where nothing is lost.
const PATIENT: Duration = Duration::from_secs(8);

type Asking = AskingClient<Numbered<Ask>, Numbered<Answer>>;

async fn open(address: SocketAddr) -> Result<Asking, Failure> {
    let json = JsonSerializer::<Ask, Answer>::new();
    let protocol = DatagramProtocol::new(NumberedSerializer::new(json));
    let client = UdpClient::connect(address, protocol).await?;
    Ok(client
        .asking(NumberedMatching)
        .with_times(repeating_after(PATIENT)))
}

fn repeating_after(timeout: Duration) -> AskTimes {
    let mut times = AskTimes::default();
    times.first = timeout;
    times.min = timeout;
    times
}

fn echo(text: &str) -> Ask {
    Ask::Echo { text: text.into() }
}

async fn expect_echo(client: Asking, text: String) -> Result<(), Failure> {
    let answer = client.ask(echo(&text)).await?.into_packet();
    let own = Reply::Echo { text }.into();
    match answer == own {
        true => Ok(()),
        false => Err(format!("{answer:?} came for {own:?}").into()),
    }
}

/// Asks so many questions of this kind at once, each in a task of its own.
async fn expect_echoes(client: &Asking, kind: &str, count: usize) -> Result<(), Failure> {
    let mut asked = JoinSet::new();
    for number in 0..count {
        asked.spawn(expect_echo(client.clone(), format!("{kind} {number}")));
    }
    while let Some(answered) = asked.join_next().await {
        answered??;
    }
    Ok(())
}

fn expect_counts(what: &str, counted: u64, wanted: u64) -> Result<(), Failure> {
    match counted == wanted {
        true => Ok(()),
        false => Err(format!("{counted} were {what}, not {wanted}").into()),
    }
}

async fn expect_silence(client: &Asking) -> Result<(), Failure> {
    match client.recv_timeout(QUIET).await {
        Err(UdpRecvError::TimedOut) => Ok(()),
        other => Err(format!("one packet too many: {other:?}").into()),
    }
}

pub(crate) async fn each_of_many_questions_gets_its_own_answer(
    address: SocketAddr,
) -> Result<(), Failure> {
    let client = open(address).await?;
    expect_echoes(&client, "question", 200).await?;
    expect_counts("answered", client.stats().answered, 200)?;
    expect_silence(&client).await
}

pub(crate) async fn answers_in_the_opposite_order_find_their_questions(
    address: SocketAddr,
) -> Result<(), Failure> {
    let client = open(address).await?;
    expect_echoes(&client, "held", 20).await?;
    expect_counts("answered", client.stats().answered, 20)?;
    expect_silence(&client).await
}

pub(crate) async fn lost_questions_are_repeated(address: SocketAddr) -> Result<(), Failure> {
    let times = repeating_after(Duration::from_millis(100));
    let client = open(address).await?.with_times(times);
    expect_echoes(&client, "lost", 20).await?;
    expect_counts("answered", client.stats().answered, 20)?;
    match client.stats().repeated {
        20.. => Ok(()),
        repeated => Err(format!("{repeated} were repeated, but 20 lost").into()),
    }
}

pub(crate) async fn second_answers_are_dropped(address: SocketAddr) -> Result<(), Failure> {
    let client = open(address).await?;
    expect_echoes(&client, "twice", 20).await?;
    expect_silence(&client).await?;
    expect_counts("answered", client.stats().answered, 20)?;
    expect_counts("duplicates", client.stats().duplicates, 20)
}

pub(crate) async fn what_nobody_asked_for_is_received(address: SocketAddr) -> Result<(), Failure> {
    let client = open(address).await?;
    let answer = client.ask(echo("pushed")).await?;
    for (is_news, packet) in [(true, Reply::GoOn {}), (false, Reply::Garbled {})] {
        let received = client.recv_timeout(QUIET).await?;
        let number = if is_news { 0 } else { answer.number ^ 1 };
        if received != Numbered::new(number, packet.into()) {
            return Err(format!("{received:?} came after {answer:?}").into());
        }
    }
    expect_silence(&client).await
}

pub(crate) async fn a_client_asks_on_after_the_server_was_restarted(
    address: SocketAddr,
    server: &mut Server,
) -> Result<(), Failure> {
    let client = open(address).await?;
    expect_echo(client.clone(), "before".into()).await?;
    server.stop_by_end_of_input().await?;
    let lost = client
        .ask_within(echo("meanwhile"), Duration::from_secs(2))
        .await;
    server.start().await?;
    if !matches!(lost, Err(AskError::Refused | AskError::TimedOut)) {
        return Err(format!("nobody was there, and yet: {lost:?}").into());
    }
    sleep(QUIET).await; // a refusal may come late
    expect_echo(client, "after".into()).await
}
