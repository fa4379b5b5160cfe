//! H11: what a handler says is its client's fault.

use std::error::Error;

use postbox_server::{BoxError, ClientFault};
use tracing::Level;

use super::obedient;
use crate::common::*;
use crate::contract;

#[derive(Debug, thiserror::Error)]
#[error("cannot answer")]
struct CannotAnswer(#[source] BoxError);

contract! {
    async fn h11_an_error_marked_as_the_clients_fault_is_a_warning_with_its_causes(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let text = String::from_utf8(requests.recv().await?.into())?;
                let number: u32 = text.parse().map_err(ClientFault::new)?;
                client.send(number.to_string().into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("x").await;
        assert_eq!(peer.ask("7").await, "7");
        let expected = Record {
            level: Level::WARN,
            message: "bad request: the client's fault: invalid digit found in string".into(),
            fields: format!("client={} suppressed=0 ", peer.addr()),
        };
        assert_eq!(world.logs.take(), [expected]);
        assert_eq!(server.handle.stats().handlers_failed, 1);
        server.stop().await.unwrap();
    }

    async fn h11_the_mark_counts_wherever_it_is_in_the_chain(world: World) {
        let server = world
            .serve(raw_server(|_, mut requests| async move {
                requests.recv().await?;
                let fault = ClientFault::new("no such item");
                Err(CannotAnswer(fault.into()).into())
            }))
            .await;
        world.peer(server.addr).await.send("x").await;
        let records = world.logs.wait_for(1).await;
        let message = "bad request: cannot answer: the client's fault: no such item";
        assert_eq!((records[0].level, &records[0].message[..]), (Level::WARN, message));
        server.stop().await.unwrap();
    }

    async fn h11_the_clients_faults_hide_no_error(world: World) {
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        for text in ["fault", "fault", "fail", "fault"] {
            peer.send(text).await;
        }
        server.settled(4).await;
        let levels: Vec<_> = world.logs.take().iter().map(|record| record.level).collect();
        assert_eq!(levels, [Level::WARN, Level::ERROR]);
        server.stop().await.unwrap();
        assert_eq!(world.logs.take()[0].message, "bad request: 2 more");
    }
}

#[test]
fn h11_the_mark_says_its_own_and_has_the_error_as_its_source() {
    let fault = ClientFault::new(std::io::Error::other("no such file"));
    assert_eq!(fault.to_string(), "the client's fault");
    assert_eq!(fault.source().unwrap().to_string(), "no such file");
}
