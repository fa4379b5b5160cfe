//! What a second serving of the same server begins anew.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use postbox_server::Requests;
use tracing::Level;

use crate::common::*;
use crate::contract;

contract! {
    async fn h11_a_second_serving_warns_of_what_is_closed_again(world: World) {
        let kept = Arc::new(Mutex::new(None::<Requests<Bytes>>));
        let builder = raw_server(move |client, mut requests| {
            let kept = Arc::clone(&kept);
            async move {
                if requests.recv().await? == "keep" {
                    *kept.lock().unwrap() = Some(requests);
                    client.send("kept".into()).await?;
                    return Ok(());
                }
                let closed = kept.lock().unwrap().take();
                closed.ok_or("nothing was kept")?.recv().await?; // it is closed
                Ok(())
            }
        });
        let mut server = world.bind(builder).await;
        for _ in 0..3 {
            let serving = TestServer::start(server).await;
            let peer = world.peer(serving.addr).await;
            for _ in 0..2 {
                assert_eq!(peer.ask("keep").await, "kept");
                peer.send("use").await;
                assert_eq!(peer.ask("keep").await, "kept");
            }
            let logged = world.logs.take();
            assert_eq!(logged.len(), 1, "one warning a serving: {logged:#?}");
            assert_eq!(logged[0].level, Level::WARN);
            serving.handle.shutdown().await;
            serving.serving.await.unwrap().unwrap();
            server = serving.server;
        }
    }
}
