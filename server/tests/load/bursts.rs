//! L1: the memory of a burst is given back.

use std::time::Duration;

use bytes::Bytes;

use super::costs::Measured;
use crate::common::*;

/// A server whose handler answers `burst` with 60 large datagrams, in a task of its own where it is
/// to be, and anything else with itself.
fn server(elsewhere: bool) -> Measured {
    Measured::new(unboxed_server(move |client, mut requests| async move {
        let request = requests.recv().await?;
        if request != "burst" {
            client.send(request).await?;
            return Ok(());
        }
        let burst = async move {
            let large = Bytes::from(vec![7; 60_000]);
            for _ in 0..60 {
                let _ = client.send(large.clone()).await;
            }
        };
        if elsewhere {
            tokio::spawn(burst);
        } else {
            burst.await;
        }
        Ok(())
    }))
}

/// What is kept a while after a burst, and after so many small answers that followed it.
fn kept_after_a_burst(elsewhere: bool, further: u64) -> i64 {
    let server = server(elsewhere);
    let Measured {
        runtime,
        network,
        handle,
    } = &server;
    let from = "127.0.0.2:1".parse().unwrap();
    let ask = |what: &[u8], sent: u64| {
        network
            .send_from(from, what, handle.addresses()[0])
            .unwrap();
        runtime.block_on(async {
            while handle.stats().sent < sent {
                tokio::task::yield_now().await;
            }
        });
    };
    ask(b"x", 1);
    let counted = allocation_counter::measure(|| {
        ask(b"burst", 61);
        (1..=further).for_each(|n| ask(b"x", 61 + n));
        // Not one turn is needed before that: the worker's own alarm is.
        runtime.block_on(async { tokio::time::sleep(Duration::from_secs(2)).await });
    });
    counted.bytes_current
}

#[test]
fn l1_a_server_that_falls_idle_gives_back_what_a_burst_needed() {
    for elsewhere in [false, true] {
        let kept = kept_after_a_burst(elsewhere, 0);
        assert!(kept < 1 << 20, "{kept} bytes are kept");
    }
}

#[test]
fn l1_a_server_that_goes_on_gives_back_what_a_burst_needed() {
    for elsewhere in [false, true] {
        let kept = kept_after_a_burst(elsewhere, 200);
        assert!(kept < 1 << 20, "{kept} bytes are kept");
    }
}
