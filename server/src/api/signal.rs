//! When the system asks a program to stop.

use std::io;

/// Waits until the program is asked to stop: by SIGTERM, as service managers and containers do, or
/// by Ctrl-C. Elsewhere than on Unix by Ctrl-C alone.
///
/// From the first poll on neither ends the program by itself, for as long as it runs.
///
/// ```no_run
/// # use postbox_server::{ServeError, Server, stop_signal};
/// # async fn example(server: Server) -> Result<(), ServeError> {
/// server.serve_until(stop_signal()).await
/// # }
/// ```
///
/// # Errors
///
/// What the system says where it does not let the program wait for signals. To
/// [`serve_until`](crate::Server::serve_until) that is a signal too, as is
/// `tokio::signal::ctrl_c()`: it would never learn of another.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
///
/// # Cancel safety
///
/// Dropping the future loses a signal that came and was not seen.
pub async fn stop_signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        std::future::poll_fn(|cx| {
            let terminated = terminate.poll_recv(cx).is_ready();
            match terminated || interrupt.poll_recv(cx).is_ready() {
                true => std::task::Poll::Ready(Ok(())),
                false => std::task::Poll::Pending,
            }
        })
        .await
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
