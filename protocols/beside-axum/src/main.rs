//! A UDP server and a web server in one program: one state, one stop.
//!
//! ```text
//! beside-axum WEB_ADDRESS UDP_ADDRESS
//! ```

use std::sync::Arc;
use std::time::Duration;
use std::{env, io};

use postbox::{BoxError, stop_signal};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod udp;
mod web;

#[cfg(test)]
mod tests;

use udp::Greetings;

/// How long a stop may take.
const WITHIN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let usage = "usage: beside-axum WEB_ADDRESS UDP_ADDRESS";
    let (web, udp) = arguments.next().zip(arguments.next()).ok_or(usage)?;

    let greetings = Arc::new(Greetings::default());
    let server = udp::server(&greetings).bind_from_env_or(udp).await?;
    let handle = server.handle();
    let listener = TcpListener::bind(web).await?;
    println!("web on {}", listener.local_addr()?);
    let addresses: Vec<_> = handle.addresses().iter().map(ToString::to_string).collect();
    println!("serving on {}", addresses.join(" "));

    // One end for both: the signal, or that one of them fails. The web server answers until the
    // UDP server has stopped, so that its health and its counts can be seen meanwhile.
    let (ended, stopped) = (CancellationToken::new(), CancellationToken::new());
    let asked = tokio::spawn({
        let ended = ended.clone();
        async move {
            let _ = stop_signal().await;
            ended.cancel();
        }
    });
    let udp = async {
        let _stopped = stopped.clone().drop_guard();
        let signal = ended.cancelled();
        server.serve_with_systemd(signal, WITHIN).await
    };
    let web = async {
        let _ended = ended.clone().drop_guard();
        let app = web::app(greetings, handle.clone());
        let stop = stopped.clone().cancelled_owned();
        axum::serve(listener, app)
            .with_graceful_shutdown(stop)
            .await
    };
    let (udp, web) = tokio::join!(udp, web);
    asked.abort();

    println!("{}", handle.stats());
    udp?;
    Ok(web?)
}
