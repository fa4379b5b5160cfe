//! L11: datagrams that are no valid packets, whatever the handler makes of that.

use std::time::Duration;

use postbox_codec_json::JsonSerializer;
use postbox_protocol::DatagramProtocol;
use postbox_server::{Limits, RecvError, Server, ServerBuilder};
use tracing::Level;

use super::number;
use crate::{contract, paused};

/// Doubles numbers, and says nothing to anything else. In another task if `elsewhere`.
fn doubles(elsewhere: bool) -> ServerBuilder {
    let protocol = DatagramProtocol::new(JsonSerializer::<u32>::new());
    Server::builder_fn(protocol, move |client, mut requests| async move {
        let answers = async move {
            loop {
                match requests.recv().await {
                    Ok(number) => client.send(2 * number).await?,
                    Err(RecvError::Closed) => return Ok(()),
                    Err(_) => {}
                }
            }
        };
        match elsewhere {
            true => tokio::spawn(answers).await?,
            false => answers.await,
        }
    })
}

contract! {
    async fn l11_malformed_datagrams_are_counted_also_where_the_handler_swallows_them(world: World) {
        for elsewhere in [false, true] {
            let server = world.serve(doubles(elsewhere)).await;
            let peer = world.peer(server.addr).await;
            peer.send("no number").await;
            let first = world.logs.wait_for_lost(1).await;
            for _ in 0..4 {
                peer.send("no number").await;
                assert_eq!(peer.ask("7").await, "14");
            }
            let stats = server.handle.stats();
            assert_eq!((stats.malformed, stats.truncated, stats.crashed), (5, 0, 0));
            assert_eq!((stats.received, stats.handed_out), (9, 9));
            server.stop().await.unwrap();
            let records = [first, world.logs.take_lost()].concat();
            let count: u64 = records.iter().map(|record| number(record, "count")).sum();
            assert_eq!((records.len(), count), (2, 5), "{records:#?}");
            assert_eq!(records[0].level, Level::INFO);
            assert_eq!(records[0].message, "datagrams that are no valid packets");
            let fields = format!("client={} count=1 see=\"Stats::malformed\" ", peer.addr());
            assert_eq!(records[0].fields, fields);
        }
    }

    async fn l11_a_second_serving_tells_no_malformed_datagram_again(world: World) {
        let mut server = world.serve(doubles(false)).await;
        for round in 1..=2 {
            let peer = world.peer(server.addr).await;
            peer.send("no number").await;
            server.stats_where(|stats| stats.malformed == round).await;
            server.handle.shutdown().await;
            server.serving.await.unwrap().unwrap();
            let records = world.logs.take_lost();
            let counts = records.iter().map(|record| number(record, "count"));
            assert_eq!(counts.collect::<Vec<_>>(), [1], "{records:#?}");
            server.serving = tokio::spawn(server.server.serve_forever());
            server.handle.started().await.unwrap();
        }
        server.stop().await.unwrap();
        assert_eq!(world.logs.take_lost(), []);
    }

    on memory, udp;
    async fn l11_what_was_cut_short_stands_apart(world: World) {
        let limits = Limits::default().receive_datagram(4);
        let server = world.serve(doubles(false).limits(limits)).await;
        let peer = world.peer(server.addr).await;
        peer.send("77777").await;
        assert_eq!(peer.ask("7").await, "14");
        let stats = server.handle.stats();
        assert_eq!((stats.malformed, stats.truncated), (0, 1));
        let records = world.logs.wait_for_lost(1).await;
        assert_eq!(records[0].level, Level::INFO);
        assert!(records[0].message.starts_with("datagrams cut short"));
        let fields = format!("client={} count=1 see=\"Limits::receive_datagram\" ", peer.addr());
        assert_eq!(records[0].fields, fields);
        server.stop().await.unwrap();
    }
}

paused! {
    async fn l11_malformed_datagrams_are_one_line_in_ten_seconds(world: World) {
        for elsewhere in [false, true] {
            let server = world.serve(doubles(elsewhere)).await;
            let peer = world.peer(server.addr).await;
            let mut counts = Vec::new();
            for _ in 0..30 {
                for _ in 0..20 {
                    peer.send("no number").await;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                counts.extend(world.logs.take_lost().iter().map(|record| number(record, "count")));
            }
            assert_eq!(server.handle.stats().malformed, 600);
            server.stop().await.unwrap();
            counts.extend(world.logs.take_lost().iter().map(|record| number(record, "count")));
            assert_eq!((counts.len(), counts.iter().sum::<u64>()), (4, 600), "{counts:?}");
        }
    }

    // The worker sleeps, and is told by the task that received it.
    async fn l11_what_another_task_could_not_decode_waits_for_no_other_datagram(world: World) {
        let protocol = DatagramProtocol::new(JsonSerializer::<u32>::new());
        let builder = Server::builder_fn(protocol, |_, mut requests| async move {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                requests.recv().await.unwrap_err();
                std::future::pending::<()>().await;
            })
            .await?;
            Ok(())
        });
        let server = world.serve(builder.grace(Duration::ZERO)).await;
        let peer = world.peer(server.addr).await;
        peer.send("no number").await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        let records = world.logs.take_lost();
        assert_eq!(records.len(), 1, "{records:#?}");
        server.stop().await.unwrap();
    }
}
