//! A RADIUS server, which asks somebody else about each user.
//!
//! ```text
//! radius CONFIG ADDRESS...
//! ```

use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, io};

use postbox::{
    BoxError, ClientFault, DatagramProtocol, Question, Server, ServerBuilder, stop_signal,
};
use tokio::time::sleep;

mod config;
mod secret;
mod wire;

#[cfg(test)]
mod tests;

use config::Config;
use wire::{ACCESS_ACCEPT, ACCESS_REJECT, Packet, RadiusSerializer};

/// How long it takes to ask about a user.
const LOOK_UP: Duration = Duration::from_millis(50);

async fn reply(config: Arc<Config>, question: Question<Packet>) -> Result<Packet, ClientFault> {
    // Only here is known who asks, and so with which secret the request is read.
    let secret = config.secret(question.remote_addr().ip());
    let secret = secret.ok_or_else(|| ClientFault::new("it has no secret"))?;
    let request = question.packet();
    let login = secret.open(request).map_err(ClientFault::new)?;

    sleep(LOOK_UP).await; // stands for a database, or for another server
    Ok(match config.knows(&login) {
        true => secret.reply(ACCESS_ACCEPT, &format!("Hello, {}", login.user), request),
        false => secret.reply(ACCESS_REJECT, "Wrong user or password", request),
    })
}

fn radius(config: Config) -> ServerBuilder {
    let config = Arc::new(config);
    let asked = Arc::clone(&config);
    let answer = move |question| reply(Arc::clone(&asked), question);
    Server::builder_question_fn(DatagramProtocol::new(RadiusSerializer), answer)
        // Strangers cost nothing.
        .admit(move |incoming| config.secret(incoming.remote_addr().ip()).is_some())
        // A client asks for all its users from one port. A repeated request is the same to the last
        // byte (RFC 5080 section 2.2.2).
        .at_most_once(|datagram, origin| origin.key(datagram))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("usage: radius CONFIG ADDRESS...")?;
    let config = Config::parse(&fs::read_to_string(file)?)?;
    let server = radius(config).bind(arguments.collect::<Vec<_>>()).await?;
    let handle = server.handle();

    let addresses: Vec<_> = handle.addresses().iter().map(ToString::to_string).collect();
    println!("serving on {}", addresses.join(" "));
    server
        .serve_until_drained(stop_signal(), Duration::from_secs(5))
        .await?;

    println!("{}", handle.stats());
    Ok(())
}
