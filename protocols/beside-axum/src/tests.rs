//! Both servers without sockets: UDP on a network in memory, the web server by calls.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use postbox::{Flip, MemoryNetwork, UdpClient};
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::udp::{Ask, Greetings, protocol, server};
use crate::web;

async fn get(app: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn told(status: StatusCode, text: &str) -> (StatusCode, String) {
    (status, text.to_owned())
}

#[tokio::test]
async fn the_web_server_tells_what_the_udp_server_does() {
    let (network, address) = (MemoryNetwork::new(), "127.0.0.1:9000".parse().unwrap());
    let greetings = Arc::new(Greetings::default());
    let server = server(&greetings).bind_memory(&network, address).unwrap();
    let app = web::app(greetings, server.handle());
    let not_serving = told(StatusCode::SERVICE_UNAVAILABLE, "not serving\n");
    assert_eq!(get(&app, "/health").await, not_serving, "not yet");

    let client = UdpClient::connect_memory(&network, address, protocol().flip()).unwrap();
    let talk = async {
        server.handle().started().await.unwrap();
        assert_eq!(get(&app, "/health").await, told(StatusCode::OK, "ok\n"));
        assert_eq!(get(&app, "/greeted/Ann").await, told(StatusCode::OK, "0\n"));
        for _ in 0..2 {
            let name = "Ann".to_owned();
            client.send(Ask { name }).await.unwrap();
            assert_eq!(client.recv().await.unwrap().greeting, "Hello, Ann!");
        }
        assert_eq!(get(&app, "/greeted/Ann").await, told(StatusCode::OK, "2\n"));
    };
    server.serve_until(talk).await.unwrap();
    let (status, stats) = get(&app, "/stats").await;
    assert_eq!(status, StatusCode::OK);
    assert!(stats.starts_with("received 2, sent 2"), "{stats}");
    assert_eq!(get(&app, "/health").await, not_serving, "not any more");
}

#[tokio::test]
async fn a_server_that_stops_is_not_healthy() {
    let (network, address) = (MemoryNetwork::new(), "127.0.0.1:9000".parse().unwrap());
    let (asked, ends) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asks, until) = (Arc::clone(&asked), Arc::clone(&ends));
    let slow = postbox::Server::builder_answer_fn(protocol(), move |ask: Ask| {
        asks.notify_one();
        let until = Arc::clone(&until);
        async move {
            until.notified().await;
            crate::udp::Reply { greeting: ask.name }
        }
    });
    let server = slow.bind_memory(&network, address).unwrap();
    let app = web::app(Arc::default(), server.handle());
    let client = UdpClient::connect_memory(&network, address, protocol().flip()).unwrap();
    let name = "Ann".to_owned();
    client.send(Ask { name }).await.unwrap();
    let serving = server.serve_until_drained(asked.notified(), Duration::from_secs(3600));
    let looks = async {
        while !server.handle().is_draining() {
            tokio::task::yield_now().await;
        }
        let stopping = told(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        assert_eq!(get(&app, "/health").await, stopping);
        ends.notify_one();
    };
    let (served, ()) = tokio::join!(serving, looks);
    served.unwrap();
    assert_eq!(client.recv().await.unwrap().greeting, "Ann");
}
