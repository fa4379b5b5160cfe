//! `stop_signal`: what service managers and terminals send.

use std::pin::pin;
use std::process::{Command, id};

use postbox_server::stop_signal;

use crate::common::*;
use crate::contract;

contract! {
    async fn v11_sigterm_and_ctrl_c_end_a_serving_that_waits_for_a_stop_signal(world: World) {
        for signal in ["TERM", "INT"] {
            let server = world.bind(echo()).await;
            let mut serving = pin!(server.serve_until(stop_signal()));
            let _ = poll_once(&mut serving).await; // from now on it does not end the program
            let kill = format!("kill -{signal} {}", id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
            serving.await.unwrap();
        }
    }
}
