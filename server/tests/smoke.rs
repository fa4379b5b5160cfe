//! The shortest way through the whole server.

mod common;
use common::*;

contract! {
    async fn h6_a_request_is_received_and_answered(world: World) {
        let server = world.serve(echo()).await;
        let peer = world.peer(server.addr).await;
        for text in ["one", "two", "three"] {
            assert_eq!(peer.ask(text).await, text);
        }
        server.stop().await.unwrap();
    }

    async fn h6_several_receives_in_one_handler_keep_its_state(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let mut sum = Vec::new();
                loop {
                    sum.extend_from_slice(&requests.recv().await?);
                    client.send(sum.clone().into()).await?;
                    if sum.len() >= 6 {
                        return Ok(());
                    }
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("ab").await, "ab");
        assert_eq!(peer.ask("cd").await, "abcd");
        assert_eq!(peer.ask("ef").await, "abcdef");
        assert_eq!(peer.ask("gh").await, "gh");
        server.stop().await.unwrap();
    }

    async fn h7_a_receive_times_out_never_early(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                let begin = tokio::time::Instant::now();
                let error = requests.recv_timeout(std::time::Duration::from_millis(20)).await;
                let late = begin.elapsed() >= std::time::Duration::from_millis(20);
                client.send(format!("{late} {}", error.unwrap_err()).into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "true no datagram came in time");
        server.stop().await.unwrap();
    }
}
