//! Under systemd: its sockets, and what it is told.

use std::env;
use std::future::{pending, poll_fn};
use std::net::UdpSocket;
use std::pin::pin;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use super::{Server, ServerBuilder};
use crate::config::addresses::BindAddrs;
use crate::error::{BindError, ServeError};
use crate::service::{DrainKind, ServerHandle};
use crate::support::log::tell;

/// # Sockets from systemd
///
/// Of a socket unit, or of any other supervisor that gives them by `LISTEN_FDS`. With the feature
/// `systemd`, on Linux.
impl ServerBuilder {
    /// Serves the sockets that this process was given: as
    /// [`from_sockets`](Self::from_sockets), one worker each.
    ///
    /// They are those of the file descriptors from 3 on, `LISTEN_FDS` of them, if `LISTEN_PID` is
    /// this process or is not set; as `sd_listen_fds(3)` has it. Both variables are removed, so
    /// that no child of this process takes the sockets for its own, and a second call finds none.
    /// To serve some of them, take them by the crate `listenfd` yourself, and use `from_sockets`.
    ///
    /// Removing a variable is no business of other threads: call it first in `main`, before
    /// anything else reads the environment.
    ///
    /// # Errors
    ///
    /// [`BindError::NoneInherited`] if there are none; [`BindError::Inherited`] names a file
    /// descriptor that is no UDP socket; otherwise as [`from_sockets`](Self::from_sockets).
    pub fn bind_from_env(self) -> Result<Server, BindError> {
        match inherited()? {
            sockets if sockets.is_empty() => Err(BindError::NoneInherited),
            sockets => self.serve_inherited(sockets),
        }
    }

    /// Serves the sockets that this process was given, and where there are none
    /// [binds](Self::bind) these: for a program that runs under systemd, and by hand.
    ///
    /// # Errors
    ///
    /// As [`bind_from_env`](Self::bind_from_env) and [`bind`](Self::bind).
    ///
    /// # Panics
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future binds nothing: what was given is taken at its first poll, which does not
    /// wait then.
    pub async fn bind_from_env_or(self, addrs: impl BindAddrs) -> Result<Server, BindError> {
        match inherited()? {
            sockets if sockets.is_empty() => self.bind(addrs).await,
            sockets => self.serve_inherited(sockets),
        }
    }

    fn serve_inherited(self, sockets: Vec<UdpSocket>) -> Result<Server, BindError> {
        let mut server = self.from_sockets(sockets)?;
        server.inherited = true;
        Ok(server)
    }
}

/// Takes the sockets from the environment.
fn inherited() -> Result<Vec<UdpSocket>, BindError> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..given.len() {
        let name = names.next().filter(|name| !name.is_empty());
        match given.take_udp_socket(at) {
            Ok(socket) => sockets.extend(socket),
            Err(source) => {
                let fd = given.take_raw_fd(at).ok().flatten().unwrap_or(-1);
                return Err(BindError::Inherited { fd, name, source });
            }
        }
    }
    Ok(sockets)
}

impl Server {
    /// Serves until `signal` is ready, then stops without losing what has begun, `within` this time
    /// at the latest; and tells systemd how it goes. With the feature `systemd`, on Linux.
    ///
    /// At the signal a server whose sockets are [systemd's](ServerBuilder::bind_from_env) [hands
    /// over](ServerHandle::hand_over): what waits in them is the next process's. One with sockets
    /// of its own [drains](ServerHandle::drain).
    ///
    /// | systemd is told | when |
    /// |---|---|
    /// | `READY=1` | once the server [has started](ServerHandle::started), for `Type=notify` |
    /// | `WATCHDOG=1` | twice in each `WatchdogSec=`, while [every worker makes turns](ServerHandle::responds) |
    /// | `STOPPING=1` | when the drain, the hand over or a shutdown begins |
    ///
    /// Where `NOTIFY_SOCKET` is not set, nothing is told. What systemd does not take is logged, and
    /// changes nothing. `TimeoutStopSec=` has to be more than `within`, the grace and the exit
    /// timeout together.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use postbox_server::{BoxError, ServerBuilder};
    /// # async fn example(builder: ServerBuilder) -> Result<(), BoxError> {
    /// let server = builder.bind_from_env_or("localhost:9000").await?;
    /// let signal = tokio::signal::ctrl_c(); // or stop_signal()
    /// server.serve_with_systemd(signal, Duration::from_secs(30)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`serve_forever`](Self::serve_forever).
    ///
    /// # Panics
    ///
    /// As [`serve_forever`](Self::serve_forever).
    ///
    /// # Cancel safety
    ///
    /// As [`serve_forever`](Self::serve_forever).
    pub fn serve_with_systemd<S: Future>(
        &self,
        signal: S,
        within: Duration,
    ) -> impl Future<Output = Result<(), ServeError>> + use<S> {
        let kind = match self.inherited {
            true => DrainKind::HandOver,
            false => DrainKind::Finish,
        };
        let serving = self.serve_until_drained_as(kind, signal, within);
        telling(self.handle(), serving)
    }
}

/// Polls `serving` and tells of it.
async fn telling(
    handle: ServerHandle,
    serving: impl Future<Output = Result<(), ServeError>>,
) -> Result<(), ServeError> {
    let mut serving = pin!(serving);
    let mut told = pin!(tell_life(&handle));
    let mut watched = pin!(tell_watchdog(&handle));
    let mut is_told = false;
    poll_fn(|cx| {
        let result = serving.as_mut().poll(cx);
        is_told = is_told || told.as_mut().poll(cx).is_ready();
        if result.is_pending() {
            let _ = watched.as_mut().poll(cx);
        }
        result
    })
    .await
}

async fn tell_life(handle: &ServerHandle) {
    let stopping = handle.shared.draining();
    let started = stopping.run_until_cancelled(handle.started()).await;
    if let Some(Ok(())) = started {
        notify(&NotifyState::Ready);
    }
    stopping.cancelled().await;
    notify(&NotifyState::Stopping);
}

/// As long as systemd wants it. It takes no answer for a program that hangs.
async fn tell_watchdog(handle: &ServerHandle) {
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    let Some(limit) = limit else {
        return pending().await;
    };
    loop {
        tokio::time::sleep(limit / 4).await; // and then a turn, which may take as long
        // Where nothing is served (yet, or any more), other limits of systemd hold.
        handle.responds().await;
        notify(&NotifyState::Watchdog);
    }
}

fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tell(|| tracing::warn!("cannot tell systemd {state}: {error}"));
    }
}
