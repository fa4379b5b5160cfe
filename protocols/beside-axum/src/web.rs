//! The web server: how the UDP server does.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use postbox::ServerHandle;

use crate::udp::Greetings;

/// A worker that makes no turn for so long is held by a handler.
const TURN: Duration = Duration::from_secs(1);

pub(crate) fn app(greetings: Arc<Greetings>, udp: ServerHandle) -> Router {
    let of_state = Router::new()
        .route("/greeted/{name}", get(greeted))
        .with_state(greetings);
    Router::new()
        .route("/health", get(health))
        .route("/stats", get(stats))
        .with_state(udp)
        .merge(of_state)
}

/// For load balancers: a server that stops is sent nothing new.
async fn health(State(udp): State<ServerHandle>) -> (StatusCode, &'static str) {
    if udp.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match tokio::time::timeout(TURN, udp.responds()).await {
        Ok(true) => (StatusCode::OK, "ok\n"),
        Ok(false) => (StatusCode::SERVICE_UNAVAILABLE, "not serving\n"),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "a handler holds a worker\n",
        ),
    }
}

async fn stats(State(udp): State<ServerHandle>) -> String {
    format!("{}\n", udp.stats())
}

async fn greeted(State(greetings): State<Arc<Greetings>>, Path(name): Path<String>) -> String {
    format!("{}\n", greetings.of(&name))
}
