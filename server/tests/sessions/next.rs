//! A handler that goes on with another request than the one that it waited for.

use crate::common::*;
use crate::contract;
use bytes::Bytes;
use postbox_server::{BoxError, Client, Requests};

/// One transfer: blocks, each acknowledged. Returns the request that comes instead of an
/// acknowledgement: the client's next transfer, from the same port.
async fn transfer(
    client: &Client<Bytes>,
    requests: &mut Requests<Bytes>,
    file: Bytes,
) -> Result<Option<Bytes>, BoxError> {
    for block in file.chunks(2).skip(1) {
        client.send(Bytes::copy_from_slice(block)).await?;
        let next = requests.recv().await?;
        if next != "ack" {
            return Ok(Some(next));
        }
    }
    client.send("done".into()).await?;
    Ok(None)
}

contract! {
    async fn h6_a_handler_goes_on_with_another_request_than_it_waited_for(world: World) {
        let server = world.serve(raw_server(|client, mut requests| async move {
            let mut next = Some(requests.recv().await?);
            while let Some(file) = next {
                next = transfer(&client, &mut requests, file).await?;
            }
            Ok(())
        })).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("->aabb").await, "aa");
        assert_eq!(peer.ask("ack").await, "bb");
        assert_eq!(peer.ask("->cc").await, "cc", "the next one, before the end of the first");
        assert_eq!(peer.ask("ack").await, "done");
        let stats = server.stats_where(|stats| stats.handlers_returned == 1).await;
        assert_eq!((stats.handed_out, stats.waiting_clients), (4, 0));
        server.stop().await.unwrap();
    }
}
